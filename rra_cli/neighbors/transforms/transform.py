"""Fitted transforms of activations: rows in, rows out, by the statistics of the samples that they were fitted to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.rows import as_matrix
from rra_cli.neighbors.transforms.moments import Moments, fixed_blocks
from rra_cli.neighbors.transforms.whitening import single_threaded_blas


@dataclass(frozen=True, eq=False)
class Transform(ABC):
    """A fitted transform. n_features: of the rows it takes. dtype: of the rows it gives, float32 or float64.

    Arithmetic is in float64. The result is float32 where the fitted samples had at most 32-bit floats (16-bit
    integers), else float64.
    """

    n_features: int
    dtype: np.dtype[Any]

    @property
    def n_directions(self) -> int:
        """Features of the rows it gives."""
        return self.n_features

    @property
    def note(self) -> str:
        """What a person should know about this fit; "" where there is nothing."""
        return ""

    def apply(self, rows: ArrayLike) -> NDArray[Any]:
        """Rows `(n, n_features)` transformed, `(n, n_directions)`; a block of samples, or all of them.

        Raises `InputError` for anything but a real 2-D array of `n_features` columns.
        """
        block = as_matrix(rows, "rows")
        if block.shape[1] != self.n_features:
            raise InputError(f"the transform was fitted to {self.n_features} features, the rows have {block.shape[1]}")
        return self._apply(block).astype(self.dtype, copy=False)

    @abstractmethod
    def _apply(self, block: NDArray[Any]) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Unchanged(Transform):
    """The rows as they are, in their own type."""

    def apply(self, rows: ArrayLike) -> NDArray[Any]:
        return as_matrix(rows, "rows")

    def _apply(self, block: NDArray[Any]) -> NDArray[Any]:
        return block


@dataclass(frozen=True, eq=False)
class Centre(Transform):
    """Minus the mean of every feature. Distances stay what they are, up to rounding."""

    moments: Moments

    def _apply(self, block: NDArray[Any]) -> NDArray[Any]:
        return self.moments.centred(block)


@dataclass(frozen=True, eq=False)
class ZScore(Transform):
    """Minus the mean, over the standard deviation (divisor n) of every feature; constant features become 0."""

    moments: Moments

    @property
    def note(self) -> str:
        constant = int(self.moments.constant.sum())
        return f"{constant} of {self.n_features} features are constant and become 0" if constant else ""

    def _apply(self, block: NDArray[Any]) -> NDArray[Any]:
        return self.moments.standardised(block)


@dataclass(frozen=True, eq=False)
class UnitNorm(Transform):
    """Every row divided by its Euclidean norm; rows of zeros stay zeros. Nothing is fitted.

    The squared distance of two unit rows is 2 - 2 cos, so their neighbours are those by cosine similarity. A row of
    zeros has no direction: it is at distance 1 from all others, as they are from each other at an angle of 60 degrees.
    """

    def _apply(self, block: NDArray[Any]) -> NDArray[Any]:
        return unit_rows(block.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Whitening(Transform):
    """Uncorrelated directions of variance 1; see `whitening.py`."""

    moments: Moments
    axes: NDArray[np.float64]

    @property
    def n_directions(self) -> int:
        return int(self.axes.shape[1])

    @property
    def note(self) -> str:
        few = self.n_directions < self.n_features
        return f"whitening keeps {self.n_directions} of {self.n_features} directions" if few else ""

    def _apply(self, block: NDArray[Any]) -> NDArray[Any]:
        whitened = np.empty((len(block), self.n_directions), self.dtype)
        with single_threaded_blas():
            for start, stop in fixed_blocks(len(block), max(self.n_features, self.n_directions)):
                whitened[start:stop] = self.moments.standardised(block[start:stop]) @ self.axes
        return whitened


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows over their Euclidean norm, in place. By the largest value first: rows that are exact multiples of each other
    give the same bits, and no square leaves float64."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity becomes NaN, which the search refuses
        rows /= np.where(largest > 0, largest, 1.0)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    rows /= np.where(norms > 0, norms, 1.0)
    return rows
