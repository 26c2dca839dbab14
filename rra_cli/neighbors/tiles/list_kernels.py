"""Compiled lists: the pairs of a row that may be neighbours, as tiles offer them.

A tile holds G = q_i . q_j of two blocks of rows. With the facts of the rows (`products.py`: scale s, squared norm N,
radius e, norm of the second part f) a pair's squared distance is S = N_i + N_j - 2 s_i s_j G; its true distance lies
within sqrt(S -+ slack) -+ (e_i + e_j), slack = error (N_i + N_j) + 2 f_i f_j. A list keeps pairs (j, S) and a bound: an
upper bound of the distance of the k-th neighbour. Pairs whose interval begins beyond the bound are not put on it
(`mark_kernels.py` says which); a full list lowers its bound and drops what then lies beyond.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rra_cli.neighbors.tiles.order_kernels import kth_at_most

# Compiled into this file and into mark_kernels.py, which keep compiled code by their own date only: touch both.
FAR = np.float32(1e18)  # the bound before k pairs are known; its square is still a float32
OUTWARDS = np.float32(1.0 + 1e-6)  # ends of intervals are rounded outwards
TINY = np.float32(1e-37)  # and distances too small for a float32 get an upper end that is one
# Relative to |x|^2 + |y|^2: rounding of a square that is kept as a float32, and of what follows.
SINGLE_SUM = 4e-7
ONE = np.uint64(1)
ROW_MARKS = np.uint64(0x0101010101010101)  # the lowest bit of each of eight bytes
_PLACES = np.uint64(0x0001020304050607)


@njit(nogil=True, cache=True)
def shorten(
    ids: NDArray[np.int32],
    squares: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    error: float,
    i: int,
    k: int,
) -> None:
    """Lowers the bound of list i to about the k-th smallest upper end of its intervals; drops those that begin beyond.

    mine, theirs: facts of queries and references, `(rows, 4)`.
    """
    n = count[i]
    slacks, radii, ends = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    norm, radius, second = mine[i, 1], mine[i, 2], mine[i, 3]
    for p in range(n):
        j = ids[i, p]
        # SINGLE covers the rounding of the squares and of what follows.
        slacks[p] = (error + SINGLE_SUM) * (norm + theirs[j, 1]) + 2.0 * second * theirs[j, 3]
        radii[p] = (radius + theirs[j, 2]) * OUTWARDS
    for p in range(n):
        ends[p] = np.sqrt(max(squares[i, p] + slacks[p], np.float32(0.0))) + radii[p]
    if n >= k:
        bound[i] = min(bound[i], np.float32(kth_at_most(ends, n, k) * OUTWARDS) + TINY)
    limit = bound[i]
    kept = 0
    for p in range(n):
        reach = (limit + radii[p]) * OUTWARDS
        if squares[i, p] - slacks[p] <= reach * reach:
            ids[i, kept] = ids[i, p]
            squares[i, kept] = squares[i, p]
            kept += 1
    count[i] = kept


@njit(nogil=True, cache=True)
def shorten_all(
    ids: NDArray[np.int32],
    squares: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    error: float,
    k: int,
    begin: int,
    end: int,
) -> None:
    """`shorten` for lists begin..end."""
    for i in range(begin, end):
        shorten(ids, squares, count, bound, mine, theirs, error, i, k)


@njit(nogil=True, cache=True)
def _make_room(
    ids: NDArray[np.int32],
    squares: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    full: NDArray[np.bool_],
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    error: float,
    i: int,
    k: int,
) -> int:
    """Shortens a list without an empty place: its new length, or -1 where little was gained and it is given up."""
    if full[i]:
        return -1
    shorten(ids, squares, count, bound, mine, theirs, error, i, k)
    if count[i] >= ids.shape[1] - (ids.shape[1] >> 3):
        full[i] = True
        count[i] = ids.shape[1]
        return -1
    return int(count[i])


@njit(nogil=True, cache=True)
def _squared(
    products: NDArray[np.number],
    cross: NDArray[np.number],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    r: int,
    c: int,
) -> float:
    """The squared distance of what is kept of row r and column c."""
    g = float(products[r, c])
    if len(cross) > 0:
        g += cross[r, c] / 254.0
    return rows[r, 1] + columns[c, 1] - 2.0 * rows[r, 0] * columns[c, 0] * g


@njit(nogil=True, cache=True)
def _lowest(word: np.uint64) -> int:
    """The lowest byte of eight that is 1, where all are 0 or 1."""
    alone = word & (~word + ONE)
    return int((alone * _PLACES) >> np.uint64(56))  # moves the byte's place to the top


@njit(nogil=True, cache=True)
def tighten(
    ids: NDArray[np.int32],
    squares: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    full: NDArray[np.bool_],
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    settled: NDArray[np.int32],
    error: float,
    k: int,
    begin: int,
    end: int,
) -> None:
    """Shortens lists begin..end that grew by more than 2 k since the last time: lower bounds mean fewer offers."""
    for i in range(begin, end):
        if count[i] > settled[i] + 2 * k + 32 and not full[i]:
            shorten(ids, squares, count, bound, mine, theirs, error, i, k)
            settled[i] = count[i]


@njit(nogil=True, cache=True)
def offer_to_rows(
    marks: NDArray[np.uint64],
    products: NDArray[np.number],
    cross: NDArray[np.number],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    error: float,
    own: NDArray[np.int64],
    first_list: int,
    first_column: int,
    ids: NDArray[np.int32],
    squares: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    full: NDArray[np.bool_],
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    k: int,
    begin: int,
    end: int,
) -> None:
    """Offers the marked columns of a tile `(m, n)` to the lists of its rows begin..end.

    marks: of `mark`, eight in a word. cross: products of the second parts, or no rows. rows, columns: facts `(m, 4)`,
    `(n, 4)`. error: of a squared distance, relative to the squared norms. own: column of the tile that the row is.
    """
    n = products.shape[1]
    for r in range(begin, end):
        for w in range(marks.shape[1]):
            word = marks[r, w] & ROW_MARKS
            while word != 0:
                c = 8 * w + _lowest(word)
                word &= word - ONE
                if c == own[r] or c >= n:
                    continue
                squared = _squared(products, cross, rows, columns, r, c)
                i, j = first_list + r, first_column + c
                at = count[i]
                if at == ids.shape[1]:
                    at = _make_room(ids, squares, count, bound, full, mine, theirs, error, i, k)
                    if at < 0:
                        continue
                ids[i, at], squares[i, at] = j, squared
                count[i] = at + 1


@njit(nogil=True, cache=True)
def offer_to_columns(
    marks: NDArray[np.uint64],
    products: NDArray[np.number],
    cross: NDArray[np.number],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    error: float,
    first_list: int,
    first_row: int,
    ids: NDArray[np.int32],
    squares: NDArray[np.float32],
    count: NDArray[np.int32],
    bound: NDArray[np.float32],
    full: NDArray[np.bool_],
    mine: NDArray[np.float64],
    theirs: NDArray[np.float64],
    k: int,
    begin: int,
    end: int,
) -> None:
    """Offers the marked rows of a tile to the lists of its columns begin..end, `begin` a multiple of eight.

    Row r is reference first_row + r, column c has list first_list + c; rows and columns share none.
    """
    for w in range(begin // 8, (end + 7) // 8):  # eight lists at a time stay in the cache
        for r in range(len(products)):
            word = (marks[r, w] >> ONE) & ROW_MARKS
            while word != 0:
                c = 8 * w + _lowest(word)
                word &= word - ONE
                if c >= end:
                    continue
                squared = _squared(products, cross, rows, columns, r, c)
                i, j = first_list + c, first_row + r
                at = count[i]
                if at == ids.shape[1]:
                    at = _make_room(ids, squares, count, bound, full, mine, theirs, error, i, k)
                    if at < 0:
                        continue
                ids[i, at], squares[i, at] = j, squared
                count[i] = at + 1


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
