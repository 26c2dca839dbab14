"""Compiled reading of tiles of products: which pairs may be neighbours, kept in a short list for every row.

A tile holds G = q_i . q_j of two blocks of rows. With the facts of the rows (`products.py`: scale s, squared norm N,
radius e, norm of the second part f) a pair's squared distance is S = N_i + N_j - 2 s_i s_j G; its true distance lies
within sqrt(S -+ slack) -+ (e_i + e_j), slack = error (N_i + N_j) + 2 f_i f_j. A list keeps pairs (j, S) and a bound: an
upper bound of the distance of the k-th neighbour. Pairs whose interval begins beyond the bound are not put on it; a
full list lowers its bound and drops what then lies beyond.

Reading tiles is what costs, so single precision decides, with a slack for its rounding, many pairs at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Relative to |x|^2 + |y|^2: rounding of the products to single precision and of a handful of operations on them.
SINGLE = 4e-6
FAR = np.float32(1e18)  # the bound before k pairs are known; its square is still a float32
SINGLE_SUM = 4e-7  # the same for the square of a pair that is kept as a float32
OUTWARDS = np.float32(1.0 + 1e-6)  # ends of intervals are rounded outwards
TINY = np.float32(1e-37)  # and distances too small for a float32 get an upper end that is one
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
    """Lowers the bound of list i to the k-th smallest upper end of its intervals; drops the pairs that begin beyond.

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
        end = np.partition(ends, k - 1)[k - 1]
        bound[i] = min(bound[i], np.float32(end * OUTWARDS) + TINY)
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
def first_bounds(
    products: NDArray[np.number],
    cross: NDArray[np.number],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    error: float,
    own: NDArray[np.int64],
    bound: NDArray[np.float32],
    k: int,
    begin: int,
    end: int,
) -> None:
    """Upper bounds of the k-th distance of rows begin..end from a tile's columns alone, where there is none yet.

    own: column of the tile that the row itself is, outside of 0..n - 1 for none. bound: of the rows.
    """
    n = products.shape[1]
    ends = np.empty(n, np.float32)
    scale, norm = columns[:, 0].astype(np.float32), columns[:, 1].astype(np.float32)
    radius, second = columns[:, 2].max(), columns[:, 3].max()  # of all columns: one root a row then is enough
    two = len(cross) > 0
    second_part = np.float32(1.0 / 254.0)
    fold = max(1, min(16, n // (4 * k)))
    width = n // fold if fold > 1 else n
    for r in range(max(0, begin), end):
        if bound[r] < FAR or n <= k:
            continue
        s = np.float32(-2.0 * rows[r, 0])
        if two:
            for c in range(n):
                g = np.float32(products[r, c]) + np.float32(cross[r, c]) * second_part
                ends[c] = norm[c] + s * (scale[c] * g)
        else:
            for c in range(n):
                ends[c] = norm[c] + s * (scale[c] * np.float32(products[r, c]))
        if 0 <= own[r] < n:
            ends[own[r]] = FAR
        # The smallest of every few columns stand for all: k of them within a distance are k columns within it.
        for part in range(1, fold):
            for c in range(width):
                ends[c] = min(ends[c], ends[part * width + c])
        squared = rows[r, 1] + np.partition(ends[:width], k - 1)[k - 1]
        squared += (error + SINGLE) * (rows[r, 1] + columns[:, 1].max()) + 2.0 * rows[r, 3] * second
        bound[r] = np.float32((np.sqrt(max(squared, 0.0)) + rows[r, 2] + radius) * OUTWARDS) + TINY


@njit(nogil=True, cache=True)
def mark(
    products: NDArray[np.number],
    cross: NDArray[np.number],
    row: NDArray[np.float32],
    scale: NDArray[np.float32],
    second: NDArray[np.float32],
    radius: NDArray[np.float32],
    base: NDArray[np.float32],
    reach: NDArray[np.float32],
    beyond: NDArray[np.float32],
    marks: NDArray[np.uint8],
    begin: int,
    end: int,
) -> None:
    """Which pairs of a tile may belong to a list: 1 the row's, 2 the column's, 3 both; in single precision.

    The other arguments: see `row_terms`. Nothing else is done here, and the columns' terms are arrays of their own:
    only so does the compiler make vector instructions of it.
    """
    part = np.float32(1.0 / 254.0)
    n = products.shape[1]
    for r in range(max(0, begin), end):
        s, f, row_reach, row_limit, row_radius, column_limit = (
            row[r, 0],
            row[r, 1],
            row[r, 2],
            row[r, 3],
            row[r, 4],
            row[r, 5],
        )
        if len(cross) > 0:
            for c in range(n):
                t = s * (scale[c] * (np.float32(products[r, c]) + np.float32(cross[r, c]) * part)) + f * second[c]
                mine = base[c] + row_reach * radius[c] + t <= row_limit
                its = beyond[c] + row_radius * reach[c] + t <= column_limit
                marks[r, c] = np.uint8(mine) | (np.uint8(its) << 1)
        else:
            for c in range(n):
                t = s * (scale[c] * np.float32(products[r, c]))
                mine = base[c] + row_reach * radius[c] + t <= row_limit
                its = beyond[c] + row_radius * reach[c] + t <= column_limit
                marks[r, c] = np.uint8(mine) | (np.uint8(its) << 1)


def row_terms(rows: NDArray[np.float64], bound: NDArray[np.float32], error: float) -> NDArray[np.float32]:
    """What `mark` needs of the rows, `(m, 6)`; with `column_terms`, in single precision with slack for its rounding.

    With norms N, radii e, scales s and bound T, pair (i, j) may be on list i when
    N_i + N_j - 2 s_i s_j G <= (T_i + e_i + e_j)^2, that is
    (N_j - e_j^2) - 2 (T_i + e_i) e_j - 2 s_i s_j G <= (T_i + e_i)^2 - N_i; on list j likewise.
    """
    norm, radius = (rows[:, at].astype(np.float32) for at in (1, 2))
    keep, more = np.float32(1.0 - error - SINGLE), np.float32(1.0 + SINGLE)
    radius *= OUTWARDS
    reach = bound + radius
    limits = (reach * reach * more - norm * keep, -2.0 * radius, radius * radius - norm * keep)
    return np.stack([-2.0 * rows[:, 0], -2.0 * rows[:, 3], -2.0 * reach, *limits], axis=1).astype(np.float32)


def column_terms(columns: NDArray[np.float64], bound: NDArray[np.float32], error: float) -> tuple[NDArray[Any], ...]:
    """What `mark` needs of the columns: six arrays `(n,)`."""
    scale, norm, inner, second = (columns[:, at].astype(np.float32) for at in range(4))
    keep, more = np.float32(1.0 - error - SINGLE), np.float32(1.0 + SINGLE)
    radius = inner * OUTWARDS
    reach = bound + radius
    return scale, second, radius, norm * keep - radius * radius, reach, norm * keep - reach * reach * more


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
