"""Correlations: scipy as the oracle, and what autocorrelation does to p-values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rra_cli.comparison.correlate import autocorrelation, correlate, effective_points, ranks


@pytest.mark.parametrize("seed", range(5))
def test_values_p_values_and_intervals_are_those_of_scipy(seed: int) -> None:
    random = np.random.RandomState(seed)
    x = random.normal(size=12).round(1)  # with ties
    y = 0.5 * x + random.normal(size=12)
    found, pearson, spearman = correlate(x, y), stats.pearsonr(x, y), stats.spearmanr(x, y)
    assert (found.r, found.p) == pytest.approx((pearson.statistic, pearson.pvalue), rel=1e-9)
    assert (found.rho, found.rho_p) == pytest.approx((spearman.statistic, spearman.pvalue), rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(pearson.confidence_interval(0.95)), rel=1e-9)
    assert found.p_effective == found.p, "points in no order are worth as many as there are"


def test_a_line_correlates_fully_and_its_negative_fully_the_other_way() -> None:
    x = np.arange(5.0)
    assert correlate(x, 2 * x + 1).r == 1.0
    assert correlate(x, -x).r == -1.0
    assert correlate(x, x).p == 0.0
    assert correlate(1e200 * x, 1e-200 * x).r == 1.0


def test_a_monotone_curve_has_full_rank_correlation_and_not_full_pearson() -> None:
    x = np.arange(1.0, 9.0)
    found = correlate(x, np.exp(x))
    assert found.rho == 1.0
    assert found.r < 0.9


def test_ranks_of_ties_are_shared() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_spearman_of_few_points_is_counted_over_all_orders() -> None:
    assert correlate([0.0, 0.5, 1.0], [0.9, 0.4, 0.1]).rho_p == pytest.approx(1 / 3), "2 of 6 orders are as extreme"
    assert correlate([1, 2, 3, 4], [1, 2, 3, 4]).rho_p == pytest.approx(2 / 24)
    random = np.random.RandomState(0)
    for n in (5, 7):
        x, y = random.normal(size=n), random.normal(size=n).round()  # with ties
        y[0] += 1.0

        def statistic(order: np.ndarray, y: np.ndarray = y) -> float:
            return float(stats.spearmanr(order, y).statistic)

        exact = stats.permutation_test((x,), statistic, permutation_type="pairings", n_resamples=np.inf)
        assert correlate(x, y).rho_p == pytest.approx(exact.pvalue)
    x = np.arange(10.0)
    assert correlate(x, x).rho_p == 0.0, "of ten points Student's t is taken"


def test_too_few_points_and_constant_columns_have_a_reason_and_no_value() -> None:
    few = correlate([1.0, 2.0, np.nan], [1.0, 2.0, 3.0])
    assert (few.n, few.reason) == (2, "2 points; at least 3 are needed")
    assert math.isnan(few.r)
    assert correlate([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).reason == "one of the columns is constant"
    three = correlate([1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    assert math.isnan(three.low), "Fisher's interval needs four"
    assert not math.isnan(three.p)


def walks(random: np.random.RandomState, n: int, phi: float) -> np.ndarray:
    steps = random.normal(size=n)
    for at in range(1, n):
        steps[at] += phi * steps[at - 1]
    return steps


def test_unrelated_series_seem_related_unless_their_effective_number_is_counted() -> None:
    random, trials = np.random.RandomState(0), 400
    plain = effective = 0
    for _ in range(trials):
        found = correlate(walks(random, 60, 0.85), walks(random, 60, 0.85), ordered=True)
        plain += found.p < 0.05
        effective += found.p_effective < 0.05
    assert plain / trials > 0.25, "the control: the plain p-value is wrong five times too often"
    assert effective / trials < 0.12


def test_independent_series_are_worth_about_their_length_and_never_more() -> None:
    random = np.random.RandomState(1)
    x, y = random.normal(size=500), random.normal(size=500)
    assert 480 < effective_points(x, y) <= 500
    zigzag = np.tile([0.0, 1.0], 20)
    assert autocorrelation(zigzag) < 0
    assert effective_points(zigzag, zigzag) == 40.0
