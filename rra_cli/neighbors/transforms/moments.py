"""Mean and variance of every feature, in one pass over the samples with float64 arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.graph import InputError

# Elements of a block. Fixed, not cut from a memory budget: sums over other blocks would differ in their last bits.
_BLOCK = 1 << 20
_TINIEST = 1e-290  # variances below have lost digits to underflow


@dataclass(frozen=True)
class Moments:
    """Of n samples. origin: `(features,)` the first sample. shift: mean minus origin. variance: with divisor n.

    Kept apart because both differences of `x - origin - shift` are exact where it matters: a constant feature is
    exactly 0 and a common offset costs no digits.
    """

    n: int
    origin: NDArray[np.float64]
    shift: NDArray[np.float64]
    variance: NDArray[np.float64]

    @property
    def constant(self) -> NDArray[np.bool_]:
        """`(features,)` whether all samples have the same value."""
        return self.variance == 0

    def centred(self, block: NDArray[Any]) -> NDArray[np.float64]:
        """A block `(rows, features)` minus the mean, float64."""
        rows = block.astype(np.float64)
        rows -= self.origin
        rows -= self.shift
        return rows

    def standardised(self, block: NDArray[Any]) -> NDArray[np.float64]:
        """A block `(rows, features)` minus the mean over the standard deviation, float64; constant features are 0."""
        rows = self.centred(block)
        rows /= np.sqrt(np.where(self.constant, 1.0, self.variance))
        rows[:, self.constant] = 0.0
        return rows


def fixed_blocks(n: int, features: int) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) of rows, the same ones on every machine; a block in float64 takes 8 MB or one row."""
    rows = max(1, _BLOCK // features)
    for start in range(0, n, rows):
        yield start, min(n, start + rows)


def moments(data: NDArray[Any]) -> Moments:
    """Of `(n, features)` real numbers, memory maps read block by block. Memory: a few blocks of 8 MB (or rows).

    Blocks are merged by the update of Chan, Golub & LeVeque (1979), which loses no digits to cancellation. Raises
    `InputError` for NaN and infinity, and where the squares leave the range of float64.
    """
    n, features = data.shape
    origin = data[0].astype(np.float64)
    shift, squares = np.zeros(features), np.zeros(features)
    varies = np.zeros(features, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for start, stop in fixed_blocks(n, features):
            block = data[start:stop].astype(np.float64)
            _check_finite(block, start, n)
            block -= origin
            varies |= (block != 0).any(axis=0)
            mean = block.mean(axis=0)
            block -= mean
            delta = mean - shift
            squares += np.einsum("ij,ij->j", block, block) + delta * delta * (start * (stop - start) / stop)
            shift += delta * ((stop - start) / stop)
    variance = np.where(varies, squares / n, 0.0)
    if not np.isfinite(variance).all():
        raise InputError("the activations are too large: their squares leave float64", "divide them by a constant")
    if (varies & (variance < _TINIEST)).any():
        raise InputError("the activations vary too little: their squares leave float64", "multiply them by a constant")
    return Moments(n, origin, shift, variance)


def _check_finite(block: NDArray[np.float64], start: int, n: int) -> None:
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        raise InputError(
            f"activations must be finite, but row {start + int(np.argmin(finite))} of {n} holds NaN or infinity",
            "remove such samples, or look for an overflow where the activations were made",
        )
