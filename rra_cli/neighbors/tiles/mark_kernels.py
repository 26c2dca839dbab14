"""Compiled reading of tiles: which pairs may belong on a list, decided in single precision, many at once.

Reading tiles is what costs besides their products, so a slack for the rounding stands in for more digits. What the
letters mean: `list_kernels.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rra_cli.neighbors.tiles.list_kernels import FAR, OUTWARDS, TINY
from rra_cli.neighbors.tiles.order_kernels import kth_at_most

# Relative to |x|^2 + |y|^2: rounding of the products to single precision and of a handful of operations on them.
SINGLE = 4e-6


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
        others = n
        if 0 <= own[r] < n:  # the last column takes its place
            others = n - 1
            ends[own[r]] = ends[others]
        # The smallest of every few columns stand for all: k of them within a distance are k columns within it.
        width = others // fold
        for part in range(1, fold):
            for c in range(width):
                ends[c] = min(ends[c], ends[part * width + c])
        squared = rows[r, 1] + kth_at_most(ends, width, k)
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
