"""A run folder belongs to one run at a time and to one configuration for ever."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rra_cli.core import files
from rra_cli.core.lease import Lease, LeaseLostError
from rra_cli.core.process import Owner
from rra_cli.core.rundir import RunDir
from rra_cli.core.runfiles import read_config
from rra_cli.core.runstate import Watcher
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import UserError

CONFIG: dict[str, Any] = {
    "seed": 0,
    "dataset": {"name": "digits", "n_samples": {"train": 100, "test": None}},
    "method": {"epochs": 3, "milestones": [0, 3]},
    "optimizer": {"lr": 1e-05, "name": "none", "flag": True, "text": "1e-5", "yes": "no", "umlaut": "ä: b"},
}


def status(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((path / "status.json").read_text())
    return loaded


def test_a_run_writes_its_configuration_and_state(tmp_path: Path) -> None:
    path = tmp_path / "outputs" / "2026-11-20" / "14-05-09-123456_quickstart"
    with RunDir.enter(path, CONFIG) as run:
        assert read_config(path) == CONFIG
        assert list(read_config(path)) == list(CONFIG)
        assert status(path)["state"] == "running"
        run.status("running", "train", message="epoch 3")
        assert status(path)["stage"] == "train"
        assert status(path)["message"] == "epoch 3"
        assert status(path)["pid"] == os.getpid()
        assert run.tables.is_dir()
        assert run.plots == path / "plots"
        run.status("done")
    assert status(path)["state"] == "done"
    assert status(path)["stage"] == "train"
    assert {child.name for child in path.iterdir()} == {"config.yaml", "status.json", "tables", "plots"}


def test_the_folder_that_hydra_made_may_be_entered(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("seed: 0")
    with RunDir.enter(tmp_path, CONFIG):
        pass
    assert (tmp_path / ".hydra" / "config.yaml").read_text() == "seed: 0"


def test_an_equal_configuration_may_enter_again(tmp_path: Path) -> None:
    with RunDir.enter(tmp_path, CONFIG):
        pass
    written = (tmp_path / "config.yaml").stat().st_mtime_ns
    again = json.loads(json.dumps(dict(reversed(CONFIG.items()))))
    again["method"]["milestones"] = tuple(again["method"]["milestones"])
    with RunDir.enter(tmp_path, again):
        pass
    assert (tmp_path / "config.yaml").stat().st_mtime_ns == written


def test_another_configuration_may_not_and_the_difference_is_shown(tmp_path: Path) -> None:
    with RunDir.enter(tmp_path, CONFIG) as run:
        run.status("done")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = {**CONFIG, "seed": 1, "method": {**CONFIG["method"], "epochs": 4}}
    with pytest.raises(UserError, match="another configuration") as caught:
        RunDir.enter(tmp_path, other)
    assert "seed: stored 0, asked for 1" in caught.value.message
    assert "method.epochs: stored 3, asked for 4" in caught.value.message
    assert "\n" not in caught.value.message, "tables show one line"
    assert "hydra.run.dir" in str(caught.value.hint)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with RunDir.enter(tmp_path, CONFIG):
        pass  # the refusal left no lease behind


@pytest.mark.parametrize("before", [{"threads": 1}, None])
def test_how_the_work_is_done_may_change(before: dict[str, Any] | None, tmp_path: Path) -> None:
    """Also where an earlier version had no such setting; but nothing else along with it."""
    earlier = CONFIG if before is None else {**CONFIG, "runtime": before}
    now = {**CONFIG, "runtime": {"threads": 2, "report": False}}
    with RunDir.enter(tmp_path, earlier):
        pass
    with pytest.raises(UserError, match="another configuration: seed: stored 0, asked for 1") as caught:
        RunDir.enter(tmp_path, {**now, "seed": 1})
    assert "runtime" not in caught.value.message
    assert read_config(tmp_path) == earlier
    with RunDir.enter(tmp_path, now):
        pass
    assert read_config(tmp_path) == now


def test_in_a_sweep_the_hint_is_about_the_sweeps_folder(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    with RunDir.enter(tmp_path / "seed=0", CONFIG):
        pass
    many = {**CONFIG, **{f"key{number}": 0 for number in range(5)}}
    with pytest.raises(UserError, match=r"key2: not stored, asked for 0; and 2 more\n") as caught:
        RunDir.enter(tmp_path / "seed=0", many)
    assert "hydra.sweep.dir" in str(caught.value.hint)
    assert "hydra.run.dir" not in str(caught.value.hint)


def test_an_unreadable_configuration_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        RunDir.enter(tmp_path, CONFIG)
    assert (tmp_path / "config.yaml").read_text() == "a: ["


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


@pytest.mark.parametrize(
    ("error", "state", "traced"),
    [(RuntimeError("boom"), "failed", True), (UserError("bad k", "lower it"), "failed", False),
     (KeyboardInterrupt(), "interrupted", False)],
)  # fmt: skip
def test_leaving_by_an_exception_is_recorded(tmp_path: Path, error: BaseException, state: str, traced: bool) -> None:
    def run() -> None:
        with RunDir.enter(tmp_path, CONFIG):
            raise error

    with pytest.raises(type(error)):
        run()
    written = status(tmp_path)
    assert written["state"] == state
    assert ("Traceback" in written["traceback"]) is traced
    assert written["message"]
    with RunDir.enter(tmp_path, CONFIG):
        pass


def test_a_state_written_by_the_caller_is_kept(tmp_path: Path) -> None:
    def run() -> None:
        with RunDir.enter(tmp_path, CONFIG) as entered:
            entered.status("failed", "graph", message="ours")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        run()
    assert status(tmp_path)["message"] == "ours"


def test_a_full_disk_does_not_hide_the_first_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def run() -> None:
        with RunDir.enter(tmp_path, CONFIG):
            monkeypatch.setattr(files, "sync", refuse)
            raise UserError("the first fault")

    with pytest.raises(UserError, match="the first fault"):
        run()


def test_an_owner_that_was_replaced_writes_no_status(tmp_path: Path) -> None:
    run = RunDir.enter(tmp_path, CONFIG)
    heir = Lease(tmp_path / ".lease")
    assert heir._follow(run._lease.owner)
    with pytest.raises(LeaseLostError):
        run.status("done")
    run.leave()
    heir.check()
    heir.dissolve()


def test_the_manifest_lists_keys_and_relative_paths(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    specs = [Spec("train", 1, {"n": number}) for number in range(2)]
    artifacts = []
    for spec in specs:
        with store.claim(spec) as work:
            files.write_bytes(work.path / "out" / "a", b"x")
            artifacts.append(work.publish("out", entry="best"))
    with RunDir.enter(tmp_path / "2026-11-20" / "run", CONFIG) as run:
        run.write_manifest(store, [*artifacts, artifacts[0]])
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["store"] == "../../store"
    assert {row["key"] for row in manifest["artifacts"]} == {spec.key for spec in specs}
    assert len(manifest["artifacts"]) == 2
    for row in manifest["artifacts"]:
        assert set(row) == {"stage", "key", "entry", "path"}
        assert (run.path / manifest["store"] / row["path"] / "a").read_bytes() == b"x"
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_log_is_appended_to(tmp_path: Path) -> None:
    logger = logging.getLogger("rra_cli.core.test")
    level = logging.getLogger("rra_cli").level
    for text in ("first", "second ä"):
        with RunDir.enter(tmp_path, CONFIG) as run, run.logging():
            logger.info(text)
        logger.info("outside")
    lines = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["first", "second ä"]
    assert logging.getLogger("rra_cli").level == level


def test_ids_are_file_names_and_tell_folders_apart(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ids = set()
    for name in ("a/2026-11-20/run", "b/2026-11-20/run", "ä (x)/=", ".hidden/..."):
        with RunDir.enter(tmp_path / name, CONFIG) as run:
            store.refer(run.id, run.path, [])
            ids.add(run.id)
    assert len(ids) == 4 == len(store.references())
    assert any(name.startswith("2026-11-20_run-") for name in ids)


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="a file lies where a folder is needed"):
        RunDir.enter(tmp_path / "file" / "run", CONFIG)


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="needs a kernel folder in which nobody may create files")
def test_a_folder_that_cannot_be_written_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="cannot write /sys/kernel") as caught:
        RunDir.enter(Path("/sys/kernel"), CONFIG)
    assert "hydra.run.dir" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["run.log", ".lease", "tables", "tables/per_sample", "plots", ".hydra"])
def test_nothing_is_written_behind_a_link_in_the_folder(tmp_path: Path, name: str) -> None:
    """The folder may be a stranger's, and so may be what its log is a link to."""
    outside, place = tmp_path / "outside", tmp_path / "run" / name
    place.parent.mkdir(parents=True)
    outside.mkdir()
    place.symlink_to(outside)
    with pytest.raises(UserError, match=f"{name} is a link, behind which nothing is written"):
        RunDir.enter(tmp_path / "run", {})
    assert list(outside.iterdir()) == []
    place.unlink()
    RunDir.enter(tmp_path / "run", {}).leave()  # the control
