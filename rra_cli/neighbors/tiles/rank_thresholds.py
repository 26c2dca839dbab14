"""The distances whose ranks are asked for, each once whatever the number of samples and layers that ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.tiles.direct import Pairs, distances_of


@dataclass(frozen=True)
class Thresholds:
    """The distances that are ranked: of distinct rows (`row`) to distinct targets (`target`), ascending by both.

    starts: `(rows + 1,)`, the thresholds of each row. distances: by direct difference, in scaled units. slot:
    `(queries,)`, the threshold of each. members[member_starts[g]:member_starts[g + 1]]: samples that are row g.
    """

    starts: NDArray[np.int64]
    row: NDArray[np.int64]
    distances: NDArray[np.float64]
    slot: NDArray[np.int64]
    query_starts: NDArray[np.int64]
    queries: NDArray[np.int64]
    targets: NDArray[np.int64]
    member_starts: NDArray[np.int64]
    members: NDArray[np.int64]

    @classmethod
    def of(
        cls, rows: Rows, group: NDArray[np.int64], own: NDArray[np.int64], targets: NDArray[np.int64], memory: int
    ) -> Thresholds:
        n = len(rows)
        keys, slot = np.unique(group[own] * n + group[targets], return_inverse=True)
        row, target = keys // n, keys % n
        apart = row != target  # a copy of the sample is at distance 0
        pairs = Pairs(np.searchsorted(row[apart], np.arange(n + 1)).astype(np.int64), target[apart])
        distances = np.zeros(len(keys))
        distances[apart] = distances_of(rows, rows, pairs, memory=memory, offset=0)
        return cls(
            np.searchsorted(row, np.arange(n + 1)).astype(np.int64),
            row,
            distances,
            slot.astype(np.int64),
            np.r_[0, np.cumsum(np.bincount(slot, minlength=len(keys)))].astype(np.int64),
            np.argsort(slot, kind="stable").astype(np.int64),
            targets,
            np.r_[0, np.cumsum(np.bincount(group, minlength=n))].astype(np.int64),
            np.argsort(group, kind="stable").astype(np.int64),
        )
