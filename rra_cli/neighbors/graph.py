"""The k-nearest-neighbour graph of one layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors.threads import over_rows

_AT_A_TIME = 1 << 22  # neighbours that are checked together


class InputError(UserError, ValueError):
    """Arrays, graphs or parameters that do not fit what is asked of them; a `ValueError` for callers in a notebook."""


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """The k nearest neighbours of every sample, nearest first; ties by lower id.

    indices: `(n, k)` int32 or int64, ids into the reference set. distances: `(n, k)` float64, Euclidean, ascending.
    recall: fraction of true neighbours found, 1.0 for an exact graph, measured for an approximate one.
    n_reference: size of the set that neighbours come from. self_excluded: the set was searched against itself, so
    no sample is its own neighbour. engine: what built it ("exact", "pynndescent").
    """

    indices: NDArray[np.integer]
    distances: NDArray[np.float64]
    recall: float
    n_reference: int
    self_excluded: bool = True
    engine: str = "exact"

    def __post_init__(self) -> None:
        """Checks the invariants in blocks of rows: no self, no -1, no repeats, ascending, finite."""
        indices, distances = self.indices, self.distances
        if indices.ndim != 2 or indices.shape != distances.shape:
            raise ValueError(f"indices {indices.shape} and distances {distances.shape} must both be (n, k)")
        if indices.dtype not in (np.int32, np.int64) or distances.dtype != np.float64:
            raise ValueError(
                f"indices must be int32 or int64 and distances float64, got {indices.dtype}, {distances.dtype}"
            )
        if not 0.0 <= self.recall <= 1.0:
            raise ValueError(f"recall must lie in [0, 1], got {self.recall}")
        if self.self_excluded and self.n_reference != len(indices):
            raise ValueError(
                f"a graph of a set against itself has n_reference = n, got {self.n_reference} and {len(indices)}"
            )
        rows = max(1, _AT_A_TIME // max(1, indices.shape[1]))

        def check(first: int, last: int) -> None:
            for start, stop in ((at, min(last, at + rows)) for at in range(first, last, rows)):
                self._check(start, np.asarray(indices[start:stop]), np.asarray(distances[start:stop]))

        if len(indices) <= rows:
            check(0, len(indices))
        else:  # which may take as long as the search
            over_rows(check, len(indices))

    def _check(self, start: int, ids: NDArray[np.integer], distances: NDArray[np.float64]) -> None:
        def fail(bad: NDArray[np.bool_], what: str) -> None:
            if bad.any():
                row = start + int(np.flatnonzero(bad.any(axis=1))[0])
                raise ValueError(f"row {row} of the neighbour graph {what}")

        fail((ids < 0) | (ids >= self.n_reference), f"has an id outside of 0..{self.n_reference - 1}")
        fail(~np.isfinite(distances) | (distances < 0), "has a distance that is negative or not finite")
        fail(np.diff(distances, axis=1) < 0, "is not sorted by distance")
        fail(np.diff(np.sort(ids, axis=1), axis=1) == 0, "lists a neighbour twice")
        if self.self_excluded:
            own = np.arange(start, start + len(ids))[:, None]
            fail(ids == own, "lists the sample as its own neighbour")

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def k(self) -> int:
        """Neighbours per sample."""
        return int(self.indices.shape[1])

    def prefix(self, k: int) -> NeighborGraph:
        """The graph of the k nearest of these neighbours. Raises `InputError` where k exceeds this graph's."""
        if not 1 <= k <= self.k:
            raise InputError(
                f"k must lie in 1..{self.k}, got {k}", "search a graph with as many neighbours as are read"
            )
        if k == self.k:
            return self
        return NeighborGraph(
            self.indices[:, :k], self.distances[:, :k], self.recall, self.n_reference, self.self_excluded, self.engine
        )
