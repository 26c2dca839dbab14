"""Where runs looked at a network's map: whether two pullback metrics of one name speak of the same points."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

from rra_cli.comparison.groups import Group, flatten, text_of
from rra_cli.comparison.runs import FinishedRun
from rra_cli.report.run import part_of

Inputs = Mapping[str, str]
ANCHORS = "anchors"
_ANY = ("at", "space", "features", "limit", "boundary", "near")
# What decides the points of each kind of place; anchors say which samples they go through.
_POINTS = {
    "line": ("n", "n_units", "unit_points"),
    "plane": ("n", "extent", "n_units", "unit_points"),
    "grid": ("n", "bounds"),
    "points": ("n", "classes", "split", "seed"),
}
_NORMALISATION = ("pixel_mean", "pixel_std")
# Which samples were measured, which says nothing of the anchors; and which of them are trained on, which these tell.
_MEASURED = ("name", "split", "n_samples", "balanced")
_DRAWN = ("subset_seed", "train_size")
_SHOWN = 3  # differences that a message names


def inputs_of(run: FinishedRun, metric: str) -> Inputs:
    """All that decides which points of which data the metric looked at, and in which units, by name."""
    settings = part_of(part_of(run.config, "metrics"), metric)
    at = str(settings.get("at", ""))
    found = {name: text_of(settings[name]) for name in (*_ANY, *_POINTS.get(at, ())) if name in settings}
    dataset = part_of(run.config, "dataset")
    found["data set"] = text_of(dataset.get("name", ""))
    found |= {name: text_of(dataset[name]) for name in _NORMALISATION if name in dataset}
    anchors = _anchors(run, metric)
    hidden = {*_MEASURED, *(_DRAWN if anchors or at == "grid" else ())}
    samples: Mapping[str, Any] = run.samples.get(str(settings.get("split", ""))) or next(iter(run.samples.values()), {})
    found |= {name: value for name, value in flatten(samples).items() if name not in hidden}
    return found | ({ANCHORS: anchors} if anchors else {})


def _anchors(run: FinishedRun, metric: str) -> str:
    """The samples of all lines or planes: those of the first one by id, of all of them a digest."""
    if run.anchors is None:
        return ""
    frame = run.anchors[run.anchors["metric"] == metric].sort_values(["unit", "anchor"], kind="stable")
    if frame.empty:
        return ""
    columns = [frame[name].astype(str) for name in ("split", "unit", "anchor", "sample_id", "class", "pixels")]
    text = "\n".join(" ".join(row) for row in zip(*columns, strict=True))
    first = ", ".join(frame.loc[frame["unit"] == 0, "sample_id"].astype(str))
    return f"{first} ({hashlib.sha256(text.encode()).hexdigest()[:12]})"


def inputs_of_runs(group: Group, metric: str) -> list[Inputs]:
    """Of each of its runs that have the metric."""
    return [inputs_of(run, metric) for run in group.runs if measured(run, metric)]


def by_inputs(groups: Sequence[Group], inputs: Mapping[str, Sequence[Inputs]]) -> list[list[Group]]:
    """The groups that measured a metric, those of equal inputs together, in the order of the groups; groups whose own
    runs have other inputs are left out. inputs: of the runs, by group.
    """
    found: dict[tuple[tuple[str, str], ...], list[Group]] = {}
    for group in groups:
        first, *others = inputs[group.label] or [{}]
        if first and all(other == first for other in others):
            found.setdefault(tuple(sorted(first.items())), []).append(group)
    return list(found.values())


def measured(run: FinishedRun, metric: str) -> bool:
    """Whether the run has that pullback metric."""
    return run.pullback is not None and bool((run.pullback["metric"] == metric).any())


def why_not(one: Inputs, other: Inputs) -> str:
    """How the inputs of two runs differ, in a line; "" where they do not."""
    differ = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    if not differ:
        return ""
    if "at" in differ:
        differ = ["at"]  # of which the others follow
    told = [_told(name, one.get(name, "–"), other.get(name, "–")) for name in differ[:_SHOWN]]
    more = f" and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
    return f"not comparable, the inputs are others: {'; '.join(told)}{more}"


def _told(name: str, a: str, b: str) -> str:
    if name != ANCHORS:
        return f"{name} {a} and {b}"
    first, second = (each.partition(" (")[0] for each in (a, b))
    if first == second:
        return "lines or planes through other samples"
    return f"lines or planes through other samples, the first through {first} and {second}"


def refusals(
    sets: Sequence[Sequence[Group]], inputs: Mapping[str, Sequence[Inputs]], metric: str
) -> list[dict[str, Any]]:
    """A row of `refused` for every group whose runs have other inputs, and for every two groups that do.

    sets, inputs: see `by_inputs`.
    """
    quantity, rows = f"pullback metric {metric}", []
    for label, each in inputs.items():
        first, *others = each or [{}]
        reasons = [reason for other in others if (reason := why_not(first, other))]
        if reasons:
            rows.append({"quantity": quantity, "group_a": label, "reason": f"its own runs: {reasons[0]}"})
    for one, other in combinations(sets, 2):
        reason = why_not(inputs[one[0].label][0], inputs[other[0].label][0])
        for a, b in product(one, other):
            rows.append({"quantity": quantity, "group_a": a.label, "group_b": b.label, "reason": reason})
    return rows
