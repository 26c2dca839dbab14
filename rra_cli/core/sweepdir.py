"""The folder of a sweep: `sweep.json` names its jobs before the first starts; each job has a run folder in it.

What a job cannot leave in its own folder (it may be somebody else's) it leaves in `.jobs`: how it ended, and what it
printed where it ran in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from rra_cli.core import files
from rra_cli.core.lease import Lease
from rra_cli.core.process import Owner
from rra_cli.core.reading import read_json
from rra_cli.core.runfiles import refuse_links
from rra_cli.errors import EXIT_BUG, EXIT_OK, EXIT_USER, UserError

SWEEP, JOBS, LEASE = "sweep.json", ".jobs", ".lease"


@dataclass(frozen=True)
class SweepJob:
    """One job. folder: relative to the sweep's. overrides: all that it is called with; differs: those that set it
    apart, in a few words. source: the run folder that it repeats instead of being called with overrides.
    """

    number: int
    folder: str
    overrides: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    source: str | None = None

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.folder).parts
        texts = (*self.overrides, *self.differs, self.folder)
        if type(self.number) is not int or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"job {self.number!r} has a number, a folder and overrides that are texts")
        if not 0 <= self.number < 10**9:
            raise ValueError("the number of a job lies in 0..999999999")
        if not parts or self.folder.startswith("/") or any(part == ".." or part[0] == "." for part in parts):
            raise ValueError(f"the folder of job {self.number} must lie inside of the sweep's, got {self.folder!r}")
        if "\0" in self.folder or len(self.folder) > 1000 or any(len(os.fsencode(part)) > 255 for part in parts):
            raise ValueError(f"the folder of job {self.number} has a name that no folder can have")

    @property
    def name(self) -> str:
        """What a person tells it by."""
        return " ".join(self.differs) or self.folder


@dataclass(frozen=True)
class Outcome:
    """How a job ended. code: as an exit code. message: what went wrong."""

    code: int
    folder: str
    message: str = ""


@dataclass(frozen=True)
class Sweep:
    """A sweep as its folder says. identity: sha256 of what is computed; command: as it was typed; cwd: where; rra: the
    version of rra; launcher: by name; config_dirs: of the user's own configurations.
    """

    path: Path
    experiment: str
    identity: str
    command: str
    cwd: str
    rra: str
    launcher: str
    config_dirs: tuple[str, ...]
    jobs: tuple[SweepJob, ...]

    def write(self) -> Sweep:
        """Writes `sweep.json`. Jobs that an earlier call put into the same folder stay in it, with their numbers."""
        before = read(self.path).jobs if (self.path / SWEEP).exists() else ()
        numbers = {job.folder: job.number for job in before}
        free = max(numbers.values(), default=-1) + 1
        mine = []
        for job in self.jobs:
            number = numbers.get(job.folder)
            if number is None:
                number, free = (free, free + 1) if before else (job.number, free)
            mine.append(replace(job, number=number))
        folders = {job.folder for job in mine}
        kept = [job for job in before if job.folder not in folders]
        whole = replace(self, jobs=tuple(sorted([*kept, *mine], key=lambda job: job.number)))
        fields = {name: value for name, value in asdict(whole).items() if name != "path"}
        files.write_json(self.path / SWEEP, fields)
        return replace(self, jobs=tuple(mine))

    def folder(self, job: SweepJob) -> Path:
        """The run folder of a job."""
        return self.path / job.folder

    def job_in(self, folder: Path) -> SweepJob | None:
        """The job with that run folder."""
        return next((job for job in self.jobs if self.folder(job) == folder), None)

    def job(self, number: int) -> SweepJob:
        """The job with that number. Raises `UserError` where there is none."""
        for job in self.jobs:
            if job.number == number:
                return job
        known = f"0 to {max(job.number for job in self.jobs)}" if self.jobs else "none"
        raise UserError(f"the sweep {self.path} has no job {number}; it has {known}", f"rra status {self.path}")

    def lease(self) -> Lease:
        """Held by the process that runs the sweep. Raises `UserError` where it is a link."""
        refuse_links(self.path, (LEASE,))
        return Lease(self.path / LEASE)

    def owner(self) -> Owner | None:
        """The process that runs the sweep, as far as can be told at once."""
        owner = self.lease().look()
        return None if owner is None or owner.is_dead() else owner

    def output(self, job: SweepJob) -> Path:
        """Where a job in a process of its own prints."""
        return self.path / JOBS / f"{job.number}.txt"

    def forget(self, job: SweepJob) -> None:
        """Before a job starts: how it ended the last time does not count. `UserError` where a link leads elsewhere."""
        above = [str(part) for part in (PurePosixPath(job.folder), *PurePosixPath(job.folder).parents)][:-1]
        refuse_links(self.path, (JOBS, *above))
        files.remove(self._outcome(job))

    def end(self, job: SweepJob, outcome: Outcome) -> None:
        """Notes how a job ended."""
        files.write_json(self._outcome(job), asdict(outcome))

    def outcome(self, job: SweepJob) -> Outcome | None:
        """How a job ended; None where it left no word."""
        try:
            value = read_json(self._outcome(job))
            code, message = value["code"], str(value["message"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return Outcome(code, str(self.folder(job)), message) if code in (EXIT_OK, EXIT_BUG, EXIT_USER) else None

    def _outcome(self, job: SweepJob) -> Path:
        return self.path / JOBS / f"{job.number}.json"


def is_sweep(path: Path) -> bool:
    """Whether the folder is that of a sweep."""
    return (path / SWEEP).is_file()


def read(path: Path) -> Sweep:
    """The sweep in a folder. Raises `UserError` where there is none or where its `sweep.json` cannot be read."""
    place = Path(path) / SWEEP
    try:
        value = read_json(place)
        jobs = tuple(_job(job) for job in value["jobs"])
        texts = {key: _text(value[key]) for key in ("experiment", "identity", "command", "cwd", "rra", "launcher")}
        if len({job.number for job in jobs}) < len(jobs) or len({job.folder for job in jobs}) < len(jobs):
            raise ValueError("two jobs have one number or one folder")
        return Sweep(path=Path(path).absolute(), config_dirs=_texts(value["config_dirs"]), jobs=jobs, **texts)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{place} cannot be read: {error}", "is this the folder of a sweep of rra?") from error


def _job(value: Any) -> SweepJob:
    source = None if value["source"] is None else _text(value["source"])
    return SweepJob(value["number"], value["folder"], _texts(value["overrides"]), _texts(value["differs"]), source)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r}")
    return value


def _texts(value: Sequence[Any]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r}")
    return tuple(_text(item) for item in value)
