"""A graph built in shards is the graph built in one piece, byte for byte, whoever built which shard."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_runs import Counting, K, N, context, elsewhere, experiment, forgetting, graphs, sharded, stored, tied_points

from rra_cli.config.experiment import Experiment
from rra_cli.core import files
from rra_cli.core.progress import silent
from rra_cli.core.store import Store
from rra_cli.neighbors.exact import ExactEngine, exact_neighbors
from rra_cli.stages.graphs.shards import rows_of_shard


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield from forgetting()


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


# Which rows a shard has


@given(st.integers(1, 10**7), st.integers(1, 200))
def test_shards_cover_all_rows_once_and_are_balanced(n: int, shards: int) -> None:
    shards = min(n, shards)
    ranges = [rows_of_shard(n, shards, shard) for shard in range(shards)]
    assert (ranges[0][0], ranges[-1][1]) == (0, n)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    sizes = [stop - start for start, stop in ranges]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


# The same graph


@pytest.mark.parametrize("preprocess", ["none", "zscore"])
def test_the_graph_is_the_same_to_the_byte_for_any_number_of_shards(base: Experiment, preprocess: Any) -> None:
    """Indices, distances, graph.json and meta.json, with ties and copies of rows on both sides of every border."""
    base = replace(base, neighbors=ExactEngine(k=K, preprocess=preprocess))
    whole = elsewhere(base, "whole")
    for graph in graphs(whole):
        graph.build(context(whole))
    wanted = stored(whole, "graph")
    assert len(wanted) == 2 * 4
    for shards in (1, 2, 3, 7, N) if preprocess == "none" else (3,):
        cut = sharded(elsewhere(base, str(shards)), shards)
        for graph in graphs(cut):
            graph.build(context(cut))
        assert stored(cut, "graph") == wanted, shards
        assert not stored(cut, "graph_shard"), "the shards are removed"


def test_duplicates_and_ties_lie_across_borders() -> None:
    """Of the data above: neighbours at equal distance in other shards than each other, copies in other shards."""
    graph = exact_neighbors(tied_points(), K)
    shard_of = np.concatenate([np.full(b - a, s) for s, (a, b) in enumerate(rows_of_shard(N, 3, s) for s in range(3))])
    own, there = shard_of[:, None], shard_of[graph.indices]
    assert ((graph.distances == 0) & (own != there)).sum() > 5
    tied = np.diff(graph.distances, axis=1) == 0
    assert (tied & (there[:, 1:] != there[:, :-1])).sum() > 20


def test_a_wrong_shard_changes_the_graph(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the comparison: rows that are one off are not the same graph."""
    whole, cut = elsewhere(base, "whole"), sharded(base, 3)
    graphs(whole)[0].build(context(whole))
    true = Counting.search_rows
    monkeypatch.setattr(Counting, "search_rows", lambda self, x, k, a, b, **more: true(self, x[::-1], k, a, b, **more))
    graphs(cut)[0].build(context(cut))
    assert stored(cut, "graph") != stored(whole, "graph")


def test_the_number_of_shards_and_the_one_that_is_built_are_no_part_of_any_key(base: Experiment) -> None:
    keys = [[graph.point.graph.key for graph in graphs(sharded(base, *how))] for how in ((1,), (3,), (3, 1))]
    assert keys[0] == keys[1] == keys[2]


def test_a_graph_is_merged_without_holding_it_in_memory(base: Experiment, tmp_path: Path) -> None:
    """Blocks of rows only: the peak is far below the graph's size and does not grow with it."""
    n, k = 1_500_000, 8
    graph = graphs(sharded(base, 5))[0]
    graph.point, graph.k = replace(graph.point, n_samples=n), k
    store = Store(tmp_path / "large")
    true_ids = np.arange(k, dtype=np.int64)
    for shard in range(5):
        start, stop = graph.shards.rows(shard)
        rows = np.arange(start, stop)[:, None]
        with store.claim(graph.shards.claims[shard]) as work:
            files.write_array(work.path / "shard/indices.npy", ((rows + 1 + true_ids) % n).astype(np.int32))
            files.write_array(work.path / "shard/distances.npy", np.ones((stop - start, k)))
            work.publish("shard", entry=f"rows={start}-{stop}", spec=graph.shards.spec)
    size = n * k * 12
    tracemalloc.start()
    graph.shards.merge(store, tmp_path / "merged", silent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * size
    written = np.load(tmp_path / "merged" / "indices.npy", mmap_mode="r")
    assert written.shape == (n, k)
    assert written[-1].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_stacked_blocks_have_the_bytes_of_the_whole_array(tmp_path: Path, dtype: type) -> None:
    whole = np.arange(60).reshape(20, 3).astype(dtype)
    files.write_array(tmp_path / "whole.npy", whole)
    files.write_stacked(tmp_path / "parts.npy", [whole[:7], whole[7:7], whole[7:]], 20, 3, np.dtype(dtype))
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    with pytest.raises(ValueError, match="expected 20 rows, got 19"):
        files.write_stacked(tmp_path / "short.npy", [whole[:19]], 20, 3, np.dtype(dtype))
    with pytest.raises(ValueError, match="expected rows of 4"):
        files.write_stacked(tmp_path / "narrow.npy", [whole], 20, 4, np.dtype(dtype))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.npy", "whole.npy"]


# Who builds what
