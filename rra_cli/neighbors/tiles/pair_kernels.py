"""Compiled direct differences of listed pairs of rows, and what becomes of lists."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rra_cli.neighbors.tiles.lane_kernels import PAIRS, add_listed


@njit(nogil=True, cache=True)
def add_squares(
    queries: NDArray[np.floating],
    references: NDArray[np.floating],
    unit: int,
    starts: NDArray[np.int64],
    ids: NDArray[np.integer],
    sums: NDArray[np.float64],
    begin: int,
    end: int,
) -> None:
    """Adds the squared differences of some columns to the sums of listed pairs, for query rows begin..end.

    queries, references: these columns, `(rows, w)`, w a multiple of `unit`, that one of 16. Row i's pairs are
    starts[i]..starts[i+1] of `ids` (rows of `references`) and `sums`. Differences, squares and sums are float64; units
    are added one after the other, so the result does not depend on how the columns are cut into calls.
    """
    width = queries.shape[1]
    own = np.empty((1, width), np.float64)
    some, totals = np.empty(PAIRS, ids.dtype), np.empty(PAIRS, np.float64)
    for i in range(begin, end):
        own[0] = queries[i]
        p, stop = starts[i], starts[i + 1]
        while p + PAIRS <= stop:
            for u in range(0, width, unit):
                add_listed(own, references, ids, p, u, unit, sums, p)
            p += PAIRS
        left = stop - p
        if left > 0:  # the last one stands in for those that are missing
            for q in range(PAIRS):
                some[q], totals[q] = ids[p + min(q, left - 1)], sums[p + min(q, left - 1)]
            for u in range(0, width, unit):
                add_listed(own, references, some, 0, u, unit, totals, 0)
            sums[p:stop] = totals[:left]


@njit(nogil=True, cache=True)
def find_mirrors(
    starts: NDArray[np.int64], ids: NDArray[np.integer], offset: int, mirrors: NDArray[np.int64], begin: int, end: int
) -> None:
    """For every pair of a row with a lower row that lists it as well: where that row does so; -1 for all others.

    Row i of the lists is reference row offset + i; the ids of a row ascend.
    """
    rows = len(starts) - 1
    for i in range(begin, end):
        for p in range(starts[i], starts[i + 1]):
            mirrors[p] = -1
            j = ids[p] - offset
            if 0 <= j < i and j < rows:
                low, high = starts[j], starts[j + 1]
                while low < high:
                    middle = (low + high) >> 1
                    if ids[middle] < offset + i:
                        low = middle + 1
                    else:
                        high = middle
                if low < starts[j + 1] and ids[low] == offset + i:
                    mirrors[p] = low


@njit(nogil=True, cache=True)
def find_listed(
    starts: NDArray[np.int64],
    ids: NDArray[np.integer],
    other_starts: NDArray[np.int64],
    other_ids: NDArray[np.integer],
    places: NDArray[np.int64],
    begin: int,
    end: int,
) -> None:
    """For every pair of rows begin..end its place among the other lists of these rows, -1 for none; ids ascend."""
    for i in range(begin, end):
        at, last = other_starts[i], other_starts[i + 1]
        for p in range(starts[i], starts[i + 1]):
            while at < last and other_ids[at] < ids[p]:
                at += 1
            places[p] = at if at < last and other_ids[at] == ids[p] else -1


@njit(nogil=True, cache=True)
def put_copies_in(
    positions: NDArray[np.int64],
    distances: NDArray[np.float64],
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    queries: NDArray[np.int64],
    own: NDArray[np.int64],
    own_group: NDArray[np.int64],
    ids: NDArray[np.int64],
    lengths: NDArray[np.float64],
) -> None:
    """The nearest rows from the nearest groups of equal rows; see `duplicates.expand`.

    Group g's rows are members[starts[g]:starts[g + 1]], ascending.
    """
    k = ids.shape[1]
    for q in range(len(queries)):
        near, far = positions[queries[q]], distances[queries[q]]
        # Ids and lengths of all groups that can contribute, in the order of distance.
        total, last, need = 0, 0, k
        if own_group[q] >= 0:
            total = min(starts[own_group[q] + 1] - starts[own_group[q]], k + 1) - 1
        while last < len(near) and (total < need or (last > 0 and far[last] == far[last - 1])):
            total += min(starts[near[last] + 1] - starts[near[last]], k)
            last += 1
        some, length = np.empty(total, np.int64), np.empty(total)
        at = 0
        if own_group[q] >= 0:
            for p in range(starts[own_group[q]], starts[own_group[q] + 1]):
                if members[p] != own[q] and at < min(total, k):
                    some[at], length[at] = members[p], 0.0
                    at += 1
        for g in range(last):
            for p in range(starts[near[g]], min(starts[near[g] + 1], starts[near[g]] + k)):
                some[at], length[at] = members[p], far[g]
                at += 1
        by_id = np.argsort(some[:at], kind="mergesort")
        order = by_id[np.argsort(length[:at][by_id], kind="mergesort")]
        for p in range(k):
            ids[q, p] = some[order[p]]
            lengths[q, p] = length[order[p]]
