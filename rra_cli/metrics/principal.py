"""The principal directions of a layer in sample space: exact where its smaller side allows it, else randomised.

Randomised: blocked QB factorisation with power iterations (Yu, Gu, Li 2018, "Efficient randomized algorithms for the
fixed-precision low-rank matrix approximation", algorithm 2). It grows until the variance that it does not hold, which
is known exactly (|X|^2 - |Q^T X|^2), is small enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred, forget, slices

# The smaller of samples and features up to which the product is decomposed (6144: 1.6 GB of workspace, a minute or
# two); and how many directions a randomised basis may have.
LARGEST = 6144
# Directions that a randomised basis grows by, and power iterations for each of them.
STEP, POWERS = 512, 1
_ROWS = 1024  # of a basis that are written at a time


@dataclass(frozen=True, eq=False)
class Principal:
    """Orthonormal principal directions of sample space, of a layer of n samples.

    q: `(n, r)`, the largest first. spectrum: `(r,)` variances along them (sums of squares), descending. held: the
    fraction of all variance that they hold. exact: whether they are those of the covariance, or of a randomised basis
    that holds as much but may need a few more of them. full: they span all that n centred samples can.
    """

    q: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    held: float
    exact: bool

    @property
    def rank(self) -> int:
        """How many there are."""
        return int(self.q.shape[1])

    @property
    def full(self) -> bool:
        """Whether any centred vector of sample space lies in their span."""
        return self.rank >= len(self.q) - 1


class TooLargeError(Exception):
    """A basis of that many directions is not made; says why."""


def principal(
    layer: Centred,
    *,
    share: float = 1.0,
    of_singular_values: bool = False,
    tolerance: float = 1e-5,
    seed: int = 0,
    path: Path | None = None,
    progress: Progress = silent,
) -> Principal:
    """The fewest leading directions that hold `share` of the variance; the layer's samples must not coincide.

    of_singular_values: `share` is one of the sum of singular values instead. tolerance: directions whose singular value
    is at most this times the largest are rounding and never counted. seed: of a randomised basis. path: file that holds
    `q` instead of memory. Raises `TooLargeError` where min(n, d) is above 6144 and what is asked for needs all of the
    spectrum, or more than 6144 directions.
    """
    if min(layer.n, layer.d) <= LARGEST:
        return _exact(layer, share, of_singular_values, tolerance, path)
    if of_singular_values or share >= 1.0:
        raise TooLargeError(
            f"{layer.n} samples of {layer.d} features: all directions are needed, and the smaller of the two may be "
            f"{LARGEST} at most (fewer samples, or activations.reduce={LARGEST})"
        )
    return _randomised(layer, share, tolerance, seed, path, progress)


def kept(spectrum: NDArray[np.float64], total: float, share: float, tolerance: float, *, of_roots: bool = False) -> int:
    """How many of the descending variances hold `share` of their total (of_roots: of their roots'), at least one.

    Never those of a root up to tolerance times the largest; with share = 1 all others, however little they hold. total:
    of all of them, also of those that are not given.
    """
    sizable = max(1, int(np.count_nonzero(spectrum > tolerance**2 * spectrum[0])))
    if share >= 1.0:
        return sizable
    sizes = np.sqrt(spectrum) if of_roots else spectrum
    whole = float(sizes.sum()) if of_roots else total
    reached = np.cumsum(sizes) >= share * whole * (1.0 - 1e-12)
    enough = int(np.argmax(reached)) + 1 if reached.any() else len(spectrum)
    return min(enough, sizable)


def _exact(layer: Centred, share: float, of_roots: bool, tolerance: float, path: Path | None) -> Principal:
    values, vectors = np.linalg.eigh(layer.smaller_product())
    spectrum = np.maximum(values[::-1], 0.0)
    count = kept(spectrum, layer.total, share, tolerance, of_roots=of_roots)
    vectors = np.ascontiguousarray(vectors[:, ::-1][:, :count])
    q = _array((layer.n, count), path)
    if layer.d > layer.n:
        q[:] = vectors
    else:
        vectors /= np.sqrt(spectrum[:count])
        product = np.zeros((count, count))
        for rows in layer.blocks():
            q[rows] = layer.rows(rows) @ vectors
            product += q[rows].T @ q[rows]
        # Directions of little variance lost digits when the product was decomposed: once more, by Cholesky.
        right = np.linalg.inv(np.linalg.cholesky(product)).T
        for rows in layer.blocks():
            q[rows] = q[rows] @ right
    forget(q)
    held = min(1.0, float(spectrum[:count].sum()) / layer.total)
    return Principal(q, spectrum[:count], held, True)


def _randomised(
    layer: Centred, share: float, tolerance: float, seed: int, path: Path | None, progress: Progress
) -> Principal:
    random = np.random.RandomState(seed)  # its stream is frozen for good (NEP 19)
    basis, captured = list[NDArray[np.float64]](), 0.0  # in blocks of STEP directions
    while captured < share * layer.total:
        if (len(basis) + 1) * STEP > LARGEST:
            raise TooLargeError(
                f"{layer.n} samples of {layer.d} features: {len(basis) * STEP} directions hold "
                f"{captured / layer.total:.2%} of the variance, less than {share:.2%}, and more are not made"
            )
        progress(round(1e4 * captured / layer.total), round(1e4 * share), "basis")
        new = _apart(layer.times(random.normal(size=(layer.d, STEP))), basis)
        for _ in range(POWERS):
            new = _apart(layer.times(np.linalg.qr(layer.transposed_times(new))[0]), basis)
        captured += float(np.square(layer.transposed_times(new)).sum())
        basis.append(new)
    product = np.zeros((len(basis) * STEP,) * 2)
    for columns in layer.column_blocks():
        block = layer.columns(columns)
        part = np.concatenate([some.T @ block for some in basis])
        product += part @ part.T
    values, vectors = np.linalg.eigh(product)
    spectrum = np.maximum(values[::-1], 0.0)
    count = kept(spectrum, layer.total, share, tolerance)
    q = _array((layer.n, count), path)
    q[:] = 0.0
    leading = vectors[:, ::-1][:, :count]
    for place, some in enumerate(basis):
        for rows in slices(layer.n, _ROWS):
            q[rows] += some[rows] @ leading[place * STEP : (place + 1) * STEP]
    forget(q)
    return Principal(q, spectrum[:count], min(1.0, float(spectrum[:count].sum()) / layer.total), False)


def _apart(new: NDArray[np.float64], basis: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """An orthonormal basis of what the new columns add to the basis; projected out twice, for rounding."""
    for _ in range(2):
        for some in basis:
            new = new - some @ (some.T @ new)
        new = np.linalg.qr(new)[0]
    return new


def _array(shape: tuple[int, int], path: Path | None) -> NDArray[np.float64]:
    if path is None:
        return np.empty(shape)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape)
