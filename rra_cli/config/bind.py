"""A composed configuration becomes an `Experiment`, or a list of everything that is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rra_cli.config.alterations import by_level
from rra_cli.config.binder import COMPONENTS, Binder
from rra_cli.config.describe import shown
from rra_cli.config.experiment import ActivationsConfig, Comparison, Experiment, MetricSet, Runtime, StoreConfig
from rra_cli.config.pictures import PicturesConfig
from rra_cli.config.samples import SampleStudyConfig
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.errors import ConfigError, did_you_mean

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
    binder = Binder()
    experiment = _experiment(binder, _plain(config), name)
    if experiment is None or binder.faults:
        raise ConfigError(binder.faults, HINT)
    return experiment


def _experiment(binder: Binder, config: Mapping[str, Any], name: str) -> Experiment | None:
    binder.unknown("", config, KEYS)

    def part_of(key: str) -> Any:
        return {} if config.get(key) is None else config[key]

    parts: dict[str, Any] = {"seed": _seed(binder, config)}
    for group in COMPONENTS:
        parts[group] = binder.component(group, group, config.get(group, EARLIER.get(group)))
    parts["pooling"] = _pooling(binder, config.get("pooling"))
    parts["metrics"] = _metrics(binder, config.get("metrics"))
    parts["compare"] = _compare(binder, part_of("compare"))
    parts["transfer"] = {
        key: binder.component(f"transfer.{key}", "dataset", settings)
        for key, settings in binder.named("transfer", part_of("transfer"), "a data set", "data sets")
    }
    parts["invariance"] = _invariance(binder, part_of("invariance"))
    parts["transfer_layers"] = binder.names("transfer_layers", config.get("transfer_layers"))
    for section, cls in SECTIONS.items():
        parts[section] = binder.settings(section, cls, part_of(section))
    return None if binder.faults else Experiment(name=name, **parts)


def _seed(binder: Binder, config: Mapping[str, Any]) -> int | None:
    seed = config.get("seed")
    if isinstance(seed, bool) or not isinstance(seed, int):
        binder.faults.append(f"seed: expected an integer, got {seed!r}")
    elif not 0 <= seed < 2**63:
        binder.faults.append(f"seed: expected an integer from 0 to 2^63 - 1, got {seed}")
    else:
        return seed
    return None


def _pooling(binder: Binder, values: Any) -> dict[str, Any]:
    from rra_cli.activations.pooling import NAMES, Pooling

    if not isinstance(values, Mapping) or not values:
        binder.faults.append(f"pooling: expected at least one of {', '.join(NAMES)}, got {values!r}")
        return {}
    bound: dict[str, Any] = {}
    for key, settings in values.items():
        if key not in NAMES and not (isinstance(settings, Mapping) and "pool" in settings):
            binder.faults.append(f"pooling: there is no {key!r}; {did_you_mean(str(key), NAMES)}")
            continue
        given = {} if settings is None else settings
        if isinstance(given, Mapping) and "pool" not in given:
            named = Pooling.named(key)
            given = {"pool": named.pool, "scale": named.scale, **given}
        found = binder.settings(f"pooling.{key}", Pooling, given)
        same = [other for other, pooling in bound.items() if pooling == found and found is not None]
        if same:
            binder.faults.append(f"pooling.{key}: the same as pooling.{same[0]}; leave one of them out")
        bound[key] = found
    return bound


def _metrics(binder: Binder, values: Any) -> MetricSet | None:
    if not isinstance(values, Mapping):
        binder.faults.append(f"metrics: expected a mapping of columns to metrics, got {values!r}")
        return None
    flags = {key: values[key] for key in FLAGS if key in values}
    for key, value in flags.items():
        if not isinstance(value, bool):
            binder.faults.append(f"metrics.{key}: expected true or false, got {value!r}")
    told = {key: values[key] for key in UNCERTAINTY if key in values}
    uncertainty = binder.settings("metrics", UncertaintyConfig, told)
    chosen = {key: value for key, value in values.items() if key not in (*FLAGS, *UNCERTAINTY)}
    if not chosen:
        binder.faults.append("metrics: none is chosen; `rra ls metrics` lists what there is")
    bound = {}
    for key, value in chosen.items():
        if not key.isidentifier():
            binder.faults.append(f"metrics.{key}: a column is named by letters, digits and _")
        if isinstance(value, Mapping):
            bound[key] = binder.component(f"metrics.{key}", "metrics", value)
        else:
            # A flag that was mistyped looks like a metric without settings.
            binder.faults.append(
                f"metrics.{key}: expected a metric's settings ({{name: ...}}), got {shown(value)}; "
                f"{did_you_mean(key, [*FLAGS, *UNCERTAINTY, *(k for k in chosen if k != key)])}"
            )
    return None if binder.faults or uncertainty is None else MetricSet(bound, **flags, uncertainty=uncertainty)


def _compare(binder: Binder, values: Any) -> Comparison | None:
    if not isinstance(values, Mapping):
        binder.faults.append(f"compare: expected a mapping with engines and layers, got {values!r}")
        return None
    binder.unknown("compare", values, ("engines", "layers"))
    layers = binder.names("compare.layers", values.get("layers"))
    engines = {} if values.get("engines") is None else values["engines"]
    bound = {
        name: binder.component(f"compare.engines.{name}", "neighbors", settings)
        for name, settings in binder.named("compare.engines", engines, "an engine", "engines")
    }
    return None if binder.faults else Comparison(bound, layers)


def _invariance(binder: Binder, values: Any) -> dict[str, Any]:
    """Alterations by names of the user's choice; a list of levels makes one of each."""
    bound: dict[str, Any] = {}
    for name, settings in binder.named("invariance", values, "an alteration", "alterations"):
        path = f"invariance.{name}"
        try:
            entries = by_level(name, settings)
        except ValueError as error:
            binder.faults.append(f"{path}.{error}")
            continue
        for entry, given in entries.items():
            if entry in bound:
                binder.faults.append(f"{path}: there are two alterations called {entry}")
            bound[entry] = binder.component(path, "alter", given)
    return bound


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
