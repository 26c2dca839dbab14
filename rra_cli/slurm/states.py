"""The jobs of a sweep as their folders and SLURM show them together, wherever one looks from.

Where SLURM can be asked it is; elsewhere what the launching process wrote down last (`.slurm/seen.json`) is all there
is beside the run folders.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.reading import read_json
from rra_cli.core.runstate import RunState, Watcher
from rra_cli.core.sweepdir import JOBS, Sweep, SweepJob
from rra_cli.slurm import queue
from rra_cli.slurm.commands import SlurmError, available
from rra_cli.slurm.merging import merged
from rra_cli.slurm.queue import REST, UNKNOWN, Key, Task
from rra_cli.slurm.submission import FOLDER, Submission, latest, submitted

SEEN = "seen.json"
# Seconds between two questions to SLURM: at first, and at most, where nothing happens. Administrators ask for no less
# than some seconds, and a sweep takes hours.
ASK_EVERY = (2.0, 30.0)
# Looks at which a task that left the queue is not in the accounting either, which writes it down some seconds later.
LOOKS = 3

LAST_WORDS = 4096  # bytes of an output that are read for why SLURM ended it


class Pace:
    """When to ask again: soon while something happens, and ever later while nothing does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._every, self._next = clock, ASK_EVERY[0], clock()

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return self._clock() >= self._next

    def asked(self, *, news: bool) -> None:
        """Is told that SLURM was asked, and whether anything was new."""
        self._every = ASK_EVERY[0] if news else min(ASK_EVERY[1], self._every * 1.3)
        self._next = self._clock() + self._every


class Tasks:
    """The array tasks of a sweep, as SLURM knew them when it was last asked.

    by_job: by the numbers of the sweep's jobs. given: whether any is SLURM's now. asked: whether SLURM could be asked;
    else they are as the launching process saw them last. failed: why it could not, where it is here.
    """

    def __init__(self, sweep: Path) -> None:
        self._sweep, self._pace = sweep, Pace()
        self._found: dict[Key, Task] = {}
        self._absent: dict[Key, int] = {}  # looks at which it was not in the queue
        self._final: set[Key] = set()  # has ended, and has left the queue
        self._stays: set[int] = set()  # jobs that do not go back into the queue
        self.given, self.asked, self.failed = False, False, ""
        self.by_job: dict[int, Task] = {}

    def look(self) -> bool:
        """Asks SLURM if it is time; called often. Whether anything is new."""
        if not self._pace.due:
            return False
        before = dict(self.by_job)
        self.ask()
        self._pace.asked(news=self.by_job != before)
        return self.by_job != before

    def ask(self) -> dict[int, Task]:
        """Asks SLURM, where it is here. What it does not say is never raised."""
        jobs = latest(submitted(self._sweep))
        self._stays = {job for job, each in jobs.items() if "--no-requeue" in each.options}
        self.given, self.asked, self.failed = bool(jobs), False, ""
        if jobs and available("squeue"):
            try:
                for cluster in sorted({each.cluster or "" for each in jobs.values()}):
                    self._ask({job: each for job, each in jobs.items() if (each.cluster or "") == cluster}, cluster)
                self.asked = True
            except SlurmError as error:
                self.failed = str(error)
        keys = {job: each.key(job) for job, each in jobs.items()}
        self.by_job = {job: self._found[key] for job, key in keys.items() if key is not None and key in self._found}
        if not self.asked:
            self.by_job = {**_written(self._sweep, jobs), **self.by_job}
        return self.by_job

    @property
    def at_work(self) -> bool:
        """Whether SLURM has any of them in its queue or on a node."""
        return self.asked and any(not task.ended for task in self.by_job.values())

    def together(self, sweep: Sweep, states: Sequence[RunState]) -> list[RunState]:
        """The states of all jobs of the sweep, in their order, with what SLURM says of them."""
        return [
            self._merged(sweep, job, state, task)
            if (task := self.by_job.get(job.number)) is not None and (self.asked or not task.works)
            else state  # of one that worked when it was last seen, its heartbeat tells more
            for job, state in zip(sweep.jobs, states, strict=True)
        ]

    def _merged(self, sweep: Sweep, job: SweepJob, state: RunState, task: Task) -> RunState:
        output = f"{JOBS}/{job.number}.txt"
        return merged(
            state,
            task,
            partial(sweep.outcome, job),
            output,
            lambda: "\n".join(_end_of_file(self._sweep / path) for path in (output, f"{FOLDER}/{task.job}.txt")),
            comes_back=job.number not in self._stays,
        )

    def write(self) -> None:
        """Leaves what was seen in the folder, for those who cannot ask SLURM."""
        tasks = {str(job): asdict(task) for job, task in sorted(self.by_job.items())}
        with suppress(OSError):  # what cannot be written now is written later
            files.write_passing(self._sweep / FOLDER / SEEN, {"tasks": tasks})

    def _ask(self, jobs: Mapping[int, Submission], cluster: str) -> None:
        wanted = {key: each for job, each in jobs.items() if (key := each.key(job)) is not None}
        asked = wanted.keys() - self._final
        if not asked:
            return
        rows = _ours(queue.in_queue(_arrays(asked), cluster or None), wanted)
        gone = asked - rows.keys()
        told: dict[Key, Task] = {}
        if gone:
            with suppress(SlurmError):  # many clusters keep no accounting
                told = _ours(queue.in_accounting(_arrays(gone), cluster or None), wanted)
        for key in asked & rows.keys():
            self._found[key], self._absent[key] = rows[key], 0
        for key in gone:
            self._absent[key] = self._absent.get(key, 0) + 1
            end = self._end_of(key, told.get(key) or told.get((key[0], REST)) or rows.get((key[0], REST)))
            self._found[key] = end or Task(f"{key[0]}_{key[1]}", UNKNOWN, name=wanted[key].name)
            if end is not None or self._absent[key] >= LOOKS:
                self._final.add(key)

    def _end_of(self, key: Key, told: Task | None) -> Task | None:
        """How a task ended that is not in the queue any more, as far as SLURM has said; it may say so later."""
        before = self._found.get(key)
        if before is not None and before.ended and before.state != UNKNOWN:
            return before
        return told if told is not None and told.ended else None


