"""Rows of activations as a search reads them: checked, in blocks, with what float64 arithmetic needs to be safe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.neighbors.graph import InputError

# Squares and their sums over at most 2^40 features stay within float64 for values in this range (as powers of two).
_SMALLEST, _LARGEST = -400, 480


def as_matrix(activations: ArrayLike, what: str = "activations") -> NDArray[Any]:
    """The activations as a real `(n, features)` array, memory maps left on disk.

    Raises `InputError` for anything that is not 2-D, not real numbers of at most 64 bits, or empty.
    """
    data = activations if isinstance(activations, np.ndarray) else np.asarray(activations)
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
        raise InputError(f"{what} must have at least one row and one feature, got shape {tuple(data.shape)}")
    return data.view(np.uint8) if data.dtype.kind == "b" else data


@dataclass(frozen=True)
class Scan:
    """What one pass over all rows finds.

    scale: power of two that brings them into a safe range. mean: of every column, unscaled. digests: one for each row,
    equal for equal rows.
    """

    scale: float
    mean: NDArray[np.float64]
    digests: list[bytes]


def blocks(n: int, rows: int) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) of at most `rows` rows."""
    rows = max(1, rows)
    for start in range(0, n, rows):
        yield start, min(n, start + rows)


def scan(data: NDArray[Any], memory: int, what: str = "activations") -> Scan:
    """Reads every row once. Raises `InputError` where rows hold NaN or infinity, saying how many."""
    n, features = data.shape
    bad, first, largest = 0, -1, 0.0
    digests: list[bytes] = []
    total = np.zeros(features)
    for start, stop in blocks(n, memory // (64 * features)):
        raw = np.ascontiguousarray(data[start:stop])
        # Adding zero turns -0.0 into 0.0, so that equal rows have equal bytes.
        digests += [hashlib.blake2b(row, digest_size=16).digest() for row in np.add(raw, np.zeros((), raw.dtype))]
        block = raw.astype(np.float64)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            first = start + int(np.argmin(finite)) if bad == 0 else first
            bad += int((~finite).sum())
            continue
        largest = max(largest, float(block.max()), -float(block.min()))
        total += np.divide(block, n, out=block).sum(axis=0)
    if bad:
        raise InputError(
            f"{what} must be finite, but {bad} of {n} rows hold NaN or infinity (the first is row {first})",
            "remove these samples, or look for an overflow where the activations were made",
        )
    exponent = int(np.frexp(largest)[1]) if largest else 0
    shift = 0
    if exponent > _LARGEST:
        shift = _LARGEST - exponent
    elif largest and exponent < _SMALLEST:
        shift = min(-exponent, 1000)
    scale = float(np.ldexp(1.0, shift))
    return Scan(scale, total, digests)


@dataclass(frozen=True)
class Rows:
    """Some rows of a matrix (`ids`; all where None), scaled by a power of two; `centre` is in scaled units."""

    data: NDArray[Any]
    scale: float
    centre: NDArray[np.float64]
    ids: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.data) if self.ids is None else len(self.ids)

    @property
    def features(self) -> int:
        return int(self.data.shape[1])

    def centred(self, start: int, stop: int) -> NDArray[np.float64]:
        """Rows start..stop as float64, `(stop - start, features)`, scaled and with the centre subtracted."""
        raw = self.data[start:stop] if self.ids is None else self.data[self.ids[start:stop]]
        block = np.asarray(raw).astype(np.float64)
        if self.scale != 1.0:
            block *= self.scale
        block -= self.centre
        return block

    def in_data(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row numbers in `data` of these positions."""
        return positions if self.ids is None else self.ids[positions]


def groups_of_duplicates(digests: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Equal rows: (lowest id of every group, ascending `(groups,)`; group of every row `(n,)`); None without any."""
    group_of: dict[bytes, int] = {}
    first: list[int] = []
    group = np.empty(len(digests), np.int64)
    for row, digest in enumerate(digests):
        found = group_of.setdefault(digest, len(first))
        if found == len(first):
            first.append(row)
        group[row] = found
    return None if len(first) == len(digests) else (np.array(first, np.int64), group)
