"""Candidates: for every query a short list of references that certainly holds its k nearest ones.

All pairs are visited in tiles; where the queries are some of the references, a tile within them serves both its rows
and its columns. What tiles cannot decide within their precision stays on the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors import tile_kernels
from rra_cli.neighbors.direct import Pairs
from rra_cli.neighbors.products import Panel, Product
from rra_cli.neighbors.resume import Snapshots
from rra_cli.neighbors.rows import Rows, blocks
from rra_cli.neighbors.threads import over_rows

_TILE = 2048


def capacity(k: int, available: int) -> int:
    """Entries of a list: more than enough where the precision suits the data."""
    return min(available, 4 * k + 512)


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
    k: int
    error: float

    @classmethod
    def empty(cls, n: int, k: int, n_reference: int, error: float) -> Lists:
        shape = (n, capacity(k, n_reference))
        return cls(
            np.empty(shape, np.int32),
            np.empty(shape, np.float32),
            np.zeros(n, np.int32),
            np.full(n, tile_kernels.FAR),
            np.zeros(n, bool),
            np.zeros((n, 4)),
            np.zeros((n_reference, 4)),
            k,
            error,
        )

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        return self.ids, self.squares, self.count, self.bound, self.full, self.mine, self.theirs

    def shorten(self) -> None:
        """Drops what is certainly not among the k nearest of those seen so far."""
        parts = (self.ids, self.squares, self.count, self.bound, self.mine, self.theirs, self.error, self.k)
        over_rows(lambda a, b: tile_kernels.shorten_all(*parts, a, b), len(self.count))

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
        chosen = np.flatnonzero(~self.full[:n])
        starts = np.r_[0, np.cumsum(self.count[chosen], dtype=np.int64)]
        ids = np.empty(int(starts[-1]), np.int32)
        over_rows(lambda a, b: tile_kernels.copy_lists(self.ids, starts, chosen, ids, a, b), len(chosen))
        return Pairs(starts, ids), chosen


@dataclass(frozen=True)
class Sweep:
    """All tiles between queries and references. offset: query i is reference offset + i, None when they differ.

    own: `(queries,)` reference that is the query itself, -1 for none.
    """

    product: Product
    queries: Rows
    references: Rows
    own: NDArray[np.int64]
    offset: int | None
    memory: int
    _workspace: dict[str, NDArray[np.uint8]] = field(default_factory=dict, init=False, repr=False)

    @property
    def panel_rows(self) -> int:
        """Rows that are held rounded at a time; a power of two, so that a resumed search finds the same panels."""
        each = self.references.features * self.product.bytes * (2 if self.product.count > 1 else 1)
        rows = max(64, self.memory // 4 // each)
        return 1 << (int(rows).bit_length() - 1)

    @property
    def tile_rows(self) -> int:
        rows = max(64, int((self.memory / 64) ** 0.5))
        return min(_TILE, 1 << (rows.bit_length() - 1))

    def run(self, lists: Lists, progress: Progress = silent, snapshots: Snapshots | None = None) -> None:
        """Fills the lists. With snapshots it goes on after the last one that was kept."""
        steps, features = list(self._steps()), self.references.features
        work = np.cumsum([0.0, *((b - a) * (d - c) * float(features) for (a, b), (c, d), _ in steps)])
        kept = None if snapshots is None else snapshots.restore()
        done = 0
        if kept is not None:
            done = kept[0]
            lists.restore(kept[1])
        panels: dict[tuple[str, int, int], Panel] = {}
        for at in range(done, len(steps)):
            (a, b), (c, d), within = steps[at]
            left = self._panel(panels, self.queries, "rows", a, b)
            lists.mine[a:b] = left.facts
            if within and self.offset is not None and a + self.offset == c:
                right = replace(left, start=c)
            else:
                right = self._panel(panels, self.references, "columns", c, d)
            lists.theirs[c:d] = right.facts
            self._step(lists, left, right, within, diagonal=right.parts is left.parts)
            progress(round(work[at + 1]), round(work[-1]), "")
            if snapshots is not None and (snapshots.due(work[at + 1] - work[at]) or at + 1 == len(steps)):
                snapshots.keep(lists.packed(), at + 1)
        lists.shorten()

    def _steps(self) -> Iterator[tuple[tuple[int, int], tuple[int, int], bool]]:
        """(query rows, reference rows, whether the references are queries too and both sides are served)."""
        size = self.panel_rows
        ranges = list(blocks(len(self.queries), size))
        for mine, (a, b) in enumerate(ranges):
            if self.offset is None:
                yield from (((a, b), other, False) for other in blocks(len(self.references), size))
                continue
            for c, d in ranges[: mine + 1]:
                yield (a, b), (self.offset + c, self.offset + d), True
            for c, d in blocks(self.offset, size):
                yield (a, b), (c, d), False
            rest = self.offset + len(self.queries)
            for c, d in blocks(len(self.references) - rest, size):
                yield (a, b), (rest + c, rest + d), False

    def _marks(self, m: int, n: int) -> NDArray[np.uint8]:
        """A byte for every pair of a tile, rows padded to words."""
        if m * (n + 8) > len(self._workspace.get("marks", ())):
            self._workspace["marks"] = np.empty(m * (n + 8), np.uint8)
        width = -(-n // 8) * 8
        return self._workspace["marks"][: m * width].reshape(m, width)

    def _panel(self, panels: dict[tuple[str, int, int], Panel], rows: Rows, side: str, start: int, stop: int) -> Panel:
        """Rounded rows; one panel a side is held."""
        key = (side, start, stop)
        if key not in panels:
            for other in [other for other in panels if other[0] == side]:
                del panels[other]
            panels[key] = self.product.round(rows, start, stop)
        return panels[key]

    def _step(self, lists: Lists, left: Panel, right: Panel, within: bool, diagonal: bool) -> None:
        size = self.tile_rows
        for a, b in blocks(len(left), size):
            for c, d in blocks(b if diagonal else len(right), size):
                self._tile(lists, left.slice(a, b), right.slice(c, d), within and not (diagonal and a == c))

    def _tile(self, lists: Lists, left: Panel, right: Panel, both: bool) -> None:
        tile = self.product.tile(left, right)
        m, n = tile[0].shape
        facts = (left.facts, right.facts, lists.error)
        own = self.own[left.start : left.start + m] - right.start
        bound = lists.bound[left.start : left.start + m]
        over_rows(lambda a, b: tile_kernels.first_bounds(*tile, *facts, own, bound, lists.k, a, b), m)
        first_list = right.start - (self.offset or 0)
        others = lists.bound[first_list : first_list + n] if both else np.zeros(n, np.float32)
        terms = tile_kernels.terms(left.facts, right.facts, bound, others, lists.error)
        marks = self._marks(m, n)
        over_rows(lambda a, b: tile_kernels.mark(*tile, *terms, marks, a, b), m)
        words = marks.view(np.uint64)
        over_rows(
            lambda a, b: tile_kernels.offer_to_rows(
                words, *tile, *facts, own, left.start, right.start, *lists.arrays, lists.k, a, b
            ),
            m,
        )
        if both:
            first_row = left.start + (self.offset or 0)
            over_rows(
                lambda a, b: tile_kernels.offer_to_columns(
                    words, *tile, *facts, first_list, first_row, *lists.arrays, lists.k, a, b
                ),
                n,
                align=8,
            )
