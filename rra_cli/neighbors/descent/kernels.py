"""Compiled passes over the lists that nearest-neighbour descent returns.

All kernels run one thread over the rows begin..end and release the interpreter's lock.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def drop_unusable(
    listed: NDArray[np.integer], ids: NDArray[np.int64], broken: NDArray[np.bool_], begin: int, end: int
) -> None:
    """The first k ids of every row that are rows other than itself, `(n, k)`; a row that lacks some is broken.

    listed: `(n, any)`. A place without an id holds the row's own.
    """
    n, width = listed.shape
    k = ids.shape[1]
    for i in range(begin, end):
        found = 0
        for column in range(width):
            j = listed[i, column]
            if 0 <= j < n and j != i:
                ids[i, found] = j
                found += 1
                if found == k:
                    break
        broken[i] = found < k
        for column in range(found, k):
            ids[i, column] = i


@njit(nogil=True, cache=True)
def sort_rows(
    ids: NDArray[np.int64], distances: NDArray[np.float64], broken: NDArray[np.bool_], begin: int, end: int
) -> None:
    """Orders every row by (distance, id), in place; a row that lists an id twice is broken.

    By insertion: descent lists them nearly in order. An id has one distance, so that its copies end side by side.
    """
    k = ids.shape[1]
    for i in range(begin, end):
        for column in range(1, k):
            distance, j = distances[i, column], ids[i, column]
            place = column
            while place > 0 and (
                distances[i, place - 1] > distance or (distances[i, place - 1] == distance and ids[i, place - 1] > j)
            ):
                distances[i, place] = distances[i, place - 1]
                ids[i, place] = ids[i, place - 1]
                place -= 1
            distances[i, place] = distance
            ids[i, place] = j
        for column in range(1, k):
            if ids[i, column] == ids[i, column - 1]:
                broken[i] = True


@njit(nogil=True, cache=True)
def write_centred(
    block: NDArray[np.floating], unit: float, centre: NDArray[np.float64], out: NDArray[np.float32]
) -> None:
    """`block * unit - centre`, computed in float64 and rounded once, into `out` `(m, d)`."""
    for i in range(block.shape[0]):
        for f in range(block.shape[1]):
            out[i, f] = np.float32(block[i, f] * unit - centre[f])


@njit(nogil=True, cache=True, fastmath=True)
def squared_float32(
    data: NDArray[np.float32], ids: NDArray[np.int32], squared: NDArray[np.float32], begin: int, end: int
) -> None:
    """The squared distance of every row to those it lists, as the index measures it."""
    for i in range(begin, end):
        for column in range(ids.shape[1]):
            j = ids[i, column]
            total = np.float32(0.0)
            for f in range(data.shape[1]):
                difference = data[i, f] - data[j, f]
                total += difference * difference
            squared[i, column] = total
