"""The launcher `slurm`: the jobs of a sweep as tasks of job arrays, submitted once and waited for.

No pickle and no package stands between: a task is `rra job SWEEP NUMBER`, called by srun. So whoever launches may go:
the same command finds the arrays in the sweep's folder, and waits for them or submits what is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rra_cli.cli.live import watching
from rra_cli.core import files, signals
from rra_cli.core.progress import Reporter
from rra_cli.core.sweepdir import JOBS, Sweep, SweepJob
from rra_cli.errors import UserError
from rra_cli.slurm import submission
from rra_cli.slurm.commands import SlurmError, available
from rra_cli.slurm.queue import UNKNOWN, Task, by_state
from rra_cli.slurm.settings import Settings
from rra_cli.slurm.states import Tasks

LOOK_EVERY = 0.5
# Seconds after which the word of a job that ended by itself is not expected any more, and of one that SLURM ended.
LATE, SOON = 12.0, 3.0


def run_slurm(
    sweep: Sweep, missing: Sequence[SweepJob], settings: Settings, reporter: Reporter, progress: str
) -> frozenset[int]:
    """Submits the jobs that are not in SLURM already and waits until all have ended; with `wait=false` returns at once.

    Gives the numbers of the jobs that go on by themselves. Raises `UserError` where there is no SLURM or where it
    refuses them, and `Interrupted` where a signal ends the waiting; the jobs then go on.
    """
    numbers = [job.number for job in missing]
    at_work = working(sweep)
    there = sorted(at_work.keys() & set(numbers))
    if there:
        arrays = _arrays(sweep, there)
        reporter.note(f"{len(there)} jobs are in SLURM already ({by_state(at_work)}): {', '.join(arrays)}")
    new = [number for number in numbers if number not in at_work]
    try:
        if new:
            # A signal must not come between what sbatch did and the note of it.
            with signals.deferred():
                done = submission.submit(sweep.path, new, settings)
            for each in done:
                reporter.note(f"submitted {len(each.jobs)} jobs as {each.job} ({each.name})")
        if not settings.wait:
            reporter.note(f"they go on by themselves: `rra status {sweep.path}` shows them, the same command waits")
            return frozenset(numbers)
        _wait(sweep, missing, reporter, progress)
    except KeyboardInterrupt as interruption:
        arrays = _arrays(sweep, numbers)
        if arrays:  # told as the last line of all
            interruption.add_note(
                f"the jobs go on in SLURM: `rra status {sweep.path}` shows them, the same command waits for them "
                f"again, `scancel {' '.join(arrays)}` ends them"
            )
        raise
    return frozenset()


def working(sweep: Sweep) -> dict[int, Task]:
    """The jobs of the sweep that SLURM has in its queue or runs, by their numbers. Raises `UserError` where it is there
    and does not answer: whether a job runs must be known before it is started a second time.
    """
    if not available("squeue", "sbatch"):
        raise UserError(
            "hydra/launcher=slurm: there is no SLURM on this machine (sbatch, squeue)",
            "start it on a login node of the cluster, or use hydra/launcher=joblib",
        )
    try:
        submissions = submission.found_again(sweep.path)
    except SlurmError as error:
        raise UserError(f"SLURM does not answer: {error}", "try again later") from error
    if not submissions:
        return {}
    tasks = Tasks(sweep.path)
    tasks.ask()
    if not tasks.asked:
        raise UserError(f"SLURM does not answer: {tasks.failed}", "try again later")
    return {job: task for job, task in tasks.by_job.items() if not task.ended}


def _wait(sweep: Sweep, missing: Sequence[SweepJob], reporter: Reporter, progress: str) -> None:
    """Until every job has left word or was lost, as SLURM sees it."""
    tasks, ends, told = Tasks(sweep.path), _Ends(sweep), ""
    with watching(sweep, progress, tasks) as view:
        while True:
            if tasks.look():
                tasks.write()
            if tasks.failed != told:
                told = tasks.failed
                reporter.note(f"SLURM does not answer: {told}" if told else "SLURM answers again")
            ended = [ends.has_ended(job, tasks.by_job.get(job.number)) for job in missing]
            if tasks.asked and all(ended):
                break
            view.look()
            time.sleep(LOOK_EVERY)
        view.look(last=True)


class _Ends:
    """Tells which jobs have ended. An end that SLURM tells of counts when the job has left word of it, or after a while
    without one: a network file system may show it late, and a job that is put into the queue again may look as if it
    had ended.
    """

    def __init__(self, sweep: Sweep, clock: Callable[[], float] = time.monotonic) -> None:
        self._sweep, self._clock = sweep, clock
        self._since: dict[int, float] = {}

    def has_ended(self, job: SweepJob, task: Task | None) -> bool:
        """Whether a job will not go on. task: what SLURM says of it, None where nothing is known yet."""
        if task is None or not task.ended:
            self._since.pop(job.number, None)
            return False
        if self._sweep.outcome(job) is not None:
            return True
        _look_again(self._sweep.path / JOBS)
        silent = self._clock() - self._since.setdefault(job.number, self._clock())
        return silent >= (LATE if task.state in ("COMPLETED", "FAILED", UNKNOWN) else SOON)


def _look_again(folder: Path) -> None:
    """Makes a network file system look at the folder again instead of answering from its cache."""
    probe = folder / f"{files.LEFTOVER}{os.urandom(8).hex()}"
    with suppress(OSError):
        probe.mkdir()
        probe.rmdir()


def _arrays(sweep: Sweep, numbers: Sequence[int]) -> list[str]:
    """What scancel takes to end these jobs' arrays."""
    latest = submission.latest(submission.submitted(sweep.path))
    return sorted({latest[number].job or "" for number in numbers if number in latest} - {""}, key=int)
