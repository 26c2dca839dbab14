"""What several scales say together: the best one, the local part, how curves agree, similarity across scales."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rra_cli.metrics.layer_similarity import nnls
from rra_cli.metrics.scale_similarity import nnls_between
from rra_cli.metrics.scales import best_scale, curve_correlation, difference, mean_and_error
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import InputError, NeighborGraph

N, K = 60, 6


def graphs(count: int, seed: int) -> list[NeighborGraph]:
    random = np.random.default_rng(seed)
    base = random.normal(size=(N, 3)).astype(np.float32)
    return [exact_neighbors(base + s * random.normal(size=base.shape).astype(np.float32), K) for s in range(count)]


def test_across_scales_is_nnls_pair_by_pair_and_not_symmetric() -> None:
    rows, columns = graphs(3, 0), graphs(4, 0)[1:]
    found = nnls_between(rows, columns)
    assert set(found) == {(a, b) for a in range(3) for b in range(3)}
    for (a, b), estimate in found.items():
        expected = nnls(rows[a], columns[b])
        assert (estimate.value, estimate.std_error, estimate.chance, estimate.n_used) == (
            *(expected.value, expected.std_error, expected.chance, expected.n_used),
        )
    assert found[0, 1].value != found[1, 0].value
    same = nnls_between(rows, rows)
    assert all(same[a, a].value == 1.0 and same[a, b].value == same[b, a].value for a in range(3) for b in range(3))
    assert nnls_between(rows, []) == {}


def test_a_layer_whose_samples_coincide_has_no_value_beside_any_other() -> None:
    rows = graphs(2, 0)
    flat = exact_neighbors(np.ones((N, 2), np.float32), K)
    found = nnls_between([*rows, flat], rows)
    assert [math.isnan(found[a, 0].value) for a in range(3)] == [False, False, True]
    assert found[2, 1].reason
    with pytest.raises(InputError, match="different k"):
        nnls_between(rows, [graph.prefix(3) for graph in rows])


def test_the_best_scale_is_the_finest_of_the_largest_and_names_what_is_as_good() -> None:
    assert best_scale([0.2, 0.5, 0.5, 0.1], [0, 0, 0, 0]) == (1, [1, 2])
    assert best_scale([0.2, 0.5, 0.47, 0.1], [0.01] * 4) == (1, [1])
    assert best_scale([0.2, 0.5, 0.47, 0.1], [0.011] * 4) == (1, [1, 2])
    assert best_scale([np.nan, 0.1, np.nan], [np.nan] * 3) == (1, [1])
    with pytest.raises(ValueError, match="no value at any scale"):
        best_scale([np.nan], [0.1])


def test_differences_and_means_carry_their_errors() -> None:
    assert difference(50.0, 8.0, 3.0, 4.0) == (42.0, 5.0)
    assert math.isnan(difference(math.nan, 8.0, 3.0, 4.0)[0])
    assert mean_and_error([1.0, 3.0], [0.1, 0.3]) == (2.0, pytest.approx(0.2))


def test_correlation_of_curves_is_that_of_numpy_and_blind_to_scale_and_offset() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=13), random.normal(size=13)
    assert curve_correlation(one, other)[0] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-14)
    assert curve_correlation(one, 3 * one - 7) == (pytest.approx(1.0), 13)
    assert curve_correlation(one, -one)[0] == pytest.approx(-1.0)
    one[3] = np.nan
    assert curve_correlation(one, other)[1] == 12
    assert math.isnan(curve_correlation(one, np.ones(13))[0])
    assert math.isnan(curve_correlation([1, 2], [2, 1])[0])
