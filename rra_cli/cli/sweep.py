"""`rra run -m`, laid out before anything runs: the folder, named by what is computed, and every job with its own."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rra_cli import __version__
from rra_cli.cli import job as jobs
from rra_cli.cli.hydra_call import hydra_errors
from rra_cli.config.compose import composed
from rra_cli.config.experiment import outputs_root
from rra_cli.config.overrides import Checked
from rra_cli.config.resolvers import job_folder
from rra_cli.core import sweepdir
from rra_cli.core.spec import canonical_json
from rra_cli.core.sweepdir import Sweep, SweepJob
from rra_cli.errors import ConfigError, UserError

SWEEPS = "sweeps"
SUBDIR = "${rra.job_folder:${hydra.job.override_dirname}}"  # of conf/config.yaml


def lay_out(checked: Checked, config_dirs: Sequence[Path], first: Any, name: str, command: str) -> Sweep:
    """The sweep with all its jobs; nothing is written yet.

    first: the composed configuration of the first job; name: of the experiment; command: as it was typed. Raises
    `UserError` where two jobs would share a folder or one would lie elsewhere.
    """
    _refuse_equal_values(checked)
    overrides = list(checked.jobs())
    differs = [_words(checked.differing(texts)) for texts in overrides]
    with hydra_errors():
        folders = _folders(checked, overrides, config_dirs, first)
        given = str(first.hydra.sweep.dir)
    identity = _identity(overrides, differs, config_dirs, first)
    return Sweep(
        path=sweep_folder(given, name, identity),
        experiment=name,
        identity=identity,
        command=command,
        cwd=str(Path.cwd()),
        rra=__version__,
        launcher=str(first.hydra.runtime.choices["hydra/launcher"]),
        config_dirs=tuple(str(folder.absolute()) for folder in config_dirs),
        jobs=tuple(
            SweepJob(number, folder, tuple(texts), tuple(_words(sorted(checked.differing(texts)))))
            for number, (folder, texts) in enumerate(zip(folders, overrides, strict=True))
        ),
    )


def joining(checked: Checked, first: Any) -> Checked:
    """The same sweep, told apart by what the jobs are told apart by that lie in the folder it was given, so that more
    values join those that are there. Jobs that are there already, called in the same words, keep their folders.
    """
    with hydra_errors():
        given = str(first.hydra.sweep.dir)
        path = sweep_folder(given, "", "")
        if not given or not sweepdir.is_sweep(path) or not _named_by_us(checked, first):
            return checked
    there = {job.folder: job for job in sweepdir.read(path).jobs}
    asked = [SweepJob(0, _name(checked, texts), tuple(texts)) for texts in checked.jobs()]
    if all(job.folder in there and computing(job) == computing(there[job.folder]) for job in asked):
        return checked
    keys = {key_of(text) for job in there.values() for text in job.differs} - checked.swept.keys()
    more = {key_of(text): (text,) for text in checked.overrides if key_of(text) in keys}
    return replace(checked, swept={**checked.swept, **more})


def key_of(text: str) -> str:
    """The key of an override."""
    return text.lstrip("+~").partition("=")[0]


def computing(job: SweepJob) -> list[str]:
    """The overrides of what a job computes, not of how Hydra runs it, in order of their keys."""
    return sorted((text for text in job.overrides if not key_of(text).startswith("hydra")), key=key_of)


def sweep_folder(given: str, name: str, identity: str) -> Path:
    """The folder that was asked for, else the one that the same sweep always has."""
    if given:
        return Path(given).expanduser().absolute()
    return outputs_root() / SWEEPS / f"{name.replace('/', '-')}_{identity[:8]}"


def identity_of(value: Any) -> str:
    """sha256 of plain JSON."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def _identity(overrides: list[list[str]], differs: list[list[str]], config_dirs: Sequence[Path], first: Any) -> str:
    """Of what all jobs compute, in whatever order they were asked for."""
    # One job's configuration and what sets the others apart from it: composing all of them takes a while.
    position = min(range(len(differs)), key=lambda number: differs[number])
    config = jobs.without_hydra(first if position == 0 else composed(overrides[position], config_dirs)[0])
    from omegaconf import OmegaConf

    return identity_of({"config": OmegaConf.to_container(config), "jobs": sorted(differs)})


def _folders(checked: Checked, overrides: list[list[str]], config_dirs: Sequence[Path], first: Any) -> list[str]:
    """The run folders of the jobs, relative to the sweep's, named as Hydra names them."""
    ours = _named_by_us(checked, first)
    names = []
    for number, texts in enumerate(overrides):
        if ours:
            # What Hydra's override_dirname is, without composing every job for it.
            names.append(_name(checked, texts))
        else:
            names.append(_composed_folder(checked, texts, number, config_dirs))
    shared = [name for name, count in Counter(names).items() if count > 1]
    if shared:
        raise UserError(
            f"two jobs of the sweep would share the folder {shared[0]!r}",
            "let hydra.sweep.subdir name what differs, or leave it out",
        )
    return names


def _named_by_us(checked: Checked, first: Any) -> bool:
    """Whether the user leaves the names of the jobs' folders to us."""
    from omegaconf import OmegaConf

    sweep: Any = OmegaConf.to_container(first.hydra.sweep, resolve=False)
    return sweep["subdir"] == SUBDIR and not any("override_dirname" in text for text in checked.overrides)


def _words(overrides: Sequence[str]) -> list[str]:
    return [text.lstrip("+~") for text in overrides]


def _name(checked: Checked, texts: Sequence[str]) -> str:
    return job_folder(",".join(sorted(checked.differing(texts))))


def _composed_folder(checked: Checked, texts: Sequence[str], number: int, config_dirs: Sequence[Path]) -> str:
    from omegaconf import open_dict

    config, _ = composed([*texts, *excluded(checked)], config_dirs)
    with open_dict(config):
        config.hydra.job.num, config.hydra.job.id = number, f"job_{number}"
    try:
        return SweepJob(number, str(config.hydra.sweep.subdir)).folder
    except ValueError as error:
        raise UserError(str(error), "set hydra.sweep.subdir to a relative path") from None


def excluded(checked: Checked) -> list[str]:
    """The override by which Hydra names folders by what differs from job to job, unless the user says by what."""
    if any("override_dirname.exclude_keys" in text for text in checked.overrides):
        return []
    common = sorted({text.lstrip("+~").partition("=")[0] for text in checked.overrides} - checked.swept.keys())
    return [f"hydra.job.config.override_dirname.exclude_keys={json.dumps(common)}"]


def _refuse_equal_values(checked: Checked) -> None:
    """The same value twice would be two jobs in one folder."""
    for key, values in checked.swept.items():
        if len(set(values)) < len(values):
            raise ConfigError([f"{key}: a value is given twice in the sweep"], "every job needs its own folder")
