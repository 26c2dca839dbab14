"""Means over seeds, and intervals and tests whose units are seeds: pure functions of arrays.

A network trained once more differs by its seed; samples, layers, pairs of models and epochs of one training are no
independent repetitions. So n counts seeds everywhere in here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
NAN = float("nan")
LEVEL = 0.95
NO_SCATTER = "the differences are all equal: no scatter"
_ROUNDING = 8.0 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1 in the denominator) and interval of n values; NaN where n is too small."""

    mean: float
    sd: float
    n: int
    low: float = NAN
    high: float = NAN


@dataclass(frozen=True)
class Difference:
    """The difference of two means with its interval and two-sided p-value (Student's t); NaN where n is too small.

    reason: why there is neither, where the values have no scatter.
    """

    value: float
    low: float
    high: float
    p: float
    paired: bool
    reason: str = ""


def check_level(level: float) -> float:
    """The level of an interval; ValueError outside of (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of intervals must lie between 0 and 1, got {level}")
    return level


def t_quantile(level: float, df: ArrayLike) -> Floats:
    """Half the width of a two-sided interval of Student's t in standard errors; NaN for df that is not above 0."""
    from scipy.special import stdtrit

    degrees = np.asarray(df, np.float64)
    inside = np.where(degrees > 0, degrees, 1.0)
    return np.where(degrees > 0, np.asarray(stdtrit(inside, 0.5 + check_level(level) / 2), np.float64), NAN)


def t_p_value(t: ArrayLike, df: ArrayLike) -> Floats:
    """The two-sided p-value of a t statistic; NaN for df that is not above 0."""
    from scipy.special import stdtr

    statistic, degrees = np.abs(np.asarray(t, np.float64)), np.asarray(df, np.float64)
    inside = np.where(degrees > 0, degrees, 1.0)
    return np.where(degrees > 0, 2.0 * np.asarray(stdtr(inside, -statistic), np.float64), NAN)


def summarise(values: Iterable[float], level: float = LEVEL) -> Summary:
    """Mean, sd and t interval of the finite ones among independent values; the same in any order of them.

    mean ± t(n - 1) sd / sqrt(n). One value has neither sd nor interval.
    """
    known = [float(value) for value in values if math.isfinite(value)]
    n = len(known)
    if n == 0:
        return Summary(NAN, NAN, 0)
    mean = _mean(known)
    if n == 1:
        return Summary(mean, NAN, 1)
    sd = _sd(known, mean)
    half = float(t_quantile(level, n - 1)) * sd / math.sqrt(n)
    return Summary(mean, sd, n, mean - half, mean + half)


def within_rounding(spread: ArrayLike, scale: ArrayLike, units: int = 1) -> NDArray[np.bool_]:
    """Whether a spread is no larger than what rounding makes of values up to `scale` (of `units` sums of them)."""
    return np.asarray(np.asarray(spread) <= units * _ROUNDING * np.asarray(scale))


def difference(
    one: dict[Any, float], other: dict[Any, float], level: float = LEVEL, *, scale: float = 0.0
) -> Difference:
    """The mean of `one` minus that of `other`, both by seed.

    Where both have the same seeds, seed by seed (a paired t test: the same seed is the same initialisation and order);
    else Welch's test, with Satterthwaite's degrees of freedom. Values that are not finite are left out.

    Differences that scatter by no more than rounding are no sample of anything: a t test would tell p = 0 of it, so
    there is neither interval nor p. scale: the largest |value| that the values are themselves differences of.
    """
    a = {seed: value for seed, value in one.items() if math.isfinite(value)}
    b = {seed: value for seed, value in other.items() if math.isfinite(value)}
    paired = a.keys() == b.keys() and None not in a
    if not a or not b:
        return Difference(NAN, NAN, NAN, NAN, paired)
    largest = max(scale, *map(abs, a.values()), *map(abs, b.values()))
    if paired:
        found = summarise([a[seed] - b[seed] for seed in a], level)
        if within_rounding(found.sd, largest):
            return Difference(found.mean, NAN, NAN, NAN, paired, NO_SCATTER)
        return _difference(found.mean, found.sd**2 / found.n, found.n - 1, level, paired=True)
    first, second = summarise(a.values()), summarise(b.values())
    if within_rounding(first.sd, largest) and within_rounding(second.sd, largest):
        return Difference(first.mean - second.mean, NAN, NAN, NAN, paired, NO_SCATTER)
    parts = np.array([first.sd**2 / first.n, second.sd**2 / second.n])
    df = satterthwaite(parts[:, None], np.array([[first.n - 1], [second.n - 1]]))[0]
    return _difference(first.mean - second.mean, float(parts.sum()), float(df), level, paired=False)


