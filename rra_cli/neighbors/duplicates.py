"""Graphs of data with repeated rows: distinct rows are searched, then every row's copies are put in.

Without this a collapsed layer (thousands of equal rows) would tie all pairs, and every pair would be re-evaluated.
The k nearest distinct rows are enough: a copy comes after its group's lowest id at the same distance, so the group of
any of the k nearest rows is itself among the k nearest distinct ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Found = tuple[NDArray[np.int64], NDArray[np.float64]]


def expand_self(
    positions: NDArray[np.int64], distances: NDArray[np.float64], group: NDArray[np.int64], k: int
) -> Found:
    """The graph of all n rows from that of their u distinct rows `(u, k')`, k' = min(k, u - 1); self excluded.

    group: `(n,)` which distinct row each row is. Returns ids and distances `(n, k)`.
    """
    members = _members(group)
    ids, lengths = np.empty((len(group), k), np.int64), np.empty((len(group), k))
    for own, rows in enumerate(members):
        near, far = _merge(members, np.r_[own, positions[own]], np.r_[0.0, distances[own]], k + 1)
        for row in rows.tolist():
            keep = np.flatnonzero(near != row)[:k]
            ids[row], lengths[row] = near[keep], far[keep]
    return ids, lengths


def expand_reference(
    positions: NDArray[np.int64], distances: NDArray[np.float64], group: NDArray[np.int64], k: int
) -> Found:
    """The graph of queries `(n, k)` from their nearest distinct reference rows `(n, k')`; group `(n_reference,)`."""
    members = _members(group)
    ids, lengths = np.empty((len(positions), k), np.int64), np.empty((len(positions), k))
    for row in range(len(positions)):
        ids[row], lengths[row] = _merge(members, positions[row], distances[row], k)
    return ids, lengths


def _members(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The row ids of every group, ascending."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.cumsum(np.bincount(group))[:-1])


def _merge(
    members: list[NDArray[np.int64]], groups: NDArray[np.int64], distances: NDArray[np.float64], count: int
) -> Found:
    """The `count` nearest rows of these groups by (distance, id)."""
    parts = [members[g][:count] for g in groups.tolist()]
    sizes = np.array([len(part) for part in parts])
    # Groups beyond the distance at which there are enough rows cannot contribute.
    enough = int(np.searchsorted(np.cumsum(sizes), count))
    last = int(np.searchsorted(distances, distances[min(enough, len(parts) - 1)], side="right"))
    ids, lengths = np.concatenate(parts[:last]), np.repeat(distances[:last], sizes[:last])
    order = np.lexsort((ids, lengths))[:count]
    return ids[order], lengths[order]
