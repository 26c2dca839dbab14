"""Exact ranks across layers: where the neighbours that a sample has in one layer stand among all others in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.arguments import as_count, workspace
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.rows import Rows, as_matrix, groups_of_duplicates, scan

Neighbors = NeighborGraph | NDArray[np.integer]


def neighbor_ranks(
    neighbors: Neighbors,
    activations: ArrayLike,
    k: int = 1,
    *,
    memory: int | str | None = None,
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """The exact rank, in layer B, of the first k neighbours that every sample has in layer A: `(n, k)` int64.

    neighbors: the graph of layer A, or its ids `(n, >= k)`, of the same n samples in the same order. activations:
    layer B, `(n, features)`, as for `exact_neighbors`. memory: workspace, such as "4GB" (default: a quarter of what is
    free); never N x N. Runs on the CPU.

    Rank 1 is the nearest of all others, n - 1 the farthest; self is left out and ties go to the lower id, in the order
    of `exact_neighbors`: the rank is the place that the neighbour has in its graph of k = n - 1. Raises `InputError`
    for a graph of other samples, ids that are not those of another sample, a k beyond the listed neighbours, and
    activations that `exact_neighbors` refuses.
    """
    return cross_layer_ranks([neighbors], activations, k, memory=memory, progress=progress)[0]


def cross_layer_ranks(
    layers: Sequence[Neighbors],
    activations: ArrayLike,
    k: int = 1,
    *,
    memory: int | str | None = None,
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """`neighbor_ranks` of several layers A in one layer B, from one pass over B's distances: `(layers, n, k)` int64."""
    data = as_matrix(activations)
    n, k = len(data), as_count(k, "k")
    if isinstance(layers, NeighborGraph | np.ndarray) and getattr(layers, "ndim", 2) != 3:
        raise InputError("layers must be a list of graphs, got one graph", "give [graph], or use neighbor_ranks")
    if not len(layers):
        raise InputError("layers must name at least one graph, got none", "give [graph]")
    targets = np.stack([_targets(layer, n, k, f"layers[{at}]") for at, layer in enumerate(layers)])
    budget = workspace(memory)
    found = scan(data, budget)
    groups = groups_of_duplicates(data, found.hashes)
    rows = Rows(data, found.scale, found.mean * found.scale, None if groups is None else groups[0], found.unit)
    group = np.arange(n) if groups is None else groups[1]
    # Compiled code is loaded by whoever searches.
    from rra_cli.neighbors.tiles.rank_pass import ranks_of

    own = np.broadcast_to(np.arange(n)[None, :, None], targets.shape)
    ranks = ranks_of(rows, group, own.reshape(-1), targets.reshape(-1), budget, progress)
    return ranks.reshape(targets.shape)


def information_imbalance(ranks: NDArray[np.integer], n: int) -> tuple[float, float]:
    """Information imbalance Delta(A -> B) of the ranks that `neighbor_ranks` gives, and its standard error.

    ranks: `(m, k)`, in B, of the k nearest neighbours in A of m of the n samples. Delta = (2 / n) mean rank: 2 / n
    where B has the same nearest neighbours (k = 1), 1 where A says nothing about B. It is not symmetric: A predicts B
    where Delta(A -> B) is near 0. The standard error takes the m samples for independent and is NaN for m = 1. Raises
    `InputError` for ranks outside of 1..n - 1.

    Glielmo, Zeni, Cheng, Csanyi, Laio, Ranking the information content of distance measures, PNAS Nexus 1 (2022),
    eq. 3, with k = 1; k > 1 as in DADApy: the mean over all k neighbours.
    """
    ranks, n = np.asarray(ranks), as_count(n, "n")
    if ranks.ndim != 2 or 0 in ranks.shape or ranks.dtype.kind not in "iu":
        raise InputError(f"ranks must be whole numbers (samples, k), got shape {ranks.shape} of {ranks.dtype}")
    if not 1 <= int(ranks.min()) <= int(ranks.max()) < n:
        raise InputError(f"ranks among {n} samples lie in 1..{n - 1}, got {int(ranks.min())}..{int(ranks.max())}")
    of_samples = ranks.mean(axis=1)
    m = len(of_samples)
    error = float(of_samples.std(ddof=1) / np.sqrt(m)) if m > 1 else float("nan")
    return 2.0 / n * float(of_samples.mean()), 2.0 / n * error


def _targets(layer: Neighbors, n: int, k: int, what: str) -> NDArray[np.int64]:
    """The first k ids of every sample, `(n, k)`, checked."""
    if isinstance(layer, NeighborGraph) and not layer.self_excluded:
        raise InputError(f"{what} must be a graph of a set against itself, not against a reference")
    ids: NDArray[Any] = np.asarray(layer.indices if isinstance(layer, NeighborGraph) else layer)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise InputError(f"{what} must be a graph or ids (n, k), got shape {ids.shape} of {ids.dtype}")
    if len(ids) != n:
        raise InputError(
            f"{what} has {len(ids)} samples, but the activations have {n}", "both layers need the same samples"
        )
    if ids.shape[1] < k:
        raise InputError(f"k is {k}, but {what} lists {ids.shape[1]} neighbours", "search that layer with a larger k")
    ids = ids[:, :k].astype(np.int64)
    if ids.min() < 0 or ids.max() >= n:
        raise InputError(f"{what} must hold ids in 0..{n - 1}, got {int(ids.min())}..{int(ids.max())}")
    selves = np.flatnonzero((ids == np.arange(n)[:, None]).any(axis=1))
    if len(selves):
        raise InputError(f"{what} lists sample {selves[0]} as its own neighbour", "leave self out, by its id")
    return ids
