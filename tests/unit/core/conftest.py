"""Killing processes at every point where a kill leaves something new on disk."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

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
