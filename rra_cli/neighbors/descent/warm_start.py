"""The graph of another layer as what nearest-neighbour descent starts from (RRA thesis, ch. 8.3.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.threads import over_rows

# Random ids that follow a given graph's own: they join parts of it that do not know of each other.
RANDOM_STARTS = 8


def initial_lists(copy: NDArray[np.float32], start: NeighborGraph, width: int, seed: int) -> dict[str, NDArray[Any]]:
    """What pynndescent starts from in place of its trees: `init_graph`, and `init_dist` in its inner metric.

    copy: `(n, d)`, as the index sees it; its inner metric is the squared distance. The library leaves places empty that
    it is given no id for, so that the lists must hold `width`, its n_neighbors; a random id that repeats another, or is
    the row itself, is passed over, hence some more.
    """
    from rra_cli.neighbors.descent.kernels import squared_float32

    n = len(copy)
    given = np.asarray(start.indices[:, :width], np.int32)
    missing = width - given.shape[1] + RANDOM_STARTS
    random = np.random.default_rng([seed, 1]).integers(0, n, (n, missing), np.int32)
    lists = np.concatenate([given, random], axis=1)
    squares = np.empty(lists.shape, np.float32)
    over_rows(lambda begin, end: squared_float32(copy, lists, squares, begin, end), n)
    return {"init_graph": lists, "init_dist": squares}
