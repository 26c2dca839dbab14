"""The exact search: tiles of rounded products leave a few candidates with a certificate, direct differences decide.

Rows that a precision cannot decide go to the next one (`products.py`), at last to direct differences with all rows.
Every distance that is returned is a direct difference in float64, so the result does not depend on the precision, on
blocks, threads or shards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.resume import BlockStore, Snapshots
from rra_cli.neighbors.rows import Found, Rows, blocks
from rra_cli.neighbors.tiles.choice import Plan, choose
from rra_cli.neighbors.tiles.dense import BYTES, nearest_of_all
from rra_cli.neighbors.tiles.direct import Pairs, distances_of, nearest_of
from rra_cli.neighbors.tiles.lists import Lists, capacity
from rra_cli.neighbors.tiles.refine import refine
from rra_cli.neighbors.tiles.sweep import Sweep


def search(
    queries: Rows,
    references: Rows,
    k: int,
    *,
    own: NDArray[np.int64] | None,
    memory: int,
    offset: int | None = None,
    progress: Progress = silent,
    store: BlockStore | None = None,
) -> Found:
    """The k nearest reference rows of every query row: positions `(n, k)` int64 and scaled distances `(n, k)`.

    own: `(n,)` position of the query itself among the references, which is left out; None leaves none out. offset:
    query i is reference offset + i, which halves the work. Nothing is checked: see `exact_neighbors`.
    """
    n = len(queries)
    indices, distances = np.empty((n, k), np.int64), np.empty((n, k))
    if k == 0 or n == 0:
        return indices, distances
    own = np.full(n, -1) if own is None else own
    plan = choose(queries, references, k, own, offset is not None, memory)
    rows, at = rows_at_a_time(k, len(references), memory), 0
    while at < n:
        stop = min(n, at + rows)
        kept = None if store is None else store.load(at)
        if kept is None:
            stop = stop if store is None else store.next_start(at, stop)
            place = None if offset is None else offset + at
            block = _Block(queries.part(at, stop), references, k, own[at:stop], place, memory)
            kept = block.search(plan, _part_of(progress, at, stop, n), store, at)
            if store is not None:
                store.save(at, *kept)
        stop = at + len(kept[0])
        if stop - at == n:
            indices, distances = kept  # not copied, which would take as long as sorting many neighbours
        else:
            indices[at:stop], distances[at:stop] = kept
        at = stop
        progress(at, n, "")
    if store is not None:
        store.drop_snapshots()  # a process may have ended between keeping its last block and dropping these
    return indices, distances


def rows_at_a_time(k: int, n_reference: int, memory: int) -> int:
    """A power of two, so that a little more or less free memory does not change the blocks of a resumed search."""
    # A list, and what its candidates need while they are evaluated.
    each = 8 * capacity(k, n_reference) + 60 * k
    return 1 << max(6, (memory // 2 // each).bit_length() - 1)


def _part_of(progress: Progress, start: int, stop: int, n: int) -> Progress:
    furthest = start

    def show(done: int, total: int, note: str = "") -> None:
        nonlocal furthest  # a second precision, for rows that the first left undecided, begins again
        furthest = max(furthest, start + (stop - start) * done // max(1, total))
        progress(furthest, n, note)

    return show


def _span(progress: Progress, begin: int, end: int) -> Progress:
    """The part begin..end per cent of a piece of work."""

    def show(done: int, total: int, note: str = "") -> None:
        progress(begin * total + (end - begin) * done, 100 * total, note)

    return show


@dataclass(frozen=True)
class _Block:
    """The search of one block of query rows."""

    queries: Rows
    references: Rows
    k: int
    own: NDArray[np.int64]
    offset: int | None
    memory: int

    def search(self, plan: Plan, progress: Progress, store: BlockStore | None, start: int) -> Found:
        n = len(self.queries)
        found = np.empty((n, self.k), np.int64), np.empty((n, self.k))
        pending = np.arange(n)
        for product in plan.products:
            block = self if len(pending) == n else self._of(pending)
            keep = store if block is self else None
            lists = Lists.empty(len(pending), self.k, len(self.references), product.error(self.references.features))
            sweep = Sweep(product, block.queries, self.references, block.own, block.offset, self.memory)
            snapshots = None if keep is None else keep.snapshots("lists", start, start + n)
            sweep.run(lists, _span(progress, 0, 60), snapshots)
            pairs, chosen = lists.pairs()
            del lists, sweep  # their memory is needed for what follows
            snapshots = None if keep is None else keep.snapshots("sums", start, start + n)
            if len(chosen) < len(pending):
                snapshots = None
            if len(chosen):
                ids, lengths = block._evaluate(pairs, chosen, _span(progress, 60, 100), snapshots)
                if len(ids) == n:
                    return ids, lengths
                found[0][pending[chosen]], found[1][pending[chosen]] = ids, lengths
            pending = np.setdiff1d(pending, pending[chosen], assume_unique=True)
            if not len(pending):
                return found
        each = BYTES * len(self.references)
        for a, b in blocks(len(pending), max(1, self.memory // 2 // each)):
            block = self._part(a, b) if len(pending) == n else self._of(pending[a:b])
            keep = store if len(pending) == n else None
            snapshots = None if keep is None else keep.snapshots("sums", start + a, start + b)
            ids, lengths = nearest_of_all(
                block.queries,
                self.references,
                block.own,
                self.k,
                memory=self.memory,
                offset=block.offset,
                progress=_span(progress, 100 * a // len(pending), 100 * b // len(pending)),
                snapshots=snapshots,
            )
            if len(ids) == n:
                return ids, lengths
            found[0][pending[a:b]], found[1][pending[a:b]] = ids, lengths
        return found

    def _of(self, rows: NDArray[np.int64]) -> _Block:
        """Some of the queries, which are then no longer a range of the references."""
        if len(rows) == len(self.queries):
            return self
        return replace(self, queries=self.queries.take(rows), own=self.own[rows], offset=None)

    def _part(self, start: int, stop: int) -> _Block:
        offset = None if self.offset is None else self.offset + start
        return replace(self, queries=self.queries.part(start, stop), own=self.own[start:stop], offset=offset)

    def _evaluate(
        self, pairs: Pairs, chosen: NDArray[np.int64], progress: Progress, snapshots: Snapshots | None
    ) -> Found:
        """The nearest of the candidates of the queries `chosen`, which have them one after the other."""
        counts = np.zeros(len(self.queries), np.int64)
        counts[chosen] = np.diff(pairs.starts)
        pairs = Pairs(np.r_[0, np.cumsum(counts)], pairs.ids)  # all others have none
        pairs = refine(self.queries, self.references, pairs, self.k, memory=self.memory, offset=self.offset)
        distances = distances_of(
            self.queries,
            self.references,
            pairs,
            memory=self.memory,
            offset=self.offset,
            progress=progress,
            snapshots=snapshots,
        )
        return nearest_of(Pairs(np.r_[pairs.starts[chosen], len(pairs.ids)], pairs.ids), distances, self.k)
