"""Intrinsic dimension at ever larger scales from one graph (Gride): ratios of farther neighbours than the first two.

Denti, Doimo, Laio, Mira 2022, "The generalized ratios intrinsic dimension estimator", Sci. Rep. 12, 20005. With
mu = r_n2 / r_n1 the density is f(mu | d) = d (mu^d - 1)^(n2 - n1 - 1) / (B(n2 - n1, n1) mu^((n2 - 1) d + 1)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.decimation import MOST_SCALES
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.metric import LayerData, LayerMetric
from rra_cli.neighbors.graph import InputError, NeighborGraph

_NEWTON = 100


def score(dimension: float, log_mu: NDArray[np.float64], n1: int, n2: int, *, unbiased: bool) -> tuple[float, float]:
    """The derivative of the log-likelihood in d, and minus its second one (the observed information, > 0).

    N / d + (n2 - n1 - 1) sum log mu / (1 - mu^-d) - (n2 - 1) sum log mu; unbiased: N - 1 in the first term. log_mu
    `(N,)` >= 0; where it is 0, log mu / (1 - mu^-d) is its limit 1 / d.
    """
    n, farther = len(log_mu), n2 - n1 - 1
    near = dimension * log_mu < 1e-8
    safe = np.where(near, 1.0, log_mu)
    decay = -np.expm1(-dimension * safe)  # 1 - mu^-d
    first = np.where(near, 1.0 / dimension, safe / decay)
    # (log mu)^2 mu^-d / (1 - mu^-d)^2, whose limit is 1 / d^2
    second = np.where(near, dimension**-2.0, safe**2 * np.exp(-dimension * safe) / decay**2)
    slope = (n - unbiased) / dimension + farther * float(first.sum()) - (n2 - 1) * float(log_mu.sum())
    return slope, n / dimension**2 + farther * float(second.sum())


def fit_ratios(log_mu: NDArray[np.float64], n1: int, n2: int, *, unbiased: bool = True) -> tuple[float, float]:
    """The root d of `score` and its standard error, 1 / sqrt(observed information); log_mu `(N,)`, not all 0.

    unbiased: N - 1 in the score (DADApy, and what makes n1 = 1 unbiased); else N, the paper's maximum likelihood. For
    n1 = 1, n2 = 2 that is TwoNN's (N - 1) / sum log mu. The error takes ratios for independent; they share neighbours,
    the more the larger n2 is, so that the true error is larger.
    """
    dimension = len(log_mu) / float(log_mu.sum())
    for _ in range(_NEWTON):
        slope, information = score(dimension, log_mu, n1, n2, unbiased=unbiased)
        # Newton in log d: the score falls in d, and d stays positive.
        step = slope / (dimension * information)
        dimension *= float(np.exp(np.clip(step, -1.0, 1.0)))
        if abs(step) < 1e-13:
            break
    return dimension, float(score(dimension, log_mu, n1, n2, unbiased=unbiased)[1] ** -0.5)


def scales_of(k: int) -> list[int]:
    """The n2 of a graph of k neighbours: 2, 4, 8, .. up to k."""
    return [2**level for level in range(1, MOST_SCALES + 1) if 2**level <= k]


def gride(graph: NeighborGraph, *, rank: int = 16, unbiased: bool = True) -> Estimate:
    """The intrinsic dimension from r_n2 / r_n1, n1 = n2 / 2, at n2 = 2, 4, 8, .. of one graph of k >= 2 neighbours.

    rank: the n2 whose dimension is the value, a power of two; where the graph has fewer neighbours, the largest scale
    that it has. unbiased: see `fit_ratios`, and there for the standard errors. Rows whose n1-th neighbour is a
    duplicate are left out; n_used counts the others. details, `(24,)` each, NaN beyond the last scale: `scale_samples`
    (N), `scale_rank` (n2), `scale_value`, `scale_error`, and `scale_radius`, the mean distance to the n2-th neighbour.

    Without a value where too few rows are left, or all ratios are 1. Raises `InputError` for k < 2 and for a rank that
    is no power of two. Assumes that density and dimension are constant within n2 neighbours.
    """
    _check(rank)
    if graph.k < 2:
        raise InputError(f"Gride needs two neighbours at least, but the graph has k = {graph.k}", "use k >= 2")
    names = ("samples", "rank", "value", "error", "radius")
    scales = {f"scale_{name}": np.full(MOST_SCALES, np.nan) for name in names}
    levels = scales_of(graph.k)
    wanted, value = min(rank, levels[-1]), undefined("no scale was looked at")
    for level, n2 in enumerate(levels):
        found, radius = _at(graph, n2, unbiased)
        row = (len(graph), n2, found.value, found.std_error, radius)
        for name, number in zip(names, row, strict=True):
            scales[f"scale_{name}"][level] = number
        if n2 == wanted:
            value = found
    return Estimate(value.value, std_error=value.std_error, reason=value.reason, n_used=value.n_used, details=scales)


def _at(graph: NeighborGraph, n2: int, unbiased: bool) -> tuple[Estimate, float]:
    near, far = (np.asarray(graph.distances[:, column], np.float64) for column in (n2 // 2 - 1, n2 - 1))
    keep = near > 0
    count, radius = int(keep.sum()), float(far.mean())
    if count < 2:
        return undefined(f"{count} of {len(far)} rows have {n2 // 2} neighbours that are no duplicates"), radius
    log_mu = np.log(far[keep]) - np.log(near[keep])
    if not log_mu.any():
        return undefined(f"neighbours {n2 // 2} and {n2} are equally far in all of the {count} rows"), radius
    dimension, error = fit_ratios(log_mu, n2 // 2, n2, unbiased=unbiased)
    return Estimate(dimension, std_error=error, n_used=count), radius


def _check(rank: int) -> None:
    if rank < 2 or rank & (rank - 1):
        raise InputError(f"rank is {rank}; it must be a power of two: 2 (as TwoNN), 4, 8, ..")


@dataclass(frozen=True)
class Gride(LayerMetric):
    """Intrinsic dimension from farther neighbours (Gride), with its scale curve: all scales of one graph.

    rank: of the farther neighbour whose ratio gives the value. unbiased: N - 1 in the score (DADApy), else N (paper).
    """

    name: ClassVar[str] = "gride"
    unit: ClassVar[str] = "dimensions"
    low: ClassVar[float | None] = 0.0
    higher_is: ClassVar[str] = "more directions in which samples vary at that scale"

    rank: int = identity(16)
    unbiased: bool = identity(True)

    def __post_init__(self) -> None:
        _check(self.rank)

    def measure(self, layer: LayerData) -> Estimate:
        return gride(layer.neighbors, rank=self.rank, unbiased=self.unbiased)
