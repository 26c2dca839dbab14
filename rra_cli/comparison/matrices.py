"""Inter-model similarity as rows of tables: matrices, diagonals and their differences, every pair by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.comparison.groups import Group
from rra_cli.comparison.paired import Compared, Model
from rra_cli.comparison.pairs import PairSet, summarise_pairs
from rra_cli.comparison.similarity import NNLS
from rra_cli.comparison.statistics import LEVEL, CellSummary

Row = dict[str, Any]
WITHIN, BETWEEN = "within", "between"
UNLIKE = "no difference: only one of the two is of models of one seed"


@dataclass(frozen=True, eq=False)
class Matrix:
    """All pairs of models of two groups (or of one) at a place; cells are layers of a by layers of b.

    pairs: between two groups those of different seeds, where there are any; same_seed: the others.
    """

    compared: Compared
    group_a: Group
    group_b: Group
    models_a: tuple[Model, ...]
    models_b: tuple[Model, ...]
    pairs: PairSet
    same_seed: PairSet

    @property
    def kind(self) -> str:
        """`within` a group or `between` two."""
        return WITHIN if self.pairs.within else BETWEEN

    @property
    def label(self) -> str:
        """What rows of differences call it."""
        return self.group_a.label if self.pairs.within else f"{self.group_a.label} × {self.group_b.label}"

    @property
    def common(self) -> tuple[str, ...]:
        """The layers that both have, in the order of a: those of its diagonal."""
        other = set(self.models_b[0].layers)
        return tuple(layer for layer in self.models_a[0].layers if layer in other)

    def diagonal(self, pairs: PairSet | None = None) -> PairSet:
        """Every common layer with itself, of these pairs."""
        rows, columns = (
            [model.layers.index(layer) for layer in self.common] for model in (self.models_a[0], self.models_b[0])
        )
        pairs = self.pairs if pairs is None else pairs
        return replace(pairs, values=pairs.values[:, :, rows, columns])


def matrices(compared: Compared, groups: Sequence[Group]) -> list[Matrix]:
    """Within every group of at least two models, and between every two groups, in the groups' order."""
    members: dict[int, list[Model]] = {}
    for model in compared.models:
        members.setdefault(model.group, []).append(model)
    found = []
    for at, a in enumerate(sorted(members)):
        for b in sorted(members)[at:]:
            if a == b and len(members[a]) < 2:
                continue
            one, other = members[a], members[b]
            shape = len(one), len(other), len(one[0].rows), len(other[0].rows)
            values = np.full(shape, np.nan)
            for i, first in enumerate(one):
                for j, second in enumerate(other):
                    if first is not second:
                        values[i, j] = compared.matrix(first.number, second.number)
            seeds = [tuple(model.run.seed for model in models) for models in (one, other)]
            pairs = PairSet(values, a, b, *seeds)
            sets = pairs.apart(), pairs.together()
            found.append(Matrix(compared, groups[a], groups[b], tuple(one), tuple(other), *sets))
    return found


def matrix_rows(matrix: Matrix, level: float = LEVEL) -> Iterator[Row]:
    """One row an ordered pair of layers."""
    summary, _ = summarise_pairs(matrix.pairs, level=level)
    layers_a, layers_b = matrix.models_a[0].layers, matrix.models_b[0].layers
    same = np.equal.outer(np.array(layers_a), np.array(layers_b)) & matrix.pairs.within
    counts = _counts(matrix.pairs, same)
    sd, beside = matrix.pairs.sd(same), _same_seed(matrix.same_seed)
    reason = "; ".join(matrix.compared.reasons)
    for i, layer_a in enumerate(layers_a):
        for j, layer_b in enumerate(layers_b):
            value = float(summary.value[i, j])
            yield {
                **_place(matrix),
                "layer_a": layer_a,
                "index_a": matrix.models_a[0].rows[i].index,
                "layer_b": layer_b,
                "index_b": matrix.models_b[0].rows[j].index,
                **_figures(summary, sd, counts, (i, j)),
                "chance": matrix.compared.chance,
                **_search(matrix),
                "reason": reason if value != value else str(summary.reason[i, j]),
                **{name: values[i, j] for name, values in beside.items()},
            }


def diagonal_rows(matrix: Matrix, level: float = LEVEL) -> Iterator[Row]:
    """One row a layer that both sides have."""
    pairs = matrix.diagonal()
    if not matrix.common:
        return
    summary, _ = summarise_pairs(pairs, level=level)
    same = np.full(len(matrix.common), pairs.within)
    counts, sd = _counts(pairs, same), pairs.sd(same)
    beside = _same_seed(matrix.diagonal(matrix.same_seed))
    indices = _indices(matrix)
    deepest = max(row.index for row in matrix.models_a[0].rows)
    for at, (layer, index) in enumerate(zip(matrix.common, indices, strict=True)):
        depth = index / deepest if deepest else 0.0
        where = {"layer": layer, "index": index, "depth": depth}
        figures = {**_figures(summary, sd, counts, (at,)), "chance": matrix.compared.chance}
        figures |= {name: values[at] for name, values in beside.items()}
        yield {**_place(matrix), **where, **figures, "reason": str(summary.reason[at])}


