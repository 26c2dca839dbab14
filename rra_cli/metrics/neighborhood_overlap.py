"""Neighbourhood overlap of two layers, plain and rank-aware: where in the list a neighbour stands may count, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, collapsed, standard_error, undefined
from rra_cli.metrics.graph_variants import Kind, pairs_of
from rra_cli.metrics.metric import LayerData, LayerPairMetric
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.overlap import all_pairs, check_comparable, overlap_parts
from rra_cli.neighbors.variants import QUANTILE, Variant, check_variant

Weights = Literal["top", "average", "rank_biased"]


def prefix_weights(k: int, weights: Weights, p: float = 0.9) -> NDArray[np.float64]:
    """What the overlap of the first 1, 2, .. k neighbours counts, `(k,)`; they add up to 1.

    top: all k alone. average: every prefix the same (average overlap; Fagin, Kumar, Sivakumar 2003). rank_biased: the
    first d with (1 - p) p^(d-1), what lies beyond k as if it overlapped like the k (Webber, Moffat, Zobel 2010, "A
    similarity measure for indefinite rankings": RBO_EXT): the first 1 / (1 - p) ranks hold most of the weight.
    """
    if weights == "top":
        return (np.arange(1, k + 1) == k).astype(np.float64)
    if weights == "average":
        return np.full(k, 1.0 / k)
    found = (1.0 - p) * np.float64(p) ** np.arange(k, dtype=np.float64)
    found[-1] += p**k
    return found


def neighborhood_overlap(
    a: NeighborGraph, b: NeighborGraph, *, weights: Weights = "top", p: float = 0.9, threads: int | None = None
) -> Estimate:
    """Neighbourhood overlap of two layers; see `overlap_pairs`."""
    return overlap_pairs([a, b], weights=weights, p=p, threads=threads)[0, 1]


def overlap_pairs(
    graphs: Sequence[NeighborGraph], *, weights: Weights = "top", p: float = 0.9, threads: int | None = None
) -> dict[tuple[int, int], Estimate]:
    """Overlap of the nearest neighbours of all ordered pairs of layers, the diagonal included.

    top: chi_k, the mean over samples of |A and B| / k (Doimo et al. 2020, eq. 1). average and rank_biased weigh the
    overlap of every prefix (`prefix_weights`), so that a swap far down the list costs less than one at its top. In
    [0, 1], 1 for equal lists (of rank-aware weights: in equal order), symmetric. p: of rank_biased, between 0 and 1.

    per_sample: `(n,)`. std_error: sd / sqrt(n), as if samples were independent. chance: of two unrelated graphs, exact:
    d / (N - 1) for a prefix of d. Without a value where all samples of a layer coincide. Raises `InputError` for graphs
    that cannot be compared.
    """
    _check(weights, p)
    check_comparable(graphs)
    if not graphs:
        return {}
    first = graphs[0]
    k, n = first.k, len(first)
    share = prefix_weights(k, weights, p)
    depths = [depth for depth in range(1, k + 1) if share[depth - 1] > 0]
    chance = float(share @ np.arange(1, k + 1)) / (first.n_reference - first.self_excluded)
    reasons = [collapsed(graph) for graph in graphs]
    defined = [place for place, reason in enumerate(reasons) if not reason]
    found: dict[tuple[int, int], Estimate] = {}
    for a, b in product(range(len(graphs)), repeat=2):
        if reasons[a] or reasons[b]:
            found[a, b] = undefined(reasons[a] or reasons[b])
        elif a == b:
            error = 0.0 if n > 1 else float("nan")
            found[a, a] = Estimate(1.0, per_sample=np.ones(n), std_error=error, chance=chance, n_used=n)
    pairs = np.array(defined, np.int64)[all_pairs(len(defined))]
    values = {(int(a), int(b)): np.zeros(n) for a, b in pairs}
    for part in overlap_parts(graphs, pairs, ks=depths, per_sample=True, threads=threads):
        if part.counts is None:  # no pairs
            continue
        for depth, counts in zip(part.ks, part.counts, strict=True):
            for (a, b), shared in zip(part.pairs.tolist(), counts, strict=True):
                values[a, b] += share[depth - 1] / depth * shared
    for (a, b), by_sample in values.items():
        error = standard_error(by_sample)
        mean = float(by_sample.mean())
        found[a, b] = Estimate(mean, per_sample=by_sample, std_error=error, chance=chance, n_used=n)
        found[b, a] = found[a, b]
    return found


def _check(weights: str, p: float) -> None:
    if weights not in get_args(Weights):
        raise InputError(f"weights is {weights!r}; it must be one of {', '.join(get_args(Weights))}")
    if not 0.0 < p < 1.0:
        raise InputError(f"p is {p}; it must lie between 0 and 1 (0.9 gives the first ten ranks most of the weight)")


@dataclass(frozen=True)
class NeighborhoodOverlap(LayerPairMetric):
    """Fraction of the nearest neighbours that two layers share (neighbourhood overlap), for all pairs of layers.

    weights: top (chi_k: the k neighbours as a set), average (mean over the prefixes 1..k) or rank_biased. p: of
    rank_biased, how much each further rank still counts. graph: directed (the k nearest), or with weights=top mutual
    (each among the k nearest of the other), union (one of the two), radius (no farther than a radius common to the
    layer's samples): twice the shared neighbours over all of both, and samples without neighbours in both layers are
    left out and counted. radius: of graph=radius, in the units of the layer's distances; lists end at k within it, too.
    radius_quantile: without it, which quantile of the distances to the k-th neighbour the radius is.
    """

    name: ClassVar[str] = "overlap"
    unit: ClassVar[str] = "fraction of neighbours"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "the two layers agree more on which samples are neighbours"

    weights: Weights = identity("top")
    p: float = identity(0.9)
    graph: Variant = identity("directed", before="directed")
    radius_quantile: float = identity(QUANTILE, before=0.5)
    radius: float | None = identity(None, before=None)

    def __post_init__(self) -> None:
        _check(self.weights, self.p)
        check_variant(self.graph, self.radius_quantile, self.radius)
        if self.graph != "directed" and self.weights != "top":
            raise ValueError(
                f"weights is {self.weights!r}, which needs lists of one length; graph={self.graph} has weights=top only"
            )

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        if self.graph != "directed":
            return pairs_of(
                [layer.neighbors for layer in layers], Kind(self.graph, self.radius_quantile, self.radius), "dice"
            )
        return overlap_pairs([layer.neighbors for layer in layers], weights=self.weights, p=self.p)
