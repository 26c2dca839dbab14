"""Compiled products of rows of 14-bit numbers, for listed pairs; what they say of the pairs' distances.

Products of 16-bit integers are added up in 32 bits, as processors do in one instruction, and every few columns in 64:
the sums are exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types
from numpy.typing import NDArray

from rra_cli.neighbors.tiles.lane_kernels import (
    I32,
    I64,
    PAIRS,
    by_halves,
    integer,
    listed_rows,
    looped,
    mask,
    place_of,
    rows_of,
)

_intrinsic: Any = extending.intrinsic
LARGEST = 8191  # of a number
COLUMNS = 512  # a sum of so many products is below 2^31 in each lane: 32 of them, 8191^2 each
STEP = 32  # columns; other numbers of them are filled up
_WORDS, _SUMS = ir.VectorType(ir.IntType(16), STEP), ir.VectorType(I32, STEP)
_HALF, _WIDE = ir.VectorType(I32, STEP // 2), ir.VectorType(I64, PAIRS)
_OUTWARDS = 1.0 + 1e-9  # covers the rounding of what follows, and that of direct differences


@_intrinsic
def _add_products(
    typing: Any,
    row: Any,
    references: Any,
    ids: Any,
    first: Any,
    width: Any,
    sums: Any,
    place: Any,
) -> Any:
    """Adds the products of a row, a matrix of its own, and references ids[first..first + 8] to sums from `place` on."""

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        own = rows_of(context, builder, signature.args[0], given[0], [integer(0)])[0][0]
        others = listed_rows(context, builder, signature.args[1:3], given[1:4])[0]

        def load(start: Any, at: Any) -> Any:
            return builder.sext(
                builder.load(builder.bitcast(builder.gep(start, [at]), _WORDS.as_pointer()), align=2), _SUMS
            )

        def body(at: Any, totals: list[Any]) -> list[Any]:
            a, added = load(own, at), []
            for other, total in zip(others, totals, strict=True):
                products = builder.mul(a, load(other, at))
                even, odd = (builder.shuffle_vector(products, products, mask(list(range(i, STEP, 2)))) for i in (0, 1))
                added.append(builder.add(total, builder.add(even, odd)))
            return added

        totals = looped(builder, given[4], STEP, [ir.Constant(_HALF, [0] * (STEP // 2))] * PAIRS, body)
        wide = [
            builder.add(
                *(
                    builder.sext(builder.shuffle_vector(total, total, mask(list(range(i, i + PAIRS)))), _WIDE)
                    for i in (0, PAIRS)
                )
            )
            for total in totals
        ]
        target = builder.bitcast(place_of(context, builder, signature.args[5], given[5], given[6]), _WIDE.as_pointer())
        found = builder.add(builder.load(target, align=8), by_halves(builder, builder.add, wide))
        builder.store(found, target, align=8)
        return context.get_dummy_value()

    index = types.int64
    return types.void(row, references, ids, index, index, sums, index), codegen


@njit(nogil=True, cache=True)
def add_products(
    queries: NDArray[np.int16],
    references: NDArray[np.int16],
    starts: NDArray[np.int64],
    ids: NDArray[np.integer],
    sums: NDArray[np.int64],
    begin: int,
    end: int,
) -> None:
    """Adds the products of some columns, `(rows, w)`, to the sums of listed pairs, for query rows begin..end.

    w: a multiple of 32, at most COLUMNS. Row i's pairs are starts[i]..starts[i + 1] of `ids` and `sums`.
    """
    width = queries.shape[1]
    own = np.empty((1, width), np.int16)
    some, totals = np.empty(PAIRS, ids.dtype), np.empty(PAIRS, np.int64)
    for i in range(begin, end):
        own[0] = queries[i]
        p, stop = starts[i], starts[i + 1]
        while p + PAIRS <= stop:
            _add_products(own, references, ids, p, width, sums, p)
            p += PAIRS
        left = stop - p
        if left > 0:  # the last one stands in for those that are missing
            for q in range(PAIRS):
                some[q], totals[q] = ids[p + min(q, left - 1)], sums[p + min(q, left - 1)]
            _add_products(own, references, some, 0, width, totals, 0)
            sums[p:stop] = totals[:left]


@njit(nogil=True, cache=True, fastmath=True)
def round_to_words(
    block: NDArray[np.floating],
    scale: float,
    centre: NDArray[np.float64],
    slabs: NDArray[np.int16],
    first: int,
    facts: NDArray[np.float64],
) -> None:
    """Centred rows v as s q with q in -8191..8191, to rows first.. of `slabs`, `(slabs, rows, w)`.

    facts: `(m, 3)`: s; the squared norm of s q; the norm of what it leaves out.
    """
    m, d = block.shape
    width = slabs.shape[2]
    for i in range(m):
        top, norm = 0.0, 0.0
        for f in range(np.uint64(d)):
            v = block[i, f] * scale - centre[f]
            top = max(top, abs(v))
            norm += v * v
        s = top / LARGEST
        inverse = 1.0 / s if s > 1e-290 else 0.0
        s = s if inverse > 0.0 else 0.0
        kept, left = 0.0, 0.0
        for slab in range(len(slabs)):
            out, at = slabs[slab, first + i], np.uint64(slab * width)
            for f in range(np.uint64(min(width, d - slab * width))):
                v = block[i, at + f] * scale - centre[at + f]
                q = math.floor(v * inverse + 0.5)
                r = v - s * q
                out[f] = np.int16(q)
                left += r * r
                kept += (s * q) * (s * q)
        facts[i, 0], facts[i, 1] = s, kept
        facts[i, 2] = math.sqrt(left) * (1 + 1e-9) + math.sqrt(norm) * 1e-15  # as in `round_rows`


@njit(nogil=True, cache=True)
def keep_possible(
    starts: NDArray[np.int64],
    ids: NDArray[np.integer],
    sums: NDArray[np.int64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    error: float,
    k: int,
    kept: NDArray[np.bool_],
    begin: int,
    end: int,
) -> None:
    """Which pairs of query rows begin..end may be among the row's k nearest; a row has at least k pairs, or none.

    rows, columns: facts of queries and references. error: of a squared distance, relative to the squared norms.
    """
    for i in range(begin, end):
        first, last = starts[i], starts[i + 1]
        if first == last:
            continue
        low, high = np.empty(last - first), np.empty(last - first)
        for p in range(last - first):
            j = ids[first + p]
            norms, radius = rows[i, 1] + columns[j, 1], rows[i, 2] + columns[j, 2]
            square = norms - 2.0 * rows[i, 0] * columns[j, 0] * sums[first + p]
            low[p] = math.sqrt(max(square - error * norms, 0.0)) - radius * _OUTWARDS
            high[p] = math.sqrt(max(square + error * norms, 0.0)) + radius * _OUTWARDS
        bound = np.partition(high, k - 1)[k - 1] * _OUTWARDS
        for p in range(last - first):
            kept[first + p] = low[p] <= bound * _OUTWARDS
