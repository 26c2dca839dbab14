"""Before a sweep writes into a folder that is there: whether its jobs are those of the folder, or join them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rra_cli.cli import job as jobs
from rra_cli.cli.again import recorded
from rra_cli.cli.sweep import computing, key_of
from rra_cli.config.compose import composed
from rra_cli.config.experiment import TRAINING_KEYS
from rra_cli.core import sweepdir
from rra_cli.core.runfiles import CONFIG, config_differences, differences_in_what, in_one_line
from rra_cli.core.spec import canonical_json
from rra_cli.core.sweepdir import Sweep, SweepJob
from rra_cli.errors import UserError

HINT = "another configuration needs another folder: set another hydra.sweep.dir, or leave it out"


class Wanted:
    """What the jobs of a sweep would compute now, composed once each, by their folders."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._known: dict[str, dict[str, Any] | None] = {}

    def __call__(self, job: SweepJob) -> dict[str, Any] | None:
        """The configuration as a run folder keeps it; None where something is wrong with it, which the job says."""
        if job.folder not in self._known:
            self._known[job.folder] = _configuration(self._sweep, job)
        return self._known[job.folder]


def check_jobs(sweep: Sweep, wanted: Wanted) -> None:
    """Raises `UserError` where a job's folder is taken by another configuration, or where the sweep is not one of the
    same as that in the folder: they differ in more than what is swept. Nothing is written.
    """
    old = sweepdir.read(sweep.path) if sweepdir.is_sweep(sweep.path) else None
    before = {job.folder: job for job in old.jobs} if old is not None else {}
    taken = []
    for job in sweep.jobs:
        found = _taken(sweep, job, old, before.get(job.folder), wanted)
        if found:
            taken.append((job.folder, found))
    if taken:
        folder, found = taken[0]
        more = f" (and {len(taken) - 1} more folders of {len(sweep.jobs)})" if len(taken) > 1 else ""
        raise UserError(
            f"{sweep.path / folder} is the folder of a job with another configuration: {in_one_line(found)}{more}", HINT
        )
    if old is not None and not {job.folder for job in sweep.jobs} & before.keys():
        found = _beyond_what_is_swept(sweep, old)
        if found:
            raise UserError(f"the sweep in {sweep.path} differs in more than what is swept: {in_one_line(found)}", HINT)


def _taken(sweep: Sweep, job: SweepJob, old: Sweep | None, was: SweepJob | None, wanted: Wanted) -> list[str]:
    """Where what lies in a job's folder, or was to lie there, differs from what the job would compute."""
    folder = sweep.folder(job)
    if (folder / CONFIG).exists():
        config = wanted(job)
        try:
            found = [] if config is None else config_differences(folder, config)
            # A job that was found to be wrong kept what its data have no use for.
            unused = TRAINING_KEYS - (config or {}).keys()
            return [line for line in found if line.split(":")[0].split(".")[0] not in unused]
        except UserError:
            return []  # unreadable: the job says so
    if old is None or was is None or _same_call(sweep, job, old, was):
        return []
    return _different(_configuration(old, was), wanted(job))


def _beyond_what_is_swept(sweep: Sweep, old: Sweep) -> list[str]:
    """The differences that would be left if all swept keys had the values that they have in a job of the folder."""
    was, job = old.jobs[0], sweep.jobs[0]
    if was.source is not None or job.source is not None:
        return []
    swept = {key_of(text) for each in (*old.jobs, *sweep.jobs) for text in each.differs}
    values = {key_of(text): text for text in computing(was) if key_of(text) in swept}
    texts = []
    for text in computing(job):
        if key_of(text) not in swept:
            texts.append(text)
        elif key_of(text) in values:
            texts.append(values.pop(key_of(text)))
    texts += values.values()
    same = SweepJob(job.number, job.folder, tuple(texts))
    if _same_call(sweep, same, old, was):
        return []
    return _different(_configuration(old, was), _configuration(sweep, same))


def _same_call(sweep: Sweep, job: SweepJob, old: Sweep, was: SweepJob) -> bool:
    """Whether two jobs are called in the same words, so that nothing need be composed."""
    same = sweep.config_dirs == old.config_dirs and job.source == was.source
    return same and computing(job) == computing(was)


def _different(stored: dict[str, Any] | None, asked: dict[str, Any] | None) -> list[str]:
    if stored is None or asked is None:
        return []
    return differences_in_what(*(json.loads(canonical_json(config)) for config in (stored, asked)))


def _configuration(sweep: Sweep, job: SweepJob) -> dict[str, Any] | None:
    try:
        if job.source is not None:
            return dict(recorded(Path(job.source), job.overrides).kept)
        config, name = composed(job.overrides, [Path(path) for path in sweep.config_dirs])
        plain = jobs.plain(jobs.without_hydra(config))
        return jobs.recorded({"experiment": name, **plain})
    except (UserError, KeyError, TypeError):
        return None
