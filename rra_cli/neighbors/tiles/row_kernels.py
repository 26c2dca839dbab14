"""Compiled passes over rows: finding faults, equal rows and the mean; rounding rows to eight bits.

All kernels run one thread over a range of rows and release the interpreter's lock.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_STRETCH = 1 << 15  # numbers that are rotated together: what the second-level cache holds
_LANES = 8


@njit(nogil=True, cache=True)
def scan_rows(
    block: NDArray[np.floating],
    bits: NDArray[np.unsignedinteger],
    weight: float,
    finite: NDArray[np.bool_],
    largest: NDArray[np.float64],
    hashes: NDArray[np.uint64],
    total: NDArray[np.float64],
) -> None:
    """One pass over rows `(m, d)`: whether each is finite, its largest magnitude, a hash, and `total += row * weight`.

    bits: the same memory as unsigned integers. The hash takes -0.0 for 0.0; equal rows have equal hashes.
    """
    m, d = block.shape
    minus_zero = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    for i in range(m):
        top = 0.0
        ok = True
        h0, h1, h2, h3 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
        for f in range(np.uint64(d)):
            value = float(block[i, f])
            size = abs(value)
            if not size <= 1.7976931348623157e308:
                ok = False
            if size > top:
                top = size
            word = np.uint64(bits[i, f])
            if word == minus_zero:
                word = np.uint64(0)
            # Four independent chains, so that one multiplication need not wait for the one before.
            mixed = (h0 ^ word) * _PRIME
            h0, h1, h2, h3 = h1, h2, h3, mixed ^ (mixed >> _HALF)
        h = (h0 * _PRIME) ^ h1
        h = (h * _PRIME) ^ h2
        hashes[i] = (h * _PRIME) ^ h3
        finite[i] = ok
        largest[i] = top
        if ok:
            for f in range(np.uint64(d)):
                total[f] += block[i, f] * weight


@njit(nogil=True, cache=True, fastmath=True)
def round_rows(
    block: NDArray[np.floating],
    scale: float,
    centre: NDArray[np.float64],
    first: NDArray[np.int8],
    second: NDArray[np.int8],
    facts: NDArray[np.float64],
) -> None:
    """Centred rows v as s q1 (+ s/254 q2) with q1, q2 in -127..127; q2 only where `second` has rows.

    facts: `(m, 4)`: s; the squared norm of what the integers stand for; the norm of what they leave out; the norm of
    the second part alone.
    """
    m, d = block.shape
    two = len(second) > 0
    for i in range(m):
        top, norm = 0.0, 0.0
        for f in range(np.uint64(d)):
            v = block[i, f] * scale - centre[f]
            top = max(top, abs(v))
            norm += v * v
        s = top / 127.0
        inverse = 1.0 / s if s > 1e-290 else 0.0
        s = s if inverse > 0.0 else 0.0
        kept, left, small = 0.0, 0.0, 0.0
        if two:
            s2 = s / 254.0
            inverse2 = inverse * 254.0
            for f in range(np.uint64(d)):
                v = block[i, f] * scale - centre[f]
                q = math.floor(v * inverse + 0.5)
                r = v - s * q
                q2 = min(max(math.floor(r * inverse2 + 0.5), -127.0), 127.0)
                part = s2 * q2
                first[i, f] = np.int8(q)
                second[i, f] = np.int8(q2)
                r -= part
                left += r * r
                small += part * part
                kept += (s * q + part) * (s * q + part)
        else:
            for f in range(np.uint64(d)):
                v = block[i, f] * scale - centre[f]
                q = math.floor(v * inverse + 0.5)
                r = v - s * q
                first[i, f] = np.int8(q)
                left += r * r
                kept += (s * q) * (s * q)
        facts[i, 0] = s
        facts[i, 1] = kept
        # Rounding in centring and in these sums: far below one part in 10^9 for any d that fits into memory.
        facts[i, 2] = math.sqrt(left) * (1 + 1e-9) + math.sqrt(norm) * 1e-15
        facts[i, 3] = math.sqrt(small) * (1 + 1e-9)


@njit(nogil=True, cache=True, fastmath=True)
def round_rotated_rows(
    block: NDArray[np.floating],
    scale: float,
    centre: NDArray[np.float64],
    signs: NDArray[np.float32],
    first: NDArray[np.int8],
    facts: NDArray[np.float64],
) -> None:
    """`round_rows` to one part, of rows that are rotated before: signs, then a Hadamard transform of each stretch.

    A rotation changes no distance, but spreads a row's few large numbers over all features, and the largest one sets
    the scale of all. Stretches are the powers of two that make up d; every eighth number of one is transformed with
    each other, so that the work is vector instructions. Single precision: its rounding is added to the radius.
    """
    m, d = block.shape
    v = np.empty(d, np.float32)
    for i in range(m):
        norm = 0.0
        for f in range(np.uint64(d)):
            t = block[i, f] * scale - centre[f]
            norm += t * t
            v[f] = np.float32(t) * signs[f]
        start = 0
        while start < d:
            size = 1
            while 2 * size <= min(d - start, _STRETCH):
                size *= 2
            h = _LANES
            while h < size:
                for a in range(start, start + size, 2 * h):
                    _butterflies(v, a, h)
                h *= 2
            if size > _LANES:
                factor = np.float32(math.sqrt(_LANES / size))
                for f in range(start, start + size):
                    v[f] *= factor
            start += size
        top = np.float32(0.0)
        for f in range(d):
            top = max(top, abs(v[f]))
        s = float(top) / 127.0
        inverse = 1.0 / s if s > 1e-35 else 0.0
        s = s if inverse > 0.0 else 0.0
        kept, left = 0.0, 0.0
        for f in range(d):
            q = min(max(math.floor(v[f] * inverse + 0.5), -127.0), 127.0)
            r = v[f] - s * q
            first[i, f] = np.int8(q)
            left += r * r
            kept += (s * q) * (s * q)
        facts[i, 0] = s
        facts[i, 1] = kept
        # At most 17 roundings of a number that keeps the row's norm, 2^-24 each.
        facts[i, 2] = math.sqrt(left) * (1 + 1e-9) + math.sqrt(norm) * 1.2e-6
        facts[i, 3] = 0.0


@njit(nogil=True, cache=True)
def _butterflies(v: NDArray[np.float32], a: int, h: int) -> None:
    """Sums and differences of v[a : a + h] and v[a + h : a + 2 h]."""
    if a < 0 or h < 0:  # never so; the compiler, now knowing it, leaves out Python's indices from the end
        return
    for c in range(h):
        x, y = v[a + c], v[a + h + c]
        v[a + c] = x + y
        v[a + h + c] = x - y
