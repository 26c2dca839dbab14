"""Exact neighbour graphs: what `search.py` finds, for any array that a user has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.arguments import as_count, resolve_device, workspace
from rra_cli.neighbors.engine import ShardedEngine
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.resume import BlockStore, fingerprint
from rra_cli.neighbors.rows import Found, Rows, as_matrix, groups_of_duplicates, scan

if TYPE_CHECKING:
    import torch


def exact_neighbors(
    activations: ArrayLike,
    k: int,
    *,
    reference: ArrayLike | None = None,
    device: str = "cpu",
    memory: int | str | None = None,
    progress: Progress = silent,
    work: Path | str | None = None,
) -> NeighborGraph:
    """The exact graph of the k nearest neighbours by Euclidean distance, nearest first, ties by lower id.

    activations: `(n, features)` array, memory map or torch tensor on the CPU, of floats or integers. reference:
    `(m, features)` set that the neighbours come from; None is the activations themselves, each sample then excluded
    from its own list. device: "cpu", "cuda" or "cuda:i". memory: workspace in bytes or as "4GB" (default: a quarter of
    what is free); blocks of 64 rows are the least that is used. progress: called with (done, total, note). work: folder
    in which a search of more than half a minute keeps its state, so that the same call goes on where it was
    interrupted.

    The result equals that of a float64 brute force by direct difference: every distance is one, and the ids are the
    same but for distances that agree to within the rounding of their sums. Raises `InputError` (a `UserError` and
    `ValueError`) for k outside of 1..n-1 (1..m with a reference), for arrays that are not 2-D, real and finite, for
    different numbers of features, and for a device that is not there.
    """
    data = as_matrix(activations)
    other = None if reference is None else as_matrix(reference, "reference")
    k = checked_k(k, len(data), other)
    if other is not None and other.shape[1] != data.shape[1]:
        raise InputError(
            f"activations and reference must have the same features, got {data.shape[1]} and {other.shape[1]}"
        )
    target, budget = resolve_device(device), workspace(memory)
    indices, distances = _find(data, other, k, (0, len(data)), target, budget, progress, work)
    source = data if other is None else other
    small = len(source) <= np.iinfo(np.int32).max
    return NeighborGraph(
        indices.astype(np.int32 if small else np.int64), distances, 1.0, len(source), other is None, engine="exact"
    )


def exact_rows(
    activations: ArrayLike,
    k: int,
    start: int,
    stop: int,
    *,
    device: str = "cpu",
    memory: int | str | None = None,
    progress: Progress = silent,
    work: Path | str | None = None,
) -> Found:
    """Rows start..stop of `exact_neighbors(activations, k)`: ids `(stop - start, k)` int64 and distances float64.

    Raises `InputError` as it does, and where the rows are not among those there are.
    """
    data = as_matrix(activations)
    k = checked_k(k, len(data), None)
    if not 0 <= start < stop <= len(data):
        raise InputError(f"rows {start}..{stop} are not among the {len(data)} samples")
    return _find(data, None, k, (start, stop), resolve_device(device), workspace(memory), progress, work)


def _find(
    data: NDArray[Any],
    other: NDArray[Any] | None,
    k: int,
    span: tuple[int, int],
    device: torch.device,
    memory: int,
    progress: Progress,
    work: Path | str | None,
) -> Found:
    """The k nearest of rows start..stop of `data`: among `other`, or among themselves without self."""
    # Compiled code is loaded by whoever searches, not by whoever reads a graph.
    from rra_cli.neighbors.tiles.duplicates import expand
    from rra_cli.neighbors.tiles.search import search

    start, stop = span
    here = scan(data, memory)
    source, there = (data, here) if other is None else (other, scan(other, memory, "reference"))
    scale, unit = min(here.scale, there.scale), min(here.unit, there.unit)
    groups = groups_of_duplicates(source, there.hashes)
    distinct = None if groups is None else groups[0]
    references = Rows(source, scale, there.mean * scale, distinct, unit)
    own, offset = None, None
    if other is not None:
        queries = replace(references, data=data, ids=None).part(start, stop)
    else:  # distinct rows, of which each query is one
        positions = np.arange(start, stop) if groups is None else np.unique(groups[1][start:stop])
        own = positions
        offset = int(positions[0]) if positions[-1] - positions[0] + 1 == len(positions) else None
        whole = offset == 0 and len(positions) == len(references)
        queries = references if whole else references.take(positions)
        if offset is not None and not whole:
            queries = references.part(offset, offset + len(positions))
    reach = min(k, len(references) - (other is None))
    store = None
    if work is not None:
        name = fingerprint(here.hashes, there.hashes, k, span, other is None, references.features)
        store = BlockStore(Path(work), name)
    options: dict[str, Any] = {"own": own, "memory": memory, "progress": progress, "store": store}
    if device.type == "cpu":
        found = search(queries, references, reach, offset=offset, **options)
    else:
        from rra_cli.neighbors.device.search import device_search

        found = device_search(queries, references, reach, device=device, **options)
    if groups is not None:
        asked = np.arange(stop - start) if own is None else np.searchsorted(own, groups[1][start:stop])
        rows = None if own is None else np.arange(start, stop)
        found = expand(*found, groups[1], k, queries=asked, own=rows)
    indices, distances = found
    if scale != 1.0:
        with np.errstate(over="ignore"):
            distances = distances / scale
        if not np.isfinite(distances).all():
            raise InputError("some distances are too large for float64", "divide the activations by a constant")
    return indices, distances


def checked_k(k: int, n: int, reference: NDArray[Any] | None) -> int:
    """k as an int. Raises `InputError` where it is not a whole number in 1..n-1 (1..m with a reference of m rows)."""
    k = as_count(k, "k")
    most = n - 1 if reference is None else len(reference)
    if k > most:
        whose = f"{n} samples have {most} others each" if reference is None else f"the reference has {most} rows"
        raise InputError(f"k is {k}, but {whose}", f"choose k in 1..{most}, or more samples" if most else "add samples")
    return k


@dataclass(frozen=True)
class ExactEngine(ShardedEngine):
    """Exact search: products of rounded rows leave certified candidates, direct float64 differences decide."""

    name: ClassVar[str] = "exact"
    uses_device: ClassVar[bool] = True

    @property
    def prefix_stable(self) -> bool:
        return True

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
        return exact_neighbors(activations, k, device=device, memory=memory, work=work, progress=progress)

    def search_rows(
        self,
        activations: NDArray[np.floating],
        k: int,
        start: int,
        stop: int,
        *,
        device: str = "cpu",
        memory: int | None = None,
        work: Path | None = None,
        progress: Progress = silent,
    ) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
        return exact_rows(activations, k, start, stop, device=device, memory=memory, work=work, progress=progress)
