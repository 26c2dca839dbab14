"""Graphs of data with repeated rows: distinct rows are searched, then every row's copies are put in.

Without this a collapsed layer (thousands of equal rows) would tie all pairs, and every pair would be re-evaluated.
The k nearest distinct rows are enough: a copy comes after its group's lowest id at the same distance, so the group of
any of the k nearest rows is itself among the k nearest distinct ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.rows import Found
from rra_cli.neighbors.threads import over_rows
from rra_cli.neighbors.tiles.pair_kernels import put_copies_in


def expand(
    positions: NDArray[np.int64],
    distances: NDArray[np.float64],
    group: NDArray[np.int64],
    k: int,
    *,
    queries: NDArray[np.int64],
    own: NDArray[np.int64] | None = None,
) -> Found:
    """The k nearest rows by (distance, id), `(q, k)`, from the nearest distinct rows `(s, k')`.

    group: `(n,)` which distinct row each reference row is. queries: `(q,)` row of `positions` that each query is. own:
    `(q,)` the query's own row, which is left out while its copies come first; None leaves none out.
    """
    order = np.argsort(group, kind="stable")
    starts = np.r_[0, np.cumsum(np.bincount(group))]
    mine = np.full(len(queries), -1) if own is None else own
    groups = np.full(len(queries), -1) if own is None else group[own]
    ids, lengths = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
    over_rows(
        lambda a, b: put_copies_in(
            positions, distances, order, starts, queries[a:b], mine[a:b], groups[a:b], ids[a:b], lengths[a:b]
        ),
        len(queries),
    )
    return ids, lengths
