"""The comparison of the oracle tests is right itself: it accepts plain brute forces and refuses careless engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from brute_force64 import assert_neighbors, brute_force, direct_distances, has_exact_squares
from search_data import RECIPES, Array, copies, gaussian, lattice, near_copies, one_feature_per_row, rounded_apart


def _lists(squares: Array, k: int) -> tuple[Array, Array]:
    ids = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return ids, np.sqrt(np.maximum(np.take_along_axis(squares, ids, 1), 0)).astype(np.float64)


def _float64(x: Array, reverse: bool = False) -> Array:
    """Squared direct differences in float64, self at infinity; summed over the features from either end."""
    y = x.astype(np.float64)[:, :: -1 if reverse else 1]
    squares = np.zeros((len(y), len(y)))
    for column in y.T:
        squares += (column[:, None] - column) ** 2
    np.fill_diagonal(squares, np.inf)
    return squares


def plain_float64(x: Array, k: int) -> tuple[Array, Array]:
    return _lists(_float64(x), k)


def summed_from_the_other_end(x: Array, k: int) -> tuple[Array, Array]:
    return _lists(_float64(x, reverse=True), k)


def float32_expansion(x: Array, k: int) -> tuple[Array, Array]:
    y = (x - x.mean(axis=0)).astype(np.float32)
    norms = (y * y).sum(axis=1)
    squares = norms[:, None] + norms - 2 * y @ y.T
    np.fill_diagonal(squares, np.inf)
    return _lists(squares, k)


def uncentred_float32_expansion_evaluated_again(x: Array, k: int) -> tuple[Array, Array]:
    """Distances right, neighbours wrong: the candidates are re-evaluated, but some true ones were never among them."""
    y = x.astype(np.float32)
    norms = (y * y).sum(axis=1)
    squares = norms[:, None] + norms - 2 * y @ y.T
    return _evaluated_again(x, squares, k)


def int8_candidates_without_a_certificate(x: Array, k: int) -> tuple[Array, Array]:
    """A scale per row, 1.3 k candidates, exact re-evaluation: right only where rounding to 8 bits is harmless."""
    y = x - x.mean(axis=0)
    unit = np.abs(y).max(axis=1, keepdims=True) / 127
    rounded = np.rint(y / unit) * unit
    norms = (rounded**2).sum(axis=1)
    return _evaluated_again(x, norms[:, None] + norms - 2 * rounded @ rounded.T, k)


def _evaluated_again(x: Array, squares: Array, k: int) -> tuple[Array, Array]:
    np.fill_diagonal(squares, np.inf)
    candidates = np.sort(np.argsort(squares, axis=1)[:, : k + k // 3], axis=1)
    exact = np.take_along_axis(_float64(x), candidates, 1)
    places, distances = _lists(exact, k)
    return np.take_along_axis(candidates, places, 1), distances


def first_column_dropped(x: Array, k: int) -> tuple[Array, Array]:
    squares = _float64(x)
    np.fill_diagonal(squares, 0.0)
    ids, distances = _lists(squares, k + 1)
    return ids[:, 1:], distances[:, 1:]


def partitioned_without_ties(x: Array, k: int) -> tuple[Array, Array]:
    squares = _float64(x)
    ids = np.argpartition(squares, k - 1, axis=1)[:, :k]
    places, distances = _lists(np.take_along_axis(squares, ids, 1), k)
    return np.take_along_axis(ids, places, 1), distances


def float32_distances(x: Array, k: int) -> tuple[Array, Array]:
    ids, distances = plain_float64(x, k)
    return ids, distances.astype(np.float32).astype(np.float64)


def one_triangle(x: Array, k: int) -> tuple[Array, Array]:
    """Symmetric tiles whose mirrored half got lost, in one row at the end."""
    squares = _float64(x)
    squares[-1, : len(x) // 4] = np.inf
    return _lists(squares, k)


def last_bit(x: Array, k: int) -> tuple[Array, Array]:
    """One near-duplicate's distance off by 1e-9 of itself, in one row."""
    ids, distances = plain_float64(x, k)
    distances[7, 0] *= 1 - 1e-9
    return ids, distances


Engine = Callable[[Array, int], tuple[Array, Array]]
NEAR, OFFSET = near_copies(240, 30).astype(np.float32), (gaussian(240, 20) + 1e4).astype(np.float32)


@pytest.mark.parametrize("engine", [plain_float64, summed_from_the_other_end])
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_comparison_accepts_any_order_of_summation(engine: Engine, recipe: str) -> None:
    x = RECIPES[recipe](150, 120, 5)
    assert_neighbors(*engine(x, 20), x, 20)


@pytest.mark.parametrize(
    ("engine", "x"),
    [
        (float32_expansion, NEAR),
        (float32_expansion, gaussian(200, 20).astype(np.float32)),
        (uncentred_float32_expansion_evaluated_again, OFFSET),
        (int8_candidates_without_a_certificate, one_feature_per_row(240, 20)),
        (int8_candidates_without_a_certificate, NEAR),
        (int8_candidates_without_a_certificate, rounded_apart(400, 120)),
        (first_column_dropped, copies(240, 9)),
        (partitioned_without_ties, lattice(240, 4, values=5)),
        (float32_distances, gaussian(200, 20)),
        (one_triangle, gaussian(200, 20)),
        (last_bit, NEAR),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_comparison_refuses_wrong_engines(engine: Engine, x: Array) -> None:
    """Each answers something that looks like a graph, and is caught; a plain float64 brute force passes."""
    assert_neighbors(*plain_float64(x, 12), x, 12)
    with pytest.raises(AssertionError, match=r"row \d+ |own neighbour"):
        assert_neighbors(*engine(x, 12), x, 12)


def test_the_brute_force_itself() -> None:
    """Closed forms: a right triangle, points on a line, ids of ties, self left out by id."""
    x = np.array([[0, 0], [3, 4], [3, 0], [0, 0]])
    ids, distances = brute_force(x, 3)
    np.testing.assert_array_equal(ids, [[3, 2, 1], [2, 0, 3], [0, 3, 1], [0, 2, 1]])
    np.testing.assert_array_equal(distances, [[0, 3, 5], [4, 5, 5], [3, 3, 4], [0, 3, 5]])
    np.testing.assert_array_equal(direct_distances(np.array([[1e200]]), np.array([[-1e200]])), [[2e200]])
    assert has_exact_squares(lattice(5, 3) * 2.0**100 + 2.0**100)
    assert not has_exact_squares(lattice(5, 3) * 0.1)
