"""Rows of activations as a search reads them: checked, in blocks, with what float64 arithmetic needs to be safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.neighbors.arguments import as_array
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.threads import over_rows

# Positions or ids of neighbours, and their distances, `(rows, k)` each.
Found = tuple[NDArray[np.int64], NDArray[np.float64]]

# Squares and their sums over at most 2^40 features stay within float64 for values in this range (as powers of two).
_SMALLEST, _LARGEST = -400, 480


WIDE = 128  # columns whose squared differences are added up before they join a pair's sum
_LINE = 64  # bytes of a line of the cache
_COPIED = 128  # rows at a time, of which the cache holds some thousand columns


def as_matrix(activations: ArrayLike, what: str = "activations") -> NDArray[Any]:
    """The activations as a real `(n, features)` array, memory maps left on disk.

    Lists and torch tensors are taken as well. Raises `InputError` for anything that is not 2-D, not real numbers of at
    most 64 bits, empty, or masked.
    """
    data = as_array(activations, what)
    if data.dtype.kind not in "fiub" or data.dtype.itemsize > 8:
        raise InputError(
            f"{what} must be real numbers (float16, float32, float64 or integers), got dtype {data.dtype}",
            "convert them, for example with .astype('float32')",
        )
    if data.ndim != 2:
        raise InputError(
            f"{what} must be two-dimensional (n_samples, n_features), got shape {tuple(data.shape)}",
            "flatten or pool every sample to one row, for example with .reshape(len(x), -1)",
        )
    if 0 in data.shape:
        raise InputError(
            f"{what} must have at least one row and one feature, got shape {tuple(data.shape)}",
            "look for what left none of them where the activations were made, such as a filter or an empty file",
        )
    return data.view(np.uint8) if data.dtype.kind == "b" else data


@dataclass(frozen=True)
class Scan:
    """What one pass over all rows finds.

    scale: power of two that brings their squares into the range of float64. unit: power of two that brings them,
    centred, into -1..1. mean: of every column, unscaled. hashes: one for each row, equal for equal rows.
    """

    scale: float
    unit: float
    mean: NDArray[np.float64]
    hashes: NDArray[np.uint64]


def blocks(n: int, rows: int) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) of at most `rows` rows."""
    rows = max(1, rows)
    for start in range(0, n, rows):
        yield start, min(n, start + rows)


def native(block: NDArray[Any]) -> NDArray[Any]:
    """The block as contiguous float32 where that holds its values exactly, else float64."""
    small = block.dtype.itemsize <= 2 or (block.dtype.kind == "f" and block.dtype.itemsize == 4)
    return np.ascontiguousarray(block, np.float32 if small else np.float64)


