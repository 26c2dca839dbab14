"""The activations of a layer around their mean, in float64 and in blocks, whatever they are stored as."""

from __future__ import annotations

import mmap as mmap_module
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.graph import InputError

_DROP = getattr(mmap_module, "MADV_DONTNEED", None)  # Linux has it
# Numbers of a block that is read and widened to float64 at a time (64 MB).
BLOCK = 1 << 23
# A standard deviation smaller than this, relative to the values' size, is what rounding leaves of equal samples.
ROUNDING = 1e-13
# Sums of squares between which no layer of float32 numbers is missing.
_SMALLEST, _LARGEST = 1e-91, 1e90


@dataclass(frozen=True, eq=False)
class Centred:
    """Rows x `(n, d)` minus their mean; read in blocks, never copied as a whole.

    Sums are in float64 and blocks depend on the shape alone, not on the memory that is free. The last bits of products
    are those of the linear algebra library and its threads.
    """

    x: NDArray[np.floating]

    @property
    def n(self) -> int:
        """Samples."""
        return int(self.x.shape[0])

    @property
    def d(self) -> int:
        """Features."""
        return int(self.x.shape[1])

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """`(d,)`."""
        total = np.zeros(self.d)
        for rows in self.blocks():
            total += self.x[rows].astype(np.float64).sum(axis=0)
            forget(self.x)
        return total / self.n

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """`(n,)` squared distance of every sample from the mean."""
        found = np.empty(self.n)
        for rows in self.blocks():
            block = self.rows(rows)
            found[rows] = np.einsum("ij,ij->i", block, block)
        return found

    @property
    def total(self) -> float:
        """The sum of all squared deviations: n times the total variance."""
        return float(self.lengths.sum())

    @cached_property
    def beyond(self) -> str:
        """That values are so large or small, as only float64 holds them, that their sixth powers are no numbers."""
        with np.errstate(over="ignore"):
            size = float(self.n * (self.mean @ self.mean)) + self.total
        if _SMALLEST < size < _LARGEST or not self.mean.any():
            return ""
        return f"values of about {np.abs(self.mean).max():.0e} are beyond the range of float32; scale the layer"

    @cached_property
    def collapsed(self) -> str:
        """Why nothing can be said of the layer: its samples are one point, or it is `beyond`; "" otherwise."""
        if self.beyond:
            return self.beyond
        size = float(self.n * (self.mean @ self.mean)) + self.total
        return f"all {self.n} samples coincide (a collapsed layer)" if self.total <= ROUNDING**2 * size else ""

    def blocks(self) -> Iterator[slice]:
        """Consecutive rows."""
        return slices(self.n, max(1, BLOCK // self.d))

    def column_blocks(self) -> Iterator[slice]:
        """Consecutive features."""
        return slices(self.d, max(1, BLOCK // self.n))

    def rows(self, which: slice) -> NDArray[np.float64]:
        """Some rows, `(m, d)`."""
        mean = self.mean
        block = self.x[which].astype(np.float64)
        forget(self.x)
        block -= mean
        return block

    def columns(self, which: slice, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Some features of all rows or some of them."""
        mean = self.mean[which]
        block = self.x[rows, which].astype(np.float64)
        forget(self.x)
        block -= mean
        return block

    def times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """The product with a matrix `(d, m)`."""
        return np.concatenate([self.rows(rows) @ right for rows in self.blocks()])

    def transposed_times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """The product of the transpose with a matrix `(n, m)`."""
        found = np.zeros((self.d, right.shape[1]))
        for rows in self.blocks():
            found += self.rows(rows).T @ right[rows]
        return found

    def smaller_product(self) -> NDArray[np.float64]:
        """The smaller of the two products with its transpose: `(d, d)` where d <= n, else `(n, n)`."""
        size = min(self.n, self.d)
        product = np.zeros((size, size))
        if self.d <= self.n:
            for rows in self.blocks():
                block = self.rows(rows)
                product += block.T @ block
        else:
            for columns in self.column_blocks():
                block = self.columns(columns)
                product += block @ block.T
        return product


def forget(array: NDArray[np.floating]) -> None:
    """Takes what was read of a mapped file out of this process's memory; the system keeps or drops it as it likes.

    Otherwise all layers that are read side by side count as its memory in the end. Does nothing for other arrays, and
    for a private copy of a file, whose changes would be lost.
    """
    at: Any = array
    while at is not None and not isinstance(at, mmap):
        if isinstance(at, np.memmap) and at.mode == "c":
            return
        at = getattr(at, "base", None)
    if at is not None and _DROP is not None:
        at.madvise(_DROP)


def slices(n: int, step: int) -> Iterator[slice]:
    """0..n in consecutive steps."""
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def centred(layers: Sequence[NDArray[np.floating]]) -> list[Centred]:
    """Layers of the same samples. Raises `InputError` where they are not `(n, features)` of the same n."""
    shapes = [np.shape(layer) for layer in layers]
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise InputError(f"layers must be (n, features) of the same samples, got {', '.join(map(str, shapes))}")
    return [Centred(layer) for layer in layers]
