"""Search against a reference set, and of blocks of rows: equal to the brute force and to the search of all."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force64 import assert_neighbors
from first_pass import PASSES, first_pass
from hypothesis import given, settings
from hypothesis import strategies as st
from search_data import (
    RECIPES,
    Array,
    cast,
    copies,
    gaussian,
    lattice,
    near_copies,
    one_feature_per_row,
    tight_clusters,
)

from rra_cli.neighbors import NeighborGraph, exact_neighbors
from rra_cli.neighbors.exact import exact_rows
from rra_cli.neighbors.graph import InputError

PASS = st.sampled_from(sorted(PASSES))


def against(queries: Array, k: int, reference: Array, **options: Any) -> NeighborGraph:
    """The graph of the engine, after comparison with the brute force."""
    graph = exact_neighbors(queries, k, reference=reference, **options)
    assert (graph.n_reference, graph.self_excluded) == (len(reference), False)
    assert_neighbors(graph.indices, graph.distances, queries, k, reference)
    return graph


# A reference set


@pytest.mark.long
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    recipe=st.sampled_from(sorted(RECIPES)),
    n=st.integers(1, 120),
    m=st.integers(1, 200),
    d=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
    dtypes=st.tuples(*[st.sampled_from(["f2", "f4", "f8", "u1", "i4"])] * 2),
    offset=st.sampled_from([0.0, 0.5, 1e4]),
    memory=st.sampled_from([None, 1, 30_000, 1_000_000]),
    data=st.data(),
)
def test_equals_brute_force(
    recipe: str,
    n: int,
    m: int,
    d: int,
    seed: int,
    dtypes: tuple[str, str],
    offset: float,
    memory: int | None,
    data: st.DataObject,
) -> None:
    """Queries and reference of different types and places; some queries are rows of the reference."""
    reference = cast(RECIPES[recipe](m, d, seed), dtypes[0])
    queries = cast(RECIPES[recipe](n, d, seed + 1) + offset, dtypes[1])
    queries[: n // 3] = cast(reference.astype(np.float64)[np.arange(n // 3) % m], dtypes[1])
    with first_pass(data.draw(PASS)):
        against(queries, data.draw(st.integers(1, m)), reference, memory=memory)


@pytest.mark.parametrize("make", [gaussian, copies, near_copies, lattice, one_feature_per_row, tight_clusters])
@pytest.mark.parametrize("first", PASSES)
def test_the_set_as_its_own_reference(make: Callable[[int, int], Array], first: str) -> None:
    """A search of the set against itself is one against the set as a reference, less self: the same bits."""
    x = make(260, 24).astype(np.float32)
    n, k = len(x), 30
    own = exact_neighbors(x, k)
    with first_pass(first):
        other = against(x, k + 1, x.copy())
    for row in range(n):
        others = np.flatnonzero(other.indices[row] != row)[:k]
        np.testing.assert_array_equal(other.indices[row, others], own.indices[row])
        np.testing.assert_array_equal(other.distances[row, others], own.distances[row])
    first = np.array([np.flatnonzero((x == row).all(axis=1))[0] for row in x])
    np.testing.assert_array_equal(other.indices[:, 0], first)  # itself, or its first copy
    assert (other.distances[:, 0] == 0).all()


def test_every_row_of_the_reference() -> None:
    """k = m, more neighbours than there are queries, and one query."""
    reference = gaussian(90, 7).astype(np.float32)
    for queries in (gaussian(40, 7, 1).astype(np.float32), reference[3:4]):
        graph = against(queries, 90, reference)
        np.testing.assert_array_equal(np.sort(graph.indices, axis=1), np.tile(np.arange(90), (len(queries), 1)))
    assert against(gaussian(5, 3), 1, np.zeros((1, 3))).indices.tolist() == [[0]] * 5
    with pytest.raises(InputError, match="91"):
        exact_neighbors(reference, 91, reference=reference)


@pytest.mark.parametrize("first", PASSES)
def test_a_reference_of_copies(first: str) -> None:
    """A query on a reference row finds all of its copies at distance 0, lowest id first, also where k cuts them."""
    base = gaussian(9, 11).astype(np.float32)
    reference = base[np.arange(180) % 9]
    for k in (1, 7, 20, 33):
        with first_pass(first):
            graph = against(base, k, reference)
        for row in range(9):
            np.testing.assert_array_equal(graph.indices[row, :20], np.arange(row, 180, 9)[: min(k, 20)])
        assert (graph.distances[:, :20] == 0).all()


@pytest.mark.parametrize("first", PASSES)
def test_queries_far_from_the_reference(first: str) -> None:
    """Queries at 1e6 of a reference of width 1e-2: no common centre serves both."""
    reference, queries = gaussian(150, 30) * 1e-2, gaussian(50, 30, 1) * 1e-2
    with first_pass(first):
        against(queries + 1e6, 12, reference)
        against((queries + 1e3).astype(np.float32), 12, reference.astype(np.float32))
        against(queries, 12, reference + 1e6)
        against(np.concatenate([queries * 1e-9, queries * 1e9]), 12, reference)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["gaussian", "copies", "near_copies", "lattice"]), PASS)
def test_queries_do_not_know_of_each_other(seed: int, recipe: str, first: str) -> None:
    """A query's list is the same, to the last bit, alone, among others and in another order."""
    rng = np.random.default_rng(seed)
    reference, queries = RECIPES[recipe](200, 21, seed), RECIPES[recipe](70, 21, seed + 1)
    queries[:30] = reference[:30] + 1e-7 * rng.normal(size=(30, 21))
    whole = exact_neighbors(queries, 15, reference=reference)
    order = rng.permutation(70)
    with first_pass(first):
        mixed = exact_neighbors(queries[order], 15, reference=reference)
    np.testing.assert_array_equal(mixed.indices, whole.indices[order])
    np.testing.assert_array_equal(mixed.distances, whole.distances[order])
    row = int(rng.integers(70))
    alone = exact_neighbors(queries[row : row + 1], 15, reference=reference)
    np.testing.assert_array_equal(alone.indices, whole.indices[row : row + 1])
    np.testing.assert_array_equal(alone.distances, whole.distances[row : row + 1])