def scan(data: NDArray[Any], memory: int, what: str = "activations") -> Scan:
    """Reads every row once. Raises `InputError` where rows hold NaN or infinity, saying how many."""
    from rra_cli.neighbors.tiles.row_kernels import scan_rows

    n, features = data.shape
    finite, largest, hashes = np.empty(n, bool), np.empty(n), np.empty(n, np.uint64)
    # A fixed division, so that the mean is the same for any number of threads and any memory.
    pieces = list(blocks(n, -(-n // 64)))
    totals = np.zeros((len(pieces), features)) if len(pieces) * features < 1 << 24 else np.zeros((1, features))
    rows = max(1, min(1 << 22, memory // 64) // (8 * features))

    def work(first: int, last: int) -> None:
        for piece in range(first, last):
            for a, b in blocks(pieces[piece][1] - pieces[piece][0], rows):
                at, end = pieces[piece][0] + a, pieces[piece][0] + b
                block = native(data[at:end])
                bits: Any = block.view(np.uint32 if block.itemsize == 4 else np.uint64)
                total = totals[piece % len(totals)]
                scan_rows(block, bits, 1.0 / n, finite[at:end], largest[at:end], hashes[at:end], total)

    if len(totals) == len(pieces):
        over_rows(work, len(pieces))
    else:
        work(0, len(pieces))
    bad = np.flatnonzero(~finite)
    if len(bad):
        raise InputError(
            f"{what} must be finite, but {len(bad)} of {n} rows hold NaN or infinity (the first is row {bad[0]})",
            "remove these samples, or look for an overflow where the activations were made",
        )
    top = float(largest.max())
    exponent = int(np.frexp(top)[1]) if top else 0
    shift = 0
    if exponent > _LARGEST:
        shift = _LARGEST - exponent
    elif top and exponent < _SMALLEST:
        shift = min(-exponent, 1000)
    unit = float(np.ldexp(1.0, min(-exponent - 1, 1000)))
    return Scan(float(np.ldexp(1.0, shift)), unit, totals.sum(axis=0), hashes)


@dataclass(frozen=True)
class Rows:
    """Some rows of a matrix (`ids`; all where None), scaled by a power of two; `centre` is in scaled units.

    unit: power of two that brings the centred rows into -1..1.
    """

    data: NDArray[Any]
    scale: float
    centre: NDArray[np.float64]
    ids: NDArray[np.int64] | None = None
    unit: float = 1.0

    def __len__(self) -> int:
        return len(self.data) if self.ids is None else len(self.ids)

    @property
    def features(self) -> int:
        return int(self.data.shape[1])

    @property
    def unit_centre(self) -> NDArray[np.float64]:
        """The centre in units of `unit`."""
        return self.centre * (self.unit / self.scale)

    def take(self, positions: NDArray[np.int64]) -> Rows:
        """The rows at these positions."""
        return replace(self, ids=self.in_data(positions))

    def part(self, start: int, stop: int) -> Rows:
        """Rows start..stop of these."""
        if self.ids is None:
            return replace(self, data=self.data[start:stop])
        return replace(self, ids=self.ids[start:stop])

    def native_blocks(self, start: int, stop: int) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Rows start..stop as they are, in float32 or float64, a few at a time: (start, stop, `(rows, features)`)."""
        for at, end in blocks(stop - start, (1 << 21) // self.features):
            yield start + at, start + end, native(self._raw(start + at, start + end))

    def centred(self, start: int, stop: int) -> NDArray[np.float64]:
        """Rows start..stop as float64, `(stop - start, features)`, scaled and with the centre subtracted."""
        block = np.asarray(self._raw(start, stop)).astype(np.float64)
        if self.scale != 1.0:
            block *= self.scale
        block -= self.centre
        return block

    def slabs(
        self,
        start: int,
        stop: int,
        width: int,
        positions: NDArray[np.int64] | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Columns start..stop of all rows (of those at `positions`), `width` at a time: `(slabs, rows, width)`.

        Scaled, float32 or float64 (always float64 where there is a scale), the last slab filled up with zeros. out: of
        an earlier call, written again where it fits, as fresh memory costs more than the copy.
        """
        ids = self.ids if positions is None else self.in_data(positions)
        n = len(self.data) if ids is None else len(ids)
        dtype = native(self.data[:0]).dtype if self.scale == 1.0 else np.dtype(np.float64)
        shape = (-(-(stop - start) // width), n, width)
        out = aligned(shape, dtype) if out is None or out.shape != shape else out

        def work(first: int, last: int) -> None:
            for a, b in blocks(last - first, _COPIED):
                rows = slice(first + a, first + b)
                block = self.data[rows, start:stop] if ids is None else self.data[ids[rows], start:stop]
                for at, slab in enumerate(out[:, rows]):
                    part = block[:, at * width : (at + 1) * width]
                    if self.scale == 1.0:
                        slab[:, : part.shape[1]] = part
                    else:
                        np.multiply(part, self.scale, out=slab[:, : part.shape[1]], dtype=np.float64)
                    slab[:, part.shape[1] :] = 0.0

        over_rows(work, n)
        return out

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        return self.data[start:stop] if self.ids is None else self.data[self.ids[start:stop]]

    def in_data(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row numbers in `data` of these positions."""
        return positions if self.ids is None else self.ids[positions]


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Memory that begins with a line of the cache, so that a vector of a row is in one line, not in two."""
    size = prod(shape) * dtype.itemsize
    raw = np.empty(size + _LINE, np.uint8)
    skipped = -raw.ctypes.data % _LINE
    return raw[skipped : skipped + size].view(dtype).reshape(shape)


def groups_of_duplicates(
    data: NDArray[Any], hashes: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Equal rows: (lowest id of every group, ascending `(groups,)`; group of every row `(n,)`); None without any.

    Rows with equal hashes are compared, so that a collision does no harm.
    """
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    if not same.any():
        return None
    first = np.arange(len(data))
    starts = np.flatnonzero(np.r_[True, ~same])
    stops = np.r_[starts[1:], len(data)]
    shared = stops - starts > 1
    for start, stop in zip(starts[shared].tolist(), stops[shared].tolist(), strict=True):
        heads: list[int] = []  # one for each different row among those of this hash
        for row in order[start:stop].tolist():
            head = next((other for other in heads if np.array_equal(native(data[other]), native(data[row]))), None)
            if head is None:
                heads.append(row)
            else:
                first[row] = head
    lowest, group = np.unique(first, return_inverse=True)
    return None if len(lowest) == len(data) else (lowest, group.astype(np.int64))
