"""Approximate search by nearest-neighbour descent (Dong et al. 2011), with pynndescent 0.7: checked, and measured.

What the library returns is not taken on trust: the sample itself is removed by id, rows with missing or repeated
neighbours are searched exactly (`repair.py`), distances are computed again by direct difference in float64, and the
recall is measured on a few hundred exactly searched rows (`recall.py`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.fields import identity
from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import format_bytes, free_memory
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.descent import library as descent_library
from rra_cli.neighbors.descent.recall import measured_recall
from rra_cli.neighbors.descent.repair import checked_lists, comparable
from rra_cli.neighbors.descent.warm_start import initial_lists
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.exact import checked_k, exact_neighbors
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.resume import read_state, write_state
from rra_cli.neighbors.rows import Scan, as_matrix, blocks, native, scan
from rra_cli.neighbors.threads import over_rows

_MISSED = "recall.state"


def approximate_neighbors(
    activations: ArrayLike,
    k: int,
    *,
    start: NeighborGraph | None = None,
    seed: int = 0,
    n_jobs: int = 4,
    n_neighbors: int | None = None,
    n_trees: int | None = None,
    leaf_size: int | None = None,
    max_candidates: int | None = None,
    n_iters: int | None = None,
    delta: float = 0.001,
    recall_rows: int = 300,
    memory: int | str | None = None,
    progress: Progress = silent,
) -> NeighborGraph:
    """An approximate graph of the k nearest neighbours by Euclidean distance, with its measured recall.

    activations: `(n, features)` array or memory map, as for `exact_neighbors`; it is held in memory once more as
    centred float32 (float16, integers and extreme scales a second time). start: a graph of the same samples in another
    layer, from which the descent starts in place of random projection trees (RRA thesis, ch. 8.3.2). seed, n_jobs: the
    same two give the same graph, another number of threads gives another graph. n_neighbors, n_trees, leaf_size,
    max_candidates, n_iters, delta: pynndescent's parameters of these names (None: its defaults; for n_neighbors k + 1,
    as it counts the sample itself). More n_neighbors than are kept take time and raise the recall, most for small k.
    recall_rows: rows, drawn with `seed`, that are searched exactly as well: `recall` is the fraction of their listed
    neighbours that are no farther than the true k-th neighbour, so that ties count as found. memory: workspace
    besides, such as "4GB".

    The first call in a process compiles for half a minute. Worth it from some 10^5 rows (`cost_model.py`); recall falls
    with the intrinsic dimension of the data. Raises `InputError` as `exact_neighbors` does, for a `start` of other
    samples, where the copy does not fit into memory, and where numba was started with fewer threads than n_jobs.
    """
    data = as_matrix(activations)
    k = checked_k(k, len(data), None)
    counts = {"n_trees": n_trees, "leaf_size": leaf_size, "max_candidates": max_candidates, "n_iters": n_iters}
    check_parameters(seed, delta, n_jobs=n_jobs, n_neighbors=n_neighbors, recall_rows=recall_rows, **counts)
    n = len(data)
    width = max(k + 1, n_neighbors or 0)
    if start is not None and not (start.self_excluded and len(start) == n):
        raise InputError(
            f"start must be a graph of the same {n} samples against themselves, got one of {len(start)} samples "
            f"against {'themselves' if start.self_excluded else f'{start.n_reference} others'}",
            "give the graph of another layer of these samples, or leave start out",
        )
    _check_memory(data)
    budget = workspace(memory)
    library = descent_library.load(n_jobs)
    scanned = scan(data, budget)
    descent_library.compile_once(library, progress)
    progress(0, n, "nearest-neighbour descent")
    copy = centred_float32(data, scanned)
    initial = {} if start is None else initial_lists(copy, start, width, seed)
    with warnings.catch_warnings(), descent_library.LOCK:
        # "Failed to correctly find n_neighbors for some samples": those rows are repaired below.
        warnings.simplefilter("ignore")
        index = library.NNDescent(
            data=copy,
            metric="euclidean",
            n_neighbors=min(width, n),
            delta=delta,
            random_state=np.random.RandomState(seed),
            n_jobs=n_jobs,
            **counts,
            **initial,
        )
        listed, _ = index.neighbor_graph
    del index, copy, initial
    progress(n // 2, n, "distances and recall")
    exact, centre = comparable(data, scanned)
    ids, distances, broken = checked_lists(exact, np.asarray(listed), k)
    rows = np.flatnonzero(broken)
    if len(rows):
        ids[rows], distances[rows] = _searched_exactly(exact, rows, k, budget, progress)
    sample = np.sort(np.random.default_rng(seed).choice(n, min(n, recall_rows), replace=False))
    recall = measured_recall(exact, centre, sample, distances[sample], budget)
    if scanned.scale != 1.0:
        distances /= scanned.scale
    progress(n, n, f"recall {recall:.4f}")
    return NeighborGraph(ids.astype(np.int32), distances, recall, n, True, engine="pynndescent")


def centred_float32(data: NDArray[Any], scanned: Scan) -> NDArray[np.float32]:
    """The rows in float32, centred before they are rounded, and of a size whose squares stay within it."""
    from rra_cli.neighbors.descent.kernels import write_centred

    copy = np.empty(data.shape, np.float32)
    centre = scanned.mean * scanned.unit

    def work(begin: int, end: int) -> None:
        for at, stop in blocks(end - begin, (1 << 20) // data.shape[1]):
            part = slice(begin + at, begin + stop)
            write_centred(native(data[part]), scanned.unit, centre, copy[part])

    over_rows(work, len(data))
    return copy


def _searched_exactly(
    data: NDArray[Any], rows: NDArray[np.int64], k: int, memory: int, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The exact neighbours of some rows among all, themselves excluded by id."""
    n = len(data)
    progress(n // 2, n, f"{len(rows)} rows with missing neighbours are searched exactly")
    found = exact_neighbors(data[rows], k + 1, reference=data, memory=memory)
    others = found.indices != rows[:, None]
    # Of many equal rows a row need not be among its own k + 1 nearest: then the last of them goes.
    others[:, -1] &= ~others[:, :-1].all(axis=1)
    return found.indices[others].reshape(-1, k).astype(np.int64), found.distances[others].reshape(-1, k)


def check_parameters(seed: int, delta: float, **counts: int | None) -> None:
    """Raises `InputError` (a `ValueError`) for parameters of the descent that are not what they must be.

    counts: by their names, whole numbers of at least 1, or None for the library's default.
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; it must be a whole number in 0..{2**32 - 1}")
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise InputError(f"{name} is {value}; it must be a whole number of at least 1")
    if not isinstance(delta, int | float | np.number) or not 0 <= delta < 1:
        raise InputError(f"delta is {delta}; it must lie in [0, 1)")


def _check_memory(data: NDArray[Any]) -> None:
    needed, free = 4 * data.size, free_memory()
    if needed > free:
        raise InputError(
            f"pynndescent holds the activations in memory as float32: {format_bytes(needed)}, but "
            f"{format_bytes(free)} are free",
            "use neighbors=exact, which reads them from disk in blocks, or pool the layer (pooling=...)",
        )


@dataclass(frozen=True)
class PynndescentEngine(Engine):
    """Approximate search by nearest-neighbour descent (pynndescent), recall measured; for very many samples.

    seed and n_jobs (threads) decide the graph together; n_neighbors, n_trees, leaf_size, max_candidates, n_iters and
    delta are pynndescent's parameters of these names, null being its own default (k + 1 for n_neighbors). warm_start:
    each layer's search starts from the graph of the layer before. min_recall: a graph whose measured recall is lower is
    searched exactly instead.
    """

    name: ClassVar[str] = "pynndescent"

    seed: int = identity(0)
    n_jobs: int = identity(4)
    n_neighbors: int | None = identity(None)
    n_trees: int | None = identity(None)
    leaf_size: int | None = identity(None)
    max_candidates: int | None = identity(None)
    n_iters: int | None = identity(None)
    delta: float = identity(0.001)
    recall_rows: int = identity(300)
    warm_start: bool = identity(False)
    min_recall: float | None = identity(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("n_jobs", "n_neighbors", "n_trees", "leaf_size", "max_candidates", "n_iters", "recall_rows")
        check_parameters(self.seed, self.delta, **{name: getattr(self, name) for name in counts})
        if self.min_recall is not None and not 0 <= self.min_recall <= 1:
            raise ValueError(f"min_recall is {self.min_recall}; it must lie in [0, 1], or be null")

    @property
    def prefix_stable(self) -> bool:
        return False

    @property
    def cold(self) -> PynndescentEngine:
        """The engine for a layer that has none before it."""
        return replace(self, warm_start=False)

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
        """As `approximate_neighbors`, on the CPU whatever the device; where min_recall is missed, the exact graph.

        work keeps a recall that was too low, and the blocks of the exact search that follows.
        """
        return self.search_from(None, activations, k, device=device, memory=memory, work=work, progress=progress)

    def search_from(
        self,
        start: NeighborGraph | None,
        activations: NDArray[np.floating],
        k: int,
        *,
        device: str = "cpu",
        memory: int | None = None,
        work: Path | None = None,
        progress: Progress = silent,
    ) -> NeighborGraph:
        """The same from the graph of another layer; None starts cold."""
        recall = None if work is None else missed_recall(work)
        if recall is None:
            graph = approximate_neighbors(
                activations,
                k,
                start=start,
                seed=self.seed,
                n_jobs=self.n_jobs,
                n_neighbors=self.n_neighbors,
                n_trees=self.n_trees,
                leaf_size=self.leaf_size,
                max_candidates=self.max_candidates,
                n_iters=self.n_iters,
                delta=self.delta,
                recall_rows=self.recall_rows,
                memory=memory,
                progress=progress,
            )
            recall = graph.recall
            if self.min_recall is None or recall >= self.min_recall:
                return graph
            if work is not None:
                write_state(work / _MISSED, [np.array(recall)])
        progress(0, len(activations), f"recall {recall:.4f} is below {self.min_recall}: searched exactly")
        return exact_neighbors(activations, k, device=device, memory=memory, work=work, progress=progress)


def missed_recall(work: Path) -> float | None:
    """The recall, below min_recall, of a search that kept its blocks in `work`; None where none was too low."""
    kept = read_state(work / _MISSED)
    return None if kept is None else float(kept[0])
