"""Neighbours by comparing every pair: direct differences in float64, no expansion, ties by lower id."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors import NeighborGraph


def brute_force(
    x: NDArray[Any], k: int, reference: NDArray[Any] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids and distances `(n, k)`; without a reference every row is compared with all others."""
    y = np.asarray(x if reference is None else reference).astype(np.float64)
    distances = np.array([np.sqrt(((y - row) ** 2).sum(axis=1)) for row in np.asarray(x).astype(np.float64)])
    if reference is None:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


def assert_exact(
    graph: NeighborGraph, x: NDArray[Any], k: int, reference: NDArray[Any] | None = None, scale: float = 1.0
) -> None:
    """The graph equals a brute force over `x * scale`, whose distances are `scale` times the graph's."""
    ids, distances = brute_force(x * scale, k, None if reference is None else reference * scale)
    assert np.array_equal(graph.indices, ids)
    assert np.allclose(graph.distances * scale, distances, rtol=1e-9, atol=0)
    assert graph.recall == 1.0
    assert graph.engine == "exact"
    assert graph.self_excluded == (reference is None)
    assert graph.n_reference == len(x if reference is None else reference)


def gaussian(n: int, d: int, seed: int = 0) -> NDArray[np.float64]:
    """Standard normal rows."""
    return np.random.default_rng(seed).normal(size=(n, d))
