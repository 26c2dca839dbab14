"""How far a picture of a layer can be trusted: what it makes neighbours, and which neighbours it keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred
from rra_cli.metrics.estimate import standard_error
from rra_cli.metrics.neighborhood_overlap import neighborhood_overlap
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph

# Samples whose neighbours in the picture are looked up in the layer; of more, so many are drawn.
QUERIES = 1000
_ROWS = 256


@dataclass(frozen=True)
class Quality:
    """trustworthiness: in [0, 1], 1 where the picture makes no one a neighbour who is none in the layer; about 0.5 at
    random. preservation: the fraction of the layer's k neighbours that are among the picture's k; chance: that of a
    picture drawn at random. Errors are sd / sqrt(samples), as if samples were independent. k: neighbours looked at."""

    trustworthiness: float
    trustworthiness_error: float
    preservation: float
    preservation_error: float
    chance: float
    k: int


def quality(
    graph: NeighborGraph,
    layer: Centred,
    picture: NDArray[np.float64],
    *,
    queries: int = QUERIES,
    seed: int = 0,
    progress: Progress = silent,
) -> Quality:
    """The picture `(n, 2)` of a layer against its own graph and distances; rows of NaN were not placed: left out.

    Trustworthiness T(k) = 1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j max(0, r(i, j) - k) over the picture's k neighbours j
    of i, r the rank in the layer (Venna, Kaski 2001); exact for up to `queries` samples, else the mean over as many
    drawn by the seed. Preservation is the neighbourhood overlap of the two graphs, of all samples. k is the graph's, or
    (n - 1) // 2 where that is less (T is not defined beyond); placed samples must have placed neighbours.
    """
    placed = np.flatnonzero(np.isfinite(picture).all(axis=1))
    n = len(placed)
    k = min(graph.k, (n - 1) // 2)
    if k < 1:
        nan = float("nan")
        return Quality(nan, nan, nan, nan, nan, 0)
    number = np.full(len(graph), -1)
    number[placed] = np.arange(n)
    ids = number[np.asarray(graph.indices[placed, :k])].astype(np.int64)
    own = NeighborGraph(ids, np.asarray(graph.distances[placed, :k], np.float64), graph.recall, n)
    shown = exact_neighbors(picture[placed], k)
    kept = neighborhood_overlap(own, shown)
    asked = np.arange(n) if n <= queries else np.sort(np.random.RandomState(seed).permutation(n)[:queries])
    far = np.empty(len(asked))
    for start in range(0, len(asked), _ROWS):
        progress(start, len(asked), "quality of the picture")
        some = asked[start : start + _ROWS]
        ranks = _ranks(layer, placed, some, shown.indices[some])
        far[start : start + len(some)] = np.maximum(0, ranks - k).sum(axis=1)
    by_query = 1.0 - far * 2.0 / (k * (2.0 * n - 3.0 * k - 1.0))
    return Quality(
        trustworthiness=float(by_query.mean()),
        trustworthiness_error=standard_error(by_query),
        preservation=kept.value,
        preservation_error=kept.std_error,
        chance=kept.chance,
        k=k,
    )


def _ranks(
    layer: Centred, placed: NDArray[np.int64], some: NDArray[np.int64], targets: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Of samples `placed[some]` the rank of the targets among all that are placed, 1 for the nearest, `(m, k)`."""
    first = np.stack([layer.rows(slice(at, at + 1))[0] for at in placed[some].tolist()])
    squares = np.empty((len(some), layer.n))
    for rows in layer.blocks():
        squares[:, rows] = layer.lengths[rows] - 2.0 * first @ layer.rows(rows).T
    squares = squares[:, placed]
    squares[np.arange(len(some)), some] = -np.inf  # a sample is the nearest of itself: rank 0
    order = np.argsort(squares, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(placed))[None], axis=1)
    return np.take_along_axis(ranks, np.asarray(targets, np.int64), axis=1)
