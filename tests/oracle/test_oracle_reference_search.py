"""Search against a reference set, by blocks of rows, and from any storage: one graph, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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
    sparse,
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


def assert_same(graph: NeighborGraph, other: NeighborGraph) -> None:
    """Equal to the last bit."""
    np.testing.assert_array_equal(graph.indices, other.indices)
    np.testing.assert_array_equal(graph.distances, other.distances)


# A reference set


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


# Threads, memory, storage


@contextmanager
def threads(count: int) -> Iterator[None]:
    """`count` threads of torch for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


BITS = {
    "gaussian": (gaussian(500, 100).astype(np.float32), 40),
    "near-duplicates": (near_copies(500, 77), 40),
    "ties": (lattice(500, 5, values=4).astype(np.float32), 60),
    "sparse float16": (sparse(500, 130).astype(np.float16), 12),
    "rows without a certificate": (tight_clusters(500, 50, width=1e-5).astype(np.float32), 25),
    "k = N - 1": (gaussian(300, 40).astype(np.float32), 299),
}


@pytest.mark.parametrize("name", BITS)
def test_threads_and_memory_change_no_bit(name: str) -> None:
    """1, 2 and 4 threads; memory from a single row to more than all pairs; a quarter of the rows on their own; any
    first pass."""
    x, k = BITS[name]
    n, part = len(x), slice(len(x) // 3, len(x) // 3 + len(x) // 4)
    with threads(1):
        expected = exact_neighbors(x, k)
        for first, memory in zip(PASSES, [1, 1, 300_000, 100_000, 1 << 31, 700_000], strict=True):
            with first_pass(first):
                assert_same(exact_neighbors(x, k, memory=memory), expected)
        reference = exact_neighbors(x[:100], k, reference=x, memory=1_000_000)
    for count, memory, first in [(2, None, "int8"), (4, 3_000_000, "int8, 2 x int8, float64"), (4, 1 << 31, "float32")]:
        with threads(count), first_pass(first):
            assert_same(exact_neighbors(x, k, memory=memory), expected)
            assert_same(exact_neighbors(x[:100], k, reference=x, memory=memory), reference)
            ids, distances = exact_rows(x, k, part.start, part.stop, memory=memory)
        np.testing.assert_array_equal(ids, expected.indices[part])
        np.testing.assert_array_equal(distances, expected.distances[part])
    assert_neighbors(expected.indices, expected.distances, x, k, rows=np.arange(0, n, 9))


def _unaligned(x: Array) -> Array:
    packed = np.zeros(x.shape, np.dtype([("pad", "u1"), ("value", x.dtype)]))
    packed["value"] = x
    return packed["value"]


def _every_other(x: Array) -> Array:
    wide = np.full((2 * x.shape[0], 3 * x.shape[1]), np.nan if x.dtype.kind == "f" else 77, x.dtype)
    wide[::2, 1::3] = x
    return wide[::2, 1::3]


def _read_only(x: Array) -> Array:
    y = x.copy()
    y.flags.writeable = False
    return y


VIEWS: dict[str, Callable[[Array], Any]] = {
    "Fortran order": np.asfortranarray,
    "every other row, every third column": _every_other,
    "both axes reversed twice": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": _unaligned,
    "read-only": _read_only,
    "nested lists": lambda x: x.astype(np.float64).tolist(),
}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
@pytest.mark.parametrize("view", VIEWS)
def test_storage_of_an_array_does_not_matter(view: str, dtype: str) -> None:
    x = cast(np.concatenate([gaussian(140, 37) * 50, copies(60, 37) * 50]), dtype)
    other = VIEWS[view](x)
    np.testing.assert_array_equal(np.asarray(other), x)
    expected = exact_neighbors(x, 21)
    assert_same(exact_neighbors(other, 21), expected)
    assert_same(exact_neighbors(other, 21, memory=40_000), expected)
    assert_same(exact_neighbors(x[:9], 21, reference=other), exact_neighbors(x[:9], 21, reference=x))
    np.testing.assert_array_equal(np.asarray(other), x, err_msg="the input was changed")


def test_rows_that_are_one_row_broadcast() -> None:
    """A stride of 0: all rows are the same memory."""
    graph = exact_neighbors(np.broadcast_to(np.float32(0.1), (50, 6)), 9)
    for row in range(50):
        assert graph.indices[row].tolist() == [j for j in range(10) if j != row][:9]
    assert (graph.distances == 0).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1"])
def test_memory_maps(tmp_path: Path, dtype: str) -> None:
    """Read-only, whole, by a slice of rows and columns, and as a reference; the file is not changed."""
    x = cast(np.concatenate([gaussian(300, 41) * 30, copies(60, 41) * 30]), dtype)
    np.save(tmp_path / "x.npy", x)
    stored = (tmp_path / "x.npy").read_bytes()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for memory in (None, 70_000):
        graph = exact_neighbors(mapped, 17, memory=memory)
        assert_same(graph, exact_neighbors(x, 17))
        assert_same(exact_neighbors(mapped[11::2, 3:30], 17, memory=memory), exact_neighbors(x[11::2, 3:30], 17))
        assert_same(
            exact_neighbors(mapped[:50], 17, reference=mapped[50:], memory=memory),
            exact_neighbors(x[:50], 17, reference=x[50:]),
        )
    assert_neighbors(graph.indices, graph.distances, x, 17)
    assert (tmp_path / "x.npy").read_bytes() == stored


def test_a_memory_map_with_bad_rows_is_refused(tmp_path: Path) -> None:
    """The last row counts as well, also for a block of other rows: they are all neighbours of each other."""
    x = gaussian(400, 10).astype(np.float32)
    x[399, 9] = np.nan
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(InputError, match="399"):
        exact_neighbors(mapped, 5, memory=20_000)
    with pytest.raises(InputError, match="399"):
        exact_rows(mapped, 5, 0, 10)