def _difference(value: float, variance: float, df: float, level: float, *, paired: bool) -> Difference:
    error = math.sqrt(variance) if variance > 0 else NAN
    half, t = float(t_quantile(level, df)) * error, value / error
    return Difference(value, value - half, value + half, float(t_p_value(t, df)) if t == t else NAN, paired)


def satterthwaite(parts: Floats, dfs: ArrayLike) -> Floats:
    """Degrees of freedom `(cells,)` of a sum of variances `(strata, cells)` that have `dfs` each.

    (Σ v)² / Σ (v² / df), Welch (1947); where all parts are 0, the smallest df. NaN where a part is.
    """
    degrees = np.broadcast_to(np.asarray(dfs, np.float64), parts.shape)
    total = parts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = total**2 / (parts**2 / degrees).sum(axis=0)
    return np.where(total > 0, found, np.where(total == 0, degrees.min(axis=0), NAN))


@dataclass(frozen=True)
class CellSummary:
    """Estimates of many cells at once with intervals and p-values (of being 0); arrays of one shape.

    reason: why a cell with a value has no interval, where that is known.
    """

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    reason: NDArray[np.str_] = field(default_factory=lambda: np.array(""))


@dataclass(frozen=True)
class Stratum:
    """Units that are independent of those of other strata. left_out: the statistic without each of them,
    `(units, ...)`, NaN where that leaves nothing; present: `(units, ...)`, whether the unit has a say in a cell."""

    left_out: Floats
    present: NDArray[np.bool_]


def jackknife(value: Floats, strata: Sequence[Stratum], level: float = LEVEL) -> CellSummary:
    """Interval of a statistic `(...)` from its values without each of its units.

    Variance: the sum over strata of (n - 1) / n Σ (θ_i - mean θ)²; the interval is Student's t with n - 1 degrees of
    freedom (Satterthwaite's for several strata).

    For means over pairs of units (a U-statistic) this is Arvesen (1969), Ann. Math. Stat. 40; on average the variance
    is not below the true one (Efron & Stein 1981). Of n < 3 units there is no pair left without one of them, so there
    is no interval.
    """
    parts, dfs = [], []
    for stratum in strata:
        n = stratum.present.sum(axis=0)
        known = np.where(stratum.present, stratum.left_out, 0.0)  # a NaN among them stays one
        mean = known.sum(axis=0) / np.maximum(n, 1)
        spread = np.where(stratum.present, (known - mean) ** 2, 0.0).sum(axis=0)
        parts.append(np.where(n > 1, (n - 1) / np.maximum(n, 1) * spread, NAN))
        dfs.append(n - 1.0)
    variance = np.stack(parts).reshape(len(parts), -1)
    df = satterthwaite(variance, np.stack(dfs).reshape(len(dfs), -1)).reshape(value.shape)
    error = np.sqrt(variance.sum(axis=0)).reshape(value.shape)
    half = t_quantile(level, df) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, value / error, np.where(value == 0, 0.0, np.inf))
    p = np.where(np.isfinite(error), t_p_value(t, df), NAN)
    return CellSummary(value, value - half, value + half, p)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _sd(values: Sequence[float], mean: float) -> float:
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
