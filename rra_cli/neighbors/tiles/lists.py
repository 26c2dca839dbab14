"""Lists of candidates: for every query some references, which certainly hold its k nearest ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.cost_model import list_capacity
from rra_cli.neighbors.threads import over_rows
from rra_cli.neighbors.tiles import list_kernels
from rra_cli.neighbors.tiles.direct import Pairs

_kernels: Any = list_kernels  # mypy does not follow arguments that are handed on as a whole


@dataclass(frozen=True)
class Lists:
    """Per query up to `capacity` pairs: a reference, and the squared distance of what rounding keeps.

    bound: upper bound of the k-th distance. full: lists that overflowed, which hold nothing of use. mine, theirs: facts
    of queries and references as far as they have been rounded.
    """

    ids: NDArray[np.int32]
    squares: NDArray[np.float32]
    count: NDArray[np.int32]
    bound: NDArray[np.float32]
    full: NDArray[np.bool_]
    mine: NDArray[np.float64]
    theirs: NDArray[np.float64]
    settled: NDArray[np.int32]
    k: int
    error: float

    @classmethod
    def empty(cls, n: int, k: int, n_reference: int, error: float) -> Lists:
        shape = (n, list_capacity(k, n_reference))
        return cls(
            np.empty(shape, np.int32),
            np.empty(shape, np.float32),
            np.zeros(n, np.int32),
            np.full(n, list_kernels.FAR),
            np.zeros(n, bool),
            np.zeros((n, 4)),
            np.zeros((n_reference, 4)),
            np.zeros(n, np.int32),
            k,
            error,
        )

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        return self.ids, self.squares, self.count, self.bound, self.full, self.mine, self.theirs

    def shorten(self) -> None:
        """Drops what is certainly not among the k nearest of those seen so far."""
        parts: tuple[Any, ...] = (*self.arrays[:4], self.mine, self.theirs, self.error, self.k)
        over_rows(lambda a, b: _kernels.shorten_all(*parts, a, b), len(self.count))

    def tighten(self, start: int, stop: int) -> None:
        """Lowers the bounds of lists start..stop that have grown much."""
        parts: tuple[Any, ...] = (*self.arrays, self.settled, self.error, self.k)
        over_rows(lambda a, b: _kernels.tighten(*parts, start + a, start + b), stop - start, pieces=2)

    def packed(self) -> list[NDArray[Any]]:
        """All that the lists hold, without their empty places."""
        self.shorten()
        filled = np.arange(self.ids.shape[1]) < self.count[:, None]
        return [self.ids[filled], self.squares[filled], *self.arrays[2:]]

    def restore(self, packed: list[NDArray[Any]]) -> None:
        """Takes up what `packed` gave."""
        for array, kept in zip(self.arrays[2:], packed[2:], strict=True):
            array[:] = kept
        filled = np.arange(self.ids.shape[1]) < self.count[:, None]
        self.ids[filled], self.squares[filled] = packed[:2]

    def pairs(self, n: int | None = None) -> tuple[Pairs, NDArray[np.int64]]:
        """The candidates of the first n queries that have a complete list, and which these are."""
        chosen = np.flatnonzero(~self.full[:n] & (self.count[:n] >= self.k))
        starts = np.r_[0, np.cumsum(self.count[chosen], dtype=np.int64)]
        ids = np.empty(int(starts[-1]), np.int32)
        over_rows(lambda a, b: _kernels.copy_lists(self.ids, starts, chosen, ids, a, b), len(chosen))
        return Pairs(starts, ids), chosen
