"""Exact neighbour graphs: what `search.py` finds, for any array that a user has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import free_memory
from rra_cli.neighbors.arguments import as_count, resolve_device
from rra_cli.neighbors.duplicates import expand_reference, expand_self
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.resume import BlockStore, fingerprint
from rra_cli.neighbors.rows import Rows, as_matrix, groups_of_duplicates, scan
from rra_cli.neighbors.search import search


def exact_neighbors(
    activations: ArrayLike,
    k: int,
    *,
    reference: ArrayLike | None = None,
    device: str = "cpu",
    memory: int | None = None,
    progress: Progress = silent,
    work: Path | None = None,
) -> NeighborGraph:
    """The exact graph of the k nearest neighbours by Euclidean distance, nearest first, ties by lower id.

    activations: `(n, features)` array or memory map, float16, float32, float64 or integers. reference: `(m, features)`
    set that the neighbours come from; None is the activations themselves, each sample then excluded from its own
    list. device: "cpu", "cuda" or "cuda:i". memory: bytes of workspace (default: a quarter of what is free); a single
    row against the reference is the least that is used. work: folder in which a search of more than about a minute
    keeps finished blocks, so that the same call goes on where it was interrupted.

    The result equals that of a float64 brute force by direct difference: the same ids, distances within 1e-9
    relative. Raises `InputError` (a `UserError` and `ValueError`) for k outside of 1..n-1 (1..m with a reference), for
    arrays that are not 2-D, real and finite, for different numbers of features, and for a device that is not there.
    """
    data = as_matrix(activations)
    other = None if reference is None else as_matrix(reference, "reference")
    k = checked_k(k, len(data), other)
    if other is not None and other.shape[1] != data.shape[1]:
        raise InputError(
            f"activations and reference must have the same features, got {data.shape[1]} and {other.shape[1]}"
        )
    target = resolve_device(device)
    budget = free_memory() // 4 if memory is None else as_count(memory, "memory")
    here = scan(data, budget)
    exclude = other is None
    source, there = (data, here) if other is None else (other, scan(other, budget, "reference"))
    scale = min(here.scale, there.scale)
    groups = groups_of_duplicates(there.digests)
    references = Rows(source, scale, there.mean * scale, None if groups is None else groups[0])
    queries = references if exclude else Rows(data, scale, references.centre)
    n_unique = len(references)
    store = None
    if work is not None:
        name = fingerprint(here.digests, there.digests, k, exclude)
        store = BlockStore.for_search(work, name, len(queries), n_unique, references.features)
    indices, distances = search(
        queries,
        references,
        min(k, n_unique - exclude),
        own=np.arange(n_unique) if exclude else None,
        device=target,
        memory=budget,
        progress=progress,
        store=store,
    )
    if groups is not None:
        expand = expand_self if exclude else expand_reference
        indices, distances = expand(indices, distances, groups[1], k)
    if scale != 1.0:
        with np.errstate(over="ignore"):
            distances = distances / scale
        if not np.isfinite(distances).all():
            raise InputError("some distances are too large for float64", "divide the activations by a constant")
    small = len(source) <= np.iinfo(np.int32).max
    return NeighborGraph(
        indices.astype(np.int32 if small else np.int64), distances, 1.0, len(source), exclude, engine="exact"
    )


def checked_k(k: int, n: int, reference: NDArray[Any] | None) -> int:
    """k as an int. Raises `InputError` where it is not a whole number in 1..n-1 (1..m with a reference of m rows)."""
    k = as_count(k, "k")
    most = n - 1 if reference is None else len(reference)
    if k > most:
        whose = f"{n} samples have {most} others each" if reference is None else f"the reference has {most} rows"
        raise InputError(f"k is {k}, but {whose}", f"choose k in 1..{most}, or more samples" if most else "add samples")
    return k


@dataclass(frozen=True)
class ExactEngine(Engine):
    """Exact search by float64 matrix products in blocks, uncertain and nearest pairs by direct difference."""

    name: ClassVar[str] = "exact"

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
