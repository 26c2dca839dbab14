"""How far two layers agree on who is whose neighbour (NNLS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, collapsed, undefined
from rra_cli.metrics.graph_variants import Kind, pairs_of
from rra_cli.metrics.metric import LayerData, LayerPairMetric
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.overlap import all_pairs, check_comparable, overlap_parts
from rra_cli.neighbors.variants import QUANTILE, Variant, check_variant


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


def nnls_pairs(
    graphs: Sequence[NeighborGraph], *, per_sample: bool = True, threads: int | None = None
) -> dict[tuple[int, int], Estimate]:
    """`nnls` of all ordered pairs of graphs, the diagonal included, in one pass over the samples.

    A pair has no value where all samples of one of the layers coincide. per_sample: whether the estimates keep every
    sample's value, 8 bytes a pair and sample; nothing else depends on it, nor on threads (None: as many as torch uses).
    """
    check_comparable(graphs)
    if not graphs:
        return {}
    first = graphs[0]
    table, n = iou_table(first.k), len(first)
    chance = chance_level(first.k, first.n_reference - first.self_excluded)
    reasons = [collapsed(graph) for graph in graphs]
    defined = [place for place, reason in enumerate(reasons) if not reason]

    found: dict[tuple[int, int], Estimate] = {}
    for a, b in product(range(len(graphs)), repeat=2):
        if reasons[a] or reasons[b]:
            found[a, b] = undefined(reasons[a] or reasons[b])
    for a in defined:
        values = np.ones(n) if per_sample else None
        error = 0.0 if n > 1 else float("nan")
        found[a, a] = Estimate(1.0, per_sample=values, std_error=error, chance=chance, n_used=n)
    pairs = np.array(defined, np.int64)[all_pairs(len(defined))]
    for part in overlap_parts(graphs, pairs, per_sample=per_sample, threads=threads):
        means, errors = part.moments(table, first.k)
        for place, (a, b) in enumerate(part.pairs.tolist()):
            values = None if part.counts is None else table[part.counts[0, place]]
            found[a, b] = found[b, a] = Estimate(
                float(means[place]), per_sample=values, std_error=float(errors[place]), chance=chance, n_used=n
            )
    return found


@dataclass(frozen=True)
class NNLS(LayerPairMetric):
    """Intersection over union of the nearest neighbours in two layers (NNLS), for all pairs of layers.

    graph: directed (the k nearest), mutual (each among the k nearest of the other), union (one of the two), radius (no
    farther than a radius common to the layer's samples); samples without neighbours in both layers are left out and
    counted. radius: of graph=radius, in the units of the layer's distances; lists end at k within it, too.
    radius_quantile: without it, which quantile of the distances to the k-th neighbour the radius is.
    """

    name: ClassVar[str] = "nnls"
    unit: ClassVar[str] = "intersection over union"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "the two layers agree more on which samples are neighbours"

    graph: Variant = identity("directed", before="directed")
    radius_quantile: float = identity(QUANTILE, before=0.5)
    radius: float | None = identity(None, before=None)

    def __post_init__(self) -> None:
        check_variant(self.graph, self.radius_quantile, self.radius)

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        if self.graph != "directed":
            return pairs_of(
                [layer.neighbors for layer in layers], Kind(self.graph, self.radius_quantile, self.radius), "iou"
            )
        return nnls_pairs([layer.neighbors for layer in layers])
