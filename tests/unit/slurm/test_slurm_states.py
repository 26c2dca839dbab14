"""A job as its folder and SLURM show it together; and what is known of it where SLURM cannot be asked."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from recorded import Stand, without_slurm

from rra_cli.core.process import Owner
from rra_cli.core.rundir import RunDir
from rra_cli.core.runstate import RunState, Seen, Watcher
from rra_cli.core.sweepdir import Outcome, Sweep, SweepJob
from rra_cli.slurm import states
from rra_cli.slurm.merging import merged
from rra_cli.slurm.queue import UNKNOWN, Task
from rra_cli.slurm.states import Pace, Tasks, look
from rra_cli.slurm.submission import Submission

PENDING = Task("12_3", "PENDING", "Priority")
RUNNING = Task("12_3", "RUNNING", nodes="node1")


def ended(word: str, nodes: str = "node1") -> Task:
    return Task("12_3", word, nodes=nodes)


def seen(state: Seen, task: Task, *, word: bool = False) -> tuple[str, str]:
    """State, and what is said of it: message or stage."""
    found = merged(RunState(Path("/x"), state, stage="train", message="mine"), task, lambda: word or None)
    return found.state, found.stage if found.active else found.message


@pytest.mark.parametrize(
    ("state", "task", "expected"),
    [
        ("waiting", PENDING, ("waiting", "in the queue: Priority (12_3)")),
        ("interrupted", PENDING, ("waiting", "again in the queue: Priority (12_3)")),
        ("dead", Task("12_3", "PENDING"), ("waiting", "again in the queue (12_3)")),
        ("waiting", RUNNING, ("running", "starts on node1")),
        ("interrupted", RUNNING, ("running", "starts on node1")),
        ("failed", RUNNING, ("running", "starts on node1")),  # of an earlier start
        ("running", RUNNING, ("running", "train")),
        ("interrupted", ended("COMPLETING"), ("waiting", "on its way back into the queue (12_3)")),
        ("interrupted", Task("12_3", "REQUEUED"), ("waiting", "again in the queue (12_3)")),
        ("dead", ended("COMPLETING"), ("dead", "mine")),
        ("done", PENDING, ("done", "mine")),
        ("done", ended("TIMEOUT"), ("done", "mine")),
        ("waiting", ended("CANCELLED", ""), ("dead", "SLURM: CANCELLED (12_3)")),
        ("dead", ended("NODE_FAIL"), ("dead", "SLURM: NODE_FAIL on node1 (12_3)")),
        (
            "dead",
            ended("OUT_OF_MEMORY"),
            ("dead", "SLURM: OUT_OF_MEMORY on node1 (12_3); raise hydra.launcher.memory"),
        ),
        ("waiting", ended("FAILED"), ("dead", "SLURM: FAILED on node1 (12_3); see its output")),
        (
            "dead",
            ended(UNKNOWN),
            ("dead", "is not in SLURM's queue any more (12_3): cancelled before it began, or ended long ago"),
        ),
        ("interrupted", ended("CANCELLED"), ("interrupted", "SLURM: CANCELLED on node1 (12_3)")),
        ("interrupted", ended("FAILED"), ("interrupted", "mine")),
        ("failed", ended("FAILED"), ("failed", "mine")),
        ("waiting", ended("COMPLETED"), ("waiting", "mine")),  # its word may come late
    ],
)
def test_both_together(state: Seen, task: Task, expected: tuple[str, str]) -> None:
    assert seen(state, task) == expected


def test_a_job_that_left_word_has_failed_whatever_slurm_still_says() -> None:
    assert seen("failed", RUNNING, word=True) == ("failed", "mine")


def test_where_it_runs_is_said() -> None:
    found = merged(RunState(Path("/x"), "running", note="epoch 3"), RUNNING, lambda: None)
    assert found.note == "epoch 3, on node1"


def make(folder: Path, n_jobs: int = 3, submitted: int = 2) -> Sweep:
    """A sweep whose first jobs are tasks of the array 12."""
    jobs = tuple(SweepJob(number, f"seed={number}", (), (f"seed={number}",)) for number in range(n_jobs))
    sweep = Sweep(folder, "quickstart", "00", "rra run -m seed=0,1,2", "/", "0.1.0", "slurm", (), jobs).write()
    place = folder / ".slurm"
    place.mkdir()
    fields = Submission(1, "mine", 0, tuple(range(submitted)), job="12").__dict__
    (place / "1.json").write_text(json.dumps({**fields, "options": [], "jobs": list(range(submitted))}))
    return sweep


def shown(sweep: Sweep) -> list[tuple[str, str]]:
    return [(state.state, state.message) for state in look(sweep, Watcher())]


def test_the_sweep_as_slurm_tells(tmp_path: Path, slurm: Stand) -> None:
    sweep = make(tmp_path)
    slurm.says("squeue", "12|0|PENDING||mine|Priority\n12|1|TIMEOUT|node1|mine|TimeLimit\n")
    assert shown(sweep) == [
        ("waiting", "in the queue: Priority (12_0)"),
        ("dead", "SLURM: TIMEOUT on node1 (12_1); raise hydra.launcher.time, or .signal if it had no time to save"),
        ("waiting", ""),
    ]


def test_one_that_is_not_requeued_is_interrupted_at_once(tmp_path: Path, slurm: Stand) -> None:
    sweep = make(tmp_path)
    record = sweep.path / ".slurm" / "1.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "options": ["--no-requeue"]}))
    with pytest.raises(KeyboardInterrupt), RunDir.enter(sweep.folder(sweep.jobs[0]), {}):
        raise KeyboardInterrupt
    slurm.says("squeue", "12|0|COMPLETING|node1|mine|None\n")
    assert shown(sweep)[0][0] == "interrupted"


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        (".jobs/0.txt", "9:0", "OUT_OF_MEMORY on node1 (12_0); raise hydra.launcher.memory"),
        (".slurm/12_0.txt", "9:0", "OUT_OF_MEMORY on node1 (12_0); raise hydra.launcher.memory"),
        (".jobs/0.txt", "1:0", "FAILED, exit code 1 on node1 (12_0); see .jobs/0.txt"),
        (".jobs/1.txt", "9:0", "FAILED, exit code 9 on node1 (12_0); see .jobs/0.txt"),
    ],
)
def test_out_of_memory_without_cgroups(where: str, code: str, said: str, tmp_path: Path, slurm: Stand) -> None:
    """SLURM says FAILED alone, and why only where the job prints."""
    sweep = make(tmp_path)
    (sweep.path / where).parent.mkdir(exist_ok=True)
    words = "slurmstepd: error: Step 12.0 exceeded memory limit (61876 > 51200), being killed\n"
    (sweep.path / where).write_text("epoch 1\n" * 10_000 + words)
    slurm.says("sacct", f"12_0|mine|FAILED|{code}|node1\n")
    assert shown(sweep)[0] == ("dead", f"SLURM: {said}")


def test_a_job_id_that_is_somebody_elses_now(tmp_path: Path, slurm: Stand) -> None:
    """Ids begin anew when a cluster is set up again; the name of the array tells."""
    sweep = make(tmp_path)
    slurm.says("squeue", "12|0|RUNNING|node1|theirs|None\n")
    state, message = shown(sweep)[0]
    assert state == "dead"
    assert "not in SLURM's queue any more" in message


def test_what_left_the_queue_is_asked_of_the_accounting(tmp_path: Path, slurm: Stand) -> None:
    sweep = make(tmp_path)
    slurm.says("sacct", "12_0|mine|OUT_OF_MEMORY|0:125|node2\n12_1|mine|RUNNING|0:0|node2\n")
    tasks = Tasks(sweep.path)
    found = {job: task.state for job, task in tasks.ask().items()}
    assert found == {0: "OUT_OF_MEMORY", 1: UNKNOWN}, "it may lag behind"
    slurm.says("sacct", "12_0|mine|OUT_OF_MEMORY|0:125|node2\n12_1|mine|COMPLETED|0:0|node2\n")
    assert {job: task.state for job, task in tasks.ask().items()} == {0: "OUT_OF_MEMORY", 1: "COMPLETED"}
    asked = len(slurm.calls("squeue"))
    tasks.ask()
    assert len(slurm.calls("squeue")) == asked, "what has ended and left is final"


def test_tasks_that_were_cancelled_before_they_had_a_record_of_their_own(tmp_path: Path, slurm: Stand) -> None:
    sweep = make(tmp_path, submitted=3)
    slurm.says("squeue", "12|0|RUNNING|node1|mine|None\n12|N/A|CANCELLED||mine|JobArrayTaskLimit\n")
    assert [state for state, _ in shown(sweep)] == ["running", "dead", "dead"]


def test_without_an_accounting_what_the_queue_has_said_counts(tmp_path: Path, slurm: Stand) -> None:
    sweep = make(tmp_path)
    slurm.fails("sacct", "Slurm accounting storage is disabled\n")
    slurm.says("squeue", "12|0|TIMEOUT|node1|mine|TimeLimit\n")
    tasks = Tasks(sweep.path)
    tasks.ask()
    slurm.says("squeue", "")
    for _ in range(3):
        assert {job: task.state for job, task in tasks.ask().items()} == {0: "TIMEOUT", 1: UNKNOWN}
    asked = len(slurm.calls("squeue"))
    tasks.ask()
    assert len(slurm.calls("squeue")) == asked, "it is not asked for ever"


def test_where_slurm_does_not_answer_the_last_look_counts(tmp_path: Path, slurm: Stand) -> None:
    sweep = make(tmp_path)
    slurm.says("squeue", "12|0|PENDING||mine|Priority\n12|1|RUNNING|node1|mine|None\n")
    tasks = Tasks(sweep.path)
    tasks.ask()
    tasks.write()
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller\n")
    other = Tasks(sweep.path)
    other.ask()
    assert (other.asked, other.failed) == (False, "slurm_load_jobs error: Unable to contact slurm controller")
    assert shown(sweep) == [("waiting", "in the queue: Priority (12_0)"), ("waiting", ""), ("waiting", "")]
    assert not other.at_work, "nobody watches for what cannot be seen"


def test_where_there_is_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run folders say what they can; the launcher's last look says how tasks ended."""
    without_slurm(tmp_path / "bin", monkeypatch)
    sweep = make(tmp_path / "sweep", n_jobs=3, submitted=3)
    task = {"job": "12_2", "state": "NODE_FAIL", "reason": "", "nodes": "node2", "code": "", "name": "mine"}
    (sweep.path / ".slurm" / "seen.json").write_text(json.dumps({"tasks": {"2": task}}))
    with RunDir.enter(sweep.folder(sweep.jobs[1]), {}) as run:
        run.status("done")
    assert [state for state, _ in shown(sweep)] == ["waiting", "done", "dead"]
    assert shown(sweep)[2][1] == "SLURM: NODE_FAIL on node2 (12_2)"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tasks": 3}', '{"tasks": {"x": {}}}', '{"tasks": {"0": {"x": 1}}}'])
