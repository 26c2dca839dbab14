"""The interval of a mean of independent values, where their standard error is known already."""

from __future__ import annotations

from math import isnan, nan

from rra_cli.metrics.uncertainty import FEWEST_BLOCKS


def mean_interval(
    mean: float,
    std_error: float,
    count: int,
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
) -> tuple[float, float]:
    """Student's t interval of the expectation of `count` independent values of one law, within the values' bounds.

    For what shares nothing: values of disjoint blocks of the samples, or of one sample each. Values that share
    neighbours are not independent (`uncertainty`). std_error: standard deviation of the values / sqrt(count). (NaN,
    NaN) for fewer than four values, and without a spread, which tells nothing. Gosset 1908, "The probable error of a
    mean", Biometrika 6: exact for normal values.
    """
    from scipy.special import stdtrit

    if count < FEWEST_BLOCKS or isnan(mean) or not std_error > 0.0:
        return nan, nan
    reach = float(stdtrit(count - 1, 0.5 + level / 2)) * std_error
    low, high = bounds
    return (
        mean - reach if low is None else max(low, mean - reach),
        mean + reach if high is None else min(high, mean + reach),
    )
