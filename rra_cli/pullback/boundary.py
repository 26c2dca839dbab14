"""Whether a map magnifies areas near decision boundaries: differences between near and far, and a test over units.

Volumes at points of one line or plane depend on each other, since the map is smooth: a thousand pixels of one plane are
not a thousand observations. The units of the test are therefore lines or planes through different samples, each with
one difference between its points near the boundary and far from it. As these are independent draws, the interval is
one for the mean over all such lines or planes of this network; for other networks it says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, isfinite, nan, sqrt

import numpy as np
from numpy.typing import NDArray

NO_GAIN = "no gain"  # how the reason of an empty one begins
_LEVEL = 0.95
_EXACT = 14  # up to so many units all signs are gone through
_DRAWS = 20_000
_SEED = 0


@dataclass(frozen=True)
class Contrast:
    """Mean log volume near the boundary minus far from it: over units, in nats; positive is magnified.

    low, high: 95 % interval of the mean (t). p: two-sided, of no difference (t). p_free: the same without assuming
    normal differences, by flipping their signs (Fisher). n_units: units with a difference. reason: why something of it
    is NaN, "" otherwise.
    """

    difference: float
    std_error: float = nan
    low: float = nan
    high: float = nan
    p: float = nan
    p_free: float = nan
    n_units: int = 0
    reason: str = ""


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of predictions `(n, C)`, `(n,)` in decimal digits: - sum p log10 p with 0 log 0 = 0, from 0 to log10 C."""
    p = np.asarray(probabilities, np.float64)
    return -np.sum(np.where(p > 0.0, p * np.log10(np.where(p > 0.0, p, 1.0)), 0.0), axis=1) + 0.0


def margin(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability of the likeliest class minus that of the second, `(n,)` from 0 (on a boundary) to 1."""
    ordered = np.sort(np.asarray(probabilities, np.float64), axis=1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else np.ones(len(ordered))


def near_and_far(uncertainty: NDArray[np.floating], share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The most and the least uncertain share of points `(n,)`, with those that tie; none where all are equal."""
    n = len(uncertainty)
    count = max(1, ceil(share * n - 1e-9))
    ordered = np.sort(uncertainty)
    if n < 2 or ordered[0] == ordered[-1]:
        return np.zeros(n, bool), np.zeros(n, bool)
    near, far = uncertainty >= ordered[n - count], uncertainty <= ordered[count - 1]
    return near & ~far, far & ~near


def unit_difference(log_volume: NDArray[np.floating], uncertainty: NDArray[np.floating], share: float) -> float:
    """Mean log volume of a unit's points near the boundary minus that of those far from it.

    Points without a volume are left out. NaN where nothing is near or far.
    """
    known = np.isfinite(log_volume)
    near, far = near_and_far(uncertainty[known], share)
    if not near.any() or not far.any():
        return nan
    volume = np.asarray(log_volume, np.float64)[known]
    return float(volume[near].mean() - volume[far].mean())


def local_correlation(
    log_volume: NDArray[np.floating], uncertainty: NDArray[np.floating], coordinates: NDArray[np.floating]
) -> float:
    """Pearson's r within a unit of log volume and uncertainty, both without their quadratic trend along the places.

    coordinates: `(n, 1)` or `(n, 2)`. In the middle of a line images are blends, and volumes may be larger there with
    a boundary or without; what is left without the trend follows the boundary itself. NaN for too few points, or
    where nothing is left.
    """
    known = np.isfinite(log_volume)
    at = np.asarray(coordinates, np.float64)[known]
    columns = [np.ones(len(at)), *at.T]
    columns += [at[:, i] * at[:, j] for i in range(at.shape[1]) for j in range(i + 1)]
    trend = np.stack(columns, axis=1)
    if len(at) < trend.shape[1] + 3:
        return nan
    found = []
    for values in (np.asarray(log_volume, np.float64)[known], np.asarray(uncertainty, np.float64)[known]):
        left = values - trend @ np.linalg.lstsq(trend, values, rcond=None)[0]
        if np.linalg.norm(left) <= 1e-9 * float(np.linalg.norm(values)) or not left.any():
            return nan
        found.append(left / np.linalg.norm(left))
    return float(found[0] @ found[1])


def over_units(differences: NDArray[np.floating]) -> Contrast:
    """The test over independent units, from one difference each `(n_units,)`; NaN are left out."""
    from scipy import stats

    found = np.asarray(differences, np.float64)
    found = found[np.isfinite(found)]
    n = len(found)
    if n == 0:
        return Contrast(nan, reason="no unit has points both near and far from a boundary")
    mean = float(found.mean())
    if n == 1:
        return Contrast(
            mean, n_units=1, reason="one unit has no scatter: the points of one picture are not independent"
        )
    error = float(found.std(ddof=1) / sqrt(n))
    reach = float(stats.t.ppf(0.5 + _LEVEL / 2, n - 1)) * error
    p = float(2.0 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0.0 else float(mean == 0.0)
    return Contrast(mean, error, mean - reach, mean + reach, p, sign_flip(found), n)


def sign_flip(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the mean under random signs: of all of them for up to 14 units, else of 20,000 drawn ones.

    A drawn p counts the signs that were observed, too, so it is never 0.
    """
    n, observed = len(differences), abs(differences.sum()) * (1.0 - 1e-12)
    if n <= _EXACT:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
        return float((np.abs(signs @ differences) >= observed).mean())
    generator, extreme = np.random.default_rng(_SEED), 0
    for _ in range(10):
        signs = generator.integers(0, 2, (_DRAWS // 10, n)) * 2.0 - 1.0
        extreme += int((np.abs(signs @ differences) >= observed).sum())
    return (extreme + 1) / (_DRAWS + 1)


def over_samples(log_volume: NDArray[np.floating], uncertainty: NDArray[np.floating], share: float) -> Contrast:
    """The same where the points are samples of the data themselves, so each is a unit: Welch's test of near and far."""
    from scipy import stats

    known = np.isfinite(log_volume)
    near, far = near_and_far(uncertainty[known], share)
    if near.sum() < 2 or far.sum() < 2:
        return Contrast(nan, reason="fewer than two samples are near a boundary, or far from one")
    volume = np.asarray(log_volume, np.float64)[known]
    a, b = volume[near], volume[far]
    if a.min() == a.max() and b.min() == b.max():
        equal = "all volumes" if a[0] == b[0] else "all volumes near a boundary, and all far from one,"
        return Contrast(float(a[0] - b[0]), reason=f"{equal} are equal: no scatter", n_units=len(a) + len(b))
    squares = [part.var(ddof=1) / len(part) for part in (a, b)]
    difference, error = float(a.mean() - b.mean()), sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(s**2 / (len(part) - 1) for s, part in zip(squares, (a, b), strict=True))
    reach = float(stats.t.ppf(0.5 + _LEVEL / 2, freedom)) * error
    p = float(2.0 * stats.t.sf(abs(difference) / error, freedom))
    ranks = float(stats.mannwhitneyu(a, b).pvalue)
    return Contrast(difference, error, difference - reach, difference + reach, p, ranks, len(a) + len(b))


def stretch(log_volume: float, n_directions: float) -> float:
    """A log volume as the mean factor by which one of its directions is stretched: exp(log volume / directions)."""
    ratio = log_volume / n_directions if n_directions else nan
    return float(np.exp(ratio)) if isfinite(ratio) else nan
