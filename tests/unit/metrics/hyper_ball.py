"""Points of known intrinsic dimension, and graphs of a brute force that shares no code with the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from rra_cli.neighbors import NeighborGraph


def hyper_ball(n: int, d: int, seed: int) -> NDArray[np.float64]:
    """Uniform in the unit ball, as scikit-dimension's generator of this name draws them."""
    x = np.random.RandomState(seed).normal(size=(n, d))
    q = (x**2).sum(axis=1, keepdims=True)
    return x * gammainc(d / 2, q / 2) ** (1 / d) / np.sqrt(q)


def graph_of(x: NDArray[np.float64], k: int) -> NeighborGraph:
    """The graph of x by comparing every pair."""
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return NeighborGraph(order, np.take_along_axis(distances, order, 1), 1.0, len(x))


def graph_of_distances(r1: NDArray[np.float64], r2: NDArray[np.float64]) -> NeighborGraph:
    """A graph with these distances to the two nearest; who they are does not matter."""
    n = len(r1)
    ids = (np.arange(n)[:, None] + [1, 2]) % n
    return NeighborGraph(ids, np.stack([r1, r2], axis=1).astype(float), 1.0, n)


def random_graph(n: int, k: int, seed: int) -> NeighborGraph:
    """Neighbours drawn without looking at anything, self excluded."""
    order = np.argsort(np.random.default_rng(seed).random((n, n - 1)), axis=1)[:, :k]
    ids = order + (order >= np.arange(n)[:, None])
    return NeighborGraph(ids, np.ones((n, k)), 1.0, n)
