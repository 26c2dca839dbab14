"""Sums over a layer's linear kernel that the permutation moments of HSIC and CKA are made of, without the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from math import frexp, ldexp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred, forget, slices
from rra_cli.metrics.sample_tiles import TILE, products, upper

# Bytes of the smaller of the two products of a layer, above which it lies in a file.
IN_MEMORY = 8 * 6144**2
_COLUMNS = 2048  # features that meet as many others at a time


@dataclass(frozen=True)
class KernelSums:
    """Of a symmetric matrix A of n samples whose rows, and whose diagonal, sum to 0; u is its diagonal.

    trace: of the kernel K = X X' of the centred samples, from which A was made. squares: sum of A_ij^2. own_squares,
    own_cubes: of u_i^2 and u_i^3. weighted: of u_i A_ij^2. crossed: u' A u. cubes: of A_ij^3. cyclic: tr A^3.
    """

    n: int
    trace: float
    squares: float
    own_squares: float
    own_cubes: float
    weighted: float
    crossed: float
    cubes: float
    cyclic: float

    @property
    def kernel_squares(self) -> float:
        """The sum of K_ij^2, where A is K - (trace / (n - 1)) H."""
        return self.squares + self.trace**2 / (self.n - 1)

    def scaled(self) -> tuple[KernelSums, int]:
        """Those of A / 2^e, whose trace is about 1, so that products of sums do not leave the range of numbers; e."""
        e = frexp(self.trace)[1]
        scaled = replace(
            self,
            trace=ldexp(self.trace, -e),
            squares=ldexp(self.squares, -2 * e),
            own_squares=ldexp(self.own_squares, -2 * e),
            own_cubes=ldexp(self.own_cubes, -3 * e),
            weighted=ldexp(self.weighted, -3 * e),
            crossed=ldexp(self.crossed, -3 * e),
            cubes=ldexp(self.cubes, -3 * e),
            cyclic=ldexp(self.cyclic, -3 * e),
        )
        return scaled, e


def kernel_sums(layer: Centred, *, path: Path | None = None, progress: Progress = silent) -> KernelSums:
    """Of A = K - (tr K / (n - 1)) H, H = 1 - 11' / n: what of a centred linear kernel permutations can change.

    n^2 d operations for the tiles of the kernel, each once, and min(n, d)^3 / 3 for tr A^3. Beside blocks of fixed size
    it takes 8 min(n, d)^2 bytes: in memory up to 302 MB, beyond that in the file `path` (None: in memory).
    """
    n, trace = layer.n, layer.total
    mean = trace / (n - 1)
    own = layer.lengths - mean * (n - 1) / n
    by_row, crossed, cubes = np.zeros(n), np.zeros(n), 0.0
    with _matrix(min(n, layer.d), path) as small:
        pairs = list(upper(n))
        for done, (rows, columns) in enumerate(pairs):
            progress(done, len(pairs), "kernel")
            tile = products(layer, rows, columns) + mean / n
            if rows == columns:
                np.fill_diagonal(tile, own[rows])
            if layer.d > n:
                small[rows, columns] = tile
                small[columns, rows] = tile.T
            squares = tile * tile
            by_row[rows] += squares.sum(axis=1)
            crossed[rows] += tile @ own[columns]
            weight = 1.0
            if rows != columns:
                by_row[columns] += squares.sum(axis=0)
                crossed[columns] += tile.T @ own[rows]
                weight = 2.0
            cubes += weight * float(np.vdot(squares, tile))
        if layer.d <= n:
            _covariance(layer, mean, small)
        # Of features: the eigenvalues of A are those of their products, less the mean, and -mean for all others.
        rest = 0.0 if layer.d > n else -(n - 1 - layer.d) * mean**3
        cyclic = trace_of_cube(small) + rest
    progress(1, 1, "")
    return KernelSums(
        n=n,
        trace=trace,
        squares=float(by_row.sum()),
        own_squares=float(own @ own),
        own_cubes=float((own**3).sum()),
        weighted=float(own @ by_row),
        crossed=float(own @ crossed),
        cubes=cubes,
        cyclic=cyclic,
    )


def u_centred(sums: KernelSums) -> KernelSums:
    """Those of the U-centred kernel, whose products are the unbiased HSIC; sums: of `kernel_sums`.

    It has a zero diagonal and rows that sum to 0 (Szekely, Rizzo 2014, "Partial distance correlation with methods for
    dissimilarities"). Made of A, it is A_ij + (u_i + u_j) / (n - 2) off the diagonal; its sums follow by
    expanding that.
    """
    n, s = sums.n, sums
    a, b = 1.0 / (n - 2), n / (n - 2)
    cubes = s.cubes + 6 * a * s.weighted + 6 * a**2 * s.crossed + (2 * n * a**3 - b**3) * s.own_cubes
    cyclic = (
        s.cyclic
        + 3 * a**2 * n * s.crossed
        - 3 * b * (s.weighted + 2 * a * s.crossed + a**2 * n * s.own_cubes)
        + 2 * b**3 * s.own_cubes
    )
    squares = s.squares + (2 * n * a**2 - b**2) * s.own_squares
    return KernelSums(n, s.trace, squares, 0.0, 0.0, 0.0, 0.0, cubes, cyclic)


def trace_of_cube(matrix: NDArray[np.float64]) -> float:
    """tr S^3 of a symmetric matrix, in blocks; those of the same three sides in any order are alike."""
    found = 0.0
    for one, two, three in combinations_with_replacement(list(slices(len(matrix), TILE)), 3):
        times = {1: 1.0, 2: 3.0, 3: 6.0}[len({one.start, two.start, three.start})]
        found += times * float(np.vdot(matrix[one, two] @ matrix[two, three], matrix[one, three]))
    return found


def _covariance(layer: Centred, mean: float, out: NDArray[np.float64]) -> None:
    """X'X less `mean` on the diagonal."""
    out[:] = 0.0
    for first, second in combinations_with_replacement(list(slices(layer.d, _COLUMNS)), 2):
        product = np.zeros((first.stop - first.start, second.stop - second.start))
        for rows in slices(layer.n, 8 * TILE):
            left = layer.columns(first, rows)
            product += left.T @ (left if first == second else layer.columns(second, rows))
        out[first, second], out[second, first] = product, product.T
    out[np.diag_indices(layer.d)] -= mean


@contextmanager
def _matrix(size: int, path: Path | None) -> Iterator[NDArray[np.float64]]:
    """A square matrix, in memory or in a file that is removed afterwards."""
    if path is None or 8 * size**2 <= IN_MEMORY:
        yield np.empty((size, size))
        return
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(size, size))
    try:
        yield matrix
    finally:
        forget(matrix)
        path.unlink(missing_ok=True)
