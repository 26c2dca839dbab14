"""Graphs by pynndescent: valid, repaired, and honest about their recall."""

from __future__ import annotations

import numpy as np
import pytest
from reference_impl import distance_matrix, true_recall

from rra_cli.errors import UserError
from rra_cli.neighbors import NeighborGraph, approximate_neighbors

# pynndescent compiles for half a minute and more in a process that has not used it.
pytestmark = pytest.mark.long

K = 10


@pytest.fixture(scope="module")
def hard() -> np.ndarray:
    """High intrinsic dimension, where descent loses neighbours (Gaussian, d = 1,000)."""
    return np.random.default_rng(0).normal(size=(2000, 1000)).astype(np.float32)


@pytest.fixture(scope="module")
def hard_graph(hard: np.ndarray) -> NeighborGraph:
    return approximate_neighbors(hard, K)


def test_lists_hold_true_distances_in_order(hard: np.ndarray, hard_graph: NeighborGraph) -> None:
    """The distances are those of the listed ids, whatever descent reported; the type checks self, repeats and order."""
    assert hard_graph.indices.shape == (len(hard), K)
    assert hard_graph.self_excluded
    assert hard_graph.n_reference == len(hard)
    rows = np.random.default_rng(1).choice(len(hard), 100, replace=False)
    table = distance_matrix(hard[rows], hard)
    listed = np.take_along_axis(table, hard_graph.indices[rows], axis=1)
    np.testing.assert_allclose(hard_graph.distances[rows], listed, rtol=1e-6)


def test_recall_is_measured(hard: np.ndarray, hard_graph: NeighborGraph) -> None:
    """The stored recall is the true one over all rows, within the error of the rows that it was measured on.

    With at least 200 rows of 10 neighbours and a spread over rows of at most 0.5, four standard errors are 0.14.
    """
    true = true_recall(hard_graph.indices[:, :], hard)
    assert true < 0.995, "too easy: the test could not tell a recall of 1.0 that was never measured"
    assert abs(hard_graph.recall - true) < min(0.14, 0.5 * (1 - true) + 0.02)


def test_easy_data_is_found(hard_graph: NeighborGraph) -> None:
    """Control: on a plane nothing is lost, and the recall says so."""
    x = np.random.default_rng(2).normal(size=(2000, 2)).astype(np.float32)
    graph = approximate_neighbors(x, K)
    assert true_recall(graph.indices, x) > 0.99
    assert graph.recall > 0.98
    assert graph.recall > hard_graph.recall


def test_same_call_same_graph(hard: np.ndarray, hard_graph: NeighborGraph) -> None:
    again = approximate_neighbors(hard, K)
    np.testing.assert_array_equal(again.indices, hard_graph.indices)
    np.testing.assert_array_equal(again.distances, hard_graph.distances)
    assert again.recall == hard_graph.recall


def test_duplicates_never_bring_self_back() -> None:
    x = np.random.default_rng(3).normal(size=(200, 5)).astype(np.float32)[np.tile(np.arange(200), 6)]
    graph = approximate_neighbors(x, 5)
    assert not (graph.indices == np.arange(len(x))[:, None]).any()
    table = distance_matrix(x[:50], x)
    np.testing.assert_allclose(graph.distances[:50], np.take_along_axis(table, graph.indices[:50], axis=1), atol=1e-12)


def test_bad_input_is_the_users_fault() -> None:
    x = np.random.default_rng(4).normal(size=(50, 5)).astype(np.float32)
    with pytest.raises(UserError, match="50"):
        approximate_neighbors(x, 50)
    x[3, 2] = np.nan
    with pytest.raises(UserError, match=r"\b1\b"):
        approximate_neighbors(x, 5)
