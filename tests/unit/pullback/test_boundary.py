"""The test of magnified boundaries: what is near, coverage of its interval, and why pixels are no units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from rra_cli.pullback.boundary import (
    entropy,
    local_correlation,
    margin,
    near_and_far,
    over_samples,
    over_units,
    sign_flip,
    stretch,
    unit_difference,
)


def test_entropy_of_known_distributions() -> None:
    p = np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    np.testing.assert_allclose(entropy(p), [0.0, math.log10(4), math.log10(2)])
    np.testing.assert_allclose(entropy(np.full((1, 10), 0.1)), 1.0)


def test_margin_is_zero_on_a_boundary() -> None:
    np.testing.assert_allclose(margin(np.array([[0.4, 0.4, 0.2], [0.1, 0.7, 0.2]])), [0.0, 0.5])
    assert margin(np.ones((2, 1))).tolist() == [1.0, 1.0], "of one class there is no boundary"


def test_near_and_far_are_as_large_shares() -> None:
    uncertainty = np.random.default_rng(0).permutation(40) / 40
    near, far = near_and_far(uncertainty, 0.25)
    assert near.sum() == far.sum() == 10
    assert uncertainty[near].min() > uncertainty[~near].max()
    assert uncertainty[far].max() < uncertainty[~far].min()


def test_points_that_tie_are_on_the_same_side() -> None:
    near, far = near_and_far(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 2.0]), 1 / 6)
    assert far.tolist() == [True, True, True, False, False, False]
    assert near.tolist() == [False] * 5 + [True]
    near, far = near_and_far(np.full(7, 0.3), 0.25)
    assert not near.any()
    assert not far.any()


def test_the_difference_of_a_unit_is_that_of_two_means() -> None:
    volume, uncertainty = np.array([1.0, 2.0, 3.0, 10.0]), np.array([0.1, 0.2, 0.3, 0.4])
    assert unit_difference(volume, uncertainty, 0.5) == pytest.approx(6.5 - 1.5)
    assert unit_difference(volume, uncertainty, 0.25) == pytest.approx(9.0)
    # Of three points that have a volume the one in the middle is neither.
    assert unit_difference(np.array([1.0, np.nan, 3.0, 10.0]), uncertainty, 0.5) == pytest.approx(10.0 - 1.0)
    assert math.isnan(unit_difference(volume, np.zeros(4), 0.25))
    assert math.isnan(unit_difference(np.full(4, np.nan), uncertainty, 0.25))


def test_over_units_is_students_t() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1.0, 17)
    found, known = over_units(differences), stats.ttest_1samp(differences, 0.0)
    assert found.p == pytest.approx(known.pvalue)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.n_units == 17
    assert over_units(np.append(differences, np.nan)) == found


def test_sign_flips_are_those_of_an_exact_test() -> None:
    differences = np.random.default_rng(2).normal(0.7, 1.0, 9)
    known = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(differences) == pytest.approx(known.pvalue)
    many = np.random.default_rng(3).normal(0.35, 1.0, 30)
    assert sign_flip(many) == pytest.approx(stats.ttest_1samp(many, 0.0).pvalue, abs=0.02)
    assert sign_flip(np.full(30, 1.0)) > 0.0, "never zero"


def test_too_few_units_have_a_reason_and_no_p() -> None:
    assert "no unit" in over_units(np.array([np.nan, np.nan])).reason
    one = over_units(np.array([0.3]))
    assert one.difference == 0.3
    assert "not independent" in one.reason
    assert math.isnan(one.p)
    assert math.isnan(one.low)
    equal = over_units(np.array([0.5, 0.5, 0.5]))
    assert (equal.low, equal.high, equal.p) == (0.5, 0.5, 0.0)
    assert over_units(np.zeros(3)).p == 1.0


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(4), 0
    for _ in range(400):
        found = over_units(generator.normal(0.2, 1.0, 10))
        covered += found.low <= 0.2 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def smooth(generator: np.random.Generator, n: int = 24) -> np.ndarray:
    """A random field whose neighbours depend on each other, of mean 0 and variance near 1."""
    field = gaussian_filter(generator.normal(size=(n, n)), 4.0, mode="wrap")
    return (field / field.std()).ravel()


def test_over_unrelated_smooth_fields_units_are_honest_and_pixels_are_not() -> None:
    """Volume and uncertainty have nothing to do with each other: p below 0.05 must be rare. With pixels as units it is
    the rule, as they depend on each other.
    """
    generator, by_units, by_pixels = np.random.default_rng(5), 0, 0
    runs, n_units = 100, 8
    for _ in range(runs):
        fields = [(smooth(generator), smooth(generator)) for _ in range(n_units)]
        differences = np.array([unit_difference(*pair, 0.25) for pair in fields])
        by_units += over_units(differences).p < 0.05
        by_pixels += over_samples(*fields[0], 0.25).p < 0.05
    assert by_units / runs < 0.11
    assert by_pixels / runs > 0.5


def test_magnified_boundaries_are_found() -> None:
    """Power: a difference of half a standard deviation of the field shows in twenty units."""
    generator = np.random.default_rng(6)
    found = []
    for _ in range(20):
        uncertainty, field = smooth(generator), smooth(generator)
        found.append(unit_difference(field + 0.5 * uncertainty, uncertainty, 0.25))
    contrast = over_units(np.array(found))
    # E[u | upper quarter] - E[u | lower quarter] of a normal variable is 2 * 1.271.
    assert contrast.low < 0.5 * 2 * 1.271 < contrast.high
    assert contrast.p < 0.01
    assert contrast.p_free < 0.01


def test_samples_are_units_of_a_test_of_welch() -> None:
    generator = np.random.default_rng(7)
    uncertainty = generator.uniform(size=80)
    volume = generator.normal(size=80) + uncertainty
    near, far = near_and_far(uncertainty, 0.25)
    known = stats.ttest_ind(volume[near], volume[far], equal_var=False)
    found = over_samples(volume, uncertainty, 0.25)
    assert found.p == pytest.approx(known.pvalue)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_free == pytest.approx(stats.mannwhitneyu(volume[near], volume[far]).pvalue)
    assert found.n_units == 40
    assert "fewer than two" in over_samples(volume[:3], uncertainty[:3], 0.25).reason


@pytest.mark.parametrize(
    ("near", "far", "reason"),
    [
        (2.0, 1.0, "all volumes near a boundary, and all far from one, are equal: no scatter"),
        (0.1, 0.1, "all volumes are equal: no scatter"),  # whose mean of three is not 0.1
    ],
)
def test_samples_without_scatter_have_a_difference_and_the_right_reason(near: float, far: float, reason: str) -> None:
    found = over_samples(np.repeat([far, near], [4, 3]), np.repeat([0.0, 1.0], [4, 3]), 3 / 7)
    assert (found.difference, found.n_units, found.reason) == (near - far, 7, reason)
    assert np.isnan([found.low, found.high, found.p, found.p_free]).all()
    one_side = over_samples(np.array([1.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0]), 0.5)
    assert (one_side.difference, one_side.reason) == (1.5, ""), "the control: one side that scatters is enough"
    assert 0.0 < one_side.p < 1.0


def test_what_peaks_in_the_middle_alone_has_no_local_correlation() -> None:
    """Volume and uncertainty that are both highest in the middle of every line differ between near and far, though
    nothing connects them: without their trends nothing is left. A ridge at the boundary is.
    """
    generator, t = np.random.default_rng(8), np.linspace(0, 1, 25)[:, None]
    hill = -((t[:, 0] - 0.5) ** 2)
    apart, together, near = [], [], []
    for _ in range(40):
        ridge = np.exp(-(((t[:, 0] - generator.uniform(0.3, 0.7)) / 0.08) ** 2))
        rough = 0.05 * generator.normal(size=(2, 25))
        apart.append(local_correlation(hill + rough[0], hill + rough[1], t))
        near.append(unit_difference(hill + rough[0], hill + rough[1], 0.25))
        together.append(local_correlation(hill + ridge + rough[0], 3 * hill + ridge + rough[1], t))
    assert over_units(np.array(near)).p < 1e-6, "the trap"
    assert over_units(np.array(apart)).p > 0.05
    assert over_units(np.array(together)).low > 0.5


def test_a_local_correlation_is_that_of_the_residuals() -> None:
    generator = np.random.default_rng(9)
    places = generator.uniform(size=(30, 2))
    x, y = places.T
    volume, uncertainty = generator.normal(size=(2, 30))
    trend = np.stack([np.ones(30), x, y, x * x, x * y, y * y], axis=1)
    project = np.eye(30) - trend @ np.linalg.pinv(trend)
    expected = np.corrcoef(project @ volume, project @ uncertainty)[0, 1]
    assert local_correlation(volume, uncertainty, places) == pytest.approx(expected)
    shifted = volume + 5 - 3 * x + 2 * x * y
    assert local_correlation(shifted, uncertainty, places) == pytest.approx(expected), "trends do not matter"
    assert math.isnan(local_correlation(volume, 1 + x - y**2, places)), "nothing but a trend"
    assert math.isnan(local_correlation(volume[:8], uncertainty[:8], places[:8])), "too few points"


def test_stretch_is_per_direction() -> None:
    assert stretch(3 * math.log(1.5), 3) == pytest.approx(1.5)
    assert math.isnan(stretch(math.nan, 3))
    assert math.isnan(stretch(1.0, 0))
