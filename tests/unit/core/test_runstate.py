"""A run seen from outside: waiting, running with its progress, done, failed, interrupted, or dead without a word."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rra_cli.core import files, rundir
from rra_cli.core.lease import Lease
from rra_cli.core.process import Owner
from rra_cli.core.rundir import RunDir
from rra_cli.core.runfiles import STATUS
from rra_cli.core.runstate import Watcher
from rra_cli.errors import UserError

CONFIG = {"seed": 0}
PULSE = 0.1


@pytest.fixture(autouse=True)
def fast_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    assert min(rundir.PULSE) >= 1.0, "at most once a second"
    monkeypatch.setattr(rundir, "PULSE", (PULSE, PULSE))


class Quiet:
    def task(self, title: str):
        from contextlib import nullcontext

        return nullcontext(lambda done, total, note="": None)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_folder_that_is_not_there_or_empty_waits(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("none", "empty", "file"):
        assert Watcher().look(tmp_path / name).state == "waiting"


def test_a_run_is_seen_at_work_and_how_it_ends(tmp_path: Path) -> None:
    with RunDir.enter(tmp_path, CONFIG) as run:
        run.status("running", "train")
        seen = Watcher().look(tmp_path)
        assert (seen.state, seen.stage, seen.active) == ("running", "train", True)
        run.status("done")
    seen = Watcher().look(tmp_path)
    assert (seen.state, seen.active, seen.left) == ("done", False, None)


@pytest.mark.parametrize(
    ("error", "state", "traced"),
    [
        (UserError("mend it", "so"), "failed", False),
        (RuntimeError("a bug"), "failed", True),
        (KeyboardInterrupt(), "interrupted", False),
    ],
)
def test_what_went_wrong_is_seen(tmp_path: Path, error: BaseException, state: str, traced: bool) -> None:
    with pytest.raises(type(error)), RunDir.enter(tmp_path, CONFIG):
        raise error
    seen = Watcher().look(tmp_path)
    assert seen.state == state
    assert seen.message == (str(error) or "KeyboardInterrupt")
    assert ("Traceback" in seen.traceback) == traced


def test_progress_is_seen_while_the_work_goes_on(tmp_path: Path) -> None:
    """Written by a thread, and only where there is any."""
    with RunDir.enter(tmp_path, CONFIG) as run:
        run.forecast.expect({"train": 100.0})
        run.forecast.begin(["train"])
        before = (tmp_path / STATUS).read_bytes()
        with run.forecast.watched(Quiet()).task("train") as progress:
            progress(0, 200)
            progress(50, 200, "epoch 3, loss 0.4")
            wait_until(lambda: Watcher().look(tmp_path).done == 50)
            seen = Watcher().look(tmp_path)
            assert (seen.total, seen.note, seen.state) == (200, "epoch 3, loss 0.4", "running")
            assert seen.left is not None
            assert seen.seconds is not None
            written = (tmp_path / STATUS).stat().st_mtime_ns
            time.sleep(1.5 * PULSE)
            assert (tmp_path / STATUS).stat().st_mtime_ns == written, "nothing new, nothing written"
        assert before != (tmp_path / STATUS).read_bytes()
        run.status("done")
        time.sleep(1.5 * PULSE)
    record = json.loads((tmp_path / STATUS).read_text())
    assert record["state"] == "done"
    assert record["progress"] == []
    assert not list(tmp_path.glob(f"{files.LEFTOVER}*"))


def test_progress_is_written_at_most_once_a_pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    monkeypatch.setattr(files, "write_passing", lambda path, value: writes.append(value))
    with RunDir.enter(tmp_path, CONFIG) as run, run.forecast.watched(Quiet()).task("train") as progress:
        end = time.monotonic() + 3.5 * PULSE
        for done in range(10**9):
            progress(done, 10**9)
            if time.monotonic() > end:
                break
        run.status("done")
    assert 1 <= len(writes) <= 4


def test_progress_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def full(path: Path, value: object) -> None:
        tried.append(path)
        raise OSError(28, "no space left")

    monkeypatch.setattr(files, "write_passing", full)
    with RunDir.enter(tmp_path, CONFIG) as run, run.forecast.watched(Quiet()).task("train") as progress:
        progress(1, 2)
        wait_until(lambda: bool(tried))
        run.status("done")
    assert Watcher().look(tmp_path).state == "done"


def test_a_process_of_this_machine_that_is_gone_is_dead_at_once(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from rra_cli.core.rundir import RunDir
        with RunDir.enter(Path(sys.argv[1]), {"seed": 0}) as run:
            run.status("running", "train")
            print("ready", flush=True)
            time.sleep(60)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        watcher = Watcher()
        assert watcher.look(tmp_path).state == "running"
        process.send_signal(signal.SIGSTOP)
        assert watcher.look(tmp_path).state == "running", "suspended is not dead"
        process.kill()
        process.wait()
    seen = watcher.look(tmp_path)
    assert seen.state == "dead"
    assert f"process {process.pid} on " in seen.message
    assert seen.message.endswith("is gone")
    assert seen.stage == "train"
    with RunDir.enter(tmp_path, CONFIG):
        assert watcher.look(tmp_path).state == "running"


def elsewhere(folder: Path) -> Callable[[], None]:
    """A run on another machine; what is given lets its heart beat once."""
    with RunDir.enter(folder, CONFIG) as run:
        run.status("running", "train")
        record = json.loads((folder / STATUS).read_text())
        (folder / STATUS).write_text(json.dumps({**record, "host": "far"}))
        owner = replace(Owner.this_process(), host="far", boot="other", pid=1)
        written = (folder / STATUS).read_bytes()
        run.status("done")
    (folder / STATUS).write_bytes(written)
    first = folder / ".lease" / "first"
    first.mkdir(parents=True)
    (first / "owner.json").write_text(json.dumps(owner.as_json()))
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        (first / "counter").write_text(f"{beats:020d}")

    beat()
    return beat


def test_a_process_of_another_machine_is_dead_when_its_heart_stands_still(tmp_path: Path) -> None:
    now = [0.0]
    watcher = Watcher(stale_after=30.0, clock=lambda: now[0])
    beat = elsewhere(tmp_path)
    for moment in (0.0, 29.0):
        now[0] = moment
        assert watcher.look(tmp_path).state == "running"
    beat()
    for moment in (31.0, 60.0):
        now[0] = moment
        assert watcher.look(tmp_path).state == "running"
    now[0] = 62.0
    seen = watcher.look(tmp_path)
    assert (seen.state, seen.message) == ("dead", "process 1 on far gives no sign of life")
    assert Watcher().look(tmp_path).state == "running", "one look cannot tell"


def test_one_that_left_without_a_word_is_dead(tmp_path: Path) -> None:
    """Its disk was full when it wanted to say how it ended; or the machine went down while it wrote."""
    with RunDir.enter(tmp_path, CONFIG) as run:
        run.status("running", "graph")
        written = (tmp_path / STATUS).read_bytes()
        run.status("done")
    for content in (written, b"", b"[]", b'{"state": "asleep"}'):
        (tmp_path / STATUS).write_bytes(content)
        seen = Watcher().look(tmp_path)
        assert (seen.state, seen.message) == ("dead", "it left without a word")
    assert Lease(tmp_path / ".lease").look() is None
    assert os.path.exists(tmp_path / STATUS)


@pytest.mark.parametrize("left", ["1e999", "-1", "NaN", "9" * 400, '"soon"', "[]"])
def test_a_strangers_times_and_counts_are_none(tmp_path: Path, left: str) -> None:
    """They are shown as times and as a share: an infinite one cannot be."""
    with RunDir.enter(tmp_path, CONFIG) as run:
        run.status("running", "train")
        progress = f'[{{"title": "t", "done": {left}, "total": {left}, "note": 3}}]'
        record = f'{{"state": "running", "left": {left}, "seconds": {left}, "progress": {progress}}}'
        (tmp_path / STATUS).write_text(record)
        state = Watcher().look(tmp_path)
        assert (state.state, state.left, state.seconds, state.note) == ("running", None, None, "")
        assert (state.done, state.total) == (0, 0)
