"""Candidates of eight-bit products once more, by 14-bit ones: most that are no neighbours then need no difference.

Products of listed pairs take a fraction of the time of direct differences, and their rounding is known: by the
triangle inequality every distance lies in an interval, as in `products.py`, here some ten times as narrow.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.rows import Rows, aligned
from rra_cli.neighbors.threads import over_rows
from rra_cli.neighbors.tiles.direct import Pairs
from rra_cli.neighbors.tiles.products import FLOOR, float64_error
from rra_cli.neighbors.tiles.word_kernels import COLUMNS, STEP, add_products, keep_possible, round_to_words

# Multiply-adds a second and thread: direct differences of listed pairs, products of listed pairs; numbers rounded.
# Measured on 4,096 features by benchmarks/difference_rates.py.
LISTED, _PRODUCTS, _ROUNDED = 6e9, 2.5e10, 5e8
_LEFT = 1.06  # of k candidates are left: a little more than what was measured
_CACHE = 1 << 23  # bytes of the columns of all rows


def seconds_of_differences(candidates: float, k: int, features: int, rounded: float = 1.0) -> tuple[float, float]:
    """What a query's candidates take a thread: as they are, and refined before. rounded: rows, for each query."""
    left = min(candidates, _LEFT * k + 4)
    refined = candidates / _PRODUCTS + rounded / _ROUNDED + left / LISTED
    return candidates * features / LISTED, refined * features


def refine(queries: Rows, references: Rows, pairs: Pairs, k: int, *, memory: int, offset: int | None = None) -> Pairs:
    """Those pairs that may be among the k nearest of their query; all, where that would save no time or lacks memory.

    A query has at least k pairs, or none. offset: query i is reference offset + i; None: they have nothing in common.
    """
    n, m, features = len(queries), len(references), references.features
    with_pairs = max(1, int(np.count_nonzero(np.diff(pairs.starts))))
    rows_held = m + (n if offset is None else 0)
    held = 2 * features * rows_held + 17 * len(pairs.ids)
    plain, refined = seconds_of_differences(len(pairs.ids) / with_pairs, k, features, rows_held / with_pairs)
    if refined > 0.9 * plain or held > memory // 2:
        return pairs
    right, columns = _rounded(references)
    if offset is None:
        left, facts = _rounded(queries, right.shape[2])
    else:
        left, facts = right[:, offset : offset + n], columns[offset : offset + n]
    sums = np.zeros(len(pairs.ids), np.int64)
    for mine, other in zip(left, right, strict=True):
        over_rows(partial(_add, mine, other, pairs, sums), n)
    kept = np.empty(len(sums), bool)
    given: tuple[Any, ...] = (pairs.starts, pairs.ids, sums, facts, columns, float64_error(features), k, kept)
    over_rows(partial(keep_possible, *given), n)
    return Pairs(np.r_[0, np.cumsum(kept)][pairs.starts], pairs.ids[kept])


def _add(
    mine: NDArray[np.int16], other: NDArray[np.int16], pairs: Pairs, sums: NDArray[np.int64], begin: int, end: int
) -> None:
    add_products(mine, other, pairs.starts, pairs.ids, sums, begin, end)


def _rounded(rows: Rows, width: int | None = None) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """All rows, `width` columns after the other, `(slabs, rows, width)`; facts `(rows, 3)`, see `round_to_words`."""
    n, features = len(rows), rows.features
    if width is None:
        width = min(COLUMNS, max(STEP, _CACHE // (2 * n) // STEP * STEP), -(-features // STEP) * STEP)
    slabs = aligned((-(-features // width), n, width), np.dtype(np.int16))
    slabs[-1, :, features - (len(slabs) - 1) * width :] = 0  # columns that fill it up
    facts, centre = np.empty((n, 3)), rows.unit_centre

    def work(a: int, b: int) -> None:
        for at, end, block in rows.native_blocks(a, b):
            round_to_words(block, rows.unit, centre, slabs, at, facts[at:end])

    over_rows(work, n)
    facts[:, 2] += FLOOR * np.sqrt(features)
    return slabs, facts
