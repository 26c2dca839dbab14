"""Composition by Hydra in memory: nothing is instantiated, no folder is made, and what a user's files say is safe."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.config import catalog
from rra_cli.config.bind import HINT, NO_EXPERIMENT, bind
from rra_cli.config.binder import COMPONENTS, unknown_key
from rra_cli.config.experiment import TRAINING_KEYS, Experiment
from rra_cli.config.growth import growth_faults
from rra_cli.config.overrides import Checked, check, quote
from rra_cli.config.safety import composed_faults, file_faults
from rra_cli.errors import ConfigError, UserError, did_you_mean

if TYPE_CHECKING:
    from hydra.errors import MissingConfigException

CONFIG_NAME = "config"
NO_CODE = "configurations set values; code comes with rra or an installed plug-in"


def load(overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> Experiment:
    """The experiment of these overrides, as `rra run` would bind it. Raises `ConfigError` with all faults."""
    check_folders(config_dirs)
    experiment = examine(check(overrides, catalog.options(config_dirs), sweep=False), config_dirs)
    assert experiment is not None, "without a sweep, what has no fault is bound"
    return experiment


def examine(checked: Checked, config_dirs: Sequence[Path]) -> Experiment | None:
    """The experiment of checked overrides. Raises `ConfigError` with all faults, those of the overrides first.

    In a sweep it is the first job's; a fault that only a swept value brings in is that job's own, told when the job
    runs, and where it spoils the first job the result is None.
    """
    faults = list(checked.faults)
    if any(_is_about(fault, ["experiment"]) for fault in faults):
        # Without its experiment the rest would be judged against the wrong defaults.
        raise ConfigError(faults, HINT)
    experiment = None
    for position, single in enumerate(checked.single()):
        try:
            config, name = composed(single, config_dirs)
            if position == 0:
                experiment = bind(config, name)
                if "dataset" not in checked.swept:
                    faults += _without_effect(experiment, checked.overrides)
        except ConfigError as error:
            faults += [fault for fault in error.faults if not _is_about(fault, checked.swept)]
    if faults:
        raise ConfigError(dict.fromkeys(faults), HINT)
    return experiment


def composed(overrides: Sequence[str], config_dirs: Sequence[Path]) -> tuple[Any, str]:
    """The composed configuration with Hydra's node (a DictConfig), and the name of its experiment.

    `overrides` are checked ones without sweeps. Raises `ConfigError` where Hydra cannot compose them or where a
    user's files change what they may not.
    """
    from omegaconf import OmegaConf

    config = _load(overrides, [*catalog.plugin_folders(), *config_dirs])
    choices = config.hydra.runtime.choices
    given: Any = OmegaConf.to_container(config, resolve=False)
    faults = growth_faults(given)
    if faults:
        raise ConfigError(faults, HINT)
    if config_dirs:
        trusted = _load([f"hydra/launcher={choices['hydra/launcher']}"], catalog.plugin_folders())
        expected: Any = OmegaConf.to_container(trusted, resolve=False)
        faults = composed_faults(given, expected)
        if faults:
            raise ConfigError(faults, NO_CODE)
    return config, str(choices.get("experiment") or NO_EXPERIMENT)


def key_faults(config: Any) -> list[str]:
    """Unknown keys and components of a composed configuration, told without importing any component."""
    from rra_cli.config.bind import KEYS

    root = [str(key) for key in config if key != "hydra"]
    faults = [f"{key}: unknown key; {did_you_mean(key, KEYS)}" for key in root if key not in KEYS]
    for group in COMPONENTS:
        node, known = config.get(group), catalog.entries(group)
        if not hasattr(node, "keys"):
            continue
        name = node.get("name")
        if name not in known:
            faults.append(f"{group}.name: there is no {group} named {name!r}: {did_you_mean(str(name), known)}")
            continue
        names = {"name", *known[name].fields}
        faults += [unknown_key(group, str(key), names) for key in node if key not in names]
    return faults


def search_path(folders: Sequence[Path]) -> list[str]:
    """The override that lets Hydra find options in these folders as well."""
    places = ",".join(quote(f"file://{folder.absolute()}") for folder in folders)
    return [f"hydra.searchpath=[{places}]"] if folders else []


def check_folders(config_dirs: Sequence[Path]) -> None:
    """Reads all YAML files of a user's folders. Raises `UserError` where one is missing or says what it may not."""
    own = catalog.options()
    faults = []
    for folder in config_dirs:
        if not folder.is_dir():
            raise UserError(f"--config-dir {folder}: there is no such folder", "give a folder that holds YAML files")
        faults += [f"{path}: a link to a folder is refused; copy what it leads to" for path in _linked_folders(folder)]
        for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
            faults += [f"{folder}: {fault}" for fault in file_faults(path, folder)]
            group, _, name = path.relative_to(folder).with_suffix("").as_posix().partition("/")
            if name in own.get(group, {}) or (group == CONFIG_NAME and not name):
                faults.append(f"{path} has the name of one of ours and would be ignored; rename it")
    if faults:
        raise ConfigError(faults, NO_CODE)


