"""`rra run --from`: a run or a sweep again, from its folder alone.

The `config.yaml` of a run folder is the whole resolved configuration, so neither the files it was composed of nor the
command are needed. What may be given with it changes how the work is done and where things lie, never what comes out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rra_cli import __version__
from rra_cli.cli import job as jobs
from rra_cli.cli.sweep import identity_of, sweep_folder
from rra_cli.config.bind import HINT, KEYS, NO_EXPERIMENT, bind
from rra_cli.config.compose import composed
from rra_cli.config.experiment import TRAINING_KEYS
from rra_cli.core import sweepdir
from rra_cli.core.provenance import changes_since, provenance
from rra_cli.core.runfiles import CONFIG, read_config, read_provenance
from rra_cli.core.sweepdir import Sweep, SweepJob
from rra_cli.errors import ConfigError, UserError

# What may be given with --from.
FREE = re.compile(r"runtime\..*|store\.root|dataset\.(root|download)|activations\.(path|keep)|neighbors\.memory")
HYDRA = ("hydra.run.dir", "hydra.sweep.dir", "hydra/launcher", "hydra.verbose")
ALLOWED = (
    "with --from go runtime.*, neighbors.memory, activations.keep, store.root, dataset.root, activations.path, "
    "hydra.run.dir, hydra.sweep.dir and hydra/launcher; another run is composed: rra run +experiment=..."
)


@dataclass(frozen=True)
class Recorded:
    """A run as its folder keeps it. config: to be bound; kept: as the new run folder will keep it; notes: what a person
    should know before it is repeated.
    """

    name: str
    config: Mapping[str, Any]
    kept: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def recorded(folder: Path, overrides: Sequence[str] = ()) -> Recorded:
    """The configuration in a run folder, with overrides of how the work is done.

    Raises `UserError` where there is none, or where it holds what no configuration of ours does; what is wrong with its
    values is found when it is bound.
    """
    found = _read(folder)
    name = str(found.pop("experiment", NO_EXPERIMENT))
    notes = []
    trains = found.keys() & TRAINING_KEYS
    missing = [key for key in KEYS if key not in found and (trains or key not in TRAINING_KEYS)]
    defaults = jobs.plain(jobs.without_hydra(composed([], [])[0]))
    if missing:
        notes.append(f"{folder / CONFIG} says nothing of {', '.join(missing)}: the present defaults are taken")
    config = {**defaults, **found}
    notes += _keep_places(config, overrides)
    for text in overrides:
        _apply(config, text)
    return Recorded(name, config, jobs.recorded({"experiment": name, **config}), tuple(notes))


def differences_now(folder: Path) -> list[str]:
    """In what this machine and its packages differ from those of a run, as far as its provenance tells."""
    then = read_provenance(folder)
    if then is None:
        return [f"{folder} has no provenance.json: whether versions differ is not known"]
    return changes_since(then, provenance(seeds={}, checksums={}))


def data_changes(then: Path, now: Path) -> list[str]:
    """The files of data whose checksums differ between two runs."""
    before, after = ((read_provenance(folder) or {}).get("data") for folder in (then, now))
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return []
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def repeat(source: Path, folder: Path, overrides: Sequence[str] = ()) -> None:
    """Runs a recorded configuration into `folder`, as Hydra's job would: faults are recorded, not raised."""
    run = recorded(source, overrides)
    jobs.carry_out(folder, run.name, run.config, {key: value for key, value in run.kept.items() if key != "experiment"})


def follow_recorded(source: Path, overrides: Sequence[str] = ()) -> int:
    """In every process of torchrun but the first: takes part in the training of a recorded run; the exit code."""
    from rra_cli.stages.ranks import follow

    run = recorded(source, overrides)
    return follow(bind(run.config, run.name))


def repeated_sweep(source: Path, overrides: Sequence[str], given: str, launcher: str, command: str) -> Sweep:
    """A sweep of the same jobs in a folder of its own. Jobs that never began are composed as they were to be."""
    old = sweepdir.read(source)
    found = []
    for job in old.jobs:
        folder = old.folder(job)
        if (folder / CONFIG).exists():
            found.append(replace(job, overrides=tuple(overrides), source=str(folder)))
        else:
            own = [text for text in job.overrides if not _leads_away(text)]
            found.append(replace(job, overrides=(*own, *overrides)))
    identity = identity_of({"repeats": str(old.path), "jobs": [[job.folder, *job.overrides] for job in found]})
    path = sweep_folder(given, old.experiment, identity)
    if path == old.path:
        raise UserError(f"{path} is the sweep itself", f"`{old.command}` goes on with it; or set another folder")
    new = replace(old, path=path, identity=identity, command=command, launcher=launcher, jobs=tuple(found))
    return replace(new, cwd=str(Path.cwd()), rra=__version__)


def source_folder(job: SweepJob) -> Path | None:
    """The run folder that a job repeats."""
    return None if job.source is None else Path(job.source)


def check_free(overrides: Sequence[str]) -> None:
    """Raises `ConfigError` for overrides that would change what is computed."""
    faults = []
    for text in overrides:
        key = text.lstrip("+~").partition("=")[0]
        if text.startswith("~") or not (FREE.fullmatch(key) or key.startswith("hydra.launcher.") or key in HYDRA):
            faults.append(f"{key}: would be another run, not the same again")
    if faults:
        raise ConfigError(faults, ALLOWED)


def _apply(config: dict[str, Any], text: str) -> None:
    """Sets a value as Hydra's grammar writes it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(text)
    *parents, last = parsed.key_or_group.split(".")
    node: Any = config
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            raise ConfigError([f"{parsed.key_or_group}: the recorded configuration has no {parent}"], HINT)
        node[parent] = dict(node[parent])
        node = node[parent]
    node[last] = parsed.value()


def _keep_places(config: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """A folder may be a stranger's: it does not say where files are written or fetched to. Notes what was changed."""
    given, notes = {text.lstrip("+").partition("=")[0] for text in overrides}, []
    store, dataset = config.get("store"), config.get("dataset")
    if isinstance(store, dict) and "store.root" not in given and not _is_store(store.get("root")):
        notes.append(f"there is no store in {store['root']}, as was recorded: the one of the outputs folder is used")
        config["store"] = {**store, "root": None}
    elsewhere = isinstance(dataset, dict) and dataset.get("download") and dataset.get("root")
    if elsewhere and "dataset.download" not in given:
        notes.append("dataset.download=true does not count for the dataset.root that was recorded; give it, if need be")
        config["dataset"] = {**config["dataset"], "download": False}
    return notes


def _leads_away(text: str) -> bool:
    """Whether an override of a recorded sweep says where files are written: the place is the person's to choose."""
    key, _, value = text.lstrip("+").partition("=")
    return (key == "store.root" and not _is_store(value.strip("'\""))) or key == "dataset.download"


def _is_store(root: Any) -> bool:
    """Whether it is a store that runs have used; what is no folder's name is left to whoever binds it."""
    return not isinstance(root, str) or os.path.isdir(os.path.join(root, "refs"))


def _read(folder: Path) -> dict[str, Any]:
    """The mapping in a config.yaml."""
    found = read_config(folder)
    if not isinstance(found, dict) or not isinstance(found.get("dataset"), dict) or "name" not in found["dataset"]:
        raise UserError(f"{folder / CONFIG} is not the configuration of a run", "is this a run folder of rra?")
    return {str(key): value for key, value in found.items()}
