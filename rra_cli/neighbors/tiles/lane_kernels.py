"""The sum of squared differences of two rows: one fixed order of summation, eight pairs of rows at a time.

Thirty-two columns at a time go to 32 lanes, four vectors of eight: lane l sums columns l, l + 32, ... in turn. Then the
vectors are added, (v0 + v1) + (v2 + v3), and the eight numbers left by halves: upper four to lower, upper two to lower,
one to the other. Sixteen columns more, where there are, go to four lanes, of which the first begins with that sum.

A compiler that vectorises a loop by itself chooses its own lanes, and others where the loop serves several pairs.
Here the instructions are spelled out, so that every pair has the same bits however pairs are put together, and rows
that several pairs share are read and converted once. The vectors are those of LLVM, which makes of them what the
processor has; a square and its addition are rounded once where the processor does both in one instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils

_intrinsic: Any = extending.intrinsic  # mypy takes it for a function of the arguments that it declares
# Compiled into dense_kernels.py, pair_kernels.py and word_kernels.py, which keep compiled code by their own date only:
# touch all three.
PAIRS = 8
BLOCK_ROWS, BLOCK_COLUMNS = 4, 2  # of a block of pairs: fewest loads that leave room for the sums in 32 registers
_LANES, _STEP, _TAIL = 8, 32, 4
_UNROLLED = 128  # columns; the usual unit
I32, I64 = ir.IntType(32), ir.IntType(64)
_DOUBLES = ir.VectorType(ir.DoubleType(), _LANES)
_FOUR = ir.VectorType(ir.DoubleType(), _TAIL)


def integer(value: int) -> Any:
    return ir.Constant(I64, value)


def mask(places: list[int]) -> Any:
    return ir.Constant(ir.VectorType(I32, len(places)), places)


def _load(builder: Any, row: Any, dtype: Any, at: Any, vector: Any) -> Any:
    """Numbers of a row from column `at` on, as a vector of doubles."""
    number = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}[dtype]
    place = builder.bitcast(builder.gep(row, [at]), ir.VectorType(number, vector.count).as_pointer())
    found = builder.load(place, align=dtype.bitwidth // 8)
    return builder.fpext(found, vector) if dtype == types.float32 else found


def _add_squares(builder: Any, left: Any, right: Any, at: Any, sums: list[Any], vector: Any) -> list[Any]:
    """Each pair's sums and the squared differences of a vector of columns. left, right: rows and the type of both."""
    (rows, row_type), (columns, column_type) = left, right
    kind = ir.FunctionType(vector, [vector] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{vector.count}f64")
    a = [_load(builder, row, row_type, at, vector) for row in rows]
    b = [_load(builder, row, column_type, at, vector) for row in columns]
    differences = [builder.fsub(x, y) for x in a for y in b]
    return [builder.call(multiply_add, [d, d, total]) for d, total in zip(differences, sums, strict=True)]


def looped(builder: Any, stop: Any, step: int, sums: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> Any:
    """`sums = body(at, sums)` for at = 0, step, ... below stop."""
    kept = [cgutils.alloca_once_value(builder, total) for total in sums]
    for place, total in zip(kept, sums, strict=True):
        builder.store(total, place)
    with cgutils.for_range_slice(builder, integer(0), stop, integer(step), I64) as (at, _):
        for place, total in zip(kept, body(at, [builder.load(place) for place in kept]), strict=True):
            builder.store(total, place)
    return [builder.load(place) for place in kept]


def _lane_sums(builder: Any, left: Any, right: Any, at: Any, width: Any, unrolled: int) -> list[Any]:
    """A vector of eight lanes for every pair, of columns at..at + width, a multiple of 32."""

    def vector(first: int) -> list[Any]:
        def body(t: Any, sums: list[Any]) -> list[Any]:
            return _add_squares(builder, left, right, builder.add(at, builder.add(t, integer(first))), sums, _DOUBLES)

        sums = [ir.Constant(_DOUBLES, [0.0] * _LANES)] * PAIRS
        if not unrolled:
            return looped(builder, width, _STEP, sums, body)
        for t in range(0, unrolled, _STEP):
            sums = body(integer(t), sums)
        return sums

    def added(x: list[Any], y: list[Any]) -> list[Any]:
        return [builder.fadd(a, b) for a, b in zip(x, y, strict=True)]

    # One vector of all pairs at a time, as registers hold no more.
    lower = added(vector(0), vector(_LANES))
    return added(lower, added(vector(2 * _LANES), vector(3 * _LANES)))


def by_halves(builder: Any, add: Callable[[Any, Any], Any], sums: list[Any]) -> Any:
    """The sum of the lanes of each of eight vectors, as one vector."""
    size = _LANES
    while size > 1:
        # A vector holds the `size` lanes that are left of several pairs, one pair after the other.
        starts = range(0, _LANES, size)
        low = [start + lane for start in starts for lane in range(size // 2)]
        high = [place + size // 2 for place in low]
        merged = []
        for x, y in zip(sums[::2], sums[1::2], strict=True):
            parts = ([*part, *(_LANES + place for place in part)] for part in (low, high))
            merged.append(add(*(builder.shuffle_vector(x, y, mask(part)) for part in parts)))
        sums, size = merged, size // 2
    return sums[0]


def _tail(builder: Any, left: Any, right: Any, at: Any, sums: Any) -> Any:
    """The sums and those of sixteen columns more, from `at` on."""
    fours = [
        builder.insert_element(
            ir.Constant(_FOUR, [0.0] * _TAIL), builder.extract_element(sums, integer(pair)), integer(0)
        )
        for pair in range(PAIRS)
    ]
    for t in range(0, 16, _TAIL):
        fours = _add_squares(builder, left, right, builder.add(at, integer(t)), fours, _FOUR)
    for pair, four in enumerate(fours):
        a, b, c, d = (builder.extract_element(four, integer(lane)) for lane in range(_TAIL))
        total = builder.fadd(builder.fadd(a, c), builder.fadd(b, d))
        sums = builder.insert_element(sums, total, integer(pair))
    return sums


def _add_unit(builder: Any, left: Any, right: Any, at: Any, width: Any, target: Any) -> None:
    """Adds to eight consecutive sums the squared differences of columns at..at + width, a multiple of 16."""

    def added(unit: Any) -> None:
        place = builder.bitcast(target, _DOUBLES.as_pointer())
        builder.store(builder.fadd(builder.load(place, align=8), unit), place, align=8)

    with builder.if_else(builder.icmp_signed("==", width, integer(_UNROLLED))) as (usual, other):
        with usual:
            added(by_halves(builder, builder.fadd, _lane_sums(builder, left, right, at, width, _UNROLLED)))
        with other:
            whole = builder.and_(width, integer(-_STEP))
            unit = by_halves(builder, builder.fadd, _lane_sums(builder, left, right, at, whole, 0))
            kept = cgutils.alloca_once_value(builder, unit)
            builder.store(unit, kept)
            with builder.if_then(builder.icmp_signed("!=", whole, width)):
                builder.store(_tail(builder, left, right, builder.add(at, whole), unit), kept)
            added(builder.load(kept))


def rows_of(context: Any, builder: Any, kind: Any, array: Any, rows: list[Any]) -> tuple[list[Any], Any]:
    """Where rows of a matrix begin, and the type of its numbers."""
    if kind.layout != "C":
        raise TypeError(f"rows must be contiguous, got {kind}")
    matrix = context.make_array(kind)(context, builder, array)
    (width, _), base = cgutils.unpack_tuple(builder, matrix.strides), builder.ptrtoint(matrix.data, I64)
    starts = [builder.add(base, builder.mul(row, width)) for row in rows]
    return [builder.inttoptr(start, matrix.data.type) for start in starts], kind.dtype


def listed_rows(context: Any, builder: Any, kinds: Any, given: Any) -> tuple[list[Any], Any]:
    """`rows_of` eight rows of a matrix: given[0], ids given[1] from place given[2] on."""
    ids = [
        builder.load(place_of(context, builder, kinds[1], given[1], builder.add(given[2], integer(i))))
        for i in range(PAIRS)
    ]
    ids = [builder.sext(row, I64) if row.type.width < 64 else row for row in ids]
    return rows_of(context, builder, kinds[0], given[0], ids)


def place_of(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Where element `at` of a vector is."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


@_intrinsic
def add_block(
    typing: Any,
    left: Any,
    row: Any,
    right: Any,
    column: Any,
    at: Any,
    width: Any,
    sums: Any,
    place: Any,
) -> Any:
    """Adds the squared differences of rows row..row + 4 of `left` and column..column + 2 of `right` to 8 sums.

    The sums begin at `place`, pairs of a row of `left` side by side. at, width: the unit of columns.
    """

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        def rows(side: int, count: int) -> tuple[list[Any], Any]:
            places = [builder.add(given[side + 1], integer(i)) for i in range(count)]
            return rows_of(context, builder, signature.args[side], given[side], places)

        target = place_of(context, builder, signature.args[6], given[6], given[7])
        _add_unit(builder, rows(0, BLOCK_ROWS), rows(2, BLOCK_COLUMNS), given[4], given[5], target)
        return context.get_dummy_value()

    index = types.int64
    return types.void(left, index, right, index, index, index, sums, index), codegen


@_intrinsic
def add_listed(
    typing: Any,
    row: Any,
    references: Any,
    ids: Any,
    first: Any,
    at: Any,
    width: Any,
    sums: Any,
    place: Any,
) -> Any:
    """Adds the squared differences of one row, a matrix of its own, and 8 references to the 8 sums from `place` on.

    The references are ids[first], ids[first + 1], ... at, width: the unit of columns.
    """

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        own = rows_of(context, builder, signature.args[0], given[0], [integer(0)])
        others = listed_rows(context, builder, signature.args[1:3], given[1:4])
        target = place_of(context, builder, signature.args[6], given[6], given[7])
        _add_unit(builder, own, others, given[4], given[5], target)
        return context.get_dummy_value()

    index = types.int64
    return types.void(row, references, ids, index, index, index, sums, index), codegen
