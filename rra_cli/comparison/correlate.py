"""Correlation of two columns, and how far p-values can be believed where points follow each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.comparison.statistics import LEVEL, NAN, check_level, t_p_value

Floats = NDArray[np.float64]
# Up to so many points Spearman's p-value is counted over all orders of them.
MOST_PERMUTED = 9


@dataclass(frozen=True)
class Correlation:
    """Of n points with both values. r: Pearson's, with p-value, interval and `p_effective`; rho: Spearman's.

    n_effective: how many independent points the series are worth (`effective_points`), n where they are not ordered.
    reason: why there is no value.
    """

    n: int
    r: float = NAN
    p: float = NAN
    low: float = NAN
    high: float = NAN
    rho: float = NAN
    rho_p: float = NAN
    n_effective: float = NAN
    p_effective: float = NAN
    reason: str = ""


def correlate(x: ArrayLike, y: ArrayLike, *, ordered: bool = False, level: float = LEVEL) -> Correlation:
    """Pearson's and Spearman's correlation of the points `(n,)` that have both values.

    p: two-sided, Student's t with n - 2 degrees of freedom; of ranks of up to 9 points `permutation_p_value`. low,
    high: Fisher's z, of n >= 4 points. ordered: the points are a series (epochs, layers), whose neighbours are alike:
    `n_effective` and `p_effective` account for it.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    a, b, n = a[both], b[both], int(both.sum())
    if n < 3:
        return Correlation(n, reason=f"{n} points; at least 3 are needed")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(n, reason="one of the columns is constant")
    r, rho = pearson(a, b), pearson(ranks(a), ranks(b))
    low, high = fisher_interval(r, n, level)
    effective = effective_points(a, b) if ordered else float(n)
    rho_p = permutation_p_value(a, b) if n <= MOST_PERMUTED else p_value(rho, n)
    return Correlation(n, r, p_value(r, n), low, high, rho, rho_p, effective, p_value(r, effective))


def pearson(x: Floats, y: Floats) -> float:
    """Σ (x - mean x)(y - mean y) / sqrt(Σ (x - mean x)² Σ (y - mean y)²), within [-1, 1]."""
    a, b = x - x.mean(), y - y.mean()
    # Scaled first, so that squares of tiny or huge values neither vanish nor overflow.
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    return float(np.clip((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), -1.0, 1.0))


def ranks(values: Floats) -> Floats:
    """1..n by size; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


def p_value(r: float, n: float) -> float:
    """Two-sided, of a correlation r of n points that are independent: t = r sqrt((n - 2) / (1 - r²)).

    NaN for n <= 2. Exact where the points are normal; of ranks an approximation that is rough below ten points.
    """
    if n <= 2:
        return NAN
    t = r * np.sqrt((n - 2) / (1 - r * r)) if abs(r) < 1 else np.inf
    return float(t_p_value(t, n - 2))


def permutation_p_value(x: Floats, y: Floats) -> float:
    """Two-sided, of Spearman's rho of n <= 9 points: the fraction of all n! orders of y whose |rho| is as large.

    Its least value is 2 / n!: 1/3 of three points, so that three points never tell anything. Ties are kept.
    """
    a, b = ((2 * ranks(values)).astype(np.int64) for values in (x, y))  # twice the ranks are whole numbers
    deviations, counts = _null(tuple(sorted(a.tolist())), tuple(sorted(b.tolist())))
    observed = abs(len(a) * int((a * b).sum()) - int(a.sum()) * int(b.sum()))
    return float(counts[deviations >= observed].sum() / counts.sum())


@lru_cache(maxsize=64)
def _null(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """|n Σ a b - Σ a Σ b| over all orders of b: its values and how many orders have them."""
    orders = _orders(len(a))
    products = np.asarray(b, np.int64)[orders] @ np.asarray(a, np.int64)
    return np.unique(np.abs(len(a) * products - sum(a) * sum(b)), return_counts=True)


@lru_cache(maxsize=2)
def _orders(n: int) -> NDArray[np.int8]:
    return np.array(list(permutations(range(n))), np.int8)


def fisher_interval(r: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """tanh(atanh r ± z / sqrt(n - 3)); NaN for n < 4."""
    from scipy.special import ndtri

    if n < 4:
        return NAN, NAN
    if abs(r) == 1.0:
        return r, r
    half = float(ndtri(0.5 + check_level(level) / 2)) / np.sqrt(n - 3)
    centre = np.arctanh(r)
    return float(np.tanh(centre - half)), float(np.tanh(centre + half))


def effective_points(x: Floats, y: Floats) -> float:
    """n (1 - a b) / (1 + a b), a and b the lag-1 autocorrelations of two series; at most n.

    Bartlett (1935), Bretherton et al. (1999), J. Climate 12: what independent points would be as telling, for
    first-order autoregressive series at equal steps. Autocorrelations below 0 count as 0.
    """
    product = max(0.0, autocorrelation(x)) * max(0.0, autocorrelation(y))
    return len(x) * (1.0 - product) / (1.0 + product)


def autocorrelation(series: Floats) -> float:
    """Σ d_t d_(t+1) / Σ d_t², d the deviations from the mean."""
    d = series - series.mean()
    return float((d[:-1] * d[1:]).sum() / (d * d).sum())
