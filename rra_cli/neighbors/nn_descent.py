"""Approximate search by nearest-neighbour descent (Dong et al. 2011), with pynndescent 0.7: checked, and measured.

What the library returns is not taken on trust: the sample itself is removed by id, rows with missing or repeated
neighbours are searched exactly, distances are computed again by direct difference in float64, and the recall is
measured on a few hundred rows against the exact search.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.fields import identity
from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import free_memory
from rra_cli.neighbors.arguments import as_count, resolve_device
from rra_cli.neighbors.direct import direct_distances
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.exact import checked_k
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.rows import Rows, as_matrix, blocks, scan
from rra_cli.neighbors.search import Found, search


def approximate_neighbors(
    activations: ArrayLike,
    k: int,
    *,
    seed: int = 0,
    n_jobs: int = 4,
    n_trees: int | None = None,
    leaf_size: int | None = None,
    max_candidates: int | None = None,
    n_iters: int | None = None,
    delta: float = 0.001,
    recall_rows: int = 300,
    memory: int | None = None,
    progress: Progress = silent,
) -> NeighborGraph:
    """An approximate graph of the k nearest neighbours by Euclidean distance, with its measured recall.

    activations: `(n, features)` array or memory map, as for `exact_neighbors`; it is held in memory once more as
    centred float32. seed, n_jobs: the same two give the same graph, another number of threads gives another graph.
    n_trees, leaf_size, max_candidates, n_iters, delta: pynndescent's parameters of these names (None: its defaults).
    recall_rows: rows, drawn with `seed`, that are searched exactly as well: `recall` is the fraction of their listed
    neighbours that are no farther than the true k-th neighbour, so that ties count as found.

    The first call in a process compiles for half a minute. Worth it from about 10^5 rows; recall falls with the
    intrinsic dimension of the data. Raises `InputError` as `exact_neighbors` does, and where numba was started with
    fewer threads than n_jobs.
    """
    data = as_matrix(activations)
    k = checked_k(k, len(data), None)
    n_jobs, recall_rows = as_count(n_jobs, "n_jobs"), as_count(recall_rows, "recall_rows")
    budget = free_memory() // 4 if memory is None else as_count(memory, "memory")
    n = len(data)
    scanned = scan(data, budget)
    rows = Rows(data, scanned.scale, scanned.mean * scanned.scale)
    pynndescent = _import_pynndescent(n_jobs)
    progress(0, n, "nearest-neighbour descent")
    with warnings.catch_warnings():
        # "Failed to correctly find n_neighbors for some samples": those rows are repaired below.
        warnings.simplefilter("ignore")
        index = pynndescent.NNDescent(
            data=_float32(rows, budget),
            metric="euclidean",
            n_neighbors=min(k + 1, n),
            n_trees=n_trees,
            leaf_size=leaf_size,
            max_candidates=max_candidates,
            n_iters=n_iters,
            delta=delta,
            random_state=np.random.RandomState(seed),
            n_jobs=n_jobs,
        )
        listed, _ = index.neighbor_graph
    indices, broken = _without_self(np.asarray(listed), k)
    distances = _distances(rows, indices, n_jobs, budget)
    indices, distances = _sorted(indices, distances)

    sample = np.sort(np.random.default_rng(seed).choice(n, min(n, recall_rows), replace=False))
    searched = np.union1d(sample, np.flatnonzero(broken))
    ids, lengths = _exact_rows(rows, searched, k, budget)
    repair = broken[searched]
    indices[searched[repair]], distances[searched[repair]] = ids[repair], lengths[repair]
    measured = np.isin(searched, sample)
    recall = float((distances[sample] <= lengths[measured][:, -1:] * (1 + 1e-12)).mean())
    if scanned.scale != 1.0:
        distances = distances / scanned.scale
    progress(n, n, f"recall {recall:.4f}")
    return NeighborGraph(indices.astype(np.int32), distances, recall, n, True, engine="pynndescent")


def _import_pynndescent(n_jobs: int) -> Any:
    """The library, with numba able to run `n_jobs` threads: how many it can run is fixed when it is imported."""
    if "numba" not in sys.modules and "NUMBA_NUM_THREADS" not in os.environ:
        os.environ["NUMBA_NUM_THREADS"] = str(max(n_jobs, os.cpu_count() or 1))
    from numba import config

    most = int(getattr(config, "NUMBA_NUM_THREADS"))  # noqa: B009 - numba sets it while running
    if n_jobs > most:
        raise InputError(
            f"n_jobs is {n_jobs}, but numba was started with {most} threads and cannot run more",
            f"set the environment variable NUMBA_NUM_THREADS={n_jobs} before starting, or choose n_jobs={most} "
            "(another n_jobs gives another graph)",
        )
    import pynndescent

    return pynndescent


def _float32(rows: Rows, memory: int) -> NDArray[np.float32]:
    """The centred rows, in float32 and of a size whose squares stay within it."""
    copy = np.empty((len(rows), rows.features), np.float32)
    largest = 0.0
    parts = list(blocks(len(rows), memory // (64 * rows.features)))
    for start, stop in parts:
        largest = max(largest, float(np.abs(rows.centred(start, stop)).max()))
    shrink = np.ldexp(1.0, -int(np.frexp(largest)[1])) if largest else 1.0
    for start, stop in parts:
        copy[start:stop] = rows.centred(start, stop) * shrink
    return copy


def _without_self(listed: NDArray[np.integer], k: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """k neighbours a row with the row itself removed by id, `(n, k)`, and which rows lack some or repeat one."""
    n = len(listed)
    own = np.arange(n)[:, None]
    usable = (listed >= 0) & (listed < n) & (listed != own)
    # A stable sort brings usable ids to the front without changing their order.
    order = np.argsort(~usable, axis=1, kind="stable")[:, :k]
    ids = np.take_along_axis(listed, order, 1).astype(np.int64)
    broken = usable.sum(axis=1) < k
    broken |= (np.diff(np.sort(ids, axis=1), axis=1) == 0).any(axis=1)
    if ids.shape[1] < k:
        return np.zeros((n, k), np.int64), np.ones(n, bool)
    return np.where(broken[:, None], 0, ids), broken


def _distances(rows: Rows, indices: NDArray[np.int64], threads: int, memory: int) -> NDArray[np.float64]:
    distances = np.empty(indices.shape)
    for start, stop in blocks(len(indices), (1 << 22) // indices.shape[1]):
        part = indices[start:stop]
        own = np.repeat(np.arange(start, stop), indices.shape[1])
        found = direct_distances(
            rows.data, own, rows.data, part.ravel(), scale=rows.scale, threads=threads, memory=memory
        )
        distances[start:stop] = found.reshape(part.shape)
    return distances


def _sorted(indices: NDArray[np.int64], distances: NDArray[np.float64]) -> Found:
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(indices, order, 1), np.take_along_axis(distances, order, 1)


def _exact_rows(rows: Rows, ids: NDArray[np.int64], k: int, memory: int) -> Found:
    """The exact neighbours of some rows among all rows, themselves excluded."""
    queries = Rows(rows.data, rows.scale, rows.centre, ids)
    return search(queries, rows, k, own=ids, device=resolve_device("cpu"), memory=memory)


@dataclass(frozen=True)
class PynndescentEngine(Engine):
    """Approximate search by nearest-neighbour descent (pynndescent), recall measured; for very many samples.

    seed and n_jobs (threads) decide the graph together; the others are pynndescent's parameters of these names, null
    being its own default.
    """

    name: ClassVar[str] = "pynndescent"

    seed: int = identity(0)
    n_jobs: int = identity(4)
    n_trees: int | None = identity(None)
    leaf_size: int | None = identity(None)
    max_candidates: int | None = identity(None)
    n_iters: int | None = identity(None)
    delta: float = identity(0.001)
    recall_rows: int = identity(300)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must lie in 0..{2**32 - 1}")
        for name in ("n_jobs", "n_trees", "leaf_size", "max_candidates", "n_iters", "recall_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; at least 1 is needed")
        if not 0 <= self.delta < 1:
            raise ValueError(f"delta is {self.delta}; it must lie in [0, 1)")

    @property
    def prefix_stable(self) -> bool:
        return False

    def search(
        self,
        activations: NDArray[np.floating],
        k: int,
        *,
        device: str = "cpu",
        memory: int | None = None,
        work: Path | None = None,
        progress: Progress = silent,
    ) -> NeighborGraph:
        """As `approximate_neighbors`; it runs on the CPU whatever the device, and keeps nothing in `work`."""
        return approximate_neighbors(
            activations,
            k,
            seed=self.seed,
            n_jobs=self.n_jobs,
            n_trees=self.n_trees,
            leaf_size=self.leaf_size,
            max_candidates=self.max_candidates,
            n_iters=self.n_iters,
            delta=self.delta,
            recall_rows=self.recall_rows,
            memory=memory,
            progress=progress,
        )
