"""Groups of runs that differ in nothing but the seed, named by what tells them apart."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rra_cli.comparison.runs import FinishedRun, LeftOut
from rra_cli.config.bind import EARLIER
from rra_cli.core.component import GROUPS, component
from rra_cli.core.fields import Kind, kind_of
from rra_cli.errors import UserError

ABSENT = "–"
ONLY = "all runs"
# Where things lie, how the work is done, and the seed, which is what groups are averaged over.
_NOT_A_DIFFERENCE = frozenset({"seed", "experiment", "runtime", "store", "hydra"})
# These pick what is measured and leave every value that two runs share as it is. (Of a user's files the path is all
# that tells two networks apart, so it counts although it only says where they lie.)
_PICKS = frozenset(
    {"method.milestones", "activations.checkpoints", "activations.keep", "dataset.splits", "transfer_layers"}
    | {"metrics.per_sample", "metrics.per_class", "compare", "pictures", "samples"}
    | {"metrics.intervals", "metrics.interval_level", "metrics.null_test", "metrics.permutations"}
)
# In these a whole entry may be there or not without changing the others; where both have it, its settings count.
_KEYED = ("metrics", "transfer", "pooling", "invariance")


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, by seed. columns: what tells it from the other groups, as text; label: in one line."""

    label: str
    columns: Mapping[str, str]
    runs: tuple[FinishedRun, ...]

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """Of its runs, ascending."""
        return tuple(run.seed for run in self.runs)


@dataclass(frozen=True)
class Grouping:
    """groups: in the order of their columns' values. left_out: runs that repeat another one. differences: by group
    label every setting that is not the same in all runs, beyond those in the columns as well."""

    groups: tuple[Group, ...]
    left_out: tuple[LeftOut, ...]
    differences: Mapping[str, Mapping[str, str]]


