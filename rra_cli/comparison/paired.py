"""How far models agree on who is whose neighbour: inter-model layer similarity, its diagonal, differences.

Whatever compares neighbours needs the same samples in both models; pairs of runs without are refused, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.comparison.graphs import GraphReader
from rra_cli.comparison.groups import Group, flatten
from rra_cli.comparison.runs import FinishedRun, GraphRow, Place
from rra_cli.comparison.similarity import NNLS, chance_of, similarities
from rra_cli.core.progress import Progress, silent
from rra_cli.errors import UserError
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.overlap import check_comparable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Refused:
    """A pair of groups (or one group) whose neighbours are not compared on a split, and why."""

    group_a: str
    group_b: str
    split: str
    reason: str


@dataclass(frozen=True, eq=False)
class Model:
    """The layers of one run at one place, in order. run: its number among all runs; group: of its group."""

    run: FinishedRun
    number: int
    group: int
    rows: tuple[GraphRow, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names."""
        return tuple(row.layer for row in self.rows)


@dataclass(frozen=True, eq=False)
class Compared:
    """All models that can be compared with each other at one place.

    values, errors: by pair of run numbers (a < b) `(layers of a, layers of b)`: the similarity (metric) and its
    standard error over the samples, NaN where one of the layers has no neighbours. engines, recalls: by run number,
    over its layers.
    """

    place: Place
    models: tuple[Model, ...]
    n_samples: int
    k: int
    chance: float
    values: Mapping[tuple[int, int], Floats]
    errors: Mapping[tuple[int, int], Floats]
    engines: Mapping[int, str] = field(default_factory=dict)
    recalls: Mapping[int, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    metric: str = NNLS

    def matrix(self, a: int, b: int) -> Floats:
        """Of layers of run a (down) with layers of run b (across)."""
        return self.values[a, b] if a < b else self.values[b, a].T


def compare_models(
    groups: Sequence[Group],
    checkpoints: Sequence[str] | None,
    *,
    same_samples: bool = False,
    metrics: Sequence[str] = (NNLS,),
    threads: int | None = None,
    progress: Progress = silent,
) -> tuple[list[Compared], list[Refused]]:
    """All pairs of runs at every place that they share, by each of the metrics.

    checkpoints: by label; None: all. same_samples: rows count as the same samples wherever their numbers are equal.
    metrics: of `similarity.METRICS`.
    """
    models, refused = _models(groups, checkpoints)
    places = sorted({place for each in models for place in each}, key=_place_order)
    reader, found = GraphReader(), []
    for done, place in enumerate(places):
        progress(done, len(places), f"{place.checkpoint} · {place.split}")
        here, faults, layers = [], [], dict[int, tuple[str, ...]]()
        for model in (each[place] for each in models if place in each):
            try:
                if layers.setdefault(model.group, model.layers) != model.layers:
                    raise UserError("it has other layers than the first run of its group (another version of rra?)")
                for row in model.rows:
                    reader.read(model.run, row)
                here.append(model)
            except UserError as error:
                label = groups[model.group].label
                faults.append(Refused(label, label, place.split, f"{model.run.name}: {error.message}"))
        refused += faults
        clusters: dict[str, list[Model]] = {}
        for model in here:
            clusters.setdefault(_samples_key(model, place.split, same_samples), []).append(model)
        refused += _refusals(groups, here, place.split, same_samples)
        usable = [cluster for cluster in clusters.values() if len(cluster) > 1]
        found += [_compare(place, cluster, reader, metric, threads) for metric in metrics for cluster in usable]
        reader.release()
    progress(len(places), len(places), "")
    return found, list(dict.fromkeys(refused))


def _models(
    groups: Sequence[Group], checkpoints: Sequence[str] | None
) -> tuple[list[dict[Place, Model]], list[Refused]]:
    """By run its layers at every place; runs without graphs are refused."""
    models, refused = [], []
    number = 0
    for at, group in enumerate(groups):
        for run in group.runs:
            if run.no_graphs:
                refused.append(Refused(group.label, group.label, "", f"{run.name}: {run.no_graphs}"))
            by_place: dict[Place, list[GraphRow]] = {}
            for row in run.graphs:
                if checkpoints is None or row.place.checkpoint in checkpoints:
                    by_place.setdefault(row.place, []).append(row)
            rows = {place: tuple(sorted(found, key=lambda row: row.index)) for place, found in by_place.items()}
            models.append({place: Model(run, number, at, found) for place, found in rows.items()})
            number += 1
    return models, refused


def _place_order(place: Place) -> tuple[Any, ...]:
    splits = ("train", "test")
    rank = splits.index(place.split) if place.split in splits else len(splits)
    return place.checkpoint, rank, place.split, place.pool != "none", place.pool, place.scale


def samples_of(run: FinishedRun, split: str) -> Any:
    """What decides which samples the run measured; None where nobody can tell (files without labels)."""
    known = run.samples.get(split)
    if isinstance(known, Mapping) and "labels" in known and known["labels"] is None:
        return None
    return known


def _samples_key(model: Model, split: str, same_samples: bool) -> str:
    """Equal for models whose neighbours can be compared."""
    row, samples = model.rows[0], samples_of(model.run, split)
    if same_samples:
        return f"{row.n_samples} {row.k}"
    known = f"unknown {model.number}" if samples is None else json.dumps(samples, sort_keys=True)
    return f"{known} {row.n_samples} {row.k}"


def _refusals(groups: Sequence[Group], here: Sequence[Model], split: str, same_samples: bool) -> list[Refused]:
    """Every pair of runs that is not compared, once for its two groups."""
    found: dict[tuple[str, str], Refused] = {}
    for one, other in combinations(here, 2):
        if _samples_key(one, split, same_samples) != _samples_key(other, split, same_samples):
            labels = groups[one.group].label, groups[other.group].label
            found.setdefault(labels, Refused(*labels, split, _why(one, other, split, same_samples)))
    return list(found.values())


def _why(one: Model, other: Model, split: str, same_samples: bool) -> str:
    a, b = one.rows[0], other.rows[0]
    samples = samples_of(one.run, split), samples_of(other.run, split)
    if a.n_samples != b.n_samples:
        return f"other samples: {a.n_samples} and {b.n_samples} of them"
    if None in samples and not same_samples:
        return "nobody can tell whether their rows are the same samples: there are no labels (--same-samples says so)"
    if samples[0] != samples[1] and not same_samples:
        first, second = (flatten(each) if isinstance(each, Mapping) else {} for each in samples)
        differ = [key for key in {**first, **second} if first.get(key) != second.get(key)]
        told = ", ".join(f"{key} {first.get(key, '–')} and {second.get(key, '–')}" for key in differ[:4])
        return f"other samples: {told}"
    return f"graphs of {a.k} and of {b.k} neighbours: give both the same neighbors.k"


def _compare(place: Place, models: Sequence[Model], reader: GraphReader, metric: str, threads: int | None) -> Compared:
    """All pairs of these models, and of their layers, in one pass over the samples."""
    graphs: list[NeighborGraph] = []
    numbers: dict[int, int] = {}  # a graph that several models share (their common input) is counted once
    places: dict[int, list[int | None]] = {}
    reasons: dict[str, None] = {}
    engines, recalls = {}, {}
    for model in models:
        own = [reader.read(model.run, row) for row in model.rows]
        mine: list[int | None] = []
        for row, graph in zip(model.rows, own, strict=True):
            if isinstance(graph, str):
                reasons[f"{row.layer}: {graph}"] = None
                mine.append(None)
                continue
            if id(graph) not in numbers:
                numbers[id(graph)] = len(graphs)
                graphs.append(graph)
            mine.append(numbers[id(graph)])
        places[model.number] = mine
        usable = [graph for graph in own if not isinstance(graph, str)]
        engines[model.number] = ", ".join(sorted({graph.engine for graph in usable}))
        recalls[model.number] = min((graph.recall for graph in usable), default=float("nan"))
    row = models[0].rows[0]
    values, errors, chance = {}, {}, float("nan")
    if graphs:
        check_comparable(graphs)
        chance = chance_of(metric, row.k, graphs[0].n_reference - graphs[0].self_excluded)
    similarity = similarities(metric, graphs, _pairs(places), row.k, threads)
    for a, b in combinations([model.number for model in models], 2):
        cells = np.full((2, len(places[a]), len(places[b])), np.nan)
        for (i, one), (j, other) in product(enumerate(places[a]), enumerate(places[b])):
            if one is not None and other is not None:
                cells[:, i, j] = similarity[min(one, other), max(one, other)]
        values[a, b], errors[a, b] = cells
    figures = (row.n_samples, row.k, chance, values, errors, engines, recalls, tuple(reasons))
    return Compared(place, tuple(models), *figures, metric)


def _pairs(places: Mapping[int, Sequence[int | None]]) -> NDArray[np.int64]:
    """Every two graphs that two models put beside each other, once, `(pairs, 2)`."""
    wanted = set()
    for one, other in combinations(places.values(), 2):
        for a, b in product(one, other):
            if a is not None and b is not None:
                wanted.add((min(a, b), max(a, b)))
    return np.array(sorted(wanted), np.int64).reshape(-1, 2)
