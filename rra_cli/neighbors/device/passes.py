"""The two passes of a search on a device: listed candidates with a certificate, then all pairs that are possible."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rra_cli.neighbors.device.direct import DIRECT_ERROR, direct_distances
from rra_cli.neighbors.device.memory import Workspace
from rra_cli.neighbors.device.precision import FLOAT64, Precision
from rra_cli.neighbors.device.rows import TINY, DeviceRows, Operand, Which, common_unit, spans
from rra_cli.neighbors.device.select import Lists, merged, nearest_in_order, nearest_of_pairs, smallest

_MOST_ROWS = 2048
_WIDE_ENOUGH = 512  # rows of a strip from which it pays to hold whole rows

# Ids and distances (rows, k) of some rows, and which of them are certified (rows,).
Decided = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass
class Passes:
    """What both passes share. own: `(n,)` position of every query among the references, None to leave none out.

    lists, crossed: of a set against itself, the candidates that earlier strips found for the rows to come, and the
    rows of these strips.
    """

    queries: DeviceRows
    references: DeviceRows
    k: int
    own: NDArray[np.int64] | None
    work: Workspace
    precision: Precision = FLOAT64
    lists: Lists | None = None
    crossed: list[tuple[int, int]] = field(default_factory=list)
    operands: dict[tuple[str, bool], Operand] = field(default_factory=dict)

    @property
    def lists_everything(self) -> bool:
        """Whether the first pass would list all references, and so has nothing to add."""
        return self.candidates >= len(self.references) - (self.own is not None)

    @property
    def candidates(self) -> int:
        return self.precision.candidates(self.k)

    @cached_property
    def unit(self) -> float:
        parts = [self.queries] if self.queries is self.references else [self.queries, self.references]
        return self.work.run(lambda: common_unit(parts, self.rows_at_once))

    @cached_property
    def own_there(self) -> torch.Tensor | None:
        return None if self.own is None else torch.from_numpy(self.own.astype(np.int64)).to(self.queries.device)

    @property
    def rows_at_once(self) -> int:
        """Rows of which four copies in float64 fit into an eighth of the workspace."""
        return max(1, self.work.size // (8 * 4 * 8 * self.references.features))

    def operand(self, queries: bool, precision: Precision) -> Operand:
        """The queries or the references in a format, made once."""
        queries = queries and self.queries is not self.references
        key = (precision.name, queries)
        if key not in self.operands:
            rows, unit = self.queries if queries else self.references, self.unit

            def prepare() -> Operand:
                keep = len(rows) * rows.features * precision.inputs.itemsize <= self.work.size // 8
                return Operand.prepare(rows, precision, unit, self.rows_at_once, keep)

            self.operands[key] = self.work.run(prepare)
        return self.operands[key]

    def strip_shape(self) -> tuple[int, int]:
        """(rows, columns) of a strip: whole rows if 512 of them fit, else pieces of 512 rows, or square ones.

        An element takes at most some 48 bytes: the value, and its part in two lists that are merged. The number of
        rows is a power of two, so that a little more or less memory does not change the blocks of a resumed search.
        """
        n, elements = len(self.references), max(1, self.work.size // 96)
        rows = min(_MOST_ROWS, max(elements // n, min(_WIDE_ENOUGH, math.isqrt(elements))))
        columns = n
        if self.operand(False, self.precision).matrix is None:
            rows, columns = min(rows, self.rows_at_once), min(columns, self.rows_at_once)
        rows = 1 << (max(1, rows).bit_length() - 1)
        return rows, min(columns, max(1, elements // rows))

    def start_lists(self) -> None:
        """From here on every pair of a set against itself is computed once.

        Only where lists for all rows fit, and are so short beside a strip that keeping them costs less than products.
        """
        n, m = len(self.queries), self.candidates
        if self.own is None or self.queries is not self.references or self.lists_everything:
            return

        def lists() -> Lists | None:
            if 8 * m > min(n, self.strip_shape()[0]) or 64 * n * m > self.work.size:
                return None
            device = self.queries.device
            values = torch.full((n, m), float("inf"), dtype=self.precision.sums, device=device)
            return values, torch.zeros((n, m), dtype=torch.int64, device=device)

        if np.array_equal(self.own, np.arange(n)):
            self.lists = self.work.run(lists)

    def first(self, rows: Which, once: bool) -> Decided:
        """The first pass over some rows. once: use the lists of all rows, and serve them.

        The workspace may run out anywhere in here: nothing is changed before the last lines.
        """
        queries, references = self.operand(True, self.precision), self.operand(False, self.precision)
        updates: list[tuple[slice, Lists]] = []
        bounds, ids = self._list(rows, updates if once else None)
        ids = ids.sort(dim=1).values
        exact = direct_distances(self.queries, rows, self.references, ids, self.work.size // 2)
        nearest, distances = nearest_in_order(exact, ids, self.k)
        others = lower_distances(bounds.amax(dim=1), queries.errors[rows] + references.errors.amax(), queries)
        certified = others * (1 - DIRECT_ERROR) > distances[:, -1] * self.unit + TINY
        for columns, (new_bounds, new_ids) in updates:
            assert self.lists is not None
            self.lists[0][columns] = new_bounds
            self.lists[1][columns] = new_ids
        if once:
            assert isinstance(rows, slice)
            self.crossed.append((rows.start, rows.stop))
        return nearest, distances, certified

    def _list(self, rows: Which, updates: list[tuple[slice, Lists]] | None) -> Lists:
        """The `candidates` smallest lower bounds of every row, and their ids.

        updates: None, or where to put the lists of later rows that change; what earlier strips crossed is known then.
        """
        queries, references = self.operand(True, self.precision), self.operand(False, self.precision)
        left, norms, m = queries.tile(rows) * -2, queries.lowered[rows], self.candidates
        own = None if self.own_there is None else self.own_there[rows]
        found: Lists | None = None
        pieces = [(0, len(self.references))]
        if updates is not None:
            assert self.lists is not None
            found = (self.lists[0][rows], self.lists[1][rows])
            pieces = gaps(self.crossed, len(self.references))
        width = self.strip_shape()[1]
        for columns in (slice(*span) for first, last in pieces for span in spans(last, width, first)):
            strip = self.precision.lower_bounds(left, norms, references.tile(columns), references.lowered[columns])
            if own is not None:
                hide(strip, own - columns.start)
            bounds, at = smallest(strip, min(m, strip.shape[1]))
            found = merged(found, (bounds, at + columns.start), m)
            if updates is not None:
                assert isinstance(rows, slice)
                updates += self._serve_columns(strip, rows, columns)
        assert found is not None
        return found

    def _serve_columns(self, strip: torch.Tensor, rows: slice, columns: slice) -> list[tuple[slice, Lists]]:
        """The new lists of those columns that are later rows: the rows of this strip may be among their nearest."""
        first = max(rows.stop, columns.start)
        if first >= columns.stop:
            return []
        assert self.lists is not None
        later = slice(first, columns.stop)
        bounds, at = smallest(strip[:, first - columns.start :].T, min(self.candidates, strip.shape[0]))
        known = (self.lists[0][later], self.lists[1][later])
        return [(later, merged(known, (bounds, at + rows.start), self.candidates))]

    def second(
        self, pending: NDArray[np.int64], farthest: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], torch.Tensor, torch.Tensor]:
        """As many of the pending rows as fit: which, and their ids and distances `(rows, k)`.

        farthest: `(rows,)` distances within which k neighbours are known. Every pair that may be as near is computed.
        """
        n, device = len(self.references), self.queries.device
        queries, references = self.operand(True, FLOAT64), self.operand(False, FLOAT64)
        # At worst all pairs are possible; each then takes some 160 bytes: bound, ids, distance and two sorts.
        count = max(1, min(self.work.size // (320 * n), self.rows_at_once, len(pending)))
        rows = torch.from_numpy(pending[:count]).to(device)
        limit = torch.from_numpy(farthest[:count]).to(device)[:, None] * self.unit + TINY
        left, norms = queries.tile(rows) * -2, queries.lowered[rows]
        own = None if self.own_there is None else self.own_there[rows]
        possible: list[tuple[torch.Tensor, torch.Tensor]] = []
        for start, stop in spans(n, n if references.matrix is not None else self.rows_at_once):
            columns = slice(start, stop)
            bounds = FLOAT64.lower_bounds(left, norms, references.tile(columns), references.lowered[columns])
            errors = queries.errors[rows][:, None] + references.errors[columns]
            bounds = lower_distances(bounds, errors, references).mul_(1 - DIRECT_ERROR)
            if own is not None:
                hide(bounds, own - start)
            row, at = ((bounds <= limit) & (bounds < float("inf"))).nonzero(as_tuple=True)
            possible.append((row, at + start))
        row, ids = (torch.cat(parts) for parts in zip(*possible, strict=True))
        found = direct_distances(self.queries, rows[row], self.references, ids[:, None], self.work.size // 2)[:, 0]
        return pending[:count], *nearest_of_pairs(row, ids, found, count, self.k)


def lower_distances(bounds: torch.Tensor, errors: torch.Tensor, operand: Operand) -> torch.Tensor:
    """Certified lower bounds of distances times the unit, from those of the squares in the operand's format.

    errors: |x - x'| + |y - y'| or more, of the shape of `bounds`.
    """
    bounds = bounds.double() - operand.precision.underflow(operand.rows.features)
    return bounds.clamp_(min=0).sqrt_().mul_(1 - 2.0**-50).sub_(errors)


def hide(strip: torch.Tensor, own: torch.Tensor) -> None:
    """Puts every row itself out of reach, in place. own: `(rows,)` its column, which may lie outside of the strip."""
    inside = (own >= 0) & (own < strip.shape[1])
    column = own.clamp(0, strip.shape[1] - 1)[:, None]
    strip.scatter_(1, column, strip.gather(1, column).masked_fill(inside[:, None], float("inf")))


def gaps(taken: list[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    """What ascending, disjoint (start, stop) leave of 0..n."""
    found, at = [], 0
    for start, stop in taken:
        if start > at:
            found.append((at, start))
        at = stop
    return [*found, (at, n)] if at < n else found