def look(sweep: Sweep, watcher: Watcher) -> list[RunState]:
    """The states of all jobs of a sweep, in their order; SLURM is asked where the sweep was given to it."""
    tasks = tasks_of(sweep)
    if tasks is not None:
        tasks.ask()
    states = [watcher.look_at(sweep, job) for job in sweep.jobs]
    return states if tasks is None else tasks.together(sweep, states)


def tasks_of(sweep: Sweep) -> Tasks | None:
    """The array tasks of a sweep; None where none of its jobs was ever given to SLURM."""
    return Tasks(sweep.path) if (sweep.path / FOLDER).is_dir() else None


def _end_of_file(path: Path) -> str:
    """The last few kB of what a job or SLURM printed; nothing where there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_WORDS))
            return file.read(LAST_WORDS).decode(errors="replace")
    except OSError:
        return ""


def _arrays(keys: Iterable[Key]) -> list[str]:
    return sorted({array for array, _ in keys})


def _ours(rows: Mapping[Key, Task], wanted: Mapping[Key, Submission]) -> dict[Key, Task]:
    """Those of our arrays. Job ids begin anew when a cluster is set up again: another's job is not ours."""
    names = {array: each.name for (array, _), each in wanted.items()}
    return {key: task for key, task in rows.items() if names.get(key[0]) == task.name}


def _written(sweep: Path, jobs: Mapping[int, Submission]) -> dict[int, Task]:
    """What the launching process saw last, as far as it is about the present submissions."""
    try:
        tasks = read_json(sweep / FOLDER / SEEN)["tasks"]
        found = {int(job): Task(**{name: str(value) for name, value in task.items()}) for job, task in tasks.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {job: task for job, task in found.items() if job in jobs and task.name == jobs[job].name}
