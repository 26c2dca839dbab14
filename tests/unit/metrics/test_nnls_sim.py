"""NNLS_SIM: the Jensen-Shannon divergence of two numbers, by both of its readings, and its mean over maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from rra_cli.metrics.nnls_sim import bernoulli_divergence, nnls_sim, unnormalised_divergence

# In steps: scipy takes the root of what rounding may leave below 0 where two numbers differ in their last digits.
fractions = st.integers(0, 2000).map(lambda number: number / 2000)
few = settings(max_examples=50, deadline=None)


@few
@given(fractions, fractions)
def test_of_two_probabilities_it_is_scipys_of_two_coins(p: float, q: float) -> None:
    # scipy gives its root, which near 0 has half of the digits.
    expected = float(np.nan_to_num(jensenshannon([p, 1 - p], [q, 1 - q]))) ** 2
    assert float(bernoulli_divergence(p, q)) == pytest.approx(expected, abs=1e-9)


@few
@given(fractions, fractions)
def test_not_normalised_it_is_half_of_both_relative_entropies_to_the_mean(p: float, q: float) -> None:
    mean = (p + q) / 2
    expected = (rel_entr(p, mean) + rel_entr(q, mean)) / 2
    assert float(unnormalised_divergence(p, q)) == pytest.approx(max(expected, 0.0), abs=1e-12)


def test_known_values() -> None:
    assert float(bernoulli_divergence(0.0, 1.0)) == pytest.approx(np.log(2), abs=1e-15)
    assert float(unnormalised_divergence(0.6, 0.0)) == pytest.approx(0.3 * np.log(2), abs=1e-15)
    # p = 1/4, q = 3/4: log 2 minus the entropy of (1/4, 3/4).
    entropy = 0.25 * np.log(4) + 0.75 * np.log(4 / 3)
    assert float(bernoulli_divergence(0.25, 0.75)) == pytest.approx(np.log(2) - entropy, abs=1e-15)


@few
@given(fractions, fractions)
def test_both_are_symmetric_and_zero_for_equal_numbers_alone(p: float, q: float) -> None:
    for divergence in (bernoulli_divergence, unnormalised_divergence):
        assert float(divergence(p, q)) == pytest.approx(float(divergence(q, p)), abs=1e-15)
        assert float(divergence(p, p)) == 0.0
        assert float(divergence(p, q)) >= 0.0
        if abs(p - q) > 1e-4:
            assert float(divergence(p, q)) > 0.0


def test_a_library_on_one_number_says_zero_whatever_it_is_given() -> None:
    """Why neither reading is a call of one: it normalises the number to 1."""
    assert float(jensenshannon([0.1], [0.9])) == 0.0
    assert float(bernoulli_divergence(0.1, 0.9)) > 0.3


def test_of_maps_it_is_the_mean_over_all_cells() -> None:
    random = np.random.default_rng(0)
    one, other = random.uniform(size=(2, 5, 5))
    cells = [float(jensenshannon([p, 1 - p], [q, 1 - q])) ** 2 for p, q in zip(one.ravel(), other.ravel(), strict=True)]
    assert nnls_sim(one, other) == pytest.approx(np.mean(cells), abs=1e-12)
    assert nnls_sim(one, other, "unnormalised") != pytest.approx(nnls_sim(one, other), abs=1e-6)
    assert nnls_sim(one, one) == 0.0


def test_a_cell_without_a_value_leaves_none() -> None:
    one = np.full((2, 2), 0.5)
    other = one.copy()
    other[0, 1] = np.nan
    assert np.isnan(nnls_sim(one, other))


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        nnls_sim(np.ones((2, 2)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="same shape"):
        nnls_sim(np.ones((0, 0)), np.ones((0, 0)))
