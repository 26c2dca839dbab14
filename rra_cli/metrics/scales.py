"""What values at several pooling scales say together: the best scale, what pooling takes away, how curves agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

_ERRORS = 2.0


def best_scale(values: ArrayLike, errors: ArrayLike) -> tuple[int, list[int]]:
    """Place of the largest value, and the places that are as good, ascending.

    values, errors: `(n,)`, in the order of scales, with their standard errors (NaN: not known, taken as 0); NaN values
    are passed over. Of equal values the first is the best: name the finest scale first. As good is what lies within two
    standard errors, sqrt(e² + e_best²), of the best, as if the two were independent; they are measured on the same
    samples, so the list is rather too long than too short. Raises ValueError where there is no value.
    """
    value, error = np.asarray(values, np.float64), np.nan_to_num(np.asarray(errors, np.float64))
    if np.isnan(value).all():
        raise ValueError("there is no value at any scale")
    best = int(np.nanargmax(value))
    near = value >= value[best] - _ERRORS * np.hypot(error, error[best])
    return best, [int(place) for place in np.flatnonzero(near)]


def difference(whole: float, part: float, whole_error: float, part_error: float) -> tuple[float, float]:
    """whole - part and its standard error as if both were independent, which is too large where they rise together.

    Of unpooled and globally pooled ID the difference is the local part: the dimensions that positions add to what the
    channels' means (or maxima) say (RRA thesis, ch. 6).
    """
    return whole - part, math.hypot(whole_error, part_error)


def curve_correlation(one: ArrayLike, other: ArrayLike) -> tuple[float, int]:
    """Pearson's r of two curves along the same layers `(n,)`, and over how many layers both have a value.

    NaN below three layers, or where a curve is constant.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    a, b, n = a[both], b[both], int(both.sum())
    if n < 3 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return math.nan, n
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a @ b) / math.sqrt((a @ a) * (b @ b)), -1.0, 1.0)), n


def mean_and_error(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """The mean over the layers of a stage, with the mean of their standard errors.

    That is the error where the errors of the layers are one and the same, which is nearly so for layers measured on the
    same samples; less than that it could be only if they were independent.
    """
    return float(np.mean(values)), float(np.mean(errors))
