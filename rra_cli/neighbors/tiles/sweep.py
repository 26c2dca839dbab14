"""A sweep: all tiles of products, each offered to the lists of its rows and of its columns.

All pairs are visited in tiles; where the queries are some of the references, a tile within them serves both its rows
and its columns. What tiles cannot decide within their precision stays on the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.resume import Snapshots
from rra_cli.neighbors.rows import Rows, blocks
from rra_cli.neighbors.threads import over_rows
from rra_cli.neighbors.tiles import list_kernels, mark_kernels
from rra_cli.neighbors.tiles.buffers import buffer
from rra_cli.neighbors.tiles.lists import Lists
from rra_cli.neighbors.tiles.products import Panel, Product

_TILE = 4096
_LONGEST = 2.0**39  # multiply-adds of a tile, times bytes of a number: 13 s in one slow thread
_STEPS_FROM = 512  # features
_lists: Any = list_kernels  # mypy does not follow arguments that are handed on as a whole
_marks: Any = mark_kernels

# Query rows, reference rows, and whether the latter are queries too.
Step = tuple[tuple[int, int], tuple[int, int], bool]


@dataclass(frozen=True)
class Sweep:
    """All tiles between queries and references. offset: query i is reference offset + i, None when they differ.

    own: `(queries,)` reference that is the query itself, -1 for none. cuts: numbers of references, ascending; the tiles
    are visited in an order in which those between the first `cut` references come before all others.
    """

    product: Product
    queries: Rows
    references: Rows
    own: NDArray[np.int64]
    offset: int | None
    memory: int
    cuts: tuple[int, ...] = ()

    @property
    def panel_rows(self) -> int:
        """Rows that are held rounded at a time; few sizes, so that a resumed search finds the same panels."""
        each = (self.references.features + 16) * self.product.bytes + 32  # numbers, padding, facts
        rows = max(64, self.memory // 4 // each)
        power = 1 << (int(rows).bit_length() - 1)
        return power + power // 2 if rows >= power + power // 2 else power

    @property
    def tile_rows(self) -> int:
        """Rows and columns of a tile; of many features fewer, so that each takes seconds even in one thread."""
        longest = (_LONGEST / (self.references.features * self.product.bytes)) ** 0.5
        rows = max(64, int(min(longest, (self.memory / 64) ** 0.5)))
        return min(_TILE, 1 << (rows.bit_length() - 1))

    def run(
        self,
        lists: Lists,
        progress: Progress = silent,
        snapshots: Snapshots | None = None,
        reached: Callable[[int], None] | None = None,
    ) -> None:
        """Fills the lists. With snapshots it goes on after the last one that was kept.

        reached: called with a cut as soon as the lists of the queries below it hold all that the references below it
        have to give, and nothing else.
        """
        steps = list(self._steps())
        work = self._work(steps)
        # Lists filled by another product, or in another order of tiles, cannot be gone on with.
        order = (self.product.name, self.panel_rows, self.tile_rows, self.cuts, lists.ids.shape)
        same = np.frombuffer(repr(order).encode(), np.uint8)
        kept = None if snapshots is None else snapshots.restore()
        first = skipped = 0
        if kept is not None and np.array_equal(kept[0], same):
            first, skipped = kept[1].tolist()
            lists.restore(kept[2:])
        panels: dict[tuple[str, int, int], Panel] = {}
        for at in range(first, len(steps)):
            (a, b), (c, d), within = steps[at]
            left, right = self._panels(panels, *steps[at])
            lists.mine[a:b], lists.theirs[c:d] = left.facts, right.facts
            if within and self.offset is not None:  # lists of the columns name the rows, as references
                lists.theirs[a + self.offset : b + self.offset] = left.facts
            pieces = list(self._pieces(left, right, within))
            for done in range(skipped + 1, len(pieces) + 1):
                self._tile(lists, *pieces[done - 1])
                progress(_so_far(work, at, done / len(pieces)), round(work[-1]), "")
                if snapshots is not None and snapshots.due:
                    snapshots.keep([same, np.array([at, done]), *lists.packed()])
            skipped = 0
            if reached is not None:
                for cut in self._reached(steps, at):
                    reached(cut)
        lists.shorten()

    def tiles(self, progress: Progress = silent) -> Iterator[tuple[Panel, Panel, bool]]:
        """Rounded rows of both sides of every tile, and whether it serves both: its rows and columns share none."""
        steps = list(self._steps())
        work = self._work(steps)
        panels: dict[tuple[str, int, int], Panel] = {}
        for at, step in enumerate(steps):
            pieces = list(self._pieces(*self._panels(panels, *step), step[2]))
            for done, piece in enumerate(pieces, start=1):
                yield piece
                progress(_so_far(work, at, done / len(pieces)), round(work[-1]), "")

    def _work(self, steps: list[Step]) -> NDArray[np.float64]:
        """Multiply-adds before every step, and of all, `(steps + 1,)`."""
        features = float(self.references.features)
        return np.cumsum([0.0, *((b - a) * (d - c) * features for (a, b), (c, d), _ in steps)])

    def _steps(self) -> Iterator[Step]:
        """(query rows, reference rows, whether the references are queries too and both sides are served)."""
        size, n = self.panel_rows, len(self.references)
        if self.offset is None:
            yield from ((mine, other, False) for mine in blocks(len(self.queries), size) for other in blocks(n, size))
            return
        rest = self.offset + len(self.queries)
        ranges = [part for a, b in self._between(self.offset, rest) for part in _blocks_of(a, b, size)]
        rows = [(a - self.offset, b - self.offset) for a, b in ranges]
        for at, mine in enumerate(rows):
            yield from ((mine, other, True) for other in ranges[: at + 1])
            yield from ((mine, other, False) for other in blocks(self.offset, size))
        for a, b in self._between(rest, n):
            yield from ((mine, other, False) for mine in rows for other in _blocks_of(a, b, size))

    def _between(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The parts of start..stop between cuts."""
        ends = [start, *(cut for cut in self.cuts if start < cut < stop), stop]
        return ((a, b) for a, b in pairwise(ends) if a < b)

    def _reached(self, steps: list[Step], at: int) -> list[int]:
        """The cuts below which this step is the last one."""
        offset = self.offset or 0

        def below(cut: int, step: Step) -> bool:
            return offset + step[0][0] < cut and step[1][0] < cut

        last = at + 1 == len(steps)
        return [cut for cut in self.cuts if below(cut, steps[at]) and (last or not below(cut, steps[at + 1]))]

    def _panel(self, panels: dict[tuple[str, int, int], Panel], rows: Rows, side: str, start: int, stop: int) -> Panel:
        """Rounded rows; one panel a side is held."""
        key = (side, start, stop)
        if key not in panels:
            for other in [other for other in panels if other[0] == side]:
                del panels[other]
            panels[key] = self.product.round(rows, start, stop)
        return panels[key]

    def _panels(
        self, panels: dict[tuple[str, int, int], Panel], mine: tuple[int, int], other: tuple[int, int], within: bool
    ) -> tuple[Panel, Panel]:
        """The rounded rows of a step, the same ones on both sides where they are."""
        left = self._panel(panels, self.queries, "rows", *mine)
        if within and self.offset is not None and mine[0] + self.offset == other[0]:
            return left, replace(left, start=other[0])
        return left, self._panel(panels, self.references, "columns", *other)

    def _pieces(self, left: Panel, right: Panel, within: bool) -> Iterator[tuple[Panel, Panel, bool]]:
        """The tiles of two panels."""
        size, diagonal = self.tile_rows, right.parts is left.parts
        # On the diagonal in steps, within which alone pairs are visited twice; for few features steps cost more.
        step = size // 4 if self.references.features >= _STEPS_FROM else size
        for a, b in blocks(len(left), size):
            for c, d in blocks(a if diagonal else len(right), size):
                yield left.slice(a, b), right.slice(c, d), within
            for e, f in blocks(b - a if diagonal else 0, step):
                if e:
                    yield left.slice(a + e, a + f), right.slice(a, a + e), within
                yield left.slice(a + e, a + f), right.slice(a + e, a + f), False

    def _tile(self, lists: Lists, left: Panel, right: Panel, both: bool) -> None:
        products, cross = self.product.tile(left, right)
        m, n = products.shape
        first_row, first_list = left.start + (self.offset or 0), right.start - (self.offset or 0)
        if both:
            lists.tighten(first_list, first_list + n)
        others = lists.bound[first_list : first_list + n] if both else np.zeros(n, np.float32)
        columns = _marks.column_terms(right.facts, others, lists.error)
        rows, marks = np.empty((m, 6), np.float32), _marks_of(m, n)
        own = self.own[left.start : left.start + m] - right.start
        bound = lists.bound[left.start : left.start + m]
        facts: tuple[Any, ...] = (products, cross, left.facts, right.facts, lists.error)
        given: tuple[Any, ...] = (marks.view(np.uint64), *facts)
        kept: tuple[Any, ...] = (*lists.arrays, lists.k)

        def rows_of_tile(a: int, b: int) -> None:
            _lists.tighten(*lists.arrays, lists.settled, lists.error, lists.k, left.start + a, left.start + b)
            _marks.first_bounds(*facts, own, bound, lists.k, a, b)
            rows[a:b] = _marks.row_terms(left.facts[a:b], bound[a:b], lists.error)
            _marks.mark(products, cross, rows, *columns, marks, a, b)
            _lists.offer_to_rows(*given, own, left.start, right.start, *kept, a, b)

        over_rows(rows_of_tile, m, pieces=2)
        if both:
            offer = partial(_lists.offer_to_columns, *given, first_list, first_row, *kept)
            over_rows(offer, n, align=8, pieces=2)


def _marks_of(m: int, n: int) -> NDArray[np.uint8]:
    """A byte for every pair of a tile, rows padded to words."""
    width = -(-n // 8) * 8
    return buffer("marks", m * width).reshape(m, width)


def _blocks_of(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """`blocks` of start..stop."""
    return ((start + a, start + b) for a, b in blocks(stop - start, size))


def _so_far(work: NDArray[np.float64], at: int, part: float) -> int:
    """Multiply-adds that are done after this part of step `at`."""
    return round(work[at] + part * (work[at + 1] - work[at]))
