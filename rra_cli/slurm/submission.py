"""What a sweep's folder keeps of the job arrays that it was submitted as, and submitting it.

`.slurm/1.json` is written before sbatch is called, without a job id, and again with it: where this process ends in
between, the next one finds the array by its name. `.slurm/1.sh` is its script.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.reading import read_json
from rra_cli.core.sweepdir import JOBS
from rra_cli.errors import UserError
from rra_cli.slurm.commands import SlurmError, call
from rra_cli.slurm.queue import Key, ranges, setting
from rra_cli.slurm.settings import HINT, Settings

FOLDER = ".slurm"
# Tasks of an array where SLURM does not say (MaxArraySize; its default less one).
MOST_TASKS = 1000
TASK = "rra_cli.slurm_task"


@dataclass(frozen=True)
class Submission:
    """One job array: the tasks with index `number - base` run the jobs with these numbers.

    number: of the submission, from 1. name: of the array in SLURM, which no other has. job: SLURM's id; None until
    it is known. cluster: where it is not the usual one. options: sbatch's.
    """

    number: int
    name: str
    base: int
    jobs: tuple[int, ...]
    job: str | None = None
    cluster: str | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for what we have not written: it is given to SLURM's commands."""
        numbers = (self.number, self.base, *self.jobs)
        if not all(type(number) is int and 0 <= number < 10**9 for number in numbers) or min(self.jobs) < self.base:
            raise ValueError("numbers of jobs are expected")
        if not re.fullmatch(r"[\w.-]{1,200}", self.name):
            raise ValueError(f"{self.name!r} is no name of ours")
        if self.job is not None and not re.fullmatch(r"\d{1,12}", self.job):
            raise ValueError(f"{self.job!r} is no job id")
        if self.cluster is not None and not re.fullmatch(r"\w[\w.-]{0,60}", self.cluster):
            raise ValueError(f"{self.cluster!r} is no name of a cluster")

    def key(self, job: int) -> Key | None:
        """The array task of a job of the sweep; None before SLURM has said its id."""
        return None if self.job is None else (self.job, job - self.base)


def submitted(sweep: Path) -> list[Submission]:
    """The submissions of a sweep in their order; none where it never was. Unreadable ones are left out."""
    found = []
    for path in (sweep / FOLDER).glob("*.json"):
        if path.stem.isdecimal():
            try:
                value = read_json(path)
                fields = {**value, "jobs": tuple(value["jobs"]), "options": tuple(value["options"])}
                found.append(Submission(**fields))
            except (OSError, ValueError, TypeError, KeyError):
                continue
    return sorted(found, key=lambda each: each.number)


def latest(submissions: Iterable[Submission]) -> dict[int, Submission]:
    """By the number of a job: the submission that it belongs to now."""
    return {job: each for each in submissions for job in each.jobs}


def found_again(sweep: Path) -> list[Submission]:
    """The submissions. One whose id was never written down is looked for by its name, and forgotten if there is none.

    Raises `SlurmError` where SLURM does not answer.
    """
    whole = []
    for each in submitted(sweep):
        if each.job is None:
            said = call("squeue", "--noheader", "--states=all", f"--name={each.name}", "--format=%F")
            jobs = {line.strip() for line in said.splitlines() if line.strip().isdecimal()}
            if len(jobs) != 1:
                files.remove(_record(sweep, each.number))
                continue
            each = replace(each, job=jobs.pop())
            files.write_json(_record(sweep, each.number), asdict(each))
        whole.append(each)
    return whole


def submit(sweep: Path, jobs: Sequence[int], settings: Settings) -> list[Submission]:
    """Submits jobs of a sweep by their numbers, as one array, or as several where the cluster allows none that long.

    Raises `UserError` with what SLURM says where it refuses; arrays that were submitted before that remain.
    """
    most = _most_tasks()
    done = []
    for group, numbers in groupby(sorted(jobs), key=lambda number: number // most):
        done.append(_submit_one(sweep, group * most, tuple(numbers), settings))
    return done


def forget(sweep: Path) -> None:
    """Before the jobs of a sweep are run by other means: how SLURM ended them does not count any more."""
    for path in (sweep / FOLDER).glob("*.json"):
        files.remove(path)


def script(sweep: Path, base: int, settings: Settings) -> str:
    """The batch script of an array: it calls one job of the sweep by srun, whose processes get SLURM's signals.

    A batch script alone is not told of a preemption before it is over.
    """
    srun = ["srun", f"--nodes={settings.nodes}", f"--ntasks={settings.ranks}", "--kill-on-bad-exit=1"]
    if settings.cpus is not None:
        srun.append(f"--cpus-per-task={settings.cpus}")
    task = [sys.executable, "-P", "-m", TASK, str(sweep)]
    return (
        "#!/bin/bash\n"
        f"# Written by rra: a task of this array runs one job of the sweep. Its options: the .json beside this file.\n"
        f"number=$(({base} + SLURM_ARRAY_TASK_ID))\n"
        f"exec >>{JOBS}/$number.txt 2>&1\n"
        f"exec {shlex.join(srun)} \\\n"
        f'  {shlex.join(task)} "$number"{" --requeue" if settings.requeue else ""}\n'
    )


def _submit_one(sweep: Path, base: int, jobs: tuple[int, ...], settings: Settings) -> Submission:
    number = max((int(path.stem) for path in (sweep / FOLDER).glob("*.*") if path.stem.isdecimal()), default=0) + 1
    limit = "" if settings.array_parallelism is None else f"%{settings.array_parallelism}"
    # What SLURM has to say before the script begins and after it was ended; all else is the job's output.
    output = [f"--chdir={sweep}", f"--output={FOLDER}/%A_%a.txt", "--open-mode=append"]
    name = array_name(sweep, number)
    array = f"--array={ranges(job - base for job in jobs)}{limit}"
    options = (f"--job-name={name}", array, *output, "--export=ALL", *settings.options())
    submission = Submission(number, name, base, jobs, options=options)
    files.make_folder(sweep / JOBS)
    path = sweep / FOLDER / f"{number}.sh"
    files.write_text(path, script(sweep, base, settings))
    files.write_json(_record(sweep, number), asdict(submission))
    try:
        said = call("sbatch", "--parsable", *options, str(path)).strip()
    except SlurmError as error:
        files.remove(_record(sweep, number))
        raise UserError(f"SLURM does not take the jobs: {error}", HINT) from error
    match = re.search(r"^(\d+)(?:;([\w.-]+))?$", said, re.MULTILINE)
    if match is None:
        raise UserError(f"sbatch printed no job id, but {said!r}", "is `sbatch` here SLURM's own? see `rra doctor`")
    submission = replace(submission, job=match[1], cluster=match[2])
    files.write_json(_record(sweep, number), asdict(submission))
    return submission


def array_name(sweep: Path, number: int) -> str:
    """What the array is called in SLURM: readable, and the same for no other folder."""
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", sweep.name)[-60:]
    return f"{readable}-{hashlib.sha256(os.fsencode(os.path.realpath(sweep))).hexdigest()[:6]}-{number}"


def _most_tasks() -> int:
    try:
        said = setting(call("scontrol", "show", "config"), "MaxArraySize")
    except SlurmError:
        return MOST_TASKS
    return max(1, int(said) - 1) if said is not None and said.isdecimal() else MOST_TASKS


def _record(sweep: Path, number: int) -> Path:
    return sweep / FOLDER / f"{number}.json"
