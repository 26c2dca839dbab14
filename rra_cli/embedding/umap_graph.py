"""UMAP from a stored neighbour graph (McInnes, Healy, Melville 2018), by umap-learn, which is an extra of rra."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors.graph import NeighborGraph

EXTRA = "pip install 'rra[umap]'"


def library() -> Any:
    """umap-learn. Raises `UserError` where it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it tries to import beside
            import umap
    except ImportError as error:
        raise UserError(f"pictures.methods names umap, which needs umap-learn: {error}", EXTRA) from None
    return umap


def check_library() -> None:
    """Raises `UserError` where umap-learn is missing, without importing it, which takes seconds."""
    from importlib.util import find_spec

    if find_spec("umap") is None:
        raise UserError("pictures.methods names umap, which needs umap-learn, and that is not installed", EXTRA)


def umap_plane(
    graph: NeighborGraph, start: NDArray[np.float64], *, min_dist: float = 0.1, seed: int = 0
) -> NDArray[np.float64]:
    """The UMAP of all k neighbours of each sample, `(n, 2)` float64; the sample itself counts as one more, as there.

    start: `(n, 2)`, where the samples begin (the principal plane: Kobak, Linderman 2021, "Initialization is critical
    for preserving global data structure"); its size does not matter. Along an axis on which all begin at one place they
    begin at random: umap-learn divides by the spread of each. One thread and one seed: equal input gives equal
    coordinates on one machine. Raises `UserError` where umap-learn is missing.
    """
    n = len(graph)
    ids = np.concatenate([np.arange(n)[:, None], graph.indices], axis=1).astype(np.int64)
    distances = np.concatenate([np.zeros((n, 1)), graph.distances], axis=1).astype(np.float32)
    span = float(np.abs(start).max())
    start = (start / span if span > 0 else start).astype(np.float32)
    flat = np.ptp(start, axis=0) == 0
    start[:, flat] = np.random.RandomState(seed).uniform(-1.0, 1.0, (n, int(flat.sum())))
    made = library().UMAP(
        n_neighbors=graph.k + 1,
        n_components=2,
        min_dist=min_dist,
        init=start.copy(),
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(ids, distances),
        force_approximation_algorithm=True,  # otherwise distances of small data are computed from what it is given
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that new samples could not be placed; nobody places any
        found = made.fit_transform(start)
    return np.asarray(found, np.float64)
