"""How far two layers agree on who is whose neighbour (NNLS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.estimate import Estimate, collapsed, standard_error, undefined
from rra_cli.metrics.metric import LayerData, LayerPairMetric
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.overlap import check_comparable, intersection_blocks


def iou_table(k: int) -> NDArray[np.float64]:
    """Intersection over union of two lists of k that share c, c / (2k - c), for c = 0..k, `(k + 1,)`."""
    shared = np.arange(k + 1)
    return shared / (2 * k - shared)


def chance_level(k: int, others: int) -> float:
    """The mean intersection over union of two unrelated lists.

    sum_c P(c) c / (2k - c), c ~ Hypergeometric(others, k, k).
    others: how many rows a list of k is drawn from (N - 1 where the sample itself is excluded). Exact, unlike its
    large-k limit a / (2 - a), a = k / others: a third more at k = 2, 5 % more at k = 10.
    """
    shared = np.arange(max(0, 2 * k - others), k + 1)
    # P(c + 1) / P(c), summed in logarithms and normalised at the end: factorials of 50,000 never appear.
    before = shared[:-1]
    steps = 2 * np.log(k - before) - np.log(before + 1) - np.log(others - 2 * k + before + 1)
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(logs - logs.max())
    return float(weights @ (shared / (2 * k - shared)) / weights.sum())


def nnls(graph_a: NeighborGraph, graph_b: NeighborGraph) -> Estimate:
    """Nearest-neighbour layer similarity: the mean over samples of |A and B| / |A or B| of their neighbour lists.

    In [0, 1], 1 for equal neighbourhoods, symmetric. RRA thesis eq. 3.2 and 3.3. Both graphs: same samples in the
    same order, same k, same reference set. per_sample: `(n,)`. std_error: sd / sqrt(n), as if samples were
    independent. chance: of two unrelated graphs, exact (`chance_level`).

    Raises `InputError` for graphs that cannot be compared.
    """
    return nnls_pairs([graph_a, graph_b])[0, 1]


def nnls_pairs(graphs: Sequence[NeighborGraph]) -> dict[tuple[int, int], Estimate]:
    """`nnls` of all ordered pairs of graphs, the diagonal included, in one pass over the samples.

    A pair has no value where all samples of one of the layers coincide.
    """
    check_comparable(graphs)
    if not graphs:
        return {}
    first, count = graphs[0], len(graphs)
    table = iou_table(first.k)
    pairs = [(a, b) for a in range(count) for b in range(a, count)]
    per_sample = {pair: np.empty(len(first)) for pair in pairs}
    for samples, shared in intersection_blocks(graphs):
        for a, b in pairs:
            per_sample[a, b][samples] = table[shared[a, b]]
    chance = chance_level(first.k, first.n_reference - first.self_excluded)
    found: dict[tuple[int, int], Estimate] = {}
    reasons = [collapsed(graph) for graph in graphs]
    for (a, b), values in per_sample.items():
        if reasons[a] or reasons[b]:
            found[a, b] = found[b, a] = undefined(reasons[a] or reasons[b])
            continue
        estimate = Estimate(
            float(values.mean()),
            per_sample=values,
            std_error=standard_error(values),
            chance=chance,
            n_used=len(values),
        )
        found[a, b] = found[b, a] = estimate
    return found


@dataclass(frozen=True)
class NNLS(LayerPairMetric):
    """Intersection over union of the nearest neighbours in two layers (NNLS), for all pairs of layers."""

    name: ClassVar[str] = "nnls"
    unit: ClassVar[str] = "intersection over union"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "the two layers agree more on which samples are neighbours"

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        return nnls_pairs([layer.graph for layer in layers])
