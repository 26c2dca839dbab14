"""Whitening: the axes in which a set of samples is uncorrelated and has variance 1.

Euclidean distances after it are Mahalanobis distances, the same for any invertible linear map of the features. Features
are standardised first, so that a direction is left out for depending on others and never for its unit: the eigenvectors
are those of the correlation matrix (PCA-cor whitening of Kessy, Lewin & Strimmer 2018, The American Statistician 72:4).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.resources import format_bytes
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.transforms.moments import Moments, fixed_blocks

# The eigenvalue problem's side: minutes on one core and 2.1 GB; beyond it neither is what a person expects.
MOST = 8192
_COLUMNS = 1024
_LIMITED = threading.RLock()


class DegenerateError(InputError):
    """Samples that are all equally far from each other, or all equal, after the transform: no neighbourhoods exist."""


def check_size(n: int, features: int) -> None:
    """Raises `InputError` where neither the features nor the samples are few enough for an eigen decomposition."""
    if min(n, features) > MOST:
        raise InputError(
            f"whitening {n:,} samples of {features:,} features needs one of the two to be at most {MOST:,}",
            f"capture the layer with activations.reduce={MOST // 2}, pool it, or use neighbors.preprocess=zscore",
        )


def whitening_axes(data: NDArray[Any], moments: Moments, memory: int) -> NDArray[np.float64]:
    """Columns that map standardised rows to whitened ones, `(features, directions)`, largest variance first.

    By the correlation matrix, or the Gram matrix where there are fewer samples than features. Directions with less
    than 1e-6 of the largest standard deviation (float16: 4e-3, four of its rounding errors) are left out: they follow
    from the others up to rounding. BLAS and LAPACK run on one thread, so that the number of threads changes no bit.

    Raises `InputError` where it is too large for `memory` bytes or for an eigen decomposition at all, and
    `DegenerateError` where all samples are equal or have n - 1 directions: whitened, all are then equally far apart.
    """
    n, features = data.shape
    check_size(n, features)
    side = min(n, features)
    needed = 32 * side * side + (8 * side * features if n < features else 0)
    if needed > memory:
        raise InputError(
            f"whitening {n:,} samples of {features:,} features takes {format_bytes(needed)} of memory, "
            f"{format_bytes(memory)} are allowed",
            "raise the memory limit, capture the layer with activations.reduce, or use neighbors.preprocess=zscore",
        )
    rounding = np.finfo(data.dtype).eps if data.dtype.kind == "f" else 0.0
    tolerance = max(1e-6, 4.0 * float(rounding))
    with single_threaded_blas():
        matrix = _correlations(data, moments) if features <= n else _gram(data, moments)
        variances, vectors = np.linalg.eigh(matrix)
        kept = variances > tolerance**2 * variances[-1]
        variances, vectors = variances[kept][::-1], vectors[:, kept][:, ::-1]
        if len(variances) == 0:
            raise DegenerateError("whitening needs samples that differ, and all of them are equal")
        if len(variances) >= n - 1:
            raise DegenerateError(
                f"after whitening, {n} samples with {n - 1} independent directions are all equally far from each other",
                "measure more samples than the layer has features, or use neighbors.preprocess=zscore",
            )
        if features <= n:
            return vectors / np.sqrt(variances)
        axes = np.zeros((features, len(variances)))
        for start, stop in fixed_blocks(n, features):
            axes += moments.standardised(data[start:stop]).T @ vectors[start:stop]
        return axes / (np.sqrt(n) * variances)


def _correlations(data: NDArray[Any], moments: Moments) -> NDArray[np.float64]:
    n, features = data.shape
    total = np.zeros((features, features))
    for start, stop in fixed_blocks(n, features):
        rows = moments.standardised(data[start:stop])
        total += rows.T @ rows
    return total / n


def _gram(data: NDArray[Any], moments: Moments) -> NDArray[np.float64]:
    """Inner products of the standardised samples over n, `(n, n)`: the same eigenvalues, without the zeros."""
    n, features = data.shape
    total = np.zeros((n, n))
    for start in range(0, features, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        columns = Moments(n, moments.origin[part], moments.shift[part], moments.variance[part])
        rows = columns.standardised(data[:, part])
        total += rows @ rows.T
    return total / n


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """numpy's matrix products and decompositions on one thread. The limit is the process's: one at a time sets it."""
    from threadpoolctl import threadpool_limits

    with _LIMITED, threadpool_limits(1, user_api="blas"):
        yield
