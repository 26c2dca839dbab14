"""Neighbour graphs beside the directed one, made from its lists: mutual, union, fixed radius (RRA thesis, ch. 3.3).

A variant's lists differ in length, and may be empty. Everything is made from the k stored neighbours of each sample, in
memory of the order N k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.graph import InputError, NeighborGraph

Variant = Literal["directed", "mutual", "union", "radius"]
QUANTILE = 0.5  # of the radius, where nothing else is said


@dataclass(frozen=True, eq=False)
class Lists:
    """The neighbours of n samples as sets of any size; symmetric: whoever is j's neighbour has j as one.

    starts: `(n + 1,)` int64, sample i's neighbours are `ids[starts[i] : starts[i + 1]]`. ids: ascending, int32. radius:
    of a fixed radius, else NaN. censored: `(n,)`, whether more neighbours than the known ones may lie within the
    radius, as the stored list ends before it; all False for other variants, whose lists are complete.
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.int32]
    radius: float
    censored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def degrees(self) -> NDArray[np.int64]:
        """`(n,)` neighbours of every sample."""
        return np.diff(self.starts)


def check_variant(variant: str, quantile: float = QUANTILE, radius: float | None = None) -> None:
    """Raises `InputError` where there is no such variant, or its quantile or radius is none."""
    if variant not in get_args(Variant):
        raise InputError(f"graph is {variant!r}; it must be one of {', '.join(get_args(Variant))}")
    if not 0.0 <= quantile <= 1.0:
        raise InputError(f"radius_quantile is {quantile}; it must lie in [0, 1] (0.5: the median distance)")
    if radius is None:
        return
    if not (np.isfinite(radius) and radius > 0.0):
        raise InputError(f"radius is {radius}; it must be a positive, finite distance, or null for radius_quantile")
    if variant != "radius":
        raise InputError(f"radius belongs to graph=radius, not to graph={variant}: set graph=radius, or radius=null")
    if quantile != QUANTILE:
        raise InputError(
            f"radius is {radius} and radius_quantile is {quantile}, but there is one radius: leave one of them away "
            f"(radius=null, or radius_quantile={QUANTILE})"
        )


def lists_of(graph: NeighborGraph, variant: Variant, quantile: float = QUANTILE, radius: float | None = None) -> Lists:
    """The lists of a variant of a directed graph of a set against itself.

    mutual: j is a neighbour of i where each is among the k nearest of the other. union: where one of the two is.
    radius: where they are no farther apart than a radius that is the same for all samples: `radius`, in the units of
    the graph's distances, or without it the `quantile` of the distances to the k-th neighbour (that of a sample, not
    between two). Lists still end at k: a pair within the radius is known where one of the two lists it, so only pairs
    of two censored samples can be missing. Quantile 0 has no censored ones and the shortest lists.

    Raises `InputError` for directed, whose lists are the graph itself, and a graph against a reference set.
    """
    check_variant(variant, quantile, radius)
    if variant == "directed":
        raise InputError("the lists of the directed graph are the graph itself")
    if not graph.self_excluded:
        raise InputError(
            f"the {variant} graph is one of a set against itself; this one was searched against a reference set",
            "search without reference=",
        )
    n, k = graph.indices.shape
    listed, within, censored = np.ones((n, k), np.bool_), float("nan"), np.zeros(n, np.bool_)
    if variant == "radius":
        last = np.asarray(graph.distances[:, -1])
        within = float(np.quantile(last, quantile, method="inverted_cdf")) if radius is None else radius
        listed = np.asarray(graph.distances) <= within
        # Behind a k-th neighbour at exactly the given radius there may be one as far, which is not listed.
        short = last < within if radius is None else last <= within
        censored = short if k < n - 1 else censored
    # A pair as one number, sample times n plus neighbour: sorting pairs sorts them by sample.
    samples, neighbors = np.repeat(np.arange(n), listed.sum(axis=1)), np.asarray(graph.indices)[listed].astype(np.int64)
    there, back = np.sort(samples * n + neighbors), np.sort(neighbors * n + samples)
    del samples, neighbors, listed
    both = np.concatenate([there, back])
    del there, back
    both.sort(kind="stable")  # which merges two sorted halves; np.union1d hashes, and is far slower
    twice = both[1:] == both[:-1]
    pairs = both[1:][twice] if variant == "mutual" else both[np.concatenate([[True], ~twice])[: len(both)]]
    return Lists(np.searchsorted(pairs, np.arange(n + 1) * n), (pairs % n).astype(np.int32), within, censored)


def shared(a: Lists, b: Lists) -> NDArray[np.int64]:
    """How many neighbours every sample has in both, `(n,)`."""
    from rra_cli.neighbors.variant_kernels import shared_of_rows

    if len(a) != len(b):
        raise InputError(f"graphs of different samples cannot be compared: {len(a)} and {len(b)} rows")
    return np.asarray(shared_of_rows(a.starts, a.ids, b.starts, b.ids))


def expected_iou(a: NDArray[np.int64], b: NDArray[np.int64], others: int) -> NDArray[np.float64]:
    """The mean intersection over union of two sets of sizes a and b, `(m,)` each, drawn at random among `others`.

    sum_c P(c) c / (a + b - c), c ~ Hypergeometric(others, a, b); 0 where one is empty and NaN where both are.
    """
    from rra_cli.neighbors.variant_kernels import expected_iou_of_sizes

    return np.asarray(expected_iou_of_sizes(a.astype(np.int64), b.astype(np.int64), others))
