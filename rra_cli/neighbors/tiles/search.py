"""The exact search: tiles of rounded products leave a few candidates with a certificate, direct differences decide.

Rows that a precision cannot decide go to the next one (`products.py`), at last to direct differences with all rows.
Every distance that is returned is a direct difference in float64, so the result does not depend on the precision, on
blocks, threads or shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.cost_model import list_capacity
from rra_cli.neighbors.resume import BlockStore, Snapshots
from rra_cli.neighbors.rows import Found, Rows
from rra_cli.neighbors.tiles.choice import Plan, choose
from rra_cli.neighbors.tiles.dense import BYTES, nearest_of_all
from rra_cli.neighbors.tiles.direct import Pairs, distances_of, nearest_of
from rra_cli.neighbors.tiles.lists import Lists
from rra_cli.neighbors.tiles.products import Product
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
    each = 8 * list_capacity(k, n_reference) + 60 * k
    return 1 << max(6, (memory // 2 // each).bit_length() - 1)


def _part_of(progress: Progress, start: int, stop: int, n: int) -> Progress:
    furthest = start

    def show(done: int, total: int, note: str = "") -> None:
        nonlocal furthest  # a second precision, for rows that the first left undecided, begins again
        furthest = max(furthest, min(stop - 1, start + (stop - start) * done // max(1, total)))
        progress(furthest, n, note)

    return show


def _again(progress: Progress, rows: int, n: int) -> Progress:
    """That of some of n rows, which another precision left undecided: how far they are stands in the note."""

    def show(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"{rows} rows once more: {100 * done // max(1, total)} %")

    return progress if rows == n else show


def _snapshots(
    store: BlockStore | None, names: Sequence[str], start: int, stop: int, rows: NDArray[np.int64]
) -> list[Snapshots]:
    """Where what is under way for some rows of a block is kept; none without a store."""
    return [] if store is None else [store.snapshots(name, start, stop, rows) for name in names]


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
        """The nearest of all its queries. start: the row of the first one, under which the state is kept."""
        n = len(self.queries)
        found, pending = (np.empty((n, self.k), np.int64), np.empty((n, self.k))), np.arange(n)
        tried: list[str] = []
        state = None if store is None else store.snapshots("found", start, start + n)
        kept = None if state is None else state.restore()
        if kept is not None:
            tried, pending, found = kept[0].tolist(), kept[1], (kept[2], kept[3])

        def settle(rows: NDArray[np.int64], nearest: Found, parts: Sequence[Snapshots]) -> None:
            """Takes up what was found; keeps it where it took so long that states on the way were kept."""
            nonlocal pending
            found[0][rows], found[1][rows] = nearest
            pending = np.setdiff1d(pending, rows, assume_unique=True)
            if state is not None and len(pending) and (state.due or any(part.held for part in parts)):
                state.keep([np.array(tried, np.str_), pending, *found])
                for part in parts:
                    part.drop()

        for product in [product for product in plan.products if product.name not in tried]:
            rows, tried = pending, [*tried, product.name]
            parts = _snapshots(store, ("lists", "sums"), start, start + n, rows)
            chosen, nearest = self._of(rows)._listed(product, _again(progress, len(rows), n), *(parts or (None, None)))
            if len(chosen) == n:
                return nearest
            settle(rows[chosen], nearest, parts)
            if not len(pending):
                return found
        size, left = max(1, self.memory // 2 // (BYTES * len(self.references))), len(pending)
        while len(pending):
            rows, done = pending[:size], left - len(pending)
            parts = _snapshots(store, ("sums",), start, start + n, rows)
            block = self._of(rows)
            nearest = nearest_of_all(
                block.queries,
                self.references,
                block.own,
                self.k,
                memory=self.memory,
                offset=block.offset,
                progress=_span(_again(progress, left, n), 100 * done // left, 100 * (done + len(rows)) // left),
                snapshots=parts[0] if parts else None,
            )
            if len(rows) == n:
                return nearest
            settle(rows, nearest, parts)
        return found

    def _of(self, rows: NDArray[np.int64]) -> _Block:
        """Some of the queries, ascending; a range of the references still where they follow each other."""
        first, stop = int(rows[0]), int(rows[-1]) + 1
        if stop - first > len(rows):
            return replace(self, queries=self.queries.take(rows), own=self.own[rows], offset=None)
        offset = None if self.offset is None else self.offset + first
        return replace(self, queries=self.queries.part(first, stop), own=self.own[first:stop], offset=offset)

    def _listed(
        self, product: Product, progress: Progress, for_lists: Snapshots | None, for_sums: Snapshots | None
    ) -> tuple[NDArray[np.int64], Found]:
        """The queries that this precision decides, and their nearest."""
        error = product.error(self.references.features)
        lists = Lists.empty(len(self.queries), self.k, len(self.references), error)
        sweep = Sweep(product, self.queries, self.references, self.own, self.offset, self.memory)
        sweep.run(lists, _span(progress, 0, 60), for_lists)
        pairs, chosen = lists.pairs()
        del lists, sweep  # their memory is needed for what follows
        if not len(chosen):
            return chosen, (np.empty((0, self.k), np.int64), np.empty((0, self.k)))
        return chosen, self._evaluate(pairs, chosen, _span(progress, 60, 100), for_sums)

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
