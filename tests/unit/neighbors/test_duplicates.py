"""Graphs of data with repeated rows equal those of a search that compares every row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brute_force import assert_exact, assert_lists, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.exact import exact_rows
from rra_cli.neighbors.rows import groups_of_duplicates, scan
from rra_cli.neighbors.tiles.duplicates import expand


def groups(x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    return groups_of_duplicates(x, scan(x, 1 << 20).hashes)


@st.composite
def repeated(draw: st.DrawFn) -> NDArray[Any]:
    """Few distinct rows, on a grid (so that groups tie) or not, each up to all of the rows."""
    n, distinct, seed = draw(st.integers(2, 40)), draw(st.integers(1, 6)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    pool = rng.integers(-1, 2, (distinct, 2)).astype(float) if draw(st.booleans()) else rng.normal(size=(distinct, 3))
    x = pool[rng.integers(0, distinct, n)]
    return np.where((x == 0) & (rng.random(x.shape) < 0.5), -0.0, x).astype(draw(st.sampled_from(["f2", "f4", "f8"])))


@settings(max_examples=150, deadline=None)
@given(repeated(), st.data())
def test_graphs_of_repeated_rows(x: NDArray[Any], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(x) - 1))
    assert_exact(exact_neighbors(x, k), x, k)
    start = data.draw(st.integers(0, len(x) - 1))
    stop = data.draw(st.integers(start + 1, len(x)))
    whole = exact_neighbors(x, k)
    ids, distances = exact_rows(x, k, start, stop)
    assert np.array_equal(ids, whole.indices[start:stop])
    assert np.array_equal(distances, whole.distances[start:stop])


@settings(max_examples=80, deadline=None)
@given(repeated(), st.data())
def test_references_of_repeated_rows(x: NDArray[Any], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(x)))
    queries = np.concatenate([x[:3], x[:3] + x.dtype.type(0.5)])
    assert_exact(exact_neighbors(queries, k, reference=x), queries, k, x)


def test_groups() -> None:
    x = np.array([[1.0, 2], [3, 4], [1, 2], [0.0, 5], [-0.0, 5], [3, 4], [1, 2]])
    found = groups(x)
    assert found is not None
    assert found[0].tolist() == [0, 1, 3]
    assert found[1].tolist() == [0, 1, 0, 2, 2, 1, 0]
    assert groups(gaussian(50, 3)) is None


def test_equal_hashes_of_different_rows_do_no_harm() -> None:
    x = gaussian(20, 3)
    x[5] = x[11]
    found = groups_of_duplicates(x, np.zeros(20, np.uint64))
    assert found is not None
    assert found[0].tolist() == [i for i in range(20) if i != 11]
    assert groups_of_duplicates(np.delete(x, 11, axis=0), np.zeros(19, np.uint64)) is None


def test_whole_numbers_that_are_one_number_in_float64() -> None:
    """Beyond 2^53 different integers are the same float64: they are copies, at distance 0, by id."""
    x = np.array([[2**60], [0], [2**60 + 1], [2**60 + 2], [5]], np.int64)
    graph = exact_neighbors(x, 2)
    assert graph.indices[3].tolist() == [0, 2]
    assert graph.indices[0].tolist() == [2, 3]
    assert_lists(graph.indices, graph.distances, x, 2)
    one = exact_neighbors(x, 1)
    assert_lists(one.indices, one.distances, x, 1)
    y = x[[2, 0, 0, 4]]
    assert exact_neighbors(y, 1).indices[:3, 0].tolist() == [1, 0, 0]


def test_only_own_copies_and_no_other_row() -> None:
    x = np.ones((6, 2))
    graph = exact_neighbors(x, 5)
    assert graph.indices.tolist() == [[j for j in range(6) if j != i] for i in range(6)]
    assert not graph.distances.any()


@pytest.mark.parametrize("own", [None, np.array([1, 2])])
def test_expand(own: NDArray[np.int64] | None) -> None:
    """Group 0: rows 0, 2; group 1: row 1, 3 and 4; group 2: row 5. Groups 1 and 2 are equally far from group 0."""
    group = np.array([0, 1, 0, 1, 1, 2])
    near, far = np.array([[0, 2], [1, 2]]), np.array([[3.0, 7.0], [3.0, 3.0]])
    if own is None:
        ids, lengths = expand(near, far, group, 3, queries=np.array([1, 0]))
        assert ids.tolist() == [[1, 3, 4], [0, 2, 5]]
        assert lengths.tolist() == [[3, 3, 3], [3, 3, 7]]
    else:
        ids, lengths = expand(near, far, group, 3, queries=np.array([0, 1]), own=own)
        assert ids.tolist() == [[3, 4, 0], [0, 1, 3]]
        assert lengths.tolist() == [[0, 0, 3], [0, 3, 3]]
