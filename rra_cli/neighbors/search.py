"""The search itself: float64 matrix products find candidates with a certificate, direct differences decide.

For centred rows x, y of d features, |x - y|^2 = |x|^2 + |y|^2 - 2 x.y computed in float64 is off by at most
2 g (|x|^2 + |y|^2), g = d u / (1 - d u), u = 2^-53, for any order of summation (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., eq. 3.5), plus a few u for centring and adding up. So every pair has an interval that
holds its true distance, and the sorted intervals say which pairs' order is certain. All others, all whose interval is
wide, and the nearest ones in any case, are computed again by direct difference (`direct.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.direct import direct_distances
from rra_cli.neighbors.resume import BlockStore
from rra_cli.neighbors.rows import Rows, blocks

if TYPE_CHECKING:
    import torch

Found = tuple[NDArray[np.int64], NDArray[np.float64]]

# A distance whose certified relative error exceeds this is computed directly.
_PRECISE = 1e-9
_MOST_ROWS = 2048
_TINY = 2.0**-1000  # absolute slack for products that underflow


def always_direct(n: int) -> int:
    """How many of the nearest are computed directly in any case, among n.

    Their distances are then the same to the last bit however the work is cut, and the cost stays a fixed fraction of
    the matrix product's.
    """
    return max(64, n // 64)


def search(
    queries: Rows,
    references: Rows,
    k: int,
    *,
    own: NDArray[np.int64] | None,
    device: torch.device,
    memory: int,
    progress: Progress = silent,
    store: BlockStore | None = None,
) -> Found:
    """The k nearest reference rows of every query row: positions `(n, k)` int64 and scaled distances `(n, k)`.

    own: `(n,)` position of the query itself among the references, which is left out; None leaves none out.
    Nothing is checked: see `exact_neighbors`.
    """
    n = len(queries)
    indices, distances = np.empty((n, k), np.int64), np.empty((n, k))
    if k == 0:
        return indices, distances
    import torch

    norms = _squared_norms(references, memory)
    rows = _rows_per_block(references, k, memory)
    at = 0
    while at < n:
        stop = min(n, at + rows)
        kept = None if store is None else store.load(at, stop)
        if kept is None:
            stop = stop if store is None else store.next_start(at, stop)
            block = _Block(queries, references, k, own, norms, device, torch.get_num_threads(), memory)
            kept = block.search(at, stop)
            if store is not None:
                store.save(at, *kept)
        stop = at + len(kept[0])
        indices[at:stop], distances[at:stop] = kept
        at = stop
        progress(at, n, "")
    return indices, distances


def _squared_norms(rows: Rows, memory: int) -> NDArray[np.float64]:
    norms = np.empty(len(rows))
    for start, stop in blocks(len(rows), memory // (64 * rows.features)):
        block = rows.centred(start, stop)
        norms[start:stop] = np.einsum("ij,ij->i", block, block)
    return norms


def _rows_per_block(references: Rows, k: int, memory: int) -> int:
    """A power of two, so that a little more or less free memory does not change the blocks of a resumed search."""
    # The strip of distances, the candidates' arrays, and the block in float64 with the copy that makes it.
    each = 8 * len(references) + 128 * (k + 16) + 2 * 8 * references.features
    return min(_MOST_ROWS, 1 << max(0, (memory // 2 // each).bit_length() - 1))


@dataclass(frozen=True)
class _Block:
    """The search of one block of query rows."""

    queries: Rows
    references: Rows
    k: int
    own: NDArray[np.int64] | None
    norms: NDArray[np.float64]
    device: torch.device
    threads: int
    memory: int

    @property
    def slack(self) -> float:
        """Certified error of a squared distance, relative to |x|^2 + |y|^2 (matrix product and direct, each 2 g)."""
        return 4 * (self.references.features + 16) * 2.0**-53

    def search(self, start: int, stop: int) -> Found:
        import torch

        left = torch.from_numpy(self.queries.centred(start, stop)).to(self.device)
        own_norms = (left * left).sum(dim=1).cpu().numpy()
        strip = self._lower_bounds(left)
        available = len(self.references)
        if self.own is not None:
            own = torch.from_numpy(self.own[start:stop]).to(self.device)
            strip[torch.arange(stop - start, device=self.device), own] = float("inf")
            available -= 1
        indices, distances = np.empty((stop - start, self.k), np.int64), np.empty((stop - start, self.k))
        pending, m = np.arange(stop - start), min(available, self.k + 16)
        while len(pending):
            failed = []
            # A list of candidates may grow to the whole row where everything ties; then fewer rows at a time.
            step = max(1, self.memory // (256 * m))
            for at in range(0, len(pending), step):
                rows = pending[at : at + step]
                lower, ids = (part.cpu().numpy() for part in self._nearest(strip, rows, m))
                complete, found = self._decide(start + rows, own_norms[rows], lower, ids, m == available)
                indices[rows[complete]], distances[rows[complete]] = found
                failed.append(rows[~complete])
            pending, m = np.concatenate(failed), min(available, 4 * m)
        return indices, distances

    def _lower_bounds(self, left: torch.Tensor) -> torch.Tensor:
        """(1 - slack) |y|^2 - 2 x.y for all references y, `(rows, references)`: |x|^2 is added later."""
        import torch

        n = len(self.references)
        strip = torch.empty((len(left), n), dtype=torch.float64, device=self.device)
        for start, stop in blocks(n, min(_MOST_ROWS, self.memory // (64 * self.references.features))):
            right = torch.from_numpy(self.references.centred(start, stop)).to(self.device)
            norms = torch.from_numpy((1 - self.slack) * self.norms[start:stop]).to(self.device)
            torch.addmm(norms[None], left, right.T, alpha=-2, out=strip[:, start:stop])
        return strip

    def _nearest(self, strip: torch.Tensor, rows: NDArray[np.int64], m: int) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        part = strip if len(rows) == len(strip) else strip[torch.from_numpy(rows).to(self.device)]
        return torch.topk(part, m, dim=1, largest=False, sorted=True)

    def _decide(
        self,
        rows: NDArray[np.int64],
        own_norms: NDArray[np.float64],
        lower: NDArray[np.float64],
        ids: NDArray[np.int64],
        all_listed: bool,
    ) -> tuple[NDArray[np.bool_], Found]:
        """Which rows' lists certainly hold the true neighbours, and those rows' neighbours in order."""
        error = self.slack * (own_norms[:, None] + self.norms[ids]) + _TINY
        lower = lower + (1 - self.slack) * own_norms[:, None] - _TINY
        upper = lower + 2 * error
        # k pairs are certainly no farther than this, so a pair whose lower bound exceeds it is not a neighbour.
        farthest = np.partition(upper, self.k - 1, axis=1)[:, self.k - 1]
        complete = np.ones(len(rows), bool) if all_listed else lower[:, -1] > farthest
        lower, upper, error, ids = lower[complete], upper[complete], error[complete], ids[complete]
        candidate = lower <= farthest[complete, None]
        distances = np.where(candidate, np.sqrt(np.maximum(lower + error, 0)), np.inf)

        reached = np.maximum.accumulate(upper, axis=1)
        apart = np.ones((len(ids), ids.shape[1] + 1), bool)  # from the one before
        apart[:, 1:-1] = lower[:, 1:] > reached[:, :-1]
        unsure = ~(apart[:, :-1] & apart[:, 1:]) | (error > _PRECISE * np.maximum(lower, 0))
        unsure[:, : always_direct(len(self.references))] = True
        at, column = np.nonzero(unsure & candidate)
        distances[at, column] = direct_distances(
            self.queries.data,
            self.queries.in_data(rows[complete][at]),
            self.references.data,
            self.references.in_data(ids[at, column]),
            scale=self.references.scale,
            threads=self.threads,
            memory=self.memory,
        )
        order = np.lexsort((ids, distances), axis=1)[:, : self.k]
        return complete, (np.take_along_axis(ids, order, 1), np.take_along_axis(distances, order, 1))
