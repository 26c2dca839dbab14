"""The pass over tiles that counts, for every sample, how many others are nearer than given targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.threads import over_rows, thread_count
from rra_cli.neighbors.tiles import rank_kernels
from rra_cli.neighbors.tiles.direct import Pairs, distances_of
from rra_cli.neighbors.tiles.mark_kernels import SINGLE
from rra_cli.neighbors.tiles.products import Float, Int8, Panel, Product, TwiceInt8, float_rate, integer_rate
from rra_cli.neighbors.tiles.rank_thresholds import Thresholds
from rra_cli.neighbors.tiles.sweep import Sweep

_SAMPLED_ROWS, _SAMPLED_COLUMNS = 64, 2048
_DIFFERENCES = 5e9  # multiply-adds of direct differences a second and thread
_HANDLING = 2e-7  # seconds for listing, sorting and looking up one unsure pair
_ENTRY = 96  # bytes for one unsure pair until it is decided

_kernels: Any = rank_kernels  # mypy does not follow arguments that are handed on as a whole


def ranks_of(
    rows: Rows,
    group: NDArray[np.int64],
    own: NDArray[np.int64],
    targets: NDArray[np.int64],
    memory: int,
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """Of every query the rank of sample `targets` among all but `own`, in the distances from `own`: `(queries,)`.

    rows: distinct rows. group: `(n,)` which of them each sample is. Nothing is checked: see `neighbor_ranks`.
    """
    table = Thresholds.of(rows, group, own, targets, memory)
    product = choose(rows, table, memory)
    count = Count(rows, table, product, memory)
    sweep = Sweep(product, rows, rows, np.arange(len(rows)), 0, memory)
    for left, right, both in sweep.tiles(progress):
        count.tile(left, right, both)
    count.settle()
    # Copies of the sample itself are not in any tile: all are nearer, or at the target's own distance of zero.
    sizes, extra = np.diff(table.member_starts), np.empty(len(own), np.int64)
    _kernels.lower_members(group[own], targets, table.member_starts, table.members, extra)
    copies = np.where(table.distances[table.slot] > 0, sizes[group[own]] - 1, extra - (own < targets))
    return 1 + count.near[table.slot] + count.extra + copies


class _Side:
    """One side of a tile in the kernels' number type: what its rows, or its columns, are known by."""

    def __init__(self, panel: Panel, error: float, single: float, dtype: type[np.floating]) -> None:
        scale, norm, radius, second = panel.facts.T
        self.pairs = np.stack([scale, norm], axis=1).astype(dtype)
        self.scales, self.norms = scale.astype(dtype), norm.astype(dtype)
        self.slack = ((error + single) * norm + second * second + 1e-37).astype(dtype)
        self.exact_radius = radius * (1 + single)
        self.radius = self.exact_radius.astype(dtype)


