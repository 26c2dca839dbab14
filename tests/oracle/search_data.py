"""Data sets that a neighbour search gets wrong when it is careless: for the property tests and the named hard cases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def gaussian(n: int, d: int, seed: int = 0) -> Array:
    """Standard normal rows."""
    return np.random.default_rng(seed).normal(size=(n, d))


def lattice(n: int, d: int, seed: int = 0, values: int = 3) -> Array:
    """Small whole numbers: nearly every distance ties, some rows are equal."""
    return np.random.default_rng(seed).integers(0, values, (n, d)).astype(float)


def copies(n: int, d: int, seed: int = 0, distinct: int | None = None) -> Array:
    """A third of the rows (or `distinct` of them) drawn again and again."""
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(distinct or max(1, n // 3), d))
    return pool[rng.integers(0, len(pool), n)]


def near_copies(n: int, d: int, seed: int = 0, relative: float = 1e-6, group: int = 12) -> Array:
    """Groups of rows at `relative` distance of each other: the order inside a group is far below float32 expansions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(-(-n // group), d))
    return (centres[np.arange(n) // group] + relative * rng.normal(size=(n, d)))[rng.permutation(n)]


def tight_clusters(n: int, d: int, seed: int = 0, width: float = 1e-4) -> Array:
    """Four tight clusters far apart, all larger than any list of candidates: no coarse pass can tell them apart."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, d))[rng.integers(0, 4, n)] + width * rng.normal(size=(n, d))


def nested_clusters(n: int, d: int, seed: int = 0) -> Array:
    """Clusters of clusters of clusters, of widths 1, 1e-3, 1e-6 and 1e-9."""
    rng = np.random.default_rng(seed)
    levels = [rng.normal(size=(3, d))[rng.integers(0, 3, n)] * width for width in (1, 1e-3, 1e-6)]
    return sum(levels) + 1e-9 * rng.normal(size=(n, d))


def low_dimensional(n: int, d: int, seed: int = 0) -> Array:
    """A curved surface of two dimensions embedded linearly in d features."""
    rng = np.random.default_rng(seed)
    u, v = rng.random((2, n, 1))
    roll = np.concatenate([u * np.cos(9 * u), u * np.sin(9 * u), v], axis=1)
    return roll @ rng.normal(size=(3, d)) / np.sqrt(d)


def heavy_tails(n: int, d: int, seed: int = 0) -> Array:
    """Cauchy: a few values are thousands of times larger than the rest."""
    return np.random.default_rng(seed).standard_cauchy(size=(n, d))


def unequal_norms(n: int, d: int, seed: int = 0) -> Array:
    """Norms of 1e-3 to 1e6: a scale per row differs by nine orders of magnitude."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-3, 6, size=(n, 1))


def one_feature_per_row(n: int, d: int, seed: int = 0) -> Array:
    """Every row has one feature 1e4 times the others, which a scale per row rounds away. Few such features, so that
    neighbours share theirs and are decided by the small ones."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x[np.arange(n), rng.integers(0, min(d, 3), n)] = 1e4
    return x


def dominating_column(n: int, d: int, seed: int = 0, size: float = 1e6) -> Array:
    """Rows that agree in a column of `size` or are as far apart as that; the other columns decide among those."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x[:, d // 2] = rng.integers(3, size=n) * size
    return x


def sparse(n: int, d: int, seed: int = 0) -> Array:
    """Like the output of a ReLU: nine of ten values are zero, and some whole rows."""
    return np.maximum(gaussian(n, d, seed) - 1.3, 0)


def hadamard(p: int) -> Array:
    """The 2^p rows of a Sylvester-Hadamard matrix: dense, and all equally far from each other."""
    h = np.ones((1, 1))
    for _ in range(p):
        h = np.block([[h, h], [h, -h]])
    return h


def pixels(n: int, d: int, seed: int = 0) -> Array:
    """Images of bytes, most of them background: whole numbers of 0..255."""
    rng = np.random.default_rng(seed)
    shapes = rng.integers(0, 256, (10, d)) * (rng.random((10, d)) < 0.2)
    return np.clip(shapes[rng.integers(0, 10, n)] + rng.integers(-9, 10, (n, d)) * (rng.random((n, d)) < 0.1), 0, 255)


def rounded_apart(n: int, d: int, seed: int = 0) -> Array:
    """Rounding to 127 steps a row is as wrong as it can be: rows that nearly agree round to opposite sides in every
    feature, others that are farther apart round to the same. Rows and their negatives, so that the mean is 0."""
    rng = np.random.default_rng(seed)
    half = -(-n // 2)
    steps = rng.integers(-60, 60, (max(1, half // 40), d))[rng.integers(0, max(1, half // 40), half)] + 0.5
    x = steps + rng.choice([-1.0, 1.0], (half, 1)) * 10 ** rng.uniform(-3, -0.4, (half, 1))
    x[:, 0] = 127
    return np.concatenate([x, -x])[:n]


RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        gaussian,
        lattice,
        copies,
        near_copies,
        tight_clusters,
        nested_clusters,
        low_dimensional,
        heavy_tails,
        unequal_norms,
        one_feature_per_row,
        dominating_column,
        sparse,
        pixels,
        rounded_apart,
    )
}


def cast(x: Array, dtype: Any) -> Array:
    """`x` in `dtype`, clipped to what it holds (whole numbers are rounded)."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits: Any = np.iinfo(kind)
        top = min(limits.max, 2**53)
        return np.clip(np.rint(x), max(limits.min, -(2**53)), top).astype(kind)
    if kind.kind == "f" and kind.itemsize == 2:
        return np.clip(x, -65504, 65504).astype(kind)
    return x.astype(kind)
