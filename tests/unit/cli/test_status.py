"""`rra status`: what a person sees of runs and sweeps, and what she is told to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import Command, FakePipeline

from rra_cli.cli.status_table import advice, row, seconds_left, summary
from rra_cli.core.rundir import RunDir
from rra_cli.core.runstate import RunState, Seen
from rra_cli.core.sweepdir import Outcome, Sweep, SweepJob
from rra_cli.errors import UserError


def state(name: Seen, seconds: float | None = None, left: float | None = None, **more) -> RunState:
    return RunState(Path("/x"), name, seconds=seconds, left=left, **more)


def make_sweep(folder: Path, n_jobs: int = 5) -> Sweep:
    jobs = tuple(SweepJob(number, f"seed={number}", (), (f"seed={number}",)) for number in range(n_jobs))
    return Sweep(folder, "quickstart", "00", "rra run -m 'seed=range(5)'", "/", "0.1.0", "basic", (), jobs).write()


def squeezed(text: str) -> list[str]:
    return [re.sub(" +", " ", line).strip() for line in text.splitlines() if line.strip()]


def test_a_sweep_with_a_job_in_every_state(rra: Command, tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path)
    with RunDir.enter(tmp_path / "seed=0", {}) as run:
        run.status("done")
    with pytest.raises(UserError), RunDir.enter(tmp_path / "seed=1", {}):
        raise UserError("no data\nat /x")
    sweep.end(sweep.jobs[2], Outcome(2, "", "the folder holds another run"))
    with pytest.raises(KeyboardInterrupt), RunDir.enter(tmp_path / "seed=3", {}):
        raise KeyboardInterrupt
    with RunDir.enter(tmp_path / "seed=4", {}) as run:
        run.status("running", "train mlp")
        assert rra("status", str(tmp_path)) == 0
    lines = squeezed(rra.out)
    assert lines[0] == f"Sweep of 5 jobs: {tmp_path.name}"
    assert re.fullmatch(r"0 seed=0 done [\d.]+ s", lines[3])
    assert re.fullmatch(r"1 seed=1 failed [\d.]+ s no data", lines[4])
    assert lines[5] == "2 seed=2 failed the folder holds another run"
    assert re.fullmatch(r"3 seed=3 interrupted [\d.]+ s KeyboardInterrupt", lines[6])
    assert re.fullmatch(r"4 seed=4 running train mlp [\d.]+ s", lines[7])
    assert lines[8] == "1 done, 1 running, 2 failed, 1 interrupted"
    assert "job 1 (seed=1): no data" in lines
    assert "at /x" in lines
    assert lines[-2:] == [
        "failed and interrupted: the same command runs what is missing, and nothing twice when the others have ended:",
        "rra run -m 'seed=range(5)'",
    ]


def test_jobs_that_wait_for_nobody_are_named(rra: Command, tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, 2)
    assert rra("status", str(tmp_path), "--once") == 0
    assert squeezed(rra.out)[-2].startswith("waiting: the same command")
    with in_work(sweep):
        assert rra("status", str(tmp_path), "--once") == 0
    assert squeezed(rra.out)[-1] == "2 waiting", "somebody is about to start them"


@contextmanager
def in_work(sweep: Sweep) -> Iterator[None]:
    lease = sweep.lease()
    lease.acquire()
    yield
    lease.dissolve()


def test_single_runs_and_folders_of_runs(rra: Command, pipeline: FakePipeline, tmp_path: Path) -> None:
    assert rra("run", "+experiment=quickstart", f"hydra.run.dir={tmp_path / 'day' / 'one'}") == 0
    pipeline.act = lambda *_: (_ for _ in ()).throw(RuntimeError("a bug"))
    assert rra("run", "+experiment=quickstart", f"hydra.run.dir={tmp_path / 'day' / 'two'}") == 1
    assert rra("status", str(tmp_path / "day" / "one")) == 0
    assert "day/one done" in squeezed(rra.out)[3]
    assert rra("status", str(tmp_path / "day")) == 0
    text = "\n".join(squeezed(rra.out))
    assert "day/one done" in text
    assert "day/two failed" in text
    assert "a fault of rra, its traceback is in" in text
    assert f"{tmp_path / 'day' / 'two'}: a bug" in text


def test_the_newest_are_shown_without_a_folder(rra: Command, pipeline: FakePipeline) -> None:
    assert rra("status") == 2
    assert "there are no runs in" in rra.err
    assert rra("run", "+experiment=quickstart") == 0
    assert rra("run", "-m", "+experiment=quickstart", "seed=0,1") == 0
    assert rra("status") == 0
    assert "_quickstart done" in "\n".join(squeezed(rra.out))
    assert "Sweep of 2 jobs: quickstart_" in rra.out


def test_watching_ends_when_nothing_works_any_more(rra: Command, tmp_path: Path) -> None:
    make_sweep(tmp_path, 2)
    with RunDir.enter(tmp_path / "seed=0", {}) as run:
        run.status("done")
    assert rra("status", "--watch", str(tmp_path)) == 0
    assert "1 done, 1 waiting" in rra.out


def test_watching_looks_again_and_again(rra: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    with RunDir.enter(tmp_path, {}) as run:

        def later(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 2:
                run.status("done")
            if len(looks) == 4:
                raise AssertionError("it should have ended")

        monkeypatch.setattr("rra_cli.cli.status.time.sleep", later)
        assert rra("status", "--watch", str(tmp_path)) == 0
    assert looks == [1.0, 1.0]
    assert "1 done" in rra.out


def test_ctrl_c_ends_only_the_watching(rra: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rra_cli.cli.status.time.sleep", interrupt)
    with RunDir.enter(tmp_path, {}):
        assert rra("status", "--watch", str(tmp_path)) == 0
    assert "1 running" in rra.out
    assert "interrupted" not in rra.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "there is no folder"),
        (["empty"], "is neither a run nor a sweep"),
        (["--watch", "--once"], "not allowed with argument"),
        (["--wtach"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_shown_is_named(
    arguments: list[str], words: str, rra: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert rra("status", *arguments) == 2
    assert words in rra.err


def test_time_left_of_a_sweep() -> None:
    """Two at a time: 10 and 30 s are left of them, and 4 that wait take the 100 s of the one that is done."""
    done, waiting = state("done", 100.0), [state("waiting")] * 4
    running = [state("running", 90.0, 10.0), state("running", 70.0, 30.0)]
    assert seconds_left([done, *running, *waiting]) == pytest.approx((10 + 30 + 400) / 2)
    assert seconds_left([done, *running]) == pytest.approx(30.0), "the last to end"
    assert seconds_left([*running, *waiting]) == pytest.approx((40 + 4 * 100.0) / 2), "as long as those that run"
    assert seconds_left([done, *waiting]) is None, "nothing runs"
    assert seconds_left([state("running", 5.0), *running]) is None, "of one nothing is known"


def test_the_sum_in_one_line() -> None:
    states = [state("waiting"), state("running", 30.0, 60.0), state("done", 90.0), state("failed")]
    assert summary(states) == "1 done, 1 running, 1 failed, 1 waiting; about 2:30 left"


def test_a_row_says_what_matters_in_its_state() -> None:
    running = state("running", 61.0, 5.0, stage="train", done=30, total=40, note="epoch 3")
    assert row("a", running) == ["a", "running", "train", "75 %", "1:01", "5.0 s", "epoch 3"]
    dead = state("dead", 61.0, stage="train", message="process 3 on x is gone\nreally")
    assert row("a", dead) == ["a", "dead", "train", "", "1:01", "", "process 3 on x is gone"]
    assert row("a", state("waiting")) == ["a", "waiting", "", "", "", "", ""]


def test_nothing_is_to_be_done_about_what_is_done() -> None:
    assert advice([state("done"), state("running")], "rra run", at_work=True) == []
    assert advice([state("done"), state("dead")], None, at_work=False)[1] == "  (it is not recorded here)"


def test_a_few_rows_of_many_jobs_are_the_urgent_ones(tmp_path: Path) -> None:
    from rra_cli.cli.status_table import sweep_table
    from rra_cli.console import stdout

    states = [state("done")] * 20 + [state("failed")] + [state("running")] * 2 + [state("waiting")] * 20
    console = stdout()
    with console.capture() as shown:
        console.print(sweep_table(make_sweep(tmp_path, len(states)), states, most=4))
    lines = squeezed(shown.get())
    assert [line.split()[:3] for line in lines[3:7]] == [
        ["20", "seed=20", "failed"],
        ["21", "seed=21", "running"],
        ["22", "seed=22", "running"],
        ["23", "seed=23", "waiting"],
    ]
    assert lines[7] == "... 20 more done, 19 more waiting"


def test_old_status_files_are_understood(tmp_path: Path, rra: Command) -> None:
    """Those of runs before there was progress in them, and those that say nonsense."""
    for number, record in enumerate(
        [{"state": "done"}, {"state": "done", "progress": 3, "seconds": "long", "stage": 1}]
    ):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "status.json").write_text(json.dumps(record))
        assert rra("status", str(folder)) == 0
        assert "1 done" in rra.out
