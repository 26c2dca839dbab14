"""The recall of an approximate graph: on some rows, the distance of the true k-th neighbour, found exactly.

The k-th listed distance is an upper bound of the true one, so that no list of candidates has to be kept: float64
products leave the few rows that may lie within it (their error is at most 2 g (|x|^2 + |y|^2), g = d u / (1 - d u),
u = 2^-53, for any order of summation: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5), and
direct differences decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.descent.repair import pair_squares
from rra_cli.neighbors.rows import blocks
from rra_cli.neighbors.threads import over_rows

# Distances that only rounding tells apart count as equal.
TIE = 1e-12
_MOST_ROWS = 1 << 13  # more do not stay in the cache
_MOST_PAIRS = 1 << 22  # candidates that are kept before all but the nearest are dropped


def measured_recall(
    data: NDArray[Any],
    centre: NDArray[np.float64],
    rows: NDArray[np.int64],
    distances: NDArray[np.float64],
    memory: int,
) -> float:
    """The fraction of listed neighbours of some rows that are no farther than the true k-th neighbour.

    data, centre: see `comparable`; the mean is taken off, so that products lose little. rows: `(m,)` ids;
    distances: `(m, k)` of their listed neighbours, ascending, by direct difference. Ties count as found.
    """
    radii = kth_distances(data, centre, rows, distances[:, -1], distances.shape[1], memory)
    return float((distances <= radii[:, None] * (1 + TIE)).mean())


def kth_distances(
    data: NDArray[Any],
    centre: NDArray[np.float64],
    rows: NDArray[np.int64],
    within: NDArray[np.float64],
    k: int,
    memory: int,
) -> NDArray[np.float64]:
    """The distance of the k-th nearest other row of each of these rows, `(m,)`.

    within: `(m,)` distances within which they certainly have k others.
    """
    import torch

    n, d = data.shape
    own = data[rows]
    queries = torch.from_numpy(own - centre)
    mean, slack = torch.from_numpy(centre), 4 * (d + 16) * 2.0**-53
    # |x - y|^2 <= r^2 follows from (1 - slack) |y|^2 - 2 x.y <= this.
    bound = torch.from_numpy(np.square(within * (1 + TIE))) - (1 - slack) * (queries * queries).sum(dim=1)
    found = Candidates.none()
    for start, stop in blocks(n, min(_MOST_ROWS, memory // (64 * (d + len(rows))))):
        block = torch.from_numpy(np.array(data[start:stop])).double() - mean  # by all threads
        norms = (block * block).sum(dim=1)
        near = torch.addmm((1 - slack) * norms[None], queries, block.T, alpha=-2) <= bound[:, None]
        at, column = (part.numpy() for part in torch.nonzero(near, as_tuple=True))
        other = column + start != rows[at]
        found = found.joined(_measured(own, data, at[other], column[other] + start))
        if len(found.rows) > _MOST_PAIRS:
            found = found.nearest(k)
    return np.sqrt(found.nearest(k).squares.reshape(len(rows), k)[:, -1])


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be among the nearest: the place of the row that asks, `(m,)`, and their squared distance."""

    rows: NDArray[np.int64]
    squares: NDArray[np.float64]

    @classmethod
    def none(cls) -> Candidates:
        return cls(np.empty(0, np.int64), np.empty(0))

    def joined(self, other: Candidates) -> Candidates:
        return Candidates(np.r_[self.rows, other.rows], np.r_[self.squares, other.squares])

    def nearest(self, k: int) -> Candidates:
        """The k nearest of every row, row by row, nearest first."""
        order = np.lexsort((self.squares, self.rows))
        rows = self.rows[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        return Candidates(rows[rank < k], self.squares[order[rank < k]])


def _measured(queries: NDArray[Any], data: NDArray[Any], at: NDArray[np.int64], ids: NDArray[np.int64]) -> Candidates:
    """The candidates of a block of rows, `at` ascending, with their distances by direct difference."""
    starts = np.searchsorted(at, np.arange(len(queries) + 1))
    squares = np.empty(len(ids))

    def work(begin: int, end: int) -> None:
        first, last = starts[begin], starts[end]
        squares[first:last] = pair_squares(queries[begin:end], data, starts[begin : end + 1] - first, ids[first:last])

    over_rows(work, len(queries))
    return Candidates(at, squares)
