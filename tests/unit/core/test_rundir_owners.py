"""A run folder belongs to one run at a time, be it here, elsewhere or dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from run_states import CONFIG, status

from rra_cli.core.lease import Lease, LeaseLostError
from rra_cli.core.process import Owner
from rra_cli.core.rundir import RunDir
from rra_cli.core.runstate import Watcher
from rra_cli.errors import UserError

LIVE = """
    import sys
    from pathlib import Path
    from rra_cli.core.rundir import RunDir
    run = RunDir.enter(Path(sys.argv[1]), {"seed": 0})
    run.status("running", "train")
    print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("number", [None, signal.SIGSTOP])
def test_a_folder_that_is_alive_is_refused_and_a_dead_one_entered(tmp_path: Path, number: int | None) -> None:
    command = [sys.executable, "-c", textwrap.dedent(LIVE), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        if number is not None:
            os.kill(child.pid, number)  # suspended is not dead
        with pytest.raises(UserError, match=f"is in use by process {child.pid} on ") as caught:
            RunDir.enter(tmp_path, {"seed": 0})
        assert "hydra.run.dir" in str(caught.value.hint)
        child.kill()
    assert status(tmp_path)["state"] == "running"  # what a kill leaves
    with RunDir.enter(tmp_path, {"seed": 0}) as run:
        run.status("done")
    assert status(tmp_path)["state"] == "done"


class Elsewhere:
    """A run of another machine: its lease says so, and its heartbeat moves when it is told to."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = RunDir.enter(path, CONFIG, stale_after=1e6)
        monkeypatch.setattr(Owner, "is_here", lambda owner: False)

    def beat(self) -> None:
        lease = self.run._lease
        lease.counter += 1
        os.pwrite(lease._descriptor, f"{lease.counter:020d}".encode(), 0)


def test_a_run_elsewhere_that_died_without_a_word_is_live_no_more_once_its_heart_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    runs = Watcher(stale_after=30, clock=lambda: now[0])
    other = Elsewhere(tmp_path, monkeypatch)
    assert runs.look(tmp_path).active
    for now[0] in (100.0, 200.0):  # however long between two looks: one that beats is live
        other.beat()
        assert runs.look(tmp_path).active
    for now[0] in (210.0, 229.0):  # too early to tell
        assert runs.look(tmp_path).active
    now[0] = 231.0
    assert not runs.look(tmp_path).active
    other.beat()  # it was suspended
    assert runs.look(tmp_path).active
    other.run.leave()
    assert not runs.look(tmp_path).active


def test_a_run_here_is_live_without_a_heartbeat(tmp_path: Path) -> None:
    """Negative control: on this machine a suspended process is seen, and so is a dead one, at the first look."""
    now = [0.0]
    runs = Watcher(stale_after=30, clock=lambda: now[0])
    run = RunDir.enter(tmp_path, CONFIG, stale_after=1e6)
    for now[0] in (0.0, 1000.0, 2000.0):
        assert runs.look(tmp_path).active
    run.status("done")
    assert not runs.look(tmp_path).active
    run.leave()
    assert not runs.look(tmp_path / "absent").active


def test_entering_killed_anywhere_can_be_repeated(kill_everywhere: Callable[[str], int]) -> None:
    kills = kill_everywhere("""
        import json
        from rra_cli.core.rundir import RunDir
        from rra_cli.core.runfiles import read_config
        def prepare(root):
            (root / ".hydra").mkdir(parents=True)
        def scenario(root):
            with RunDir.enter(root, {"seed": 0, "name": "x"}) as run:
                files.write_text(run.tables / "layers.csv", "layer,value\\n" * 1000)
                run.write_provenance({"seeds": {}})
                run.status("done")
        def check(root, names):
            for name in ("status.json", "provenance.json"):
                if (root / name).exists():
                    json.loads((root / name).read_text())
            table = root / "tables" / "layers.csv"
            assert not table.exists() or table.read_text() == "layer,value\\n" * 1000
            scenario(root)
            assert read_config(root) == {"seed": 0, "name": "x"}
            assert json.loads((root / "status.json").read_text())["state"] == "done"
            left = {path.name for path in root.rglob("*")} - {".lease"}
            expected = {".hydra", "config.yaml", "status.json", "provenance.json", "tables", "layers.csv"}
            assert left == expected, left
    """)
    assert kills > 20


def test_an_owner_that_was_replaced_writes_no_status(tmp_path: Path) -> None:
    run = RunDir.enter(tmp_path, CONFIG)
    heir = Lease(tmp_path / ".lease")
    assert heir._follow(run._lease.owner)
    with pytest.raises(LeaseLostError):
        run.status("done")
    run.leave()
    heir.check()
    heir.dissolve()
