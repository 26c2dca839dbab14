"""Distances of all pairs by direct difference: where lists of candidates would hold so many that they save nothing.

A block of rows is compared with a block of others, so that what is read is used many times; listed pairs, one row with
a few others, have no such blocks. The bits of a distance are the same.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.resume import Snapshots
from rra_cli.neighbors.rows import Found, Rows
from rra_cli.neighbors.threads import over_rows, thread_count
from rra_cli.neighbors.tiles.dense_kernels import TILE, add_all_squares
from rra_cli.neighbors.tiles.direct import UNDERFLOW, distance_in_own_scale, unit_of
from rra_cli.neighbors.tiles.order_kernels import take_nearest_of_all, take_roots

_NAME = np.frombuffer(b"all pairs", np.uint8)
_COPY = 1 << 28  # bytes of columns that are copied at a time; more do not make it faster
# Differences a thread makes between two states that can be kept, 6 s; but never fewer columns than these at a time,
# since all sums are read and written for them.
_LONGEST, _COLUMNS = 1e11, 256
BYTES = 16  # of memory for a pair, at most


def nearest_of_all(
    queries: Rows,
    references: Rows,
    own: NDArray[np.int64],
    k: int,
    *,
    memory: int,
    offset: int | None = None,
    progress: Progress = silent,
    snapshots: Snapshots | None = None,
) -> Found:
    """The k nearest references of every query, by (distance, id): positions and scaled distances, `(queries, k)`.

    own: `(queries,)` reference that is the query itself, which is left out; -1 for none. offset: query i is reference
    offset + i, so that a pair of queries is compared once; None: they have nothing in common. The sums of all pairs are
    held: BYTES a pair of the two sets. The distances are those of `distances_of`.
    """
    n = len(queries)
    sums = _sums(queries, references, memory, offset, progress, snapshots)
    below = np.empty(n, bool)
    over_rows(lambda a, b: take_roots(sums, own, UNDERFLOW, below, a, b), n)
    for row in np.flatnonzero(below):
        small = np.flatnonzero(sums[row] < UNDERFLOW)
        np.sqrt(sums[row], out=sums[row])
        for other in small[small != own[row]]:
            sums[row, other] = distance_in_own_scale(queries, references, int(row), int(other))
    ids, lengths = np.empty((n, k), np.int64), np.empty((n, k))
    over_rows(lambda a, b: take_nearest_of_all(sums, own, ids, lengths, a, b), n)
    return ids, lengths


def _sums(
    queries: Rows,
    references: Rows,
    memory: int,
    offset: int | None,
    progress: Progress,
    snapshots: Snapshots | None,
) -> NDArray[np.float64]:
    """Sums of squared differences `(queries, references)`."""
    n, m, features = len(queries), len(references), references.features
    done, sums = 0, np.zeros((n, m))
    kept = None if snapshots is None else snapshots.restore()
    if kept is not None and np.array_equal(kept[0], _NAME) and kept[2].shape == sums.shape:
        done, sums = int(kept[1]), kept[2]
    tiles, unit = _tiles(n, m, offset), unit_of(features)
    each = 8 * unit * (m + (0 if offset is not None else n))
    room = memory // 4 if isinstance(references.data, np.memmap) else min(memory // 4, _COPY)
    stretch = unit * max(1, room // each)
    step = unit * max(1, max(_COLUMNS, int(_LONGEST * thread_count() / (n * m))) // unit)
    left: NDArray[Any] | None = None
    right: NDArray[Any] | None = None
    for begin in range(done, features, stretch):
        end = min(features, begin + stretch)
        right = references.slabs(begin, end, unit, out=right)
        if offset is None:
            mine = left = queries.slabs(begin, end, unit, out=left)
        else:
            mine = right[:, offset : offset + n]
        for at in range(begin, end, step):
            stop = min(end, at + step)
            now = tiles.copy()
            if stop < features:
                now[:, 3] = -1  # only the whole sums are copied to the pairs the other way round
            part = slice((at - begin) // unit, -(-(stop - begin) // unit))
            given: tuple[Any, ...] = (mine[part], right[part], unit, now, offset or 0, sums)
            over_rows(partial(add_all_squares, *given), len(now))
            progress(stop, features, "")
            if snapshots is not None and stop < features and snapshots.due:
                snapshots.keep([_NAME, np.array(stop), sums])
    return sums


def _tiles(n: int, m: int, offset: int | None) -> NDArray[np.int64]:
    """What `add_all_squares` is to visit: every pair, those of two queries once."""
    starts = range(0, n, TILE)
    if offset is None:
        return np.array([(i, j, min(TILE, m - j), -1) for i in starts for j in range(0, m, TILE)], np.int64)
    found = []
    for i, other in product(starts, starts):
        if other >= i:
            found.append((i, offset + other, min(TILE, n - other), other if other > i else -1))
    for i, (start, stop) in product(starts, ((0, offset), (offset + n, m))):
        found += [(i, j, min(TILE, stop - j), -1) for j in range(start, stop, TILE)]
    return np.array(found, np.int64)
