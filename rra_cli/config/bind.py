"""A composed configuration becomes an `Experiment`, or a list of everything that is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from rra_cli.config import catalog
from rra_cli.config.alterations import as_augmentation, by_level, option_settings
from rra_cli.config.describe import fault_lines, shown
from rra_cli.config.experiment import ActivationsConfig, Comparison, Experiment, MetricSet, Runtime, StoreConfig
from rra_cli.config.pictures import PicturesConfig
from rra_cli.config.samples import SampleStudyConfig
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.core.component import GROUPS, component
from rra_cli.core.fields import Kind, kind_of
from rra_cli.errors import ConfigError, UserError, did_you_mean

T = TypeVar("T")

COMPONENTS = tuple(group for group in GROUPS if group != "metrics")
SECTIONS: dict[str, type[Any]] = {
    "activations": ActivationsConfig,
    "samples": SampleStudyConfig,
    "pictures": PicturesConfig,
    "runtime": Runtime,
    "store": StoreConfig,
}
KEYS = ("seed", *COMPONENTS, "pooling", "metrics", "compare", "transfer", "transfer_layers", "invariance", *SECTIONS)
# What a configuration of an earlier version does not name.
EARLIER = {"alter": {"name": "none"}}
FLAGS = ("per_sample", "per_class")
UNCERTAINTY = tuple(field.name for field in dataclasses.fields(UncertaintyConfig))
HINT = "`rra run +experiment=NAME --cfg job` prints the whole configuration; `rra ls` lists what there is"
NO_EXPERIMENT = "custom"


def bind(config: Any, name: str = NO_EXPERIMENT) -> Experiment:
    """The typed experiment of a composed configuration (a DictConfig or a plain mapping, without Hydra's own node).

    Raises `ConfigError` with one line per fault: unknown keys and components with near matches, wrong types, values
    out of range, missing values.
    """
    binder = _Binder()
    experiment = binder.experiment(_plain(config), name)
    if experiment is None or binder.faults:
        raise ConfigError(binder.faults, HINT)
    return experiment


class _Binder:
    """Binds part after part and collects the faults of all of them."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def experiment(self, config: Mapping[str, Any], name: str) -> Experiment | None:
        self.unknown("", config, KEYS)
        parts: dict[str, Any] = {"seed": self.seed(config)}
        for group in COMPONENTS:
            parts[group] = self.component(group, group, config.get(group, EARLIER.get(group)))
        parts["pooling"] = self.pooling(config.get("pooling"))
        parts["metrics"] = self.metrics(config.get("metrics"))
        parts["compare"] = self.compare({} if config.get("compare") is None else config["compare"])
        parts["transfer"] = self.transfer({} if config.get("transfer") is None else config["transfer"])
        parts["invariance"] = self.invariance({} if config.get("invariance") is None else config["invariance"])
        parts["transfer_layers"] = self.names("transfer_layers", config.get("transfer_layers"))
        for section, cls in SECTIONS.items():
            parts[section] = self.settings(section, cls, {} if config.get(section) is None else config[section])
        return None if self.faults else Experiment(name=name, **parts)

    def seed(self, config: Mapping[str, Any]) -> int | None:
        seed = config.get("seed")
        if isinstance(seed, bool) or not isinstance(seed, int):
            self.faults.append(f"seed: expected an integer, got {seed!r}")
        elif not 0 <= seed < 2**63:
            self.faults.append(f"seed: expected an integer from 0 to 2^63 - 1, got {seed}")
        else:
            return seed
        return None

    def component(self, path: str, group: str, values: Any) -> Any:
        """A component found by the `name` in its values."""
        if values is None:
            self.faults.append(f"{path}: nothing is chosen; `rra ls {group}` lists what there is")
            return None
        if not isinstance(values, Mapping):
            self.faults.append(f"{path}: expected a mapping with a name, got {values!r}")
            return None
        name = values.get("name")
        if not isinstance(name, str):
            self.faults.append(f"{path}.name: expected the name of a {group}, got {name!r}")
            return None
        try:
            cls = component(group, name)
        except UserError as error:
            self.faults.append(f"{path}.name: {error.message}{as_augmentation(group, name)}")
            return None
        # Fields that are components themselves, by name of an option or with their settings.
        parts = {field: kind for field, kind in getattr(cls, "parts", {}).items() if field in values}
        found = {field: self.part(f"{path}.{field}", kind, values[field]) for field, kind in parts.items()}
        bound = self.settings(path, cls, {key: value for key, value in values.items() if key not in ("name", *parts)})
        return bound if bound is None or None in found.values() else dataclasses.replace(bound, **found)

    def part(self, path: str, group: str, values: Any) -> Any:
        """A component within another one."""
        if not isinstance(values, str):
            return self.component(path, group, values)
        try:
            return self.component(path, group, option_settings(group, values))
        except ValueError as error:
            self.faults.append(f"{path}: {error}")
            return None

    def pooling(self, values: Any) -> dict[str, Any]:
        from rra_cli.activations.pooling import NAMES, Pooling

        if not isinstance(values, Mapping) or not values:
            self.faults.append(f"pooling: expected at least one of {', '.join(NAMES)}, got {values!r}")
            return {}
        bound: dict[str, Any] = {}
        for key, settings in values.items():
            if key not in NAMES and not (isinstance(settings, Mapping) and "pool" in settings):
                self.faults.append(f"pooling: there is no {key!r}; {did_you_mean(str(key), NAMES)}")
                continue
            given = {} if settings is None else settings
            if isinstance(given, Mapping) and "pool" not in given:
                named = Pooling.named(key)
                given = {"pool": named.pool, "scale": named.scale, **given}
            found = self.settings(f"pooling.{key}", Pooling, given)
            same = [other for other, pooling in bound.items() if pooling == found and found is not None]
            if same:
                self.faults.append(f"pooling.{key}: the same as pooling.{same[0]}; leave one of them out")
            bound[key] = found
        return bound

    def metrics(self, values: Any) -> MetricSet | None:
        if not isinstance(values, Mapping):
            self.faults.append(f"metrics: expected a mapping of columns to metrics, got {values!r}")
            return None
        flags = {key: values[key] for key in FLAGS if key in values}
        for key, value in flags.items():
            if not isinstance(value, bool):
                self.faults.append(f"metrics.{key}: expected true or false, got {value!r}")
        told = {key: values[key] for key in UNCERTAINTY if key in values}
        uncertainty = self.settings("metrics", UncertaintyConfig, told)
        chosen = {key: value for key, value in values.items() if key not in (*FLAGS, *UNCERTAINTY)}
        if not chosen:
            self.faults.append("metrics: none is chosen; `rra ls metrics` lists what there is")
        bound = {}
        for key, value in chosen.items():
            if not key.isidentifier():
                self.faults.append(f"metrics.{key}: a column is named by letters, digits and _")
            if isinstance(value, Mapping):
                bound[key] = self.component(f"metrics.{key}", "metrics", value)
            else:
                # A flag that was mistyped looks like a metric without settings.
                self.faults.append(
                    f"metrics.{key}: expected a metric's settings ({{name: ...}}), got {shown(value)}; "
                    f"{did_you_mean(key, [*FLAGS, *UNCERTAINTY, *(k for k in chosen if k != key)])}"
                )
        return None if self.faults or uncertainty is None else MetricSet(bound, **flags, uncertainty=uncertainty)

    def compare(self, values: Any) -> Comparison | None:
        if not isinstance(values, Mapping):
            self.faults.append(f"compare: expected a mapping with engines and layers, got {values!r}")
            return None
        self.unknown("compare", values, ("engines", "layers"))
        engines = {} if values.get("engines") is None else values["engines"]
        layers = self.names("compare.layers", values.get("layers"))
        if not isinstance(engines, Mapping):
            self.faults.append(f"compare.engines: expected a mapping of names to engines, got {engines!r}")
            return None
        bound = {}
        for name, settings in engines.items():
            if not str(name).isidentifier():
                self.faults.append(f"compare.engines.{name}: an engine is named by letters, digits and _")
            bound[str(name)] = self.component(f"compare.engines.{name}", "neighbors", settings)
        return None if self.faults else Comparison(bound, layers)

    def transfer(self, values: Any) -> dict[str, Any]:
        """Data sets by names of the user's choice."""
        if not isinstance(values, Mapping):
            self.faults.append(f"transfer: expected a mapping of names to data sets, got {values!r}")
            return {}
        bound = {}
        for name, settings in values.items():
            if not str(name).isidentifier():
                self.faults.append(f"transfer.{name}: a data set is named by letters, digits and _")
            bound[str(name)] = self.component(f"transfer.{name}", "dataset", settings)
        return bound

    def invariance(self, values: Any) -> dict[str, Any]:
        """Alterations by names of the user's choice; a list of levels makes one of each."""
        if not isinstance(values, Mapping):
            self.faults.append(f"invariance: expected a mapping of names to alterations, got {values!r}")
            return {}
        bound: dict[str, Any] = {}
        for name, settings in values.items():
            path = f"invariance.{name}"
            if not str(name).isidentifier():
                self.faults.append(f"{path}: an alteration is named by letters, digits and _")
            try:
                entries = by_level(str(name), settings)
            except ValueError as error:
                self.faults.append(f"{path}.{error}")
                continue
            for entry, given in entries.items():
                if entry in bound:
                    self.faults.append(f"{path}: there are two alterations called {entry}")
                bound[entry] = self.component(path, "alter", given)
        return bound

    def names(self, path: str, values: Any) -> tuple[str, ...]:
        """A list of names or globs; nothing is an empty one."""
        given = [] if values is None else values
        if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
            self.faults.append(f"{path}: expected a list of names or globs, got {given!r}")
            return ()
        return tuple(given)

    def settings(self, path: str, cls: type[T], values: Any) -> T | None:
        """A dataclass from plain values, strictly typed."""
        from pydantic import TypeAdapter, ValidationError

        if not isinstance(values, Mapping):
            self.faults.append(f"{path}: expected a mapping, got {values!r}")
            return None
        names = [declared.name for declared in dataclasses.fields(cls)]  # type: ignore[arg-type]
        known = {key: value for key, value in values.items() if key in names}
        complete = self.unknown(path, values, names)
        missing = [key for key, value in known.items() if value == "???"]
        self.faults.extend(f"{path}.{key}: a value is needed, none was given" for key in missing)
        if missing:
            return None
        try:
            bound: T = TypeAdapter(cls).validate_json(json.dumps(_expanded(cls, known)), strict=True)
        except ValidationError as error:
            self.faults.extend(fault_lines(path, cls, known, error.errors(include_url=False)))
            return None
        return bound if complete else None

    def unknown(self, path: str, values: Mapping[str, Any], known: Any) -> bool:
        """Notes the keys that are not known; whether all were."""
        strange = [key for key in values if key not in known]
        self.faults.extend(unknown_key(path, str(key), known) for key in strange)
        return not strange


def unknown_key(path: str, key: str, known: Iterable[str]) -> str:
    """What to say of a key that nothing at `path` has: who has it instead, or which key is near."""
    entries = catalog.entries(path) if path in COMPONENTS else {}
    others = [name for name, entry in entries.items() if key in entry.fields]
    options = " and ".join(f"{path}={name}" for name in others)
    there = f"{options} {'has' if len(others) == 1 else 'have'} it" if others else did_you_mean(key, known)
    return f"{path}.{key}: unknown key; {there}" if path else f"{key}: unknown key; {there}"


def _expanded(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with `~` in locations replaced by the home folder (no shell does it behind `key=`)."""
    places = {declared.name for declared in dataclasses.fields(cls) if kind_of(declared) is Kind.LOCATION}
    return {
        key: os.path.expanduser(value) if key in places and isinstance(value, str) else value
        for key, value in values.items()
    }


def _plain(config: Any) -> Mapping[str, Any]:
    """Plain containers, interpolations resolved."""
    if isinstance(config, Mapping) and not hasattr(config, "_metadata"):
        return config
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # Without Hydra's node: much of it has values only while a job runs.
    keys = [key for key in config if key not in ("hydra", "experiment")]
    try:
        plain: Any = OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "configuration"
        raise ConfigError([f"{key}: {str(error).splitlines()[0]}"], HINT) from error
    return {str(key): value for key, value in plain.items()}
