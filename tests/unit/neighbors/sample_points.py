"""Correlated samples, and the neighbours by which two forms of them are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.exact import exact_neighbors

NAMES = ("none", "centre", "zscore", "l2", "whitening")
FITTED = NAMES[1:]


def points(n: int = 300, d: int = 12, dtype: str = "float64", seed: int = 0) -> NDArray:
    """Correlated features of different scales around different means."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * np.geomspace(0.1, 10, d) + rng.normal(size=d)
    return mixed.astype(dtype)


def nearest(x: NDArray, k: int = 10) -> NDArray:
    return exact_neighbors(x, k, device="cpu").indices
