"""Compiled counting of shared neighbours: the layers' lists of a sample as rows of bits, and-ed and counted.

For one sample: every id gets a mask, one bit for each layer that lists it. Ids that only one layer lists are shared by
no pair and dropped. A block of 64 masks, seen as 64 x 64 bits and transposed, is one word of 64 ids for each of 64
layers; the words of eight layers against those of eight others are and-ed, and their bits counted, in registers.

All are integers, so nothing here can depend on the order of the work. Vectors of eight 64-bit words are spelled out
because the compiler does not find them by itself; LLVM translates them to what the processor has (AVX-512, AVX2, SSE2).
Intrinsics stand in this file because a compiled function is cached by the date of its own file only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_WORD, _INT = ir.IntType(64), ir.IntType(32)
_EIGHT = ir.VectorType(_WORD, 8)
_ANY = ir.Constant(_EIGHT, ir.Undefined)
_SPAN = np.uint64(64)  # words of a layer that are counted at a time, so that they stay in the nearest cache
_ALL = (1 << 64) - 1
# Bits of the lower half of every group of 2h columns, for h = 32, 16, .. 1.
_LOWER = {h: sum(((1 << h) - 1) << at for at in range(0, 64, 2 * h)) for h in (32, 16, 8, 4, 2, 1)}


def _emitted(result: Any, *parameters: Any) -> Callable[[Callable[..., Any]], Any]:
    """Makes an intrinsic of a function that writes LLVM code for arguments of fixed types."""

    def wrap(write: Callable[..., Any]) -> Any:
        @wraps(write)  # numba counts the arguments of this signature, where the builder is in the context's place
        def typed(typing: Any, *arguments: Any) -> Any:
            return result(*parameters), lambda context, builder, signature, values: write(builder, *values)

        return intrinsic(typed)

    return wrap


def _word(number: int) -> ir.Constant:
    return ir.Constant(_WORD, number)


def _lanes(*values: int) -> ir.Constant:
    return ir.Constant(_EIGHT, list(values) if len(values) == 8 else 8 * list(values))


def _pick(builder: Any, vector: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(vector, _ANY, ir.Constant(ir.VectorType(_INT, 8), lanes))


def _call(builder: Any, name: str, *vectors: Any) -> Any:
    kind = ir.FunctionType(_EIGHT, [_EIGHT] * len(vectors))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), vectors)


def _load(builder: Any, address: Any, kind: ir.Type = _EIGHT, align: int = 8) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = align
    return value


def _store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, builder.inttoptr(address, _EIGHT.as_pointer())).align = 8


@_emitted(types.uint64, types.uint64, types.boolean)
def _id_at(builder: Any, address: Any, wide: Any) -> Any:
    """The int64 (wide) or int32 at an address as uint64: a negative one becomes larger than any id."""
    result = cgutils.alloca_once(builder, _WORD)
    with builder.if_else(wide) as (then, otherwise):
        with then:
            builder.store(_load(builder, address, _WORD, 1), result)
        with otherwise:
            builder.store(builder.zext(_load(builder, address, _INT, 1), _WORD), result)
    return builder.load(result)


@_emitted(types.uint64, types.uint64)
def _bit_count(builder: Any, word: Any) -> Any:
    """How many bits of a word are set."""
    return builder.ctpop(word)


@_emitted(types.void, types.uint64)
def _transpose(builder: Any, address: Any) -> None:
    """Transposes 64 words as a 64 x 64 matrix of bits, in place: bit c of word r becomes bit r of word c.

    Halves of halves change places (Warren, Hacker's Delight, section 7-3): between vectors down to rows that are eight
    apart, within vectors from there on.
    """
    places = [builder.add(address, _word(64 * i)) for i in range(8)]
    rows = [_load(builder, place) for place in places]
    for half in (32, 16, 8):
        step, shift, lower = half // 8, _lanes(half), _lanes(_LOWER[half])
        for i in (i for i in range(8) if not i & step):
            moved = builder.and_(builder.xor(builder.lshr(rows[i], shift), rows[i + step]), lower)
            rows[i] = builder.xor(rows[i], builder.shl(moved, shift))
            rows[i + step] = builder.xor(rows[i + step], moved)
    for half in (4, 2, 1):
        upper = [bool(lane & half) for lane in range(8)]
        kept = [_LOWER[half] ^ (_ALL if is_upper else 0) for is_upper in upper]
        turn = _lanes(*(64 - half if is_upper else half for is_upper in upper))
        for i in range(8):
            other = _pick(builder, rows[i], [lane ^ half for lane in range(8)])
            moved = builder.and_(
                _call(builder, "llvm.fshl.v8i64", other, other, turn), _lanes(*(_ALL ^ m for m in kept))
            )
            rows[i] = builder.or_(builder.and_(rows[i], _lanes(*kept)), moved)
    for row, place in zip(rows, places, strict=True):
        _store(builder, row, place)


@_emitted(types.void, types.uint64, types.uint64, types.uint64, types.uint64)
def _add_shared(builder: Any, a: Any, b: Any, words: Any, shared: Any) -> None:
    """shared[8 r + c] += sum over words w of bits in (a[64 w + r] & b[64 w + c]), r, c = 0..7; all by address."""
    totals = [cgutils.alloca_once_value(builder, _lanes(0)) for _ in range(8)]
    with cgutils.for_range(builder, words, intp=_WORD) as loop:
        offset = builder.mul(loop.index, _word(512))
        eight = _load(builder, builder.add(b, offset))
        for r, total in enumerate(totals):
            one = _load(builder, builder.add(builder.add(a, offset), _word(8 * r)), _WORD)
            spread = _pick(builder, builder.insert_element(_ANY, one, ir.Constant(_INT, 0)), [0] * 8)
            bits = _call(builder, "llvm.ctpop.v8i64", builder.and_(spread, eight))
            builder.store(builder.add(builder.load(total), bits), total)
    for r, total in enumerate(totals):
        place = builder.add(shared, _word(64 * r))
        _store(builder, builder.add(_load(builder, place), builder.load(total)), place)


@njit(nogil=True, cache=True)
def _mark(
    lists: NDArray[np.uint64],
    row: int | np.uint64,
    begin: int | np.uint64,
    end: int | np.uint64,
    n_reference: int | np.uint64,
    masks: NDArray[np.uint64],
    seen: NDArray[np.uint64],
    found: NDArray[np.uint64],
) -> bool:
    """Adds every layer's neighbours of ranks begin..end to the masks; False where an id is out of range."""
    for layer in range(np.uint64(len(lists))):
        group, bit = layer >> np.uint64(6), np.uint64(1) << (layer & np.uint64(63))
        at, step, wide = lists[layer, 0] + row * lists[layer, 1], lists[layer, 2], lists[layer, 3] != 0
        n = found[group]
        for rank in range(begin, end):
            neighbor = _id_at(at + rank * step, wide)
            if neighbor >= n_reference:
                return False
            mask = masks[group, neighbor]
            # Written always and counted where new: a branch here would be mispredicted every other time.
            seen[group, n] = neighbor
            n += np.uint64(mask == 0)
            masks[group, neighbor] = mask | bit
        found[group] = n
    return True


@njit(nogil=True, cache=True)
def _select(
    masks: NDArray[np.uint64],
    seen: NDArray[np.uint64],
    found: NDArray[np.uint64],
    words: NDArray[np.uint64],
    last: bool,
) -> np.uint64:
    """The masks of ids that several layers list, by group, filled up to whole blocks; returns how many blocks of 64.

    last: sets the masks back to zero.
    """
    groups, n, zero, one = np.uint64(len(seen)), np.uint64(0), np.uint64(0), np.uint64(1)
    if groups == 1:
        for j in range(found[0]):
            neighbor = seen[zero, j]
            mask = masks[zero, neighbor]
            words[zero, n] = mask
            n += np.uint64((mask & (mask - one)) != 0)
            if last:
                masks[zero, neighbor] = 0
    else:
        for group in range(groups):
            for j in range(found[group]):
                neighbor, layers, earlier = seen[group, j], zero, zero
                for other in range(groups):
                    mask = masks[other, neighbor]
                    words[other, n] = mask
                    layers += _bit_count(mask)
                    if other < group:
                        earlier |= mask
                    if last:
                        masks[other, neighbor] = 0
                # An id is on the list of every group that has it; the first of them brings it in.
                n += np.uint64((layers > one) and earlier == 0)
    blocks = (n + np.uint64(63)) >> np.uint64(6)
    for group in range(groups):
        for j in range(n, blocks << np.uint64(6)):
            words[group, j] = 0
    return blocks


@njit(nogil=True, cache=True)
def count_samples(
    lists: NDArray[np.uint64],
    ks: NDArray[np.uint64],
    tiles: NDArray[np.uint64],
    cells: NDArray[np.uint64],
    n_reference: int,
    masks: NDArray[np.uint64],
    seen: NDArray[np.uint64],
    words: NDArray[np.uint64],
    histogram: NDArray[np.uint32],
    counts: NDArray[np.int32],
    first: int,
    last: int,
) -> bool:
    """Counts the neighbours that pairs of layers share, for samples first..last and every k of `ks` (ascending).

    lists: `(layers, 4)`: address of the layer's ids, bytes from row to row and from rank to rank, 1 for int64 and 0 for
    int32. tiles: `(tiles, 2)`, which eights of layers meet. cells: `(pairs,)`, where a pair's count stands among the
    64 a tile. histogram: for one k after the other `(pairs, k + 1)` flat, added to. counts: `(samples, ks, pairs)`, or
    no samples. Workspace, G = groups of 64 layers: masks `(G, n_reference)`, zero before and after; seen `(G, ids a
    group can list + 1)`; words `(G, ids that two layers can list, to whole blocks + 64)`.

    Returns False, and leaves the workspace dirty, where an id is not in 0..n_reference - 1.
    """
    found = np.zeros(len(seen), np.uint64)
    shared = np.zeros(64 * len(tiles), np.uint64)
    pairs, wide = np.uint64(len(cells)), np.uint64(words.shape[1])
    a_words, a_shared = np.uint64(words.ctypes.data), np.uint64(shared.ctypes.data)
    for row in range(np.uint64(first), np.uint64(last)):
        found[:] = 0
        begin, at = np.uint64(0), np.uint64(0)
        for s in range(len(ks)):
            k = ks[s]
            if not _mark(lists, row, begin, k, np.uint64(n_reference), masks, seen, found):
                return False
            blocks = _select(masks, seen, found, words, s == len(ks) - 1)
            for group in range(np.uint64(len(seen))):
                for block in range(blocks):
                    _transpose(a_words + (group * wide + block * np.uint64(64)) * np.uint64(8))
            shared[:] = 0
            for start in range(np.uint64(0), blocks, _SPAN):
                size = min(_SPAN, blocks - start)
                for t in range(np.uint64(len(tiles))):
                    # Eight layers are an eighth of their group's row of 64 words.
                    i, j = tiles[t, np.uint64(0)], tiles[t, np.uint64(1)]
                    a = (i >> np.uint64(3)) * wide + start * np.uint64(64) + (i & np.uint64(7)) * np.uint64(8)
                    b = (j >> np.uint64(3)) * wide + start * np.uint64(64) + (j & np.uint64(7)) * np.uint64(8)
                    _add_shared(
                        a_words + a * np.uint64(8), a_words + b * np.uint64(8), size, a_shared + t * np.uint64(512)
                    )
            for p in range(pairs):
                histogram[at + p * (k + np.uint64(1)) + shared[cells[p]]] += np.uint32(1)
            if len(counts):
                own = counts[row - np.uint64(first), s]
                for p in range(pairs):
                    own[p] = shared[cells[p]]
            at += pairs * (k + np.uint64(1))
            begin = k
    return True
