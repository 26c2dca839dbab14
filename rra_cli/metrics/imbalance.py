"""Information imbalance: whether the nearest neighbours of one layer are near in another; it has a direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.centred import Centred
from rra_cli.metrics.estimate import Estimate, collapsed, undefined
from rra_cli.metrics.metric import PLAIN, Input, LayerData, LayerPairMetric, Workshop
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.ranks import cross_layer_ranks, information_imbalance


def imbalance_pairs(
    graphs: Sequence[NeighborGraph], layers: Sequence[NDArray[np.floating]], *, workshop: Workshop = PLAIN
) -> dict[tuple[int, int], Estimate]:
    """Information imbalance Delta(a -> b) of all ordered pairs of layers, the diagonal included; not symmetric.

    (2 / N) times the mean rank that a sample's nearest neighbour in a has among all others in b (Glielmo et al. 2022,
    eq. 3). Near 0: a tells who is near in b; 1: it says nothing. Ranks are exact, of all N - 1 others, from one pass
    over the distances of each layer. graphs: of the same samples as the layers `(n, features)`.

    per_sample: 2 / N times the rank `(n,)`. std_error: as if samples were independent. chance: 1, exact. Without a
    value where all samples of a layer coincide. Raises `InputError` for graphs and layers that do not fit.
    """
    n, found = len(graphs[0]) if graphs else 0, dict[tuple[int, int], Estimate]()
    # A graph of one neighbour cannot tell a collapsed layer from one of pairs of duplicates.
    reasons = [collapsed(graph) and Centred(x).collapsed for graph, x in zip(graphs, layers, strict=True)]
    for a, b in product(range(len(graphs)), repeat=2):
        if reasons[a] or reasons[b]:
            found[a, b] = undefined(reasons[a] or reasons[b])
    usable = [place for place, reason in enumerate(reasons) if not reason]
    for done, b in enumerate(usable):
        workshop.progress(done, len(usable), "ranks")
        others = [a for a in usable if a != b]
        # In its own layer the nearest neighbour has rank 1, ties and duplicates included.
        found[b, b] = _estimate(np.ones((n, 1), np.int64), n)
        if others:
            ranks = cross_layer_ranks([graphs[a] for a in others], layers[b], memory=workshop.memory)
            for a, of_a in zip(others, ranks, strict=True):
                found[a, b] = _estimate(of_a, n)
    workshop.progress(len(usable), len(usable), "")
    return found


def _estimate(ranks: NDArray[np.int64], n: int) -> Estimate:
    value, error = information_imbalance(ranks, n)
    by_sample = 2.0 / n * ranks[:, 0].astype(np.float64)
    return Estimate(value, per_sample=by_sample, std_error=error, chance=1.0, n_used=n)


@dataclass(frozen=True)
class InformationImbalance(LayerPairMetric):
    """Information imbalance from each layer to each other one: exact rank of its nearest neighbours there."""

    name: ClassVar[str] = "information_imbalance"
    inputs: ClassVar[frozenset[Input]] = frozenset({"graph", "activations"})
    fixed_k: ClassVar[int | None] = 1
    symmetric: ClassVar[bool] = False
    unit: ClassVar[str] = "2 / N times the mean rank"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 2.0
    higher_is: ClassVar[str] = "the first layer tells less of who is near in the second"

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        graphs, features = [layer.neighbors for layer in layers], [layer.features for layer in layers]
        return imbalance_pairs(graphs, features, workshop=layers[0].workshop)
