"""Compiled direct differences of all pairs of two blocks of rows, with the bits that listed pairs have."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rra_cli.neighbors.tiles.lane_kernels import BLOCK_COLUMNS, BLOCK_ROWS, PAIRS, add_block

TILE = 128  # rows of either side: their columns of a unit and their sums fill a second-level cache to a third
_NEAR = 8  # rows that stay in a first-level cache
_WORDS = 8  # float64 in a line of the cache


@njit(nogil=True, cache=True)
def _aligned(rows: int, width: int) -> NDArray[np.float64]:
    """Rows of memory that begin with a line of the cache: what a vector loads is then in one line, not in two."""
    raw = np.zeros(rows * width + _WORDS, np.float64)
    skipped = (-(raw.ctypes.data // 8)) % _WORDS
    return raw[skipped : skipped + rows * width].reshape(rows, width)


@njit(nogil=True, cache=True)
def _widen(rows: NDArray[np.floating], start: int, count: int, at: int, out: NDArray[np.float64]) -> None:
    """Rows start..start + count, as many columns from `at` on as `out` has, as float64."""
    for i in range(count):
        for f in range(np.uint64(out.shape[1])):
            out[i, f] = rows[start + i, np.uint64(at) + f]


@njit(nogil=True, cache=True)
def add_all_squares(
    slabs: NDArray[np.floating],
    other_slabs: NDArray[np.floating],
    unit: int,
    tiles: NDArray[np.int64],
    first: int,
    sums: NDArray[np.float64],
    begin: int,
    end: int,
) -> None:
    """Adds the squared differences of some columns to the sums of all pairs of the tiles begin..end.

    slabs, other_slabs: these columns of queries and references, `(slabs, rows, w)`, w a multiple of `unit`, that one of
    16. tiles: `(any, 4)`: first query; first reference; references; the query that the first reference is where the
    sums go to the pairs the other way round as well, else -1. Query i is then reference first + i. sums: `(queries,
    references)`. Differences, squares and sums are float64, units are added one after the other: the same bits as
    those of `add_squares` however the columns are cut.
    """
    left, right = _aligned(TILE, unit), _aligned(TILE, unit)
    totals = _aligned(1, TILE * TILE)[0]
    for t in range(begin, end):
        i, j, columns, mirror = tiles[t]
        rows = min(TILE, len(sums) - i)
        across = -(-columns // BLOCK_COLUMNS)
        _gather(sums, i, j, rows, columns, totals)
        for slab in range(len(slabs)):
            for u in range(0, slabs.shape[2], unit):
                _widen(slabs[slab], i, rows, u, left)
                _widen(other_slabs[slab], j, columns, u, right)
                # A few columns of pairs at a time: their rows then stay in the first-level cache for all others.
                for start in range(0, columns, _NEAR):
                    for a in range(0, rows, BLOCK_ROWS):
                        for b in range(start, min(columns, start + _NEAR), BLOCK_COLUMNS):
                            place = (a // BLOCK_ROWS * across + b // BLOCK_COLUMNS) * PAIRS
                            add_block(left, a, right, b, 0, unit, totals, place)
        _scatter(totals, i, j, rows, columns, sums)
        if mirror >= 0:
            _scatter_mirrored(totals, mirror, first + i, rows, columns, sums)


@njit(nogil=True, cache=True)
def _gather(sums: NDArray[np.float64], i: int, j: int, rows: int, columns: int, totals: NDArray[np.float64]) -> None:
    """The sums of a tile, block after block; places of rows beyond the last are left as they are."""
    across = -(-columns // BLOCK_COLUMNS)
    for r in range(rows):
        start = (r // BLOCK_ROWS) * across * PAIRS + (r % BLOCK_ROWS) * BLOCK_COLUMNS
        for c in range(columns):
            totals[start + (c // BLOCK_COLUMNS) * PAIRS + c % BLOCK_COLUMNS] = sums[i + r, j + c]


@njit(nogil=True, cache=True)
def _scatter(totals: NDArray[np.float64], i: int, j: int, rows: int, columns: int, sums: NDArray[np.float64]) -> None:
    """`_gather` the other way."""
    across = -(-columns // BLOCK_COLUMNS)
    for r in range(rows):
        start = (r // BLOCK_ROWS) * across * PAIRS + (r % BLOCK_ROWS) * BLOCK_COLUMNS
        for c in range(columns):
            sums[i + r, j + c] = totals[start + (c // BLOCK_COLUMNS) * PAIRS + c % BLOCK_COLUMNS]


@njit(nogil=True, cache=True)
def _scatter_mirrored(
    totals: NDArray[np.float64], i: int, j: int, rows: int, columns: int, sums: NDArray[np.float64]
) -> None:
    """The sums of a tile to rows i.. and columns j.., rows and columns exchanged."""
    across = -(-columns // BLOCK_COLUMNS)
    for c in range(columns):
        for r in range(rows):
            start = (r // BLOCK_ROWS) * across * PAIRS + (r % BLOCK_ROWS) * BLOCK_COLUMNS
            sums[i + c, j + r] = totals[start + (c // BLOCK_COLUMNS) * PAIRS + c % BLOCK_COLUMNS]
