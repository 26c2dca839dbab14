"""What a metric would be of unrelated data: labels, or the samples of one side of a pair, permuted many times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.reproducibility import derive_seed
from rra_cli.neighbors.graph import NeighborGraph


def permutation(n: int, seed: int, *place: int) -> NDArray[np.int64]:
    """A random order of n samples, `(n,)`, the same for equal arguments everywhere."""
    stream = np.random.RandomState(derive_seed(seed, "permutation", *place) % 2**32)  # frozen for good (NEP 19)
    return stream.permutation(n)


def relabelled(graph: NeighborGraph, order: NDArray[np.int64]) -> NeighborGraph:
    """The graph of the same samples under other ids: sample i is called order[i]. order: `(n,)`, each id once.

    All that concerns the graph alone stays; with a graph of another layer it shares what unrelated layers share. Ties
    keep their order, which is then no longer by id.
    """
    indices, distances = np.empty_like(graph.indices), np.empty_like(graph.distances)
    indices[order] = order[graph.indices]
    distances[order] = graph.distances
    return NeighborGraph(
        indices, distances, graph.recall, graph.n_reference, self_excluded=graph.self_excluded, engine=graph.engine
    )


def null_summary(value: float, null: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and standard deviation of the values `(m,)` of permuted data, and the p-value of the value; NaN without.

    p = (b + 1) / (m + 1), b: how many of the permuted values lie as far as the value, or farther, from the mean of all
    m + 1 of them: two-sided, and exact, as under the null hypothesis all m + 1 are exchangeable (Phipson, Smyth 2010,
    "Permutation p-values should never be zero"). m of them tell no p below 1 / (m + 1).
    """
    null = null[~np.isnan(null)]
    m = len(null)
    if m < 2 or np.isnan(value):
        return float("nan"), float("nan"), float("nan")
    centre = (value + float(null.sum())) / (m + 1)
    # Sums of equal numbers in another order: equal to within rounding is equal.
    reach = abs(value - centre) * (1 - 1e-9) - 1e-15
    farther = int(np.count_nonzero(np.abs(null - centre) >= reach))
    return float(null.mean()), float(null.std(ddof=1)), (farther + 1) / (m + 1)