def _linked_folders(folder: Path) -> Iterator[Path]:
    """Folders that Hydra would look into and that are not looked at here."""
    for parent, names, _ in os.walk(folder):
        yield from (Path(parent, name) for name in sorted(names) if os.path.islink(os.path.join(parent, name)))


def _load(overrides: Sequence[str], folders: Sequence[Path]) -> Any:
    import yaml
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException, MissingConfigException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    import rra_cli.config.resolvers  # noqa: F401 - `${rra.job_folder:...}` in our config.yaml

    with initialize_config_module(catalog.CONFIG_PACKAGE, version_base="1.3"):
        # Not `hydra.compose`: later versions run callbacks there, before we have looked at them.
        loader = GlobalHydra.instance().config_loader()
        try:
            return loader.load_configuration(
                CONFIG_NAME, [*search_path(folders), *overrides], RunMode.RUN, from_shell=False
            )
        except MissingConfigException as error:
            raise ConfigError([_missing(error)], HINT) from error
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError([hydra_message(error)], HINT) from error
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError, RecursionError) as error:
            # What Hydra does not expect in a file, such as a number where the name of an option belongs.
            if not folders:
                raise
            raise ConfigError([f"a file of --config-dir is not understood: {hydra_message(error)}"], HINT) from error


def _missing(error: MissingConfigException) -> str:
    """What Hydra does not find; of a launcher, which there are, the nearest first."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if group != "hydra/launcher" or not error.options:
        return hydra_message(error)
    near = difflib.get_close_matches(name, error.options, n=len(error.options), cutoff=0.0)
    return f"hydra/launcher: there is no {name!r}; there are {', '.join(near)}"


def hydra_message(error: BaseException) -> str:
    """What Hydra or OmegaConf complain about, in one line."""
    cause = error.__cause__ if not str(error).strip() and error.__cause__ is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    # What follows are options, search paths and places in OmegaConf's tree.
    ends = ("Available options", "Config search path", "Search path", "full_key", "object_type")
    kept = takewhile(lambda line: not line.startswith(ends), lines)
    return " ".join(kept) or type(cause).__name__


def _without_effect(experiment: Experiment, overrides: Iterable[str]) -> list[str]:
    """Faults of overrides about a training, where the data set brings its own layers: they would do nothing."""
    from rra_cli.data.dataset import ImageDataset

    if isinstance(experiment.dataset, ImageDataset):
        return []
    keys = [text.lstrip("+~").partition("=")[0] for text in overrides]
    return [
        f"{key}: dataset={experiment.dataset.name} brings its own layers, so nothing is trained and this has no "
        "effect; leave it out"
        for key in keys
        if re.split(r"[./@]", key)[0] in TRAINING_KEYS
    ]


def _is_about(fault: str, keys: Iterable[str]) -> bool:
    """Whether other values of these keys may end a fault: it is about them, or how they fit to their neighbours."""
    if "unknown key" in fault:
        return False
    # Types and names are faults of one key; what a component says of its values may come from any of them.
    alone = re.match(r"\S+: (expected|a value is needed|there is no)", fault) is not None
    places = [key if alone else key.partition(".")[0] for key in keys]
    return any(re.match(rf"{re.escape(place)}[:. ]", fault) for place in places)
