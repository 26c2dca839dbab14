"""Nearest neighbours by comparing every pair in extended precision, and what a graph must satisfy to equal them.

Nothing here comes from `rra_cli`. Distances are direct differences of the float64 values of the input, accumulated in
`np.longdouble` (64 bits of mantissa, exponents beyond 1e4000: nothing overflows or vanishes), so that they stand for
the real numbers next to any float64 result.

How far a float64 brute force by direct difference may be from them: a difference, its square and the sum of d squares
in any order carry a relative error of at most (d + 2) u, u = 2^-53 half an ulp; the root halves that and adds u. So a
distance is right to `d / 2 + 2` ulp, and two distances that are closer than twice that may stand in either order. No
other freedom is given: beyond it sets, order and values are those of the real numbers. Where the squares are exact
(small integers times a power of two) there is no freedom in the ids at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

if np.finfo(np.longdouble).nmant < 63:
    pytest.skip("np.longdouble is no wider than float64 here: no yardstick for float64", allow_module_level=True)


def direct_distances(queries: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.longdouble]:
    """Euclidean distances `(n, m)` of the float64 values, by difference, square and pairwise sum."""
    wide = np.asarray(reference).astype(np.float64).astype(np.longdouble)
    out = np.empty((len(queries), len(wide)), np.longdouble)
    for i, query in enumerate(np.asarray(queries).astype(np.float64)):
        difference = wide - query
        out[i] = np.sqrt(np.square(difference, out=difference).sum(axis=1))
    return out


def brute_force(
    x: NDArray[Any], k: int, reference: NDArray[Any] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids and distances `(n, k)`, nearest first, ties by lower id; without a reference self is left out by id."""
    table = direct_distances(x, x if reference is None else reference)
    if reference is None:
        np.fill_diagonal(table, np.inf)
    ids = np.argsort(table, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(table, ids, 1).astype(np.float64)


def has_exact_squares(*arrays: NDArray[Any]) -> bool:
    """Whether every squared distance is a multiple of a power of two that float64 holds exactly, in any order of sum.

    The limit of 50 bits keeps float64 roots of different squares apart as well.
    """
    values = np.concatenate([np.asarray(a).astype(np.float64).ravel() for a in arrays])
    values = np.abs(values[values != 0])
    if len(values) == 0:
        return True
    mantissas, exponents = np.frexp(values)
    whole = (mantissas * 2.0**53).astype(np.int64)
    lowest = exponents - 53 + np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    bits = int(exponents.max()) + 1 - int(lowest.min())
    return lowest.min() > -500 and exponents.max() < 500 and 2 * bits + np.log2(arrays[0].shape[1]) <= 50


def assert_neighbors(
    ids: NDArray[np.integer],
    distances: NDArray[np.float64],
    x: NDArray[Any],
    k: int,
    reference: NDArray[Any] | None = None,
    *,
    rows: NDArray[np.integer] | None = None,
    ulps: float | None = None,
) -> None:
    """Raises AssertionError unless the lists are those of the brute force, in the sense at the top of this module.

    ids, distances: `(n, k)` lists of all rows of `x`. rows: which of them to compare (None: all). ulps: another
    freedom than `d / 2 + 2`, for wide random data, where roundings cancel and the bound is far too kind.
    """
    y = x if reference is None else reference
    n, m, d = len(x), len(y), x.shape[1]
    assert ids.shape == distances.shape == (n, k), f"shapes {ids.shape}, {distances.shape} instead of {(n, k)}"
    assert ids.dtype in (np.int32, np.int64)
    assert distances.dtype == np.float64
    rows = np.arange(n) if rows is None else np.asarray(rows)
    ids, distances = np.asarray(ids)[rows].astype(np.int64), np.asarray(distances)[rows]
    assert ids.min() >= 0, "a negative id"
    assert ids.max() < m, "an id beyond the reference"
    table = direct_distances(np.asarray(x)[rows], y)
    own = rows if reference is None else None
    if own is not None:
        table[np.arange(len(rows)), own] = np.inf
        assert not (ids == own[:, None]).any(), "a sample is its own neighbour"
    assert (np.diff(np.sort(ids, axis=1), axis=1) > 0).all(), "a neighbour is listed twice"
    truth_ids = np.argsort(table, axis=1, kind="stable")[:, :k]
    truth, ours = np.take_along_axis(table, truth_ids, 1), np.take_along_axis(table, ids, 1)

    freedom = (d / 2 + 2 if ulps is None else ulps) * np.spacing(truth.astype(np.float64)) * (truth > 0)
    _none(np.abs(ours - truth) > 2 * freedom, rows, "lists a neighbour that is not as near as the true one")
    last, beyond = truth[:, -1:], 2 * freedom[:, -1:]
    listed = np.zeros(table.shape, bool)
    np.put_along_axis(listed, ids, True, 1)
    _none((table < last - beyond) & ~listed, rows, "misses a neighbour")
    _none(np.abs(distances - ours) > freedom, rows, "gives a wrong distance")
    _none((distances == 0) != (ours == 0), rows, "confuses a distance of 0 with a small one")
    steps, later = np.diff(distances, axis=1), np.diff(ids, axis=1) > 0
    _none(steps < 0, rows, "is not sorted")
    normal = distances[:, 1:] >= np.finfo(np.float64).smallest_normal  # below it digits are lost, and so is the order
    _none((steps == 0) & ~later & (normal | (truth[:, 1:] == 0)), rows, "gives a tie to the higher id")
    _copies_by_id(ids, distances, listed, np.asarray(y), own, rows)
    if has_exact_squares(x, y):
        _none(ids != truth_ids, rows, "has another id than the brute force, though every square is exact")


def _copies_by_id(
    ids: NDArray[np.int64],
    distances: NDArray[np.float64],
    listed: NDArray[np.bool_],
    y: NDArray[Any],
    own: NDArray[np.integer] | None,
    rows: NDArray[np.integer],
) -> None:
    """Equal rows of the reference are equally far to the last bit, and of them the lowest ids are listed."""
    _, group = np.unique(y.astype(np.float64) + 0.0, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.lexsort((np.arange(len(group)), group))
    before = np.full(len(group), -1)
    same = group[order][1:] == group[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    copies = np.flatnonzero(before >= 0)
    if len(copies) == 0:
        return
    values = np.full(listed.shape, np.nan)
    np.put_along_axis(values, ids, distances, 1)
    listed = listed.copy()
    if own is not None:  # self stands for the copy before it, so that the chain of copies is not broken at self
        at = np.arange(len(own))
        first = before[own] < 0
        listed[at, own] = first | listed[at, before[own]]
        values[at, own] = np.where(first, np.nan, values[at, before[own]])
    now, previous = listed[:, copies], listed[:, before[copies]]
    _none(now & ~previous, rows, "lists a copy and leaves out one of lower id")
    a, b = values[:, copies], values[:, before[copies]]
    _none(now & previous & (a != b) & ~np.isnan(a) & ~np.isnan(b), rows, "gives copies different distances")


def _none(bad: NDArray[np.bool_], rows: NDArray[np.integer], what: str) -> None:
    if bad.any():
        where = np.argwhere(bad)
        raise AssertionError(f"row {rows[where[0, 0]]} (of {len(np.unique(where[:, 0]))} rows) {what}")
