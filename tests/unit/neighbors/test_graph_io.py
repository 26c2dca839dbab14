"""A stored graph comes back as it was; a prefix of it is the graph of a smaller k."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from brute_force import gaussian

from rra_cli.errors import UserError
from rra_cli.neighbors import NeighborGraph, exact_neighbors
from rra_cli.neighbors.io import load_graph, save_graph


@pytest.fixture
def graph() -> NeighborGraph:
    return exact_neighbors(gaussian(50, 4), 12)


def test_round_trip(graph: NeighborGraph, tmp_path: Path) -> None:
    graph = NeighborGraph(graph.indices.astype(np.int64), graph.distances, 0.25, 50, engine="pynndescent")
    save_graph(graph, tmp_path / "new")
    loaded = load_graph(tmp_path / "new")
    assert np.array_equal(loaded.indices, graph.indices)
    assert np.array_equal(loaded.distances, graph.distances)
    assert loaded.indices.dtype == np.int32
    assert isinstance(loaded.indices, np.memmap)
    assert (loaded.recall, loaded.n_reference, loaded.self_excluded, loaded.engine) == (0.25, 50, True, "pynndescent")


def test_against_a_reference(tmp_path: Path) -> None:
    save_graph(exact_neighbors(gaussian(5, 4), 9, reference=gaussian(9, 4)), tmp_path)
    loaded = load_graph(tmp_path)
    assert (len(loaded), loaded.n_reference, loaded.self_excluded) == (5, 9, False)


def test_prefix(graph: NeighborGraph, tmp_path: Path) -> None:
    save_graph(graph, tmp_path)
    assert np.array_equal(load_graph(tmp_path, 5).indices, graph.indices[:, :5])
    with pytest.raises(UserError, match=r"k must lie in 1\.\.12 .* got 13"):
        load_graph(tmp_path, 13)


def test_damage_is_noticed(graph: NeighborGraph, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable neighbour graph"):
        load_graph(tmp_path)
    save_graph(graph, tmp_path)
    np.save(tmp_path / "indices.npy", graph.indices[:, :3])
    with pytest.raises(UserError, match="is damaged"):
        load_graph(tmp_path)
    np.save(tmp_path / "indices.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(UserError, match="no readable neighbour graph"):
        load_graph(tmp_path)
    save_graph(graph, tmp_path)
    (tmp_path / "graph.json").write_text(json.dumps({"k": 12}))
    with pytest.raises(UserError, match="no readable neighbour graph"):
        load_graph(tmp_path)
