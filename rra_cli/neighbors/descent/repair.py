"""What nearest-neighbour descent returns, made a graph: no self, true distances in order, and which rows are broken.

-1 for what was not found, infinite distances, repeated ids and missing neighbours have all been reported of the
library; the sample itself need not come first where there are duplicates. So only ids are taken from it, and each is
checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.rows import WIDE, Scan, native
from rra_cli.neighbors.threads import over_rows

Lists = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]


def comparable(data: NDArray[Any], scanned: Scan) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The rows as their differences are taken, `(n, width)` float32 or float64, and their mean `(width,)`.

    In a safe range of size, contiguous, and filled up with zeros to whole units of columns; the data itself where it is
    so already, else a copy.
    """
    features = data.shape[1]
    missing = -features % _unit(features)
    same = data.dtype == native(data[:1]).dtype and data.flags.c_contiguous
    exact = np.asarray(data) if same else native(data)
    if scanned.scale != 1.0:
        exact = exact * scanned.scale
    if missing:
        exact = np.pad(exact, ((0, 0), (0, missing)))
    return exact, np.pad(scanned.mean * scanned.scale, (0, missing))


def _unit(features: int) -> int:
    return min(WIDE, -(-features // 16) * 16)


def checked_lists(data: NDArray[Any], listed: NDArray[np.integer], k: int) -> Lists:
    """The first k listed ids of every row, itself left out, by (distance, id); the distances; which rows are broken.

    data: see `comparable`. listed: `(n, any)`. Returns ids `(n, k)`, their distances by direct difference in float64,
    and `(n,)` whether the row has fewer than k usable ids or repeats one.
    """
    from rra_cli.neighbors.descent.kernels import drop_unusable, sort_rows

    n = len(listed)
    ids, broken = np.empty((n, k), np.int64), np.empty(n, bool)
    distances = np.empty((n, k))

    def work(begin: int, end: int) -> None:
        drop_unusable(listed, ids, broken, begin, end)
        starts = np.arange(0, (end - begin) * k + 1, k)
        squares = pair_squares(data[begin:end], data, starts, ids[begin:end].reshape(-1))
        np.sqrt(squares.reshape(-1, k), out=distances[begin:end])
        sort_rows(ids, distances, broken, begin, end)

    over_rows(work, n)
    return ids, distances, broken


def pair_squares(
    queries: NDArray[Any], data: NDArray[Any], starts: NDArray[np.int64], ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared distances of every query row to the rows of `data` that it lists: ids[starts[i]:starts[i + 1]]."""
    from rra_cli.neighbors.tiles.pair_kernels import add_squares

    squares = np.zeros(len(ids))
    add_squares(queries, data, _unit(data.shape[1]), starts, ids, squares, 0, len(queries))
    return squares
