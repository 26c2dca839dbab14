"""Compiled reading of tiles of products for ranks: how many pairs are certainly nearer than a given distance.

What is kept of rows x_i, x_j has the squared distance S = N_i + N_j - 2 s_i s_j G (facts of the rows: `products.py`).
Their true distance lies within sqrt(S -+ slack) -+ (e_i + e_j) with slack = error (N_i + N_j) + 2 f_i f_j, which is at
most the sum of error N + f^2 of both rows. For a threshold T, a pair is certainly nearer where
S + slack < (T - e_i - e_j)^2 and certainly farther where S - slack > (T + e_i + e_j)^2; all others are unsure.

Nothing is compiled with fast-math: counting and listing unsure pairs must agree on every one of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_CHUNK = 64


@njit(nogil=True, cache=True)
def squared_distances(
    products: NDArray[np.number],
    cross: NDArray[np.number],
    rows: NDArray[np.floating],
    scales: NDArray[np.floating],
    norms: NDArray[np.floating],
    own: NDArray[np.int64],
    out: NDArray[np.floating],
    begin: int,
    end: int,
) -> None:
    """S of rows begin..end with all columns into `out`; infinity for the row itself.

    rows: `(m, 2)` scale s and norm N of the rows; scales, norms: of the columns; all of the type of `out`. own: column
    that the row is, outside of 0..n - 1 for none.
    """
    n = products.shape[1]
    number = out.dtype.type
    part, two = number(1.0 / 254.0), number(-2.0)
    for r in range(max(0, begin), end):
        s, norm = two * rows[r, 0], rows[r, 1]
        if len(cross) > 0:
            for c in range(n):
                out[r, c] = norm + norms[c] + s * (scales[c] * (number(products[r, c]) + number(cross[r, c]) * part))
        else:
            for c in range(n):
                out[r, c] = norm + norms[c] + s * (scales[c] * number(products[r, c]))
        if 0 <= own[r] < n:
            out[r, own[r]] = np.inf


@njit(nogil=True, cache=True)
def count_nearer(
    squares: NDArray[np.floating],
    row_slack: NDArray[np.floating],
    slack: NDArray[np.floating],
    radius: NDArray[np.floating],
    weights: NDArray[np.int32],
    factors: NDArray[np.floating],
    starts: NDArray[np.int64],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    near: NDArray[np.int64],
    unsure: NDArray[np.int32],
    begin: int,
    end: int,
) -> None:
    """Adds to `near` the weights of the columns certainly within each threshold; `unsure`: how many are not decided.

    starts: `(m + 1,)` thresholds of every row. low, high: T - e_i and T + e_i, rounded outwards. factors: below and
    above 1, for the rounding of squares.
    """
    n = squares.shape[1]
    less, more = factors[0], factors[1]
    for r in range(max(0, begin), end):
        own_slack = row_slack[r]
        for u in range(starts[r], starts[r + 1]):
            lowest, highest = low[u], high[u]
            inner, open_ = np.int32(0), np.int32(0)
            for c in range(n):
                width, square = own_slack + slack[c], squares[r, c]
                inside, reach = lowest - radius[c], highest + radius[c]
                is_near = square + width < inside * abs(inside) * less
                is_far = square - width > reach * reach * more
                inner += weights[c] * np.int32(is_near)
                open_ += np.int32(not (is_near or is_far))
            near[u] += inner
            unsure[u] = open_


@njit(nogil=True, cache=True)
def list_unsure(
    squares: NDArray[np.floating],
    row_slack: NDArray[np.floating],
    slack: NDArray[np.floating],
    radius: NDArray[np.floating],
    factors: NDArray[np.floating],
    starts: NDArray[np.int64],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    unsure: NDArray[np.int32],
    places: NDArray[np.int64],
    first_slot: int,
    first_column: int,
    slots: NDArray[np.int64],
    columns: NDArray[np.int32],
    begin: int,
    end: int,
) -> None:
    """Writes the undecided (threshold, column) of rows begin..end, those of threshold u from places[u] on."""
    n = squares.shape[1]
    less, more = factors[0], factors[1]
    for r in range(max(0, begin), end):
        own_slack = row_slack[r]
        for u in range(starts[r], starts[r + 1]):
            at, last = places[u], places[u] + unsure[u]
            lowest, highest = low[u], high[u]
            for chunk in range(0, n, _CHUNK):
                if at == last:
                    break
                stop = min(n, chunk + _CHUNK)
                here = np.int32(0)
                for c in range(chunk, stop):  # without a branch: most chunks hold none
                    width, square = own_slack + slack[c], squares[r, c]
                    inside, reach = lowest - radius[c], highest + radius[c]
                    is_near = square + width < inside * abs(inside) * less
                    is_far = square - width > reach * reach * more
                    here += np.int32(not (is_near or is_far))
                if here == 0:
                    continue
                for c in range(chunk, stop):
                    width, square = own_slack + slack[c], squares[r, c]
                    inside, reach = lowest - radius[c], highest + radius[c]
                    is_near = square + width < inside * abs(inside) * less
                    is_far = square - width > reach * reach * more
                    if not (is_near or is_far):
                        slots[at], columns[at] = first_slot + u, first_column + c
                        at += 1


@njit(nogil=True, cache=True)
def lower_members(
    groups: NDArray[np.integer],
    limits: NDArray[np.int64],
    member_starts: NDArray[np.int64],
    members: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """How many members of each group have an id below the limit; a group's members ascend."""
    for q in range(len(groups)):
        first, last = member_starts[groups[q]], member_starts[groups[q] + 1]
        out[q] = np.searchsorted(members[first:last], limits[q])


@njit(nogil=True, cache=True)
def add_ties(
    slots: NDArray[np.int64],
    columns: NDArray[np.int32],
    query_starts: NDArray[np.int64],
    queries: NDArray[np.int64],
    targets: NDArray[np.int64],
    member_starts: NDArray[np.int64],
    members: NDArray[np.int64],
    extra: NDArray[np.int64],
) -> None:
    """Adds, for groups at exactly a threshold, their members of lower id than the target to each of its queries.

    queries[query_starts[u]:query_starts[u + 1]] are the queries of threshold u; targets, extra: of every query.
    """
    for p in range(len(slots)):
        u = slots[p]
        first, last = member_starts[columns[p]], member_starts[columns[p] + 1]
        for q in queries[query_starts[u] : query_starts[u + 1]]:
            extra[q] += np.searchsorted(members[first:last], targets[q])
