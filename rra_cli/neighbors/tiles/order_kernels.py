"""Compiled choice of the nearest of many, in the order of (distance, id).

Distances go to as many buckets as there are distances, equally wide from the lowest to the highest, which are in order
already; only what is in one bucket has to be sorted, and only as far as the k-th.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Compiled into list_kernels.py and mark_kernels.py too, which keep compiled code by their own date only: touch both.
_FEW = 24  # sorted by insertion
_BUCKETS = 1024
_CLOSE = 8


@njit(nogil=True, cache=True)
def nearest_in_order(
    lengths: NDArray[np.float64],
    left_out: int,
    places: NDArray[np.int64],
    sorted_lengths: NDArray[np.float64],
    ends: NDArray[np.int64],
    k: int,
) -> None:
    """Which k of these distances are the lowest, of equal ones those that come first: into `places`, ascending.

    left_out: one that does not count, -1 for none. sorted_lengths: what these distances are. ends: workspace. These
    three are at least as long as `lengths`, of which there are k that count.
    """
    n = len(lengths)
    low, high = np.inf, -np.inf
    for p in range(n):
        if p != left_out:
            low, high = min(low, lengths[p]), max(high, lengths[p])
    factor = (n - 1) / (high - low) if high > low else 0.0
    if not factor < 1e300:  # too close to each other for buckets
        factor = 0.0
    ends[:n] = 0
    for p in range(n):
        if p != left_out:
            ends[int((lengths[p] - low) * factor)] += 1
    total, last = 0, -1
    while total < k:
        last += 1
        total, ends[last] = total + ends[last], total  # where the bucket begins
    for p in range(n):
        if p != left_out:
            bucket = int((lengths[p] - low) * factor)
            if bucket <= last:
                at = ends[bucket]
                places[at], sorted_lengths[at] = p, lengths[p]
                ends[bucket] = at + 1  # at last where it ends
    begin = 0
    for bucket in range(last + 1):
        if ends[bucket] > begin + 1:
            _sort_some(places, sorted_lengths, begin, ends[bucket])
        begin = ends[bucket]


@njit(nogil=True, cache=True)
def _sort_some(places: NDArray[np.int64], lengths: NDArray[np.float64], begin: int, end: int) -> None:
    """Sorts begin..end by length; equal ones stay in their order."""
    if end - begin > _FEW:
        order = begin + np.argsort(lengths[begin:end], kind="mergesort")
        places[begin:end], lengths[begin:end] = places[order], lengths[order]
        return
    for p in range(begin + 1, end):
        place, length, at = places[p], lengths[p], p
        while at > begin and lengths[at - 1] > length:
            places[at], lengths[at] = places[at - 1], lengths[at - 1]
            at -= 1
        places[at], lengths[at] = place, length


@njit(nogil=True, cache=True)
def kth_at_most(values: NDArray[np.float32], n: int, k: int) -> np.float32:
    """One of the first n values, at least k of which are not above it: of these the lowest, or one close to it.

    Takes half of the time of finding the k-th itself.
    """
    counts, highest = np.zeros(_BUCKETS, np.int32), np.empty(_BUCKETS, np.float32)
    low, high = values[0], values[0]
    for p in range(n):
        low, high = min(low, values[p]), max(high, values[p])
    spread = high - low
    factor = np.float32(_BUCKETS - 1) / spread if spread > np.float32(1e-30) else np.float32(0.0)
    for p in range(n):
        bucket = np.int32((values[p] - low) * factor)
        highest[bucket] = max(highest[bucket], values[p]) if counts[bucket] > 0 else values[p]
        counts[bucket] += 1
    last, total = 0, counts[0]
    while total < k:
        last += 1
        total += counts[last]
    if counts[last] > _CLOSE + (n >> 6):  # a few values far from all others leave those in one bucket
        return np.partition(values[:n], k - 1)[k - 1]
    return highest[last]


@njit(nogil=True, cache=True)
def take_nearest(
    starts: NDArray[np.int64],
    ids: NDArray[np.integer],
    distances: NDArray[np.float64],
    nearest: NDArray[np.int64],
    nearest_distances: NDArray[np.float64],
    begin: int,
    end: int,
) -> None:
    """The k nearest of every row's pairs, by (distance, id), into `(rows, k)` arrays; the ids of a row ascend."""
    k, most = nearest.shape[1], 0
    for i in range(begin, end):
        most = max(most, starts[i + 1] - starts[i])
    places, lengths, ends = np.empty(most, np.int64), np.empty(most, np.float64), np.empty(most, np.int64)
    for i in range(begin, end):
        first, last = starts[i], starts[i + 1]
        nearest_in_order(distances[first:last], -1, places, lengths, ends, k)
        for p in range(k):
            nearest[i, p] = ids[first + places[p]]
            nearest_distances[i, p] = lengths[p]


@njit(nogil=True, cache=True)
def take_nearest_of_all(
    distances: NDArray[np.float64],
    own: NDArray[np.int64],
    nearest: NDArray[np.int64],
    nearest_distances: NDArray[np.float64],
    begin: int,
    end: int,
) -> None:
    """The k nearest references of queries begin..end, by (distance, id), into `(queries, k)` arrays.

    distances: `(queries, references)`. own: the reference that a query itself is, which is left out; -1 for none.
    """
    k, m = nearest.shape[1], distances.shape[1]
    places, lengths, ends = np.empty(m, np.int64), np.empty(m, np.float64), np.empty(m, np.int64)
    for i in range(begin, end):
        nearest_in_order(distances[i], own[i], places, lengths, ends, k)
        nearest[i], nearest_distances[i] = places[:k], lengths[:k]


@njit(nogil=True, cache=True)
def take_roots(
    sums: NDArray[np.float64],
    own: NDArray[np.int64],
    least: float,
    below: NDArray[np.bool_],
    begin: int,
    end: int,
) -> None:
    """Rows begin..end of sums become their roots, except rows with a sum below `least`, own ones apart: `below`."""
    m = sums.shape[1]
    for i in range(begin, end):
        lowest = math.inf
        for j in range(m):
            if j != own[i]:
                lowest = min(lowest, sums[i, j])
        below[i] = lowest < least
        if not below[i]:
            for j in range(m):
                sums[i, j] = math.sqrt(sums[i, j])
