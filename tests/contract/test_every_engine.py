"""Every neighbour engine, found by itself: its graph is a graph of the data, whatever it is searched with."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rra_cli.core.component import components
from rra_cli.neighbors import NeighborGraph
from rra_cli.neighbors.auto import engine_for
from rra_cli.neighbors.engine import Engine

ENGINES: dict[str, Engine] = {name: cls() for name, cls in components("neighbors").items()}
N, D, K = 400, 6, 8


def points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def true_distances(x: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None].astype(np.float64) - x[ids].astype(np.float64), axis=2)


def recall_of(x: np.ndarray, graph: NeighborGraph) -> float:
    """Fraction of listed neighbours that are as near as the k-th true one: ties may go either way."""
    everyone = np.linalg.norm(x[:, None].astype(np.float64) - x[None].astype(np.float64), axis=2)
    np.fill_diagonal(everyone, np.inf)
    kth = np.sort(everyone, axis=1)[:, graph.k - 1]
    return float((true_distances(x, graph.indices) <= kth[:, None] * (1 + 1e-9)).mean())


@cache
def graph_of(name: str) -> NeighborGraph:
    return ENGINES[name].search(points(), K)


# An approximate engine compiles for half a minute when it is first used, in every process that does: CI compiles it for
# tests/unit/neighbors/test_nn_descent_library.py, which says the same of it.
each_engine = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.stress) if name == "pynndescent" else name for name in ENGINES]
)


@each_engine
def test_lists_hold_true_distances_and_most_true_neighbours(name: str) -> None:
    """The type checks order, repeats and self; here that distances belong to ids, and the recall is what it says."""
    graph = graph_of(name)
    chosen = engine_for(ENGINES[name], N, D, K, first=True).engine.name
    assert (graph.indices.shape, graph.engine, graph.self_excluded) == ((N, K), chosen, True)
    np.testing.assert_allclose(graph.distances, true_distances(points(), graph.indices), rtol=1e-6)
    found = recall_of(points(), graph)
    assert found > 0.9
    assert graph.recall == pytest.approx(found, abs=0.03)


def test_a_graph_of_other_data_is_seen() -> None:
    """Negative control: the same lists on other points have neither their distances nor their neighbours."""
    other = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    graph = graph_of("exact")
    assert recall_of(other, graph) < 0.1
    assert not np.allclose(graph.distances, true_distances(other, graph.indices), rtol=0.01)


@each_engine
def test_the_same_search_gives_the_same_graph(name: str, tmp_path: Path) -> None:
    """With less memory and a folder to keep blocks in, too: both are execution, not identity."""
    again = ENGINES[name].search(points(), K, memory=1 << 20, work=tmp_path)
    np.testing.assert_array_equal(again.indices, graph_of(name).indices)
    np.testing.assert_array_equal(again.distances, graph_of(name).distances)


@each_engine
def test_a_smaller_k_is_a_prefix_where_the_engine_says_so(name: str) -> None:
    """The store serves a smaller k from a larger graph exactly then."""
    if ENGINES[name].prefix_stable:
        small = ENGINES[name].search(points(), 3)
        np.testing.assert_array_equal(small.indices, graph_of(name).prefix(3).indices)
        np.testing.assert_array_equal(small.distances, graph_of(name).prefix(3).distances)


@pytest.mark.parametrize("name", ENGINES)
def test_k_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match="k is 0; at least 1"):
        type(ENGINES[name])(k=0)
