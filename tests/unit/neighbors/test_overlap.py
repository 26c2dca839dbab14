"""Intersections of neighbour lists equal those of Python sets, however the work is cut."""

from __future__ import annotations

import numpy as np
import pytest
from brute_force import gaussian

from rra_cli.errors import UserError
from rra_cli.neighbors import exact_neighbors, overlap
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.overlap import intersection_blocks, intersections


def layers(n: int, k: int, count: int = 4) -> list[NeighborGraph]:
    x = gaussian(n, 6)
    return [exact_neighbors(x + noise * gaussian(n, 6, seed=noise + 1), k) for noise in range(count)]


@pytest.mark.parametrize(("n", "k"), [(2, 1), (63, 5), (64, 63), (65, 10), (130, 129), (300, 40)])
@pytest.mark.parametrize("workspace", [1, 10_000, 1 << 23])
def test_equals_python_sets(n: int, k: int, workspace: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_WORKSPACE", workspace)
    graphs = layers(n, k)
    for prefix in {1, k}:
        sets = [[set(row[:prefix].tolist()) for row in graph.indices] for graph in graphs]
        expected = [[[len(p & q) for p, q in zip(a, b, strict=True)] for b in sets] for a in sets]
        assert np.array_equal(intersections(graphs, prefix), expected)


def test_blocks_cover_every_sample_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_WORKSPACE", 500)
    graphs = layers(70, 5)
    parts = list(intersection_blocks(graphs))
    assert len(parts) > 5
    assert np.concatenate([np.arange(70)[samples] for samples, _ in parts]).tolist() == list(range(70))


def test_int64_ids_and_a_reference() -> None:
    x = gaussian(20, 3)
    graph = exact_neighbors(x, 100, reference=gaussian(200, 3))
    wide = NeighborGraph(graph.indices.astype(np.int64), graph.distances, 1.0, 200, False)
    assert (intersections([graph, wide]) == 100).all()


def test_incomparable_graphs() -> None:
    x = gaussian(30, 3)
    graph = exact_neighbors(x, 5)
    with pytest.raises(UserError, match="different samples cannot be compared: 30 and 20 rows"):
        intersections([graph, exact_neighbors(x[:20], 5)])
    with pytest.raises(UserError, match="different k cannot be compared: 5 and 6") as caught:
        intersections([graph, exact_neighbors(x, 6)])
    assert "graph.prefix(k)" in str(caught.value)
    with pytest.raises(UserError, match="different reference sets"):
        intersections([graph, exact_neighbors(x, 5, reference=x)])
    with pytest.raises(UserError, match=r"k must lie in 1\.\.5, got 6"):
        intersections([graph, graph], 6)