# Blocks of rows


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    recipe=st.sampled_from(sorted(RECIPES)),
    n=st.integers(2, 160),
    d=st.integers(1, 90),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["f2", "f4", "f8", "u1"]),
    data=st.data(),
)
def test_blocks_of_rows_make_up_the_graph(
    recipe: str, n: int, d: int, seed: int, dtype: str, data: st.DataObject
) -> None:
    """Any cut into blocks, each with a memory of its own: concatenated they are the graph, to the last bit."""
    x = cast(RECIPES[recipe](n, d, seed), dtype)
    k = data.draw(st.integers(1, n - 1))
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, n - 1), max_size=5))), n]
    blocks = []
    for start, stop in pairwise(cuts):
        with first_pass(data.draw(PASS)):
            blocks.append(exact_rows(x, k, start, stop, memory=data.draw(st.sampled_from([None, 1, 40_000]))))
    ids, distances = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    graph = exact_neighbors(x, k)
    np.testing.assert_array_equal(ids, graph.indices)
    np.testing.assert_array_equal(distances, graph.distances)
    assert_neighbors(ids, distances, x, k)


def test_every_single_row(tmp_path: Path) -> None:
    """Blocks of one row of a memory map in which each row has a copy in another block; the types are as declared."""
    x = copies(64, 13, distinct=30).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    graph = exact_neighbors(x, 63)
    for row in range(64):
        ids, distances = exact_rows(mapped, 63, row, row + 1)
        assert (ids.dtype, distances.dtype, ids.shape) == (np.int64, np.float64, (1, 63))
        np.testing.assert_array_equal(ids, graph.indices[row : row + 1])
        np.testing.assert_array_equal(distances, graph.distances[row : row + 1])


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (0, 21), (20, 21), (7, 3), (25, 30)])
def test_rows_that_are_not_there(start: int, stop: int) -> None:
    with pytest.raises(InputError, match=str(stop)):
        exact_rows(gaussian(20, 3), 4, start, stop)


@pytest.mark.parametrize("k", [0, 20, -2])
def test_k_of_a_block_is_that_of_the_whole_set(k: int) -> None:
    """A block of 2 of 20 rows may ask for 19 neighbours, as the whole set may, and for no more."""
    x = gaussian(20, 3)
    assert exact_rows(x, 19, 0, 2)[0].shape == (2, 19)
    with pytest.raises(InputError, match=str(k)):
        exact_rows(x, k, 0, 2)
