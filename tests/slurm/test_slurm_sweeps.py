"""Sweeps on a real SLURM: jobs requeued, cancelled and out of time, and at the end the tables of a calm run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cluster import SLURM, TINY, ended, output, pid_of, slurm, start, states, sweep_of, tables, tasks, trains, until

from rra_cli.core.sweepdir import Sweep

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.usefixtures("cluster")]


def starts(sweep: Sweep, number: int) -> int:
    """How often a job has begun or gone on with its training."""
    return (sweep.folder(sweep.job(number)) / "run.log").read_text().count("train mlp by supervised on digits")


def test_requeued_in_the_middle_of_training(tmp_path: Path) -> None:
    """By `scontrol requeue`, and by itself when it is told to save; seen from another shell; the same tables."""
    what = [*TINY, "method.epochs=80", "seed=0,1"]
    calm = start(tmp_path / "calm", *what, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    root = tmp_path / "slurm"
    run = start(root, *what, *SLURM)
    until(lambda: trains(root, 0, 5) and trains(root, 1, 5))
    seen = tasks(root)
    assert {task.state for task in seen.values()} == {"RUNNING"}
    assert all("node" in state.note for state in states(root) if state.active)
    slurm("scontrol", "requeue", seen[0].job)
    slurm("scancel", "--signal=USR2", seen[1].job)
    waited: set[int] = set()

    def both_have_waited() -> bool:
        found = states(root)
        waited.update(number for number in (0, 1) if "again in the queue" in found[number].message)
        return waited == {0, 1}

    until(both_have_waited)
    code, out, err = ended(run)
    assert code == 0, out + err
    assert f"job {seen[1].job} is in the queue again" in output(root, 1)
    assert "in the queue again" not in output(root, 0), "SLURM itself has seen to that"
    assert [starts(sweep_of(root), number) for number in (0, 1)] >= [2, 2]
    assert "job 0 (seed=0): waiting after" in err
    code, out, err = ended(calm)
    assert code == 0, out + err
    assert tables(root) == tables(tmp_path / "calm")
    assert len(tables(root)) >= 2


@contextmanager
def frozen(process: int) -> Iterator[None]:
    """Inside, a process does not come to do anything: SLURM wakes it before each signal, and it is stopped again."""
    over = threading.Event()

    def stop() -> None:
        with suppress(ProcessLookupError):
            while not over.wait(0.005):
                os.kill(process, signal.SIGSTOP)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.stress
def test_out_of_time_cancelled_and_run_again(tmp_path: Path) -> None:
    """Jobs of a minute: 0 takes longer and goes on by itself, 1 is requeued as well, 2 does not come to save when its
    time is over, 3 is cancelled. What is missing then is run by the same command without a limit.
    """
    what = [*TINY, "method.epochs=260,60", "seed=0,1"]
    calm = start(tmp_path / "calm", *what, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    root = tmp_path / "slurm"
    run = start(root, *what, *SLURM, "hydra.launcher.time=1", "hydra.launcher.signal=25")
    until(lambda: trains(root, 2, 3))
    with frozen(pid_of(root, 2)):
        until(lambda: trains(root, 3, 3))
        slurm("scancel", tasks(root)[3].job)
        until(lambda: trains(root, 1, 3))
        slurm("scontrol", "requeue", tasks(root)[1].job)
        until(lambda: tasks(root)[2].ended)
    code, out, err = ended(run)
    assert code == 1, out + err
    found = states(root)
    assert [state.state for state in found] == ["done", "done", "dead", "interrupted"]
    assert "SLURM: TIMEOUT on node" in found[2].message
    assert "raise hydra.launcher.time" in out
    assert "SLURM: CANCELLED on node" in found[3].message
    assert "is in the queue again" in output(root, 0)
    assert "is in the queue again" not in output(root, 2) + output(root, 3)
    code, out, err = ended(start(root, *what, *SLURM))
    assert code == 0, out + err
    assert "2 of 4 jobs are done already" in err
    code, _, err = ended(calm)
    assert code == 0, err
    assert tables(root) == tables(tmp_path / "calm")
    assert len(tables(root)) >= 4


@pytest.mark.stress
def test_preempted_by_a_better_partition(tmp_path: Path) -> None:
    """With a grace time SLURM tells the processes, not the batch script: the job saves and gives its place away."""
    what = [*TINY, "method.epochs=300", "seed=0,1"]
    run = start(tmp_path, *what, *SLURM, "hydra.launcher.partition=spare")
    until(lambda: trains(tmp_path, 0, 3) or trains(tmp_path, 1, 3))
    cores = str(os.cpu_count())
    other = [
        *("sbatch", "--parsable", "--partition=local", "--nodelist=node2", f"--cpus-per-task={cores}"),
        "--mem=100M",
    ]
    taker = slurm(*other, "--time=1", "--output=/dev/null", "--wrap=sleep 2").strip()
    try:
        code, out, err = ended(run)
    finally:
        slurm("scancel", taker)
    assert code == 0, out + err
    assert "is in the queue again" in output(tmp_path, 0) + output(tmp_path, 1)
    assert [state.state for state in states(tmp_path)] == ["done", "done"]


@pytest.mark.stress
def test_the_launcher_may_go(tmp_path: Path) -> None:
    """Ctrl-C and kill -9 end the waiting, not the jobs; the same command waits again and submits none twice."""
    what = [*TINY, "method.epochs=100", "seed=0,1", *SLURM]
    run = start(tmp_path, *what)
    until(lambda: trains(tmp_path, 0))
    run.send_signal(signal.SIGINT)
    code, _, err = ended(run)
    assert code == 130
    array = tasks(tmp_path)[0].job.split("_")[0]
    assert f"`scancel {array}` ends them" in err
    assert not any(task.ended for task in tasks(tmp_path).values())
    second = start(tmp_path, *what)
    assert second.stderr is not None
    assert any("jobs are in SLURM already" in line for line in iter(second.stderr.readline, ""))
    second.kill()
    second.communicate()
    code, out, err = ended(start(tmp_path, *what))
    assert code == 0, out + err
    assert [path.name for path in (sweep_of(tmp_path).path / ".slurm").glob("?.json")] == ["1.json"]


@pytest.mark.stress
def test_a_shard_of_a_graph_is_a_task(tmp_path: Path) -> None:
    """Submitted and left; then the plain command merges the pieces, with the bytes of an unsharded search."""
    what = [*TINY, "method.epochs=3"]
    calm = start(tmp_path / "calm", *what)
    pieces = start(tmp_path / "slurm", *what, "neighbors.shards=3", "neighbors.shard=range(3)", *SLURM)
    for process in (calm, pieces):
        code, _, err = ended(process)
        assert code == 0, err
    assert tables(tmp_path / "slurm") == {}, "nothing is measured yet"
    code, _, err = ended(start(tmp_path / "slurm", *what, "neighbors.shards=3"))
    assert code == 0, err
    assert tables(tmp_path / "slurm") == tables(tmp_path / "calm")
    assert len(tables(tmp_path / "calm")) >= 2