def test_nonsense_in_the_folder_is_passed_over(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_slurm(tmp_path / "bin", monkeypatch)
    sweep = make(tmp_path / "sweep")
    (sweep.path / ".slurm" / "seen.json").write_text(text)
    (sweep.path / ".slurm" / "2.json").write_text(text)
    assert shown(sweep) == [("waiting", "")] * 3


def test_a_job_that_somebody_runs_by_hand_is_not_called_lost(tmp_path: Path, slurm: Stand) -> None:
    sweep = make(tmp_path)
    slurm.says("squeue", "12|0|TIMEOUT|node1|mine|TimeLimit\n")
    with RunDir.enter(sweep.folder(sweep.jobs[0]), {}):
        assert shown(sweep)[0][0] == "running"
    with RunDir.enter(sweep.folder(sweep.jobs[0]), {}) as run:
        owner = Owner.this_process()
        assert owner.is_alive()
        run.status("done")
    sweep.end(sweep.jobs[0], Outcome(0, ""))
    assert shown(sweep)[0][0] == "done"


def test_slurm_is_asked_less_and_less_often_while_nothing_happens() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    times = []
    for _ in range(600):
        if pace.due:
            times.append(now)
            pace.asked(news=False)
        now += 1.0
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[0] <= 3.0
    assert gaps == sorted(gaps)
    assert gaps[-1] == states.ASK_EVERY[1]
    assert len(times) < 35
    pace.asked(news=True)
    now += states.ASK_EVERY[0]
    assert pace.due, "as soon as something happens, soon again"
