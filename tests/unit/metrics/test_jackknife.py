"""Standard errors from values without single samples, and the scales on which intervals are told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rra_cli.metrics.jackknife import (
    Spread,
    few,
    of_correlation,
    of_positive,
    of_signed,
    spread,
    unknown,
    wilson,
)

RNG = np.random.default_rng


def test_of_a_mean_it_is_the_standard_error_and_students_t() -> None:
    x = RNG(0).normal(size=80)
    found = spread((x.sum() - x) / 79, 80)
    assert found.std_error == pytest.approx(stats.sem(x))
    # Satterthwaite: of normal values about n - 1, as their fourth moment is three times the square of their second.
    large = RNG(1).normal(size=100_000)
    assert spread((large.sum() - large) / (len(large) - 1), len(large)).freedom == pytest.approx(100_000, rel=0.03)
    assert found.reach(0.9) == pytest.approx(stats.t.ppf(0.95, found.freedom) * stats.sem(x))
    assert found.reach(0.99) > found.reach(0.9)
    np.testing.assert_array_equal(found.array(), [found.std_error, found.decide, 80])


def test_a_part_of_the_samples_tells_it_as_well() -> None:
    x = RNG(2).normal(size=4000)
    without = (x.sum() - x) / 3999
    whole, part = spread(without, 4000), spread(without[:1000], 4000)
    assert part.std_error == pytest.approx(whole.std_error, rel=0.08)
    assert part.decide == pytest.approx(whole.decide, rel=0.3)


def test_where_one_sample_decides_nothing_is_told() -> None:
    x = np.zeros(200)
    x[3] = 1.0
    found = spread((x.sum() - x) / 199, 200)
    assert found.decide == pytest.approx(1.0, abs=0.02)
    assert found.reason == few(1.0) == "fewer than 10 samples decide"
    assert np.isnan(found.reach(0.95))
    assert few(10.0) == ""
    x[:100:2] = 1.0  # the control
    assert not spread((x.sum() - x) / 199, 200).reason


def test_what_does_not_move_has_no_error_and_what_has_no_value_no_spread() -> None:
    found = spread(1.0 - 1e-15 * RNG(3).random(60), 60)
    assert (found.std_error, found.reason, found.reach(0.95)) == (0.0, "", 0.0)
    assert spread(np.ones(49), 49).reason == "49 samples, of which 50 are needed"
    assert spread(np.append(np.ones(59), np.nan), 60).reason == "without a single sample it has no value"
    assert np.isnan(unknown("so").std_error)
    assert unknown("so").reason == "so"
    assert np.isnan(Spread(float("nan"), float("nan"), 0).reach(0.95))


def test_correlations_are_told_on_fishers_scale() -> None:
    low, high = of_correlation(0.8, 0.05, 0.0)
    assert np.arctanh([low, high]) == pytest.approx(np.arctanh(0.8) + np.array([-1, 1]) * 0.05 / (1 - 0.64))
    assert 0.8 - low > high - 0.8, "longer away from 1"
    assert of_correlation(0.02, 0.2, 0.0)[0] == 0.0
    assert of_correlation(0.02, 0.2, -1.0)[0] < 0.0
    assert of_correlation(0.99, 0.5, 0.0)[1] <= 1.0
    assert of_correlation(1.0, 0.0, 0.0) == of_correlation(1.0, 1e-9, 0.0) == (1.0, 1.0)
    assert np.isnan(of_correlation(0.8, float("nan"), 0.0)).all()


def test_quantities_keep_their_unit_and_their_bounds() -> None:
    assert of_positive(10.0, 1.0, 1.0) == pytest.approx((10 / np.exp(0.1), 10 * np.exp(0.1)))
    assert of_positive(1.05, 0.3, 1.0)[0] == 1.0
    for factor in (1.0, 1e6, 1e-9):
        found = np.array(of_signed(0.3 * factor, 0.2 * factor, 0.4 * factor, -np.inf)) / factor
        np.testing.assert_allclose(found, of_signed(0.3, 0.2, 0.4, -np.inf))
    # Far from 0 the logarithm, at 0 alike to both sides.
    assert of_signed(100.0, 1.0, 2.0, 0.0) == pytest.approx(of_positive(100.0, 2.0, 1e-9), rel=1e-4)
    low, high = of_signed(0.0, 1.0, 2.0, -np.inf)
    assert low == -high
    assert high == pytest.approx(2 * np.sinh(1.0))
    assert of_signed(0.0, 1.0, 2.0, 0.0)[0] == 0.0
    assert of_signed(3.0, 0.0, 0.0, 0.0) == (3.0, 3.0)


@pytest.mark.parametrize(("right", "n"), [(0, 30), (1, 30), (17, 40), (200, 200)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_of_accuracies_it_is_wilsons(right: int, n: int, level: float) -> None:
    expected = stats.binomtest(right, n).proportion_ci(level, "wilson")
    assert wilson(right / n, n, level) == pytest.approx((expected.low, expected.high), abs=1e-15)


def test_wilsons_interval_holds_near_one_where_the_standard_error_does_not() -> None:
    n, p = 100, 0.99
    counts = np.arange(n + 1)
    weights = stats.binom.pmf(counts, n, p)
    ends = np.array([wilson(count / n, n, 0.95) for count in counts])
    holds = (ends[:, 0] <= p) & (p <= ends[:, 1])
    assert 0.9 < weights @ holds < 0.99
    share = counts / n
    plain = np.abs(share - p) <= 1.96 * np.sqrt(share * (1 - share) / n)
    assert weights @ plain < 0.7, "the control"


@pytest.mark.parametrize("power", [400, -400])
def test_it_has_the_unit_of_the_values_however_large_that_is(power: int) -> None:
    """The fourth powers of 2^400 and 2^-400 are no numbers."""
    values = RNG(4).normal(size=60) + 3.0
    expected, found = spread(values, 60), spread(np.ldexp(values, power), 60)
    assert found.std_error == np.ldexp(expected.std_error, power)
    assert found.decide == expected.decide
