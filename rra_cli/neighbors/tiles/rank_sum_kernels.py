"""Compiled ranks of whole rows of distances: all of a row are sorted once, however many of its ranks are asked for."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_BITS = 11  # of a key that are sorted by at a time
_DIGITS = 1 << _BITS


@njit(nogil=True, cache=True)
def row_ranks(
    keys: NDArray[np.uint32],
    counts: NDArray[np.int32],
    order: NDArray[np.int32],
    other: NDArray[np.int32],
    ranks: NDArray[np.int32],
) -> None:
    """The rank of every column by its key, from 1; equal keys by column: a stable radix sort.

    keys, ranks: `(n,)`. counts: `(3, 2048)`, order, other: `(n,)`: overwritten.
    """
    n, mask = len(keys), np.uint32(_DIGITS - 1)
    counts[:] = 0
    for c in range(n):
        key = keys[c]
        counts[0, key & mask] += 1
        counts[1, (key >> np.uint32(_BITS)) & mask] += 1
        counts[2, key >> np.uint32(2 * _BITS)] += 1
    for digit in range(3):
        before = np.int32(0)
        for value in range(_DIGITS):
            here = counts[digit, value]
            counts[digit, value] = before
            before += here
    for c in range(n):
        digit = keys[c] & mask
        order[counts[0, digit]] = c
        counts[0, digit] += 1
    for place in range(n):
        c = order[place]
        digit = (keys[c] >> np.uint32(_BITS)) & mask
        other[counts[1, digit]] = c
        counts[1, digit] += 1
    for place in range(n):
        c = other[place]
        digit = keys[c] >> np.uint32(2 * _BITS)
        counts[2, digit] += 1
        ranks[c] = counts[2, digit]


@njit(nogil=True, cache=True)
def add_ranks(
    keys: NDArray[np.uint32],
    nearest: NDArray[np.int32],
    places: NDArray[np.int32],
    samples: NDArray[np.int32],
    first: int,
    sums: NDArray[np.int64],
    begin: int,
    end: int,
) -> None:
    """Adds, for rows begin..end of `keys`, the first of which is row `first`, the ranks that permutations ask of them.

    nearest: `(layers, n)` neighbour of every sample. places: `(m, n)` row that a permutation puts each sample in.
    samples: `(n, m)`, the sample that it puts in each row. sums: `(layers, m)`. The own key of a row is the largest.
    """
    n = keys.shape[1]
    counts = np.empty((3, _DIGITS), np.int32)
    order, other, ranks = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    for r in range(max(0, begin), end):
        row_ranks(keys[r], counts, order, other, ranks)
        for m in range(len(places)):
            sample = samples[first + r, m]
            for a in range(len(nearest)):
                sums[a, m] += ranks[places[m, nearest[a, sample]]]
