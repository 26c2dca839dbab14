"""Intervals of means whose standard error is known: of disjoint blocks, and of one value a sample."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from rra_cli.metrics.mean_interval import mean_interval


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_it_is_the_interval_of_students_t(level: float) -> None:
    values = np.random.RandomState(0).normal(size=7)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    found = mean_interval(float(values.mean()), float(values.std(ddof=1)) / 7**0.5, 7, level)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-10)


def test_its_ends_lie_within_the_bounds() -> None:
    assert mean_interval(0.5, 1.0, 9, 0.95, (0.0, None))[0] == 0.0
    assert mean_interval(0.5, 1.0, 9, 0.95, (-1.0, 1.0))[1] == 1.0
    assert mean_interval(0.5, 1.0, 9)[0] < -1.0, "the control"


@pytest.mark.parametrize(("mean", "error", "count"), [(1.0, 0.1, 3), (1.0, 0.0, 9), (1.0, nan, 9), (nan, 0.1, 9)])
def test_few_values_and_those_without_a_spread_have_none(mean: float, error: float, count: int) -> None:
    assert all(map(isnan, mean_interval(mean, error, count)))
    assert not any(map(isnan, mean_interval(1.0, 0.1, 9))), "the control"


def test_intervals_of_four_blocks_hold_the_mean_of_such_blocks() -> None:
    """TwoNN of a block whose ratios follow its law is d m / G with G of the gamma law of m: d m / (m - 1) in the mean.

    At 0.95 of 20,000 sets, where the standard error is 0.0015; the normal quantile holds 0.855 of four normal values.
    """
    dimension, samples, sets = 7.0, 50, 20_000
    blocks = dimension * samples / np.random.RandomState(1).gamma(samples, size=(sets, 4))
    truth = dimension * samples / (samples - 1)
    means, errors = blocks.mean(axis=1), blocks.std(axis=1, ddof=1) / 2
    ends = [mean_interval(float(m), float(e), 4, 0.95, (0.0, None)) for m, e in zip(means, errors, strict=True)]
    assert 0.94 <= np.mean([low <= truth <= high for low, high in ends]) <= 0.956
    assert np.mean(np.abs(means - truth) <= 1.96 * errors) < 0.87, "the control"
