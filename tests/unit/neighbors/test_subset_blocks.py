"""Graphs of nested subsets block by block: every row once, the rows of the graphs."""

from __future__ import annotations

import numpy as np
import pytest

from rra_cli.neighbors import exact_subset_graphs
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.subsets import exact_subset_blocks
from rra_cli.neighbors.tiles import nested


def layer(n: int, d: int, copies: int = 0) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    rows[n - copies :] = rows[:copies]
    return rows


@pytest.mark.parametrize("copies", [0, 60])
@pytest.mark.parametrize("block", [64, 4096])
def test_blocks_are_the_rows_of_the_graphs(copies: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of data with copies, whose rows are searched once and come apart."""
    data, sizes, ks = layer(300, 40, copies), [50, 170, 300], [20, 60, 140]
    order = np.random.default_rng(1).permutation(300)
    graphs = exact_subset_graphs(data, ks, sizes, order=order)
    monkeypatch.setattr(nested, "rows_at_a_time", lambda *sizes: block)
    seen = [np.zeros(size, int) for size in sizes]
    for part in exact_subset_blocks(data, ks, sizes, order=order):
        graph = graphs[part.subset]
        assert np.array_equal(part.indices, graph.indices[part.rows])
        assert np.array_equal(part.distances, graph.distances[part.rows])
        assert len(part.rows) <= max(block, 2 * block * (copies > 0))
        seen[part.subset][part.rows] += 1
    assert all((rows == 1).all() for rows in seen)
    assert np.array_equal(exact_subset_graphs(data, ks, sizes, order=order)[2].indices, graphs[2].indices)


def test_what_is_wrong_is_told_as_by_the_graphs() -> None:
    with pytest.raises(InputError, match="ascend"):
        next(exact_subset_blocks(layer(20, 3), 2, [10, 5]))
