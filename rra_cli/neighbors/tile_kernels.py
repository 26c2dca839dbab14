"""Compiled reading of tiles of products: which pairs may be neighbours, kept in a short list for every row.

A tile holds G = q_i . q_j of two blocks of rows. With the facts of the rows (see `products.py`) every pair has an
interval that holds its true distance, and a row's bound is an upper bound of the distance of its k-th neighbour. A pair
goes onto a list when its interval begins below the bound; a full list lowers the bound and drops what lies beyond it.

Reading is what costs: single precision decides first, with a slack for its rounding, many pairs at once. What passes is
decided in float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Relative to |x|^2 + |y|^2: rounding of the products to single precision and of a handful of operations on them.
SINGLE = 4e-6
_FAR = np.float32(1e18)  # the bound before k pairs are known; its square is still a float32
_SPAN = 256




@njit(nogil=True, cache=True)
def shorten(
    ids: NDArray[np.int32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    i: int,
    k: int,
) -> None:
    """Lowers the bound of list i to its k-th smallest upper end, and drops the pairs that begin beyond it."""
    n = count[i]
    if n >= k:
        ends = high[i, :n].copy()
        bound[i] = min(bound[i], np.partition(ends, k - 1)[k - 1])
    limit = bound[i]
    kept = 0
    for p in range(n):
        if low[i, p] <= limit:
            ids[i, kept] = ids[i, p]
            low[i, kept] = low[i, p]
            high[i, kept] = high[i, p]
            kept += 1
    count[i] = kept


@njit(nogil=True, cache=True)
def shorten_all(
    ids: NDArray[np.int32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    k: int,
    begin: int,
    end: int,
) -> None:
    """`shorten` for lists begin..end."""
    for i in range(begin, end):
        shorten(ids, low, high, count, bound, i, k)


@njit(nogil=True, cache=True)
def _offer(
    ids: NDArray[np.int32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    full: NDArray[np.bool_],
    i: int,
    j: int,
    squared: float,
    slack: float,
    radius: float,
    k: int,
) -> None:
    """Puts pair (i, j) onto list i unless it certainly lies beyond the bound."""
    near = np.sqrt(max(squared - slack, 0.0)) - radius
    # Rounded outwards; the constant keeps distances that are too small for a float32 apart from zero.
    near32 = np.float32(max(near, 0.0) * (1.0 - 2e-7))
    if near32 > bound[i] or full[i]:
        return
    capacity = ids.shape[1]
    if count[i] == capacity:
        shorten(ids, low, high, count, bound, i, k)
        if count[i] > capacity - (capacity >> 3):
            full[i] = True
            return
        if near32 > bound[i]:
            return
    at = count[i]
    ids[i, at] = j
    low[i, at] = near32
    high[i, at] = np.float32((np.sqrt(max(squared + slack, 0.0)) + radius) * (1.0 + 2e-7) + 1e-37)
    count[i] = at + 1


@njit(nogil=True, cache=True)
def offer_to_rows(
    products: NDArray[np.number],
    cross: NDArray[np.int32],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    error: float,
    own: NDArray[np.int64],
    first_list: int,
    first_column: int,
    ids: NDArray[np.int32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    full: NDArray[np.bool_],
    k: int,
    begin: int,
    end: int,
) -> None:
    """Offers every column of a tile `(m, n)` to the lists of its rows begin..end.

    cross: products of the second parts, `(m, n)`, or no rows. rows, columns: facts `(m, 4)`, `(n, 4)`. error: of a
    squared distance, relative to the squared norms. own: each row's own column among all, -1 for none.
    """
    n = products.shape[1]
    two = len(cross) > 0
    u32, s32 = np.empty(n, np.float32), np.empty(n, np.float32)
    e32, f32 = np.empty(n, np.float32), np.empty(n, np.float32)
    keep = np.float32(1.0 - error - SINGLE)
    for c in range(n):
        s32[c], e32[c], f32[c] = columns[c, 0], columns[c, 2], columns[c, 3]
        u32[c] = np.float32(columns[c, 1]) * keep - e32[c] * e32[c]
    passed = np.zeros(_SPAN, np.uint8)
    words = passed.view(np.uint64)
    part = np.float32(1.0 / 254.0)
    for r in range(begin, end):
        i = first_list + r
        if full[i]:
            continue
        s = np.float32(-2.0 * rows[r, 0])
        f = np.float32(-2.0 * rows[r, 3])
        for start in range(0, n, _SPAN):
            size = min(_SPAN, n - start)
            reach = bound[i] + np.float32(rows[r, 2])
            limit = reach * reach * np.float32(1.0 + SINGLE) - np.float32(rows[r, 1]) * keep
            twice = np.float32(-2.0) * reach
            at = np.uint64(start)
            if two:
                for c in range(np.uint64(size)):
                    g = np.float32(products[r, at + c]) + np.float32(cross[r, at + c]) * part
                    value = u32[at + c] + twice * e32[at + c] + s * (s32[at + c] * g) + f * f32[at + c]
                    passed[c] = value <= limit
            else:
                for c in range(np.uint64(size)):
                    g = np.float32(products[r, at + c])
                    value = u32[at + c] + twice * e32[at + c] + s * (s32[at + c] * g)
                    passed[c] = value <= limit
            for c in range(size, _SPAN):
                passed[c] = 0
            for w in range(_SPAN // 8):
                if words[w] != 0:
                    for c in range(8 * w, 8 * w + 8):
                        if passed[c]:
                            x = start + c
                            if first_column + x != own[r]:
                                g64 = float(products[r, x])
                                slack = error * (rows[r, 1] + columns[x, 1])
                                if two:
                                    g64 += cross[r, x] / 254.0
                                    slack += 2.0 * rows[r, 3] * columns[x, 3]
                                squared = rows[r, 1] + columns[x, 1] - 2.0 * rows[r, 0] * columns[x, 0] * g64
                                _offer(
                                    ids, low, high, count, bound, full, i, first_column + x,
                                    squared, slack, rows[r, 2] + columns[x, 2], k,
                                )


@njit(nogil=True, cache=True)
def offer_to_columns(
    products: NDArray[np.number],
    cross: NDArray[np.int32],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    error: float,
    first_list: int,
    first_row: int,
    ids: NDArray[np.int32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    full: NDArray[np.bool_],
    k: int,
    begin: int,
    end: int,
) -> None:
    """Offers every row of a tile to the lists of its columns begin..end: the other half of each pair.

    Row r of the tile is reference row first_row + r; column c has list first_list + c. Rows and columns share none.
    """
    m, size = len(products), end - begin
    two = len(cross) > 0
    s32, a32, v32 = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    f32 = np.empty(size, np.float32)
    keep = np.float32(1.0 - error - SINGLE)
    passed = np.zeros(size + 8, np.uint8)
    words = passed[: 8 * ((size + 7) // 8)].view(np.uint64)
    part = np.float32(1.0 / 254.0)
    for c in range(size):
        s32[c], f32[c] = columns[begin + c, 0], columns[begin + c, 3]
    for r in range(m):
        if r % 16 == 0:  # bounds only fall, so a bound that is a few rows old is a bound
            for c in range(size):
                a32[c] = bound[first_list + begin + c] + np.float32(columns[begin + c, 2])
                v32[c] = np.float32(columns[begin + c, 1]) * keep - a32[c] * a32[c] * np.float32(1.0 + SINGLE)
        s = np.float32(-2.0 * rows[r, 0])
        f = np.float32(-2.0 * rows[r, 3])
        twice = np.float32(-2.0 * rows[r, 2])
        limit = np.float32(rows[r, 2]) * np.float32(rows[r, 2]) - np.float32(rows[r, 1]) * keep
        at = np.uint64(begin)
        if two:
            for c in range(np.uint64(size)):
                g = np.float32(products[r, at + c]) + np.float32(cross[r, at + c]) * part
                passed[c] = v32[c] + twice * a32[c] + s * (s32[c] * g) + f * f32[c] <= limit
        else:
            for c in range(np.uint64(size)):
                g = np.float32(products[r, at + c])
                passed[c] = v32[c] + twice * a32[c] + s * (s32[c] * g) <= limit
        for w in range(len(words)):
            if words[w] != 0:
                for c in range(8 * w, min(8 * w + 8, size)):
                    if passed[c]:
                        x = begin + c
                        g64 = float(products[r, x])
                        slack = error * (rows[r, 1] + columns[x, 1])
                        if two:
                            g64 += cross[r, x] / 254.0
                            slack += 2.0 * rows[r, 3] * columns[x, 3]
                        squared = rows[r, 1] + columns[x, 1] - 2.0 * rows[r, 0] * columns[x, 0] * g64
                        _offer(
                            ids, low, high, count, bound, full, first_list + x, first_row + r,
                            squared, slack, rows[r, 2] + columns[x, 2], k,
                        )


@njit(nogil=True, cache=True)
def copy_lists(
    ids: NDArray[np.int32],
    starts: NDArray[np.int64],
    chosen: NDArray[np.int64],
    out: NDArray[np.int32],
    begin: int,
    end: int,
) -> None:
    """The ids of chosen lists begin..end one after the other, ascending within each."""
    for i in range(begin, end):
        n = starts[i + 1] - starts[i]
        out[starts[i] : starts[i + 1]] = np.sort(ids[chosen[i], :n])
