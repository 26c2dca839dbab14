"""One graph, bit for bit, from any number of threads, any memory and any storage of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force64 import assert_neighbors
from first_pass import PASSES, first_pass
from search_data import (
    Array,
    cast,
    copies,
    gaussian,
    lattice,
    near_copies,
    sparse,
    tight_clusters,
)

from rra_cli.neighbors import NeighborGraph, exact_neighbors
from rra_cli.neighbors.exact import exact_rows
from rra_cli.neighbors.graph import InputError


def assert_same(graph: NeighborGraph, other: NeighborGraph) -> None:
    """Equal to the last bit."""
    np.testing.assert_array_equal(graph.indices, other.indices)
    np.testing.assert_array_equal(graph.distances, other.distances)


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


@pytest.mark.long
@pytest.mark.parametrize("name", BITS)
def test_threads_and_memory_change_no_bit(name: str) -> None:
    """1, 2 and 4 threads; memory from a single row to more than all pairs; a quarter of the rows on their own; any
    first pass."""
    x, k = BITS[name]
    n, part = len(x), slice(len(x) // 3, len(x) // 3 + len(x) // 4)
    with threads(1):
        expected = exact_neighbors(x, k)
        for first, memory in zip(PASSES, [1, 1, 200_000, 300_000, 100_000, 1 << 31, 700_000], strict=True):
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