def difference_rows(found: Sequence[Matrix], level: float = LEVEL) -> Iterator[Row]:
    """Differences of the diagonals of every two matrices of one place that have a group in common, or are `within`."""
    for one, other in combinations(found, 2):
        related = {one.group_a.label, one.group_b.label} & {other.group_a.label, other.group_b.label}
        if not related and not (one.pairs.within and other.pairs.within):
            continue
        layers = [layer for layer in one.common if layer in other.common]
        if not layers:
            continue
        first, second = (_restricted(matrix, layers) for matrix in (one, other))
        summary, together = summarise_pairs(first, second, level)
        if first.of_one_seed != second.of_one_seed:
            nothing = np.full(len(layers), np.nan)
            summary = CellSummary(nothing, nothing, nothing, nothing, np.full(len(layers), UNLIKE))
        index = dict(zip(one.common, _indices(one), strict=True))
        deepest = max(row.index for row in one.models_a[0].rows)
        counts = [len({*each.seeds_a, *each.seeds_b}) for each in (first, second)]
        for at, layer in enumerate(layers):
            where = {key: value for key, value in _place(one).items() if key not in ("kind", "group_a", "group_b")}
            yield {
                "comparison_a": one.label,
                "comparison_b": other.label,
                **where,
                "layer": layer,
                "index": index[layer],
                "depth": index[layer] / deepest if deepest else 0.0,
                "difference": float(summary.value[at]),
                "low": float(summary.low[at]),
                "high": float(summary.high[at]),
                "p": float(summary.p[at]),
                "n_a": counts[0],
                "n_b": counts[1],
                "paired": "by seed" if together else "no",
                "reason": str(summary.reason[at]),
            }


def model_rows(compared: Compared, groups: Sequence[Group]) -> Iterator[Row]:
    """One row a pair of models and ordered pair of their layers."""
    by_number = {model.number: model for model in compared.models}
    for (a, b), values in compared.values.items():
        one, other = by_number[a], by_number[b]
        common = {"run_a": one.run.name, "run_b": other.run.name}
        common |= {"group_a": groups[one.group].label, "group_b": groups[other.group].label}
        common |= _point(compared)
        errors = compared.errors[a, b]
        for (i, j), value in np.ndenumerate(values):
            layers = {"layer_a": one.layers[i], "layer_b": other.layers[j]}
            figures = {
                "std_error": float(errors[i, j]),
                "nnls" if compared.metric == NNLS else "similarity": float(value),
            }
            yield {**common, **layers, **figures}


def _restricted(matrix: Matrix, layers: Sequence[str]) -> PairSet:
    pairs = matrix.diagonal()
    chosen = [matrix.common.index(layer) for layer in layers]
    return replace(pairs, values=pairs.values[:, :, chosen])


def _indices(matrix: Matrix) -> list[int]:
    index = {row.layer: row.index for row in matrix.models_a[0].rows}
    return [index[layer] for layer in matrix.common]


def _counts(pairs: PairSet, same: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    """Different pairs and models of either side, by cell."""
    n_pairs = np.where(same, pairs.count() // 2, pairs.count())
    return {"n_pairs": n_pairs, "n_a": pairs.units(pairs.group_a), "n_b": pairs.units(pairs.group_b)}


def _same_seed(pairs: PairSet) -> dict[str, NDArray[Any]]:
    """Mean and number of the pairs of one seed, by cell."""
    return {"same_seed": pairs.mean(), "same_seed_n": pairs.count()}


def _figures(summary: CellSummary, sd: Any, counts: dict[str, NDArray[np.int64]], at: tuple[int, ...]) -> Row:
    figures = {"mean": summary.value, "sd": sd, "low": summary.low, "high": summary.high}
    found = {name: float(values[at]) for name, values in figures.items()}
    return {**found, **{name: int(values[at]) for name, values in counts.items()}}


def _place(matrix: Matrix) -> Row:
    groups = {"kind": matrix.kind, "group_a": matrix.group_a.label, "group_b": matrix.group_b.label}
    return {**groups, **_point(matrix.compared)}


def _point(compared: Compared) -> Row:
    place, epochs = compared.place, {model.rows[0].epoch for model in compared.models}
    found: Row = {"metric": compared.metric}
    found |= {"checkpoint": place.checkpoint, "epoch": next(iter(epochs)) if len(epochs) == 1 else None}
    found |= {"split": place.split, "pool": place.pool, "scale": place.scale}
    return {**found, "n_samples": compared.n_samples, "k": compared.k}


def _search(matrix: Matrix) -> Row:
    numbers = [model.number for model in (*matrix.models_a, *matrix.models_b)]
    engines = {matrix.compared.engines[number] for number in numbers} - {""}
    recalls = [matrix.compared.recalls[number] for number in numbers]
    return {"engine": ", ".join(sorted(engines)), "recall": min(recalls, default=float("nan"))}
