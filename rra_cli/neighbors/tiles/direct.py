"""Distances by direct difference, accumulated in float64: what every returned distance is.

Pairs are evaluated a few columns at a time: a slab of these columns of all rows fits into the processor's cache, so the
rows a pair names come from there. Gathering whole rows instead would read memory once for every pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.resume import Snapshots, fingerprint
from rra_cli.neighbors.rows import WIDE, Rows
from rra_cli.neighbors.threads import over_rows
from rra_cli.neighbors.tiles.order_kernels import take_nearest
from rra_cli.neighbors.tiles.pair_kernels import add_squares, find_mirrors

_PAGE = 1024  # columns
_MIRRORED_FROM = 512  # features; with fewer, a second difference takes less time than finding the first one
UNDERFLOW = 2.0**-960  # of a sum: squares in it may have underflowed
_CACHE = 1 << 23  # bytes of a slab; larger ones were slower on processors with 16 and 32 MiB of last-level cache


@dataclass(frozen=True)
class Pairs:
    """Listed pairs: row i with `ids[starts[i]:starts[i + 1]]`, ascending and distinct. starts: `(rows + 1,)` int64."""

    starts: NDArray[np.int64]
    ids: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.starts) - 1


def distances_of(
    queries: Rows,
    references: Rows,
    pairs: Pairs,
    *,
    memory: int,
    offset: int | None = None,
    progress: Progress = silent,
    snapshots: Snapshots | None = None,
) -> NDArray[np.float64]:
    """The Euclidean distances, in scaled units, of pairs of query and reference rows, in the pairs' order.

    offset: query i is reference row offset + i, so that a pair listed from both sides may be computed once; None: they
    have nothing in common. Differences, squares and sums are float64 without an expansion into norms, so the relative
    error is about 1e-16 sqrt(features) at most whatever the offset of the data; every pair is computed in the same
    order of operations whatever the blocks, threads and memory.
    """
    if offset is None or references.features < _MIRRORED_FROM:
        sums = _sums(queries, references, pairs, memory, offset, progress, snapshots)
        return _roots(queries, references, pairs, sums)
    mirrors = np.empty(len(pairs.ids), np.int64)
    over_rows(lambda a, b: find_mirrors(pairs.starts, pairs.ids, offset, mirrors, a, b), len(pairs))
    owned = mirrors < 0
    where = np.cumsum(owned) - 1
    starts = np.r_[0, np.cumsum(owned)][pairs.starts]
    mine = Pairs(starts, pairs.ids[owned])
    found = _roots(queries, references, mine, _sums(queries, references, mine, memory, offset, progress, snapshots))
    where[~owned] = where[mirrors[~owned]]
    return found[where]


def nearest_of(pairs: Pairs, distances: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest of every row's pairs, by (distance, id): ids and distances `(rows, k)`; every row has k pairs."""
    ids, lengths = np.empty((len(pairs), k), np.int64), np.empty((len(pairs), k))
    over_rows(lambda a, b: take_nearest(pairs.starts, pairs.ids, distances, ids, lengths, a, b), len(pairs))
    return ids, lengths


def _roots(queries: Rows, references: Rows, pairs: Pairs, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distances of these sums. Where squares may have underflowed the pair is computed again, in its own scale."""
    found = np.sqrt(sums)
    for at in np.flatnonzero(sums < UNDERFLOW):
        row = int(np.searchsorted(pairs.starts, at, side="right")) - 1
        found[at] = distance_in_own_scale(queries, references, row, int(pairs.ids[at]))
    return found


def distance_in_own_scale(queries: Rows, references: Rows, row: int, other: int) -> float:
    """The distance of a query and a reference in the scale of their largest difference, where squares underflow."""
    a, b = (
        side.data[side.in_data(np.array([at]))].astype(np.float64) for side, at in ((queries, row), (references, other))
    )
    difference = np.abs(a - b)
    largest = difference.max()
    if largest == 0:
        return 0.0
    exponent = int(np.frexp(largest)[1])
    difference = np.ldexp(difference, -exponent)
    return float(np.ldexp(np.sqrt((difference * difference).sum()), exponent) * references.scale)


def unit_of(features: int) -> int:
    """Columns whose squared differences are added up before they join a pair's sum."""
    return min(WIDE, -(-features // 16) * 16)


def _sums(
    queries: Rows,
    references: Rows,
    pairs: Pairs,
    memory: int,
    offset: int | None,
    progress: Progress,
    snapshots: Snapshots | None,
) -> NDArray[np.float64]:
    done, sums = 0, np.zeros(len(pairs.ids))
    if snapshots is not None:
        kept = snapshots.restore()
        if kept is not None and np.array_equal(kept[0], _name_of(pairs)):
            done, sums = int(kept[1]), kept[2]
    used = np.zeros(len(references), bool)
    used[pairs.ids] = True
    apart = offset is None or int(used.sum()) + len(pairs) < len(references)
    if apart or offset is None:  # only the rows that some pair names
        wanted = np.flatnonzero(used)
        ids = (np.cumsum(used) - 1)[pairs.ids]
        sides = [_Side(queries, None), _Side(references, wanted)]
    else:
        ids = pairs.ids
        sides = [_Side(references, None)]
    features = references.features
    unit = unit_of(features)
    each = 8 * unit * sum(len(side) for side in sides)  # bytes of one unit of columns, at most
    width = unit * max(1, min(_CACHE, memory // 4) // each)
    # Read in stretches: pages of memory at least, and from a disk as much as there is room for.
    room = max(1, memory // 4 // (each * width // unit))
    stretch = width * (room if sides[0].on_disk else min(room, -(-_PAGE // width)))
    held: list[NDArray[Any] | None] = [None for _ in sides]
    for begin in range(done, features, stretch):
        end = min(features, begin + stretch)
        held = [side.read(begin, end, width, out) for side, out in zip(sides, held, strict=True)]
        read = zip(*(slabs for slabs in held if slabs is not None), strict=True)
        for at, parts in zip(range(begin, end, width), read, strict=True):
            left = parts[0] if len(parts) > 1 or offset is None else parts[0][offset : offset + len(pairs)]
            given: tuple[Any, ...] = (left, parts[-1], unit, pairs.starts, ids, sums)
            over_rows(partial(add_squares, *given), len(pairs))
            progress(min(end, at + width), features, "")
            if snapshots is not None and snapshots.due:
                snapshots.keep([_name_of(pairs), np.array(min(end, at + width)), sums])
    return sums


def _name_of(pairs: Pairs) -> NDArray[np.uint8]:
    """Another precision leaves other candidates, and their sums cannot be gone on with."""
    return np.frombuffer(fingerprint(pairs.starts, pairs.ids).encode(), np.uint8)


@dataclass(frozen=True)
class _Side:
    """The rows of one side of the pairs."""

    rows: Rows
    positions: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.rows) if self.positions is None else len(self.positions)

    @property
    def on_disk(self) -> bool:
        return isinstance(self.rows.data, np.memmap)

    def read(self, start: int, stop: int, width: int, out: NDArray[Any] | None) -> NDArray[Any]:
        return self.rows.slabs(start, stop, width, self.positions, out)