def group_runs(runs: Iterable[FinishedRun]) -> Grouping:
    """The runs by configuration; the same whatever their order. Of equal configurations with equal seeds the first
    by name stays: they are one experiment done twice, and to count them twice would make intervals too narrow."""
    ordered = sorted(runs, key=lambda run: run.name)
    flat = {run.name: flatten({**EARLIER, **run.config}) for run in ordered}
    keys = separating_keys(list(flat.values()))
    content = {name: tuple(settings.get(key, ABSENT) for key in keys) for name, settings in flat.items()}
    columns = _label_columns(ordered, flat, keys, content)
    clusters: dict[tuple[str, ...], list[FinishedRun]] = {}
    for run in ordered:
        clusters.setdefault(content[run.name], []).append(run)
    groups, left_out, differences = [], [], {}
    for settings, members in clusters.items():
        chosen: dict[int | None, FinishedRun] = {}
        for run in members:
            first = chosen.setdefault(run.seed, run)
            if first is not run:
                same = "the same configuration" if run.seed is None else f"the same configuration and seed {run.seed}"
                left_out.append(LeftOut(run.name, f"{same} as {first.name}, which is counted"))
        own = {column: values[members[0].name] for column, values in columns.items()}
        label = ", ".join(f"{column}={value}" for column, value in own.items()) or ONLY
        kept = sorted(chosen.values(), key=lambda run: (run.seed is None, run.seed or 0))
        groups.append(Group(label, own, tuple(kept)))
        differences[label] = dict(zip(keys, settings, strict=True))
    groups.sort(key=lambda group: [natural(value) for value in group.columns.values()])
    order = {group.label: differences[group.label] for group in groups}
    return Grouping(tuple(groups), tuple(left_out), order)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and their values as text; lists are one value, an empty mapping is one as well."""
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flatten(value, f"{name}.")
        else:
            found[name] = text_of(value)
    return found


def text_of(value: Any) -> str:
    """The value as YAML would show it in a line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def separating_keys(configs: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys in whose values configurations differ so that their runs are no repetitions of each other."""
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if len(_values(key, configs)) > 1 and _separates(key, configs)]


def _values(key: str, configs: Sequence[Mapping[str, str]]) -> set[str]:
    """The values of the key in these configurations; without an entry of `_KEYED` a configuration has no say."""
    entry = _entry(key)
    if entry is None:
        return {config.get(key, ABSENT) for config in configs}
    having = [config for config in configs if any(known == entry or known.startswith(f"{entry}.") for known in config)]
    return {config.get(key, ABSENT) for config in having}


def _entry(key: str) -> str | None:
    """`metrics.nncs` of `metrics.nncs.class_balanced`."""
    section, _, rest = key.partition(".")
    return f"{section}.{rest.partition('.')[0]}" if section in _KEYED else None


def _separates(key: str, configs: Sequence[Mapping[str, str]]) -> bool:
    section = key.partition(".")[0]
    if section in _NOT_A_DIFFERENCE or any(key == name or key.startswith(f"{name}.") for name in _PICKS):
        return False
    entry, field = (key.rpartition(".")[0], key.rpartition(".")[2])
    group = {"transfer": "dataset", "invariance": "alter"}.get(section, section)
    if group not in GROUPS or field == "name" or entry != (_entry(key) or section):
        return True
    names = {config.get(f"{entry}.name", ABSENT) for config in configs if key in config}
    return any(_kind(group, name, field) not in (Kind.EXECUTION, Kind.LOCATION) for name in names)


def _kind(group: str, name: str, field: str) -> Kind | None:
    """What a field of a component does; None where that is not known."""
    try:
        cls = component(group, name)
    except UserError:
        return None  # of a package that is not installed here
    return next((kind_of(declared) for declared in dataclasses.fields(cls) if declared.name == field), None)


def _label_columns(
    runs: Sequence[FinishedRun],
    flat: Mapping[str, Mapping[str, str]],
    keys: Sequence[str],
    content: Mapping[str, tuple[str, ...]],
) -> dict[str, dict[str, str]]:
    """Column -> run -> value: as few as tell all groups apart. An option's name stands for all of its settings."""
    found: dict[str, dict[str, str]] = {}
    for section in dict.fromkeys(key.partition(".")[0] for key in keys):
        own = [at for at, key in enumerate(keys) if key.partition(".")[0] == section]
        settings = {name: tuple(values[at] for at in own) for name, values in content.items()}
        chosen = {run.name: run.choices.get(section, "") for run in runs}
        named = {run.name: flat[run.name].get(f"{section}.name", "") for run in runs}
        for names in (chosen, named):
            if all(names.values()) and _same_partition(names, settings):
                found[section] = names
                break
        else:
            found |= {keys[at]: {name: values[at] for name, values in content.items()} for at in own}
    found = _fewest(found, content)
    experiments = {run.name: str(run.config.get("experiment", "")) for run in runs}
    options = [values for column, values in found.items() if "." not in column]
    if _follows(experiments, content) and not _follows(experiments, _joined(options, content)):
        # Numbers alone say nothing of what was trained on what.
        found = _fewest({"experiment": experiments, **found}, content, keep="experiment")
    return found


def _fewest(
    columns: Mapping[str, dict[str, str]], content: Mapping[str, tuple[str, ...]], keep: str = ""
) -> dict[str, dict[str, str]]:
    """Those columns without which groups could not be told apart, and one that is kept."""
    found = dict(columns)
    for column in reversed([name for name in columns if name != keep]):
        rest = [values for name, values in found.items() if name != column]
        if _same_partition(_joined(rest, content), content):
            del found[column]
    return found


def _joined(columns: Sequence[Mapping[str, str]], runs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values[name] for values in columns) for name in runs}


def _follows(label: Mapping[str, str], other: Mapping[str, Any]) -> bool:
    """Whether runs with one value of the other labelling have one label."""
    return len({(other[name], label[name]) for name in label}) == len(set(other.values()))


def _same_partition(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two labellings of the runs put the same runs together."""
    return len(set(one.values())) == len(set(other.values())) == len({(one[name], other[name]) for name in one})


def natural(text: str) -> tuple[Any, ...]:
    """Sorts numbers within text by size: 9 before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", text)
    return tuple((0, float(part), "") if at % 2 else (1, 0.0, part) for at, part in enumerate(parts) if part)
