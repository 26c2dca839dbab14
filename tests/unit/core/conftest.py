"""A store and what changes on its disk, processes that end with the test, and kills wherever they leave a trace."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lease_owners import Start

from rra_cli.core import files
from rra_cli.core.store import Store

# Runs `scenario(root)` in a fork that is killed (SIGKILL) at its n-th boundary, for n = 1, 2, ... until it ends by
# itself; after every kill `check(root, names of the boundaries reached)` runs in a fork that must end well.
HARNESS = """
import os, signal, sys, traceback
from pathlib import Path
from rra_cli.core import files

# What a killed process wrote is seen by others whether it was flushed or not; flushing only costs time here.
os.fsync = lambda descriptor: None

def in_fork(function):
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def killed_at(n, root):
    log = root.with_name(root.name + ".boundaries")
    reached = []
    def observe(name):
        reached.append(name)
        with open(log, "a") as file:
            file.write(name + "\\n")
        if len(reached) == n:
            os.kill(os.getpid(), signal.SIGKILL)
    files.observers.append(observe)
    scenario(root)

def main(folder):
    n = 0
    while True:
        n += 1
        root = Path(folder, f"{n:03d}")
        prepare(root)
        status = in_fork(lambda: killed_at(n, root))
        log = root.with_name(root.name + ".boundaries")
        names = log.read_text().splitlines() if log.exists() else []
        if in_fork(lambda: check(root, names)) != 0:
            sys.exit(f"the check after a kill at boundary {n} ({names[-1:]}) failed")
        if status == 0:
            print(n - 1)
            return
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"the scenario failed with status {status} at boundary {n}")
"""


@pytest.fixture
def kill_everywhere(tmp_path: Path) -> Callable[[str], int]:
    """Runs code that defines prepare(root), scenario(root) and check(root, names); gives the number of kills."""

    def run(code: str) -> int:
        folder = tmp_path / "kills"
        folder.mkdir()
        script = tmp_path / "script.py"
        script.write_text(HARNESS + textwrap.dedent(code) + f"\nmain({str(folder)!r})\n")
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    return run


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    return Store(tmp_path / "store", stale_after=5, warn=warnings.append)


@pytest.fixture
def boundaries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all changes of the disk from here on."""
    seen: list[str] = []
    monkeypatch.setattr(files, "observers", [seen.append])
    return seen


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts python on code; kills what is left at the end."""
    children: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        children.append(child)
        return child

    yield run
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()
