"""Hubness: how unevenly samples occur among the nearest neighbours of the others.

Radovanovic, Nanopoulos, Ivanovic 2010, "Hubs in space: popular nearest neighbors in high-dimensional data", JMLR 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.estimate import Estimate, collapsed, undefined
from rra_cli.metrics.metric import LayerData, LayerMetric
from rra_cli.neighbors.graph import InputError, NeighborGraph


def occurrences(graph: NeighborGraph) -> NDArray[np.int64]:
    """In how many of the lists each sample stands, `(n,)`: N_k of Radovanovic et al.; the mean is k."""
    if not graph.self_excluded:
        raise InputError("hubness is of a graph of a set against itself; this one was searched against a reference set")
    counts = np.zeros(graph.n_reference, np.int64)
    step = max(1, (1 << 22) // graph.k)
    for start in range(0, len(graph), step):
        counts += np.bincount(graph.indices[start : start + step].ravel(), minlength=graph.n_reference)
    return counts


def skewness(values: NDArray[np.float64]) -> tuple[float, float]:
    """E (x - mean)^3 / sd^3 of values `(n,)` that are not all equal, and its standard error.

    The error is that of the statistic's influence function, z^3 - 3z - g - 1.5 g (z^2 - 1), as if values were
    independent: any distribution, not the normal one alone (whose value is sqrt(6 / n)).
    """
    z = (values - values.mean()) / values.std()
    value = float(np.mean(z**3))
    influence = z**3 - 3 * z - value - 1.5 * value * (z**2 - 1)
    return value, float(influence.std(ddof=1) / np.sqrt(len(values)))


def shown_counts(n: int) -> NDArray[np.int64]:
    """The numbers of occurrences that a distribution is told at: 0 to 64, then eight in every doubling below n."""
    steps = np.arange(8 * max(0, n.bit_length() - 6) + 8)
    return np.array(sorted({*range(65), *np.round(64 * 2 ** (steps / 8)).astype(int)} & set(range(n))), np.int64)


def hubness(graph: NeighborGraph) -> Estimate:
    """Skewness of the k-occurrences: 0 where every sample is as popular as any, large where few are hubs.

    Radovanovic et al. 2010, sec. 3. per_sample: the occurrences `(n,)`. std_error: see `skewness`. chance: of lists
    drawn at random, binomial: (1 - 2p) / sqrt((N - 1) p (1 - p)), p = k / (N - 1). details: `occurrence_counts` and
    `occurrence_share`, `(m,)` each: the fraction of samples that occur at least so many times. Without a value where
    all samples coincide, or all occur equally often (as for k = N - 1). Raises `InputError` for a graph against a
    reference set.
    """
    counts = occurrences(graph)
    n, k = len(counts), graph.k
    reason = collapsed(graph)
    if not reason and counts.min() == counts.max():
        reason = f"all {n} samples occur {int(counts[0])} times among the {k} nearest neighbours of the others"
    if reason:
        return undefined(reason)
    value, error = skewness(counts.astype(np.float64))
    p = k / (n - 1)
    chance = (1 - 2 * p) / float(np.sqrt((n - 1) * p * (1 - p)))
    shown = shown_counts(n)
    share = (n - np.searchsorted(np.sort(counts), shown)) / n
    details = {"occurrence_counts": shown, "occurrence_share": share}
    by_sample = counts.astype(np.float64)
    return Estimate(value, per_sample=by_sample, std_error=error, chance=chance, n_used=n, details=details)


@dataclass(frozen=True)
class Hubness(LayerMetric):
    """Skewness of how often samples occur among the nearest neighbours of others (hubness)."""

    name: ClassVar[str] = "hubness"
    unit: ClassVar[str] = "skewness of the occurrences"
    higher_is: ClassVar[str] = "fewer samples are the neighbours of many"

    def measure(self, layer: LayerData) -> Estimate:
        return hubness(layer.neighbors)
