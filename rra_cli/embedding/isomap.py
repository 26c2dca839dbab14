"""ISOMAP from a stored neighbour graph: distances along the graph from landmarks alone, then a plane that keeps them.

de Silva, Tenenbaum 2003, "Global versus local methods in nonlinear dimensionality reduction", sec. 3 (landmark ISOMAP);
Tenenbaum, de Silva, Langford 2000 where every sample is a landmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.graph import NeighborGraph

_AT_A_TIME = 32  # landmarks between two reports


@dataclass(frozen=True, eq=False)
class Isomap:
    """coordinates: `(n, 2)`, NaN for samples outside of the largest component of the graph. components: how many there
    are. landmarks: ids of those used, ascending. share: of the landmarks' squared distances along the graph, centred,
    that each axis holds (of the positive eigenvalues), `(2,)`."""

    coordinates: NDArray[np.float64]
    components: int
    landmarks: NDArray[np.int64]
    share: NDArray[np.float64]


def isomap(graph: NeighborGraph, *, landmarks: int | None = None, seed: int = 0, progress: Progress = silent) -> Isomap:
    """Two dimensions that keep distances along the neighbour graph, `N x landmarks` numbers of memory.

    graph: of a set against itself; an edge where one of two samples lists the other, as long as they are apart.
    landmarks: drawn at random by the seed; None, or as many as there are samples, is ISOMAP itself. A graph may fall
    into components, between which there is no distance: the largest is placed, the others are not (NaN), and nothing is
    bridged. Signs: the largest coordinate of an axis is positive.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components, dijkstra

    n, k = graph.indices.shape
    lists = (np.asarray(graph.distances).ravel(), np.asarray(graph.indices).ravel(), np.arange(n + 1) * k)
    edges = csr_array(lists, shape=(n, n))
    count, component = connected_components(edges, directed=False)
    inside = np.flatnonzero(component == np.bincount(component).argmax())
    wanted = len(inside) if landmarks is None else min(landmarks, len(inside))
    chosen = np.sort(np.random.RandomState(seed).permutation(inside)[:wanted])
    along = np.empty((wanted, len(inside)))
    for start in range(0, wanted, _AT_A_TIME):
        progress(start, wanted, "distances along the graph")
        some = chosen[start : start + _AT_A_TIME]
        along[start : start + len(some)] = dijkstra(edges, directed=False, indices=some)[:, inside]
    placed, share = _triangulated(along, np.searchsorted(inside, chosen))
    coordinates = np.full((n, 2), np.nan)
    coordinates[inside] = placed
    return Isomap(coordinates, int(count), chosen.astype(np.int64), share)


def _triangulated(along: NDArray[np.float64], at: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Classical scaling of the landmarks, and every sample by its distances to them (de Silva, Tenenbaum, sec. 3.1).

    along: `(landmarks, m)` distances; overwritten. at: columns of the landmarks.
    """
    np.square(along, out=along)
    squares = along[:, at]
    squares = (squares + squares.T) / 2.0  # both ways round are sums of the same edges in another order
    mean = squares.mean(axis=1)
    values, vectors = np.linalg.eigh(-0.5 * (squares - mean[:, None] - mean[None] + mean.mean()))
    positive = float(values[values > 0].sum())
    placed, share = np.zeros((along.shape[1], 2)), np.zeros(2)
    along -= mean[:, None]
    for axis in range(min(2, len(values))):
        value, vector = values[-1 - axis], vectors[:, -1 - axis]
        if value > 1e-12 * values[-1] > 0:
            placed[:, axis] = -0.5 * (vector @ along) / np.sqrt(value)
            share[axis] = value / positive
    # Not centred on the landmarks alone: a picture has its samples' mean at 0.
    placed -= placed.mean(axis=0)
    placed *= np.where(placed[np.abs(placed).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    return placed, share