@dataclass
class Count:
    """What is known so far. near: weights certainly or exactly nearer than each threshold; extra: ties of each query.

    A buffer holds unsure pairs until there are enough to be worth a pass over the rows they name.
    """

    rows: Rows
    table: Thresholds
    product: Product
    memory: int
    near: NDArray[np.int64] = field(init=False)
    extra: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.near = np.zeros(len(self.table.distances), np.int64)
        self.extra = np.zeros(len(self.table.slot), np.int64)
        self._weights = np.diff(self.table.member_starts).astype(np.int32)
        exact = isinstance(self.product, Float) and self.product.bytes == 8
        self._type: type[np.floating] = np.float64 if exact else np.float32
        # For the rounding of the kernels, and (much less) of direct differences.
        self._single = 1e-9 if exact else SINGLE
        self._error = self.product.error(self.rows.features)
        self._scaled = self.rows.unit / self.rows.scale
        self._slots, self._columns = np.empty(0, np.int64), np.empty(0, np.int32)
        self._filled = 0

    def tile(self, left: Panel, right: Panel, both: bool) -> None:
        """Takes up one tile: for its rows and, where they are others, for its columns."""
        squares, one, other = self._squares(left, right)
        self._side(squares, left.start, right.start, one, other)
        if both:
            import torch

            turned = torch.from_numpy(squares).t().contiguous().numpy()
            self._side(turned, right.start, left.start, other, one)

    def unsure_share(self, left: Panel, right: Panel, positions: NDArray[np.int64]) -> float:
        """How many pairs a threshold leaves unsure, of one tile of the rows at `positions`, as a share of all."""
        squares, one, other = self._squares(left, right)
        which = np.concatenate([np.arange(self.table.starts[p], self.table.starts[p + 1]) for p in positions])
        starts = np.r_[0, np.cumsum(np.diff(self.table.starts)[positions])]
        unsure = self._count(squares, one, other, starts, which, np.zeros(len(which), np.int64))[0]
        return float(unsure.sum() / (len(which) * squares.shape[1])) if len(which) else 0.0

    def _squares(self, left: Panel, right: Panel) -> tuple[NDArray[np.floating], _Side, _Side]:
        one, other = (_Side(panel, self._error, self._single, self._type) for panel in (left, right))
        products, cross = self.product.tile(left, right)
        out = np.empty(products.shape, self._type)
        own = np.arange(left.start, left.start + len(left)) - right.start
        given = (products, cross, one.pairs, other.scales, other.norms, own, out)
        over_rows(lambda a, b: _kernels.squared_distances(*given, a, b), len(left))
        return out, one, other

    def _count(
        self,
        squares: NDArray[np.floating],
        mine: _Side,
        other: _Side,
        starts: NDArray[np.int64],
        which: NDArray[np.int64],
        near: NDArray[np.int64],
        weights: NDArray[np.int32] | None = None,
    ) -> tuple[NDArray[np.int32], tuple[NDArray[np.floating], ...]]:
        """Unsure pairs of the thresholds `which`, those of row r at starts[r]..starts[r + 1]; and limits for them."""
        distances = self.table.distances[which] * self._scaled
        radius = np.repeat(mine.exact_radius, np.diff(starts))
        low = (distances * (1 - self._single) - radius).astype(self._type)
        high = (distances * (1 + self._single) + radius).astype(self._type)
        factors = np.array([1 - self._single, 1 + self._single], self._type)
        weights = np.zeros(squares.shape[1], np.int32) if weights is None else weights
        unsure = np.zeros(len(which), np.int32)
        given = (squares, mine.slack, other.slack, other.radius, weights, factors, starts, low, high, near, unsure)
        over_rows(lambda a, b: _kernels.count_nearer(*given, a, b), len(squares))
        return unsure, (factors, low, high)

    def _side(self, squares: NDArray[np.floating], row: int, column: int, mine: _Side, other: _Side) -> None:
        """Counts for the rows of `squares`, the first of which is `row`, and keeps what is unsure."""
        m, n = squares.shape
        starts = self.table.starts[row : row + m + 1]
        first = int(starts[0])
        starts = starts - first
        which = np.arange(first, first + int(starts[-1]))
        near, weights = self.near[first : first + len(which)], self._weights[column : column + n]
        unsure, (factors, low, high) = self._count(squares, mine, other, starts, which, near, weights)
        ends = np.r_[0, np.cumsum(unsure, dtype=np.int64)]
        before = ends[starts]  # unsure pairs before each row
        at = 0
        while at < m and before[at] < before[m]:
            stop = int(np.searchsorted(before, before[at] + self._room(n), side="right")) - 1
            if stop <= at:
                self.settle()
                self._reserve(int(before[at + 1] - before[at]))
                continue
            places = ends[:-1] + (self._filled - before[at])
            given = (squares, mine.slack, other.slack, other.radius, factors, starts, low, high, unsure, places)
            kept = (first, column, self._slots, self._columns)
            over_rows(partial(_list_from, at, (*given, *kept)), stop - at)
            self._filled += int(before[stop] - before[at])
            at = stop

    def _room(self, n: int) -> int:
        if not len(self._slots):
            self._reserve(max(n, self.memory // 4 // _ENTRY))
        return len(self._slots) - self._filled

    def _reserve(self, entries: int) -> None:
        """A buffer of at least so many entries; only called while it is empty."""
        if len(self._slots) < entries:
            self._slots, self._columns = np.empty(entries, np.int64), np.empty(entries, np.int32)

    def settle(self) -> None:
        """Decides the unsure pairs in the buffer by direct difference, and empties it."""
        if not self._filled:
            return
        table, n = self.table, len(self.rows)
        slots, columns = self._slots[: self._filled], self._columns[: self._filled]
        row = table.row[slots]
        # A pair that several thresholds or both of its rows ask for is evaluated once.
        keys, place = np.unique(np.minimum(row, columns) * n + np.maximum(row, columns), return_inverse=True)
        first, second = keys // n, keys % n
        used = np.zeros(n, bool)
        used[first] = used[second] = True
        new = np.cumsum(used) - 1
        involved = self.rows.take(np.flatnonzero(used))
        starts = np.searchsorted(new[first], np.arange(len(involved) + 1)).astype(np.int64)
        pairs = Pairs(starts, new[second])
        distances = distances_of(involved, involved, pairs, memory=self.memory, offset=0)[place]
        limits = table.distances[slots]
        nearer, tied = distances < limits, distances == limits
        self.near += np.bincount(slots[nearer], self._weights[columns[nearer]], len(self.near)).astype(np.int64)
        lists = (table.query_starts, table.queries, table.targets, table.member_starts, table.members, self.extra)
        _kernels.add_ties(slots[tied], columns[tied], *lists)
        self._filled = 0


def _list_from(first: int, given: tuple[Any, ...], begin: int, end: int) -> None:
    _kernels.list_unsure(*given, first + begin, first + end)


def choose(rows: Rows, table: Thresholds, memory: int) -> Product:
    """The precision that takes the least time, by a trial on a few rows; the ranks are the same for all."""
    n, features = len(rows), rows.features
    most = max(128, min(_SAMPLED_COLUMNS, memory // (32 * features)))
    positions, columns = (np.unique(np.linspace(0, n - 1, m).astype(np.int64)) for m in (_SAMPLED_ROWS, most))
    integers = integer_rate() > 1.2 * float_rate("float32")
    ladder: list[Product] = [Int8(), TwiceInt8()] if integers else [Float(np.float32)]
    best: Product = Float(np.float64)
    cheapest = float("inf")
    thresholds = len(table.distances) / n
    for product in (*ladder, best):
        rate = integer_rate() if isinstance(product, Int8) else float_rate(product.name)
        seconds = 0.5 * product.count * 1.0 * n * n * features / rate
        if seconds >= cheapest:
            continue
        left = product.round(rows.take(positions), 0, len(positions))
        right = product.round(rows.take(columns), 0, len(columns))
        # No row is a column here: that of the row itself counts as one of many.
        apart = Panel(-len(positions), left.facts, left.parts)
        share = Count(rows, table, product, memory).unsure_share(apart, right, positions)
        each = features / (_DIFFERENCES * thread_count()) + _HANDLING
        seconds += share * thresholds * n * n * each
        if seconds < cheapest:
            best, cheapest = product, seconds
    return best
