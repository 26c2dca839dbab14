"""How long neighbours stay together: pairs of samples that are neighbours in all layers from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, collapsed, standard_error, undefined
from rra_cli.metrics.metric import LayerData, LayerPairMetric
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.overlap import check_comparable

Count = Literal["alive", "runs"]
_AT_A_TIME = 1 << 21  # neighbours of all layers together whose runs are followed at once


def run_starts(lists: Sequence[NDArray[np.integer]], n_reference: int) -> list[NDArray[np.int64]]:
    """For every neighbour of every layer, the first of the layers since which it has been one without a break.

    lists: ids `(n, k)` of each layer, below n_reference, no id twice in a row. Returns `(n, k)` for each, aligned with
    the lists: 0..place of the layer.
    """
    found: list[NDArray[np.int64]] = []
    before, since = np.empty(0, np.int64), np.empty(0, np.int64)
    for place, ids in enumerate(lists):
        keys = (np.arange(len(ids))[:, None] * n_reference + ids.astype(np.int64)).ravel()
        starts = np.full(len(keys), place)
        if len(before):
            at = np.minimum(np.searchsorted(before, keys), len(before) - 1)
            stayed = before[at] == keys
            starts[stayed] = since[at[stayed]]
        order = np.argsort(keys)
        before, since = keys[order], starts[order]
        found.append(starts.reshape(ids.shape))
    return found


def alive(graphs: Sequence[NeighborGraph]) -> NDArray[np.int32]:
    """Per pair of layers a <= b and sample, how many of b's neighbours have been neighbours since layer a.

    `(layers, layers, n)`, 0 where a > b: of the k neighbours in a, those that are in b and were in every layer between.
    """
    count, n, first = len(graphs), len(graphs[0]), graphs[0]
    found = np.zeros((count, count, n), np.int32)
    step = max(1, _AT_A_TIME // (count * first.k))
    for rows in (slice(start, min(n, start + step)) for start in range(0, n, step)):
        lists = [np.asarray(graph.indices[rows]) for graph in graphs]
        for b, starts in enumerate(run_starts(lists, first.n_reference)):
            m = len(starts)
            counts = np.bincount((np.arange(m)[:, None] * count + starts).ravel(), minlength=m * count)
            found[: b + 1, b, rows] = np.cumsum(counts.reshape(m, count), axis=1).T[: b + 1]
    return found


def runs(survival: NDArray[Any]) -> NDArray[Any]:
    """Unbroken runs that begin in layer a and end in layer b, `(layers, layers, ..)` like `survival`, which is `alive`.

    What is alive from a to b belongs to a run that began in a or before and ends in b or later, so the runs are its
    mixed difference; weighted by their length, those of a sample add up to k times the number of layers.
    """
    earlier = np.zeros_like(survival)  # began before a
    earlier[1:] = survival[:-1]
    later = np.zeros_like(survival)  # goes on after b
    later[:, :-1] = survival[:, 1:]
    both = np.zeros_like(survival)
    both[1:, :-1] = survival[:-1, 1:]
    upper = np.triu(np.ones(survival.shape[:2], survival.dtype))
    return (survival - earlier - later + both) * upper.reshape(upper.shape + (1,) * (survival.ndim - 2))


def persistence_pairs(graphs: Sequence[NeighborGraph], *, count: Count = "alive") -> dict[tuple[int, int], Estimate]:
    """Persistence of neighbours from layer a to layer b, of all ordered pairs (the same both ways) and the diagonal.

    alive: the mean fraction of a's k neighbours that are neighbours in all layers from a to b; 1 on the diagonal, at
    most the neighbourhood overlap of a and b, whose excess left and came back. runs: neighbours gained in a and lost
    after b, as a fraction of k: what the overlap of two layers cannot tell (RRA thesis, 8.3.3). In [0, 1].

    per_sample: `(n,)`. std_error: sd / sqrt(n), as if samples were independent. chance of `alive`, for unrelated
    graphs: (k / (N - 1))^(b - a), exact; of `runs` the same mixed difference of it. Without a value where a layer
    between them has collapsed. Takes 8 layers^2 n bytes, `runs` 24. Raises `InputError` for graphs that cannot be
    compared.
    """
    _check(count)
    check_comparable(graphs)
    if not graphs:
        return {}
    n, layers, first = len(graphs[0]), len(graphs), graphs[0]
    values = alive(graphs)
    density = first.k / (first.n_reference - first.self_excluded)
    steps = np.arange(layers)
    chance = np.triu(density ** np.maximum(steps - steps[:, None], 0).astype(float))
    if count == "runs":
        values, chance = runs(values), runs(chance)
    reasons = [collapsed(graph) for graph in graphs]
    found = {}
    for a, b in product(range(layers), repeat=2):
        low, high = min(a, b), max(a, b)
        # A run ends where the next layer's neighbours are others.
        needed = reasons[max(0, low - 1) : high + 2] if count == "runs" else reasons[low : high + 1]
        reason = next((reason for reason in needed if reason), "")
        if reason:
            found[a, b] = undefined(reason)
        elif (b, a) in found:
            found[a, b] = found[b, a]
        else:
            by_sample = values[low, high] / first.k
            mean, expected = float(by_sample.mean()), float(chance[low, high])
            error = standard_error(by_sample)
            found[a, b] = Estimate(mean, per_sample=by_sample, std_error=error, chance=expected, n_used=n)
    return found


def _check(count: str) -> None:
    if count not in get_args(Count):
        raise InputError(f"count is {count!r}; it must be one of {', '.join(get_args(Count))}")


@dataclass(frozen=True)
class Persistence(LayerPairMetric):
    """Neighbours that stay neighbours in every layer from one to another (persistence), for all pairs of layers.

    count: alive (still neighbours since then) or runs (gained in the one, lost after the other).
    """

    name: ClassVar[str] = "persistence"
    unit: ClassVar[str] = "fraction of neighbours"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "more neighbours stay together without a break between the two layers"

    count: Count = identity("alive")

    def __post_init__(self) -> None:
        _check(self.count)

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        return persistence_pairs([layer.neighbors for layer in layers], count=self.count)
