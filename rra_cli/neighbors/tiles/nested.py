"""The pass that fills the lists of nested subsets of distinct rows, each evaluated as soon as its tiles are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress
from rra_cli.neighbors.resume import BlockStore
from rra_cli.neighbors.rows import Found, Rows, blocks
from rra_cli.neighbors.threads import over_rows
from rra_cli.neighbors.tiles.choice import Plan, choose
from rra_cli.neighbors.tiles.direct import Pairs, distances_of, nearest_of
from rra_cli.neighbors.tiles.lists import Lists
from rra_cli.neighbors.tiles.pair_kernels import find_listed
from rra_cli.neighbors.tiles.products import Product
from rra_cli.neighbors.tiles.search import rows_at_a_time, search
from rra_cli.neighbors.tiles.sweep import Sweep

_COPIED = 4096  # lists that are copied at a time
Block = dict[int, Found]  # of some rows, by subset


@dataclass(frozen=True)
class _Known:
    """Distances that were evaluated for the subset before, in this scale."""

    pairs: Pairs
    distances: NDArray[np.float64]
    scale: float


@dataclass(frozen=True)
class NestedSearch:
    """The search of all subsets: subset s is the first cuts[s] references, with reaches[s] neighbours each.

    cuts ascend, the last one is all references. scales: the scale in which each subset's distances are computed.
    stores: where each subset's finished rows are kept; None keeps nothing.
    """

    references: Rows
    cuts: list[int]
    reaches: list[int]
    scales: list[float]
    memory: int
    stores: list[BlockStore] | None

    def search(self, progress: Progress) -> Iterator[tuple[int, Block]]:
        """Block by block of rows: the first row, and of every subset that has it positions `(rows, reach)` and scaled
        distances. A subset has fewer rows than the block where it ends within.
        """
        n, most = len(self.references), max(self.reaches)
        plan = choose(self.references, self.references, most, np.arange(n), True, self.memory) if most else None
        for start, stop in blocks(n, rows_at_a_time(most, n, self.memory)):
            found: Block = {}
            for s, (cut, k) in enumerate(zip(self.cuts, self.reaches, strict=True)):
                if cut > start:
                    rows = min(stop, cut) - start
                    found[s] = (np.empty((rows, k), np.int64), np.empty((rows, k)))
            if plan is not None:
                self._block(plan, start, stop, found, progress)
            yield start, found
            progress(stop, n, "")

    def _block(self, plan: Plan, start: int, stop: int, found: Block, progress: Progress) -> None:
        """Rows start..stop of all subsets."""
        missing = [s for s in found if not self._load(s, start, found)]
        if missing and plan.products:
            self._pass(plan.products[0], start, stop, missing, found, progress)
        # What is left: all, where comparing every pair directly is cheaper; or kept files that were damaged.
        for s in missing:
            self._alone(s, start, np.arange(len(found[s][0])), found, whole=True)
            self._save(s, start, found)

    def _pass(
        self, product: Product, start: int, stop: int, missing: list[int], found: Block, progress: Progress
    ) -> None:
        """Rows start..stop of the subsets in `missing`, which it empties."""
        n, queries = len(self.references), self.references.part(start, stop)
        lists = Lists.empty(stop - start, max(self.reaches), n, product.error(self.references.features))
        cuts, known = tuple(sorted(set(self.cuts))), list[_Known]()
        sweep = Sweep(product, queries, self.references, np.arange(start, stop), start, self.memory, cuts)

        def reached(cut: int) -> None:
            for s in [s for s in missing if self.cuts[s] == cut]:
                self._evaluate(s, lists, start, found, known)
                self._save(s, start, found)
                missing.remove(s)

        def show(done: int, total: int, note: str = "") -> None:
            progress(start + (stop - start) * done // max(1, total), n, note)

        snapshots = None if self.stores is None else self.stores[-1].snapshots("lists", start, stop)
        sweep.run(lists, show, snapshots, reached)
        if snapshots is not None:
            snapshots.drop()

    def _evaluate(self, s: int, lists: Lists, start: int, found: Block, known: list[_Known]) -> None:
        """The block of subset s from the first lists; rows without a complete list are searched alone."""
        n, k, references = len(found[s][0]), self.reaches[s], self._references(s)
        if k == 0:
            return
        pairs, chosen = _candidates(lists, n, k)
        if len(chosen) == n:
            found[s] = nearest_of(pairs, self._distances(s, pairs, start, known), k)
            return
        if len(chosen):
            distances = distances_of(references.take(start + chosen), references, pairs, memory=self.memory)
            found[s][0][chosen], found[s][1][chosen] = nearest_of(pairs, distances, k)
        self._alone(s, start, np.setdiff1d(np.arange(n), chosen, assume_unique=True), found)

    def _distances(self, s: int, pairs: Pairs, start: int, known: list[_Known]) -> NDArray[np.float64]:
        """The distances of pairs of rows from `start` on; those of the subset before are taken from `known`."""
        places = np.full(len(pairs.ids), -1)
        if known and known[0].scale == self.scales[s]:
            given: tuple[Any, ...] = (pairs.starts, pairs.ids, known[0].pairs.starts, known[0].pairs.ids, places)
            over_rows(partial(find_listed, *given), len(known[0].pairs))
        new = places < 0
        left = Pairs(np.r_[0, np.cumsum(new)][pairs.starts], pairs.ids[new])
        queries, references = self._references(s).part(start, start + len(pairs)), self._references(s)
        distances = np.empty(len(places))
        distances[new] = distances_of(queries, references, left, memory=self.memory, offset=start)
        if not new.all():
            distances[~new] = known[0].distances[places[~new]]
        known[:] = [_Known(pairs, distances, self.scales[s])]
        return distances

    def _alone(self, s: int, start: int, rows: NDArray[np.int64], found: Block, whole: bool = False) -> None:
        """These rows of the block that begins at `start`, of subset s, by a search of their own. whole: all of them."""
        references, own = self._references(s), start + rows
        queries = references.part(start, start + len(rows)) if whole else references.take(own)
        offset = start if whole else None
        found[s][0][rows], found[s][1][rows] = search(
            queries, references, self.reaches[s], own=own, memory=self.memory, offset=offset
        )

    def _references(self, s: int) -> Rows:
        return replace(self.references.part(0, self.cuts[s]), scale=self.scales[s])

    def _load(self, s: int, start: int, found: Block) -> bool:
        """Takes up the kept block of subset s that begins at `start`; whether there is one."""
        kept = None if self.stores is None else self.stores[s].load(start)
        if kept is None or kept[0].shape != found[s][0].shape:
            return False
        found[s] = kept
        return True

    def _save(self, s: int, start: int, found: Block) -> None:
        if self.stores is not None:
            self.stores[s].save(start, *found[s])


def _candidates(lists: Lists, n: int, k: int) -> tuple[Pairs, NDArray[np.int64]]:
    """What `Lists.pairs` gives of the first n lists, for their k nearest; k is at most that of the lists."""
    if k == lists.k:
        lists.shorten()
        return lists.pairs(n)
    starts, ids, chosen = [np.zeros(1, np.int64)], [], []
    for a, b in blocks(n, _COPIED):
        part = replace(
            lists,
            ids=lists.ids[a:b].copy(),
            squares=lists.squares[a:b].copy(),
            count=lists.count[a:b].copy(),
            bound=lists.bound[a:b].copy(),
            full=lists.full[a:b],
            mine=lists.mine[a:b],
            settled=lists.settled[a:b],
            k=k,
        )
        part.shorten()
        pairs, complete = part.pairs()
        starts.append(pairs.starts[1:] + starts[-1][-1])
        ids.append(pairs.ids)
        chosen.append(a + complete)
    return Pairs(np.concatenate(starts), np.concatenate(ids)), np.concatenate(chosen)
