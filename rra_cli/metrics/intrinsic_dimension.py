"""Intrinsic dimension from the two nearest neighbours (TwoNN).

Facco, d'Errico, Rodriguez, Laio: Estimating the intrinsic dimension of datasets by a minimal neighborhood information,
Sci. Rep. 7, 12140 (2017). Where density and dimension are constant within the two nearest neighbours, the ratio
mu = r2 / r1 follows P(mu | d) = d mu^-(d + 1), whatever the density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.metric import LayerData, LayerMetric
from rra_cli.neighbors.graph import InputError, NeighborGraph

Fit = Literal["mle", "linear", "mle_censored"]
QUANTILES = 201


def mle(log_mu: NDArray[np.float64], *, unbiased: bool = False) -> tuple[float, float]:
    """d = N / sum(log mu) and its standard error; log_mu `(N,)`, any order. The sum must be positive.

    `unbiased` uses N - 1: the sum of N exponentials of rate d is a Gamma variable, whose inverse has mean d / (N - 1).
    Standard error: d / sqrt(N), the asymptotic (Cramer-Rao) value for independent mu. Neighbourhoods overlap, so the
    mu are not quite independent and the true error is somewhat larger.
    """
    n = len(log_mu)
    dimension = (n - 1 if unbiased else n) / float(log_mu.sum())
    return dimension, dimension / float(np.sqrt(n))


def linear(sorted_log_mu: NDArray[np.float64], discard: float) -> float:
    """Slope through the origin of -log(1 - F) on log mu, without the largest fraction `discard` (Facco 2017, fig. 1).

    sorted_log_mu `(N,)` ascending. F_i = i / N with i from 1: several libraries start at 0, which is 10 % low for 30
    points. The standard error is not known: ordered values are strongly correlated, so that of a regression is wrong.
    """
    x, y = fit_curve(sorted_log_mu, discard)
    return float(x @ y / (x @ x))


def fit_curve(sorted_log_mu: NDArray[np.float64], discard: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points (log mu, -log(1 - F)) that `linear` fits: a straight line of slope d where TwoNN's law holds."""
    n = len(sorted_log_mu)
    kept = _kept(n, discard)
    return sorted_log_mu[:kept], -np.log1p(-np.arange(1, kept + 1) / n)


def mle_censored(sorted_log_mu: NDArray[np.float64], discard: float) -> tuple[float, float]:
    """(n - 1) / (sum of the n smallest + (N - n) times the n-th) and its standard error; log_mu ascending, `(N,)`.

    The largest fraction `discard` counts as "at least the n-th", which keeps the estimate unbiased (type II
    censoring), where dropping it and using the plain formula is 33 % high. Standard error: d / sqrt(n), asymptotic,
    for independent mu (see `mle`).
    """
    total = len(sorted_log_mu)
    n = _kept(total, discard)
    summed = float(sorted_log_mu[:n].sum()) + (total - n) * float(sorted_log_mu[n - 1])
    dimension = (n - 1) / summed
    return dimension, dimension / float(np.sqrt(n))


def _kept(n: int, discard: float) -> int:
    # As Ansuini's code: floor(N * fraction); the last point always goes, since there F = 1.
    return max(1, min(n - 1, int(np.floor(n * (1 - discard) + 1e-9))))


def twonn(
    graph: NeighborGraph,
    *,
    fit: Fit = "mle",
    unbiased: bool = False,
    discard: float = 0.1,
    drop_ties: bool = False,
) -> Estimate:
    """The intrinsic dimension of a layer from r1, r2, the distances to the two nearest neighbours (k >= 2).

    fit: `mle` (N / sum log mu; the RRA thesis eq. 3.1), `linear` (Facco 2017, Ansuini 2019) or `mle_censored`.
    unbiased: N - 1 instead of N in `mle`. discard: fraction of the largest mu that `linear` and `mle_censored` leave
    out. drop_ties: leave out rows with r1 = r2 (Ansuini's code); by default they count with log mu = 0.

    Rows with r1 = 0 (duplicates) are always left out; N counts the rows that are kept. Returns the dimension (> 0),
    per_sample = mu `(n,)` (NaN where a row was left out), n_used = N, and in details how many rows were duplicates and
    ties (`duplicates`, `ties`) and 201 quantiles of the mu that were used, from 0 to 1 (`mu_quantiles`). NaN with a
    reason where every row is a duplicate, every mu is 1 or too few rows are left. Assumes independent samples of
    locally constant density; high dimensions are underestimated at finite N.

    Raises `InputError` for k < 2 and for parameters out of range.
    """
    check_fit(fit, unbiased, discard)
    if graph.k < 2:
        raise InputError(f"TwoNN needs the two nearest neighbours, but the graph has k = {graph.k}", "use k >= 2")
    r1, r2 = (np.array(graph.distances[:, column], np.float64) for column in (0, 1))
    duplicate, tie = r1 == 0, (r1 == r2) & (r1 > 0)
    keep = ~duplicate & ~tie if drop_ties else ~duplicate
    mu = np.full(len(r1), np.nan)
    with np.errstate(over="ignore"):  # r1 may be as small as 5e-324
        np.divide(r2, r1, out=mu, where=keep)
    mu[np.isposinf(mu)] = np.finfo(np.float64).max
    log_mu = np.sort(np.log(mu[keep]))
    n = len(log_mu)
    details: dict[str, Any] = {"duplicates": int(duplicate.sum()), "ties": int(tie.sum())}
    if n:
        details["mu_quantiles"] = np.quantile(mu[keep], np.linspace(0, 1, QUANTILES))
    reason = _why_undefined(log_mu, log_mu if fit == "mle" else log_mu[: _kept(n, discard)], len(r1), details)
    if reason:
        return undefined(reason, per_sample=mu, n_used=n, details=details)
    error = float("nan")
    if fit == "mle":
        value, error = mle(log_mu, unbiased=unbiased)
    elif fit == "linear":
        value = linear(log_mu, discard)
    else:
        value, error = mle_censored(log_mu, discard)
    return Estimate(value, per_sample=mu, std_error=error, n_used=n, details=details)


def _why_undefined(log_mu: NDArray[np.float64], fitted: NDArray[np.float64], rows: int, details: dict[str, Any]) -> str:
    """Why there is no dimension, "" where there is one; fitted: the part of log_mu that the fit looks at."""
    if details["duplicates"] == rows:
        return f"all {rows} rows have a duplicate (r1 = 0)"
    left_out = f"{details['duplicates']} of {rows} rows have a duplicate (r1 = 0), {details['ties']} have r1 = r2"
    if len(fitted) < 2:
        return f"the fit has {len(fitted)} of {len(log_mu)} ratios, at least 2 are needed: {left_out}"
    if not fitted.any():
        return f"r1 = r2 in all of the {len(fitted)} rows that the fit looks at: {left_out}"
    return ""


def check_fit(fit: str, unbiased: bool, discard: float) -> None:
    """Raises `InputError` for parameters of a fit that do not exist or do not go together."""
    if fit not in get_args(Fit):
        raise InputError(f"fit is {fit!r}; it must be one of {', '.join(get_args(Fit))}")
    if unbiased and fit != "mle":
        raise InputError(f"unbiased belongs to fit=mle, not to fit={fit}", "leave unbiased away")
    if not 0 <= discard < 1:
        raise InputError(f"discard is {discard}; it must lie in [0, 1)")


@dataclass(frozen=True)
class TwoNN(LayerMetric):
    """Intrinsic dimension from the ratio of the two nearest neighbours' distances (TwoNN).

    fit: mle, linear or mle_censored. unbiased: N - 1 in mle. discard: largest ratios that linear and mle_censored
    leave out. drop_ties: leave out rows whose two nearest are equally far.
    """

    name: ClassVar[str] = "twonn"
    fixed_k: ClassVar[int | None] = 2
    unit: ClassVar[str] = "dimensions"
    low: ClassVar[float | None] = 0.0
    higher_is: ClassVar[str] = "more directions in which neighbouring samples vary"

    fit: Fit = identity("mle")
    unbiased: bool = identity(False)
    discard: float = identity(0.1)
    drop_ties: bool = identity(False)

    def __post_init__(self) -> None:
        check_fit(self.fit, self.unbiased, self.discard)

    def measure(self, layer: LayerData) -> Estimate:
        return twonn(
            layer.neighbors, fit=self.fit, unbiased=self.unbiased, discard=self.discard, drop_ties=self.drop_ties
        )
