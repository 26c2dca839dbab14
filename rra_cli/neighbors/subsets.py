"""Exact graphs of nested subsets of the samples from one pass over the tiles of the largest.

The tiles are visited in an order in which those among the first n rows come before all others. At that moment the lists
of these rows hold what a search of the subset alone would: they are evaluated, and the pass goes on. So all products
together cost what those of the largest subset do; direct differences that the subset before has made are used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.arguments import as_count, resolve_device, workspace
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.resume import BlockStore, fingerprint
from rra_cli.neighbors.rows import Rows, Scan, as_matrix, groups_of_duplicates, scan


def exact_subset_graphs(
    activations: ArrayLike,
    k: int | Sequence[int],
    sizes: Sequence[int],
    *,
    order: ArrayLike | None = None,
    device: str = "cpu",
    memory: int | str | None = None,
    progress: Progress = silent,
    work: Path | str | None = None,
) -> list[NeighborGraph]:
    """The exact graphs of nested subsets: of the first `size` samples of `order`, for every size.

    activations: `(n, features)`, as for `exact_neighbors`. k: neighbours, one number or one for each size. sizes:
    ascending. order: `(m,)` distinct sample ids, at least as many as the largest size; None takes the rows as they are.
    device, memory, progress, work: as for `exact_neighbors`; on CUDA every subset is searched by itself.

    Sample i of a graph, and so every id in it, is *position i of `order`*: `order[graph.indices]` are ids of the
    activations. Each graph equals `exact_neighbors(activations[order[:size]], k)` to the last bit. Raises `InputError`
    for sizes that do not ascend or exceed the samples, for a k that is not below its size, for ids in `order` that are
    repeated or not there, and wherever `exact_neighbors` does.
    """
    graphs: list[NeighborGraph] = []
    found: dict[int, tuple[NDArray[np.integer], NDArray[np.float64]]] = {}
    options: dict[str, Any] = {"order": order, "device": device, "memory": memory, "progress": progress, "work": work}
    for block in exact_subset_blocks(activations, k, sizes, **options):
        here = found.get(block.subset)
        if len(block.rows) == sizes[block.subset]:  # not copied, which would take as long as sorting many neighbours
            found[block.subset] = block.indices, block.distances
            continue
        if here is None:
            shape = (sizes[block.subset], block.indices.shape[1])
            here = found[block.subset] = np.empty(shape, block.indices.dtype), np.empty(shape)
        here[0][block.rows], here[1][block.rows] = block.indices, block.distances
    for place, size in enumerate(sizes):
        graphs.append(NeighborGraph(*found.pop(place), 1.0, size))
    return graphs


@dataclass(frozen=True, eq=False)
class SubsetBlock:
    """Some rows of the graph of one subset.

    subset: place of its size. rows: `(rows,)` its samples, as positions of `order`. indices: `(rows, k)` int32 or int64
    positions. distances: `(rows, k)`.
    """

    subset: int
    rows: NDArray[np.int64]
    indices: NDArray[np.integer]
    distances: NDArray[np.float64]


def exact_subset_blocks(
    activations: ArrayLike,
    k: int | Sequence[int],
    sizes: Sequence[int],
    *,
    order: ArrayLike | None = None,
    device: str = "cpu",
    memory: int | str | None = None,
    progress: Progress = silent,
    work: Path | str | None = None,
) -> Iterator[SubsetBlock]:
    """The graphs of `exact_subset_graphs` in blocks of rows, so that no more than a few of them need be in memory.

    Takes and raises what that does. Every row of every subset comes once.
    """
    data = as_matrix(activations)
    ids = None if order is None else _checked_order(order, len(data))
    counts = _checked_sizes(sizes, len(data) if ids is None else len(ids))
    reaches = _checked_ks(k, counts)
    target = resolve_device(device)
    budget = workspace(memory)
    if target.type == "cpu":
        yield from _blocks(data, ids, counts, reaches, budget, progress, work)
        return
    from rra_cli.neighbors.exact import exact_neighbors

    options: dict[str, Any] = {"device": device, "memory": budget, "progress": progress, "work": work}
    for place, (size, near) in enumerate(zip(counts, reaches, strict=True)):
        part = data[:size] if ids is None else data[ids[:size]]
        graph = exact_neighbors(part, near, **options)
        yield SubsetBlock(place, np.arange(size), graph.indices, graph.distances)


def _checked_order(order: ArrayLike, n: int) -> NDArray[np.int64]:
    ids = np.asarray(order)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise InputError(f"order must be a list of sample ids, got shape {ids.shape} of {ids.dtype}")
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < n:
        raise InputError(f"order must hold ids in 0..{n - 1}, got {int(ids.min())}..{int(ids.max())}")
    ids = ids.astype(np.int64)
    if len(np.unique(ids)) < len(ids):
        raise InputError(f"order names a sample twice: {len(ids)} ids, {len(np.unique(ids))} of them different")
    return ids


def _checked_sizes(sizes: Sequence[int], available: int) -> list[int]:
    if not isinstance(sizes, Sequence | np.ndarray):
        raise InputError(f"sizes must be a list of numbers of samples, got {sizes!r}", f"give sizes=[{sizes}]")
    counts = [as_count(size, "a subset's size") for size in sizes]
    if not counts or any(a >= b for a, b in pairwise(counts)):
        raise InputError(f"sizes must be at least one and ascend, got {counts}", "give each size once, smallest first")
    if counts[-1] > available:
        raise InputError(
            f"the largest subset has {counts[-1]} samples, but there are {available}", "leave out the sizes above that"
        )
    return counts


def _checked_ks(k: int | Sequence[int], sizes: list[int]) -> list[int]:
    given = list(k) if isinstance(k, Sequence | np.ndarray) else [k] * len(sizes)
    if len(given) != len(sizes):
        raise InputError(f"k must be one number or one for each of the {len(sizes)} sizes, got {len(given)}")
    ks = [as_count(each, "k") for each in given]
    for each, size in zip(ks, sizes, strict=True):
        if each >= size:
            raise InputError(
                f"k is {each}, but the subset of {size} samples has {size - 1} others for each",
                "choose a smaller k, or leave that size out",
            )
    return ks


@dataclass(frozen=True)
class _Ordered:
    """The first samples of an order, as `scan` reads rows: nothing is copied but what is asked for."""

    data: NDArray[Any]
    ids: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.ids), self.data.shape[1]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: int | slice) -> NDArray[Any]:
        return np.asarray(self.data[self.ids[rows]])


def _blocks(
    data: NDArray[Any],
    ids: NDArray[np.int64] | None,
    sizes: list[int],
    ks: list[int],
    memory: int,
    progress: Progress,
    work: Path | str | None,
) -> Iterator[SubsetBlock]:
    from rra_cli.neighbors.tiles.duplicates import expand
    from rra_cli.neighbors.tiles.nested import NestedSearch

    # Each subset in the scale of its own values, so that it is rounded as it is in a search by itself.
    views: list[Any] = [data[:size] if ids is None else _Ordered(data, ids[:size]) for size in sizes]
    scans = [scan(view, memory, "activations" if ids is None else "activations[order]") for view in views]
    whole = scans[-1]
    groups = groups_of_duplicates(views[-1], whole.hashes)
    # Groups ascend by their lowest position: the distinct rows of a subset are the first of all distinct rows.
    cuts = sizes if groups is None else [int(at) for at in np.searchsorted(groups[0], sizes)]
    rows = None if groups is None else groups[0]
    if ids is not None:
        rows = ids[: sizes[-1]] if rows is None else ids[rows]
    source = data[: sizes[-1]] if ids is None else data
    references = Rows(source, whole.scale, whole.mean * whole.scale, rows, whole.unit)
    reaches = [min(k, cut - 1) for k, cut in zip(ks, cuts, strict=True)]
    stores = _stores(work, references, scans, cuts, reaches)
    scales = [part.scale for part in scans]
    nested = NestedSearch(references, cuts, reaches, scales, memory, stores)
    for start, found in nested.search(progress):
        for place, (indices, distances) in found.items():
            size, scale = sizes[place], scans[place].scale
            own = np.arange(start, start + len(indices))
            if groups is not None:  # rows are distinct ones so far
                group = groups[1][:size]
                own = np.flatnonzero((group >= start) & (group < start + len(indices)))
                indices, distances = expand(indices, distances, group, ks[place], queries=group[own] - start, own=own)
            if scale != 1.0:
                with np.errstate(over="ignore"):
                    distances = distances / scale
                if not np.isfinite(distances).all():
                    raise InputError("some distances are too large for float64", "divide the activations by a constant")
            small = size <= np.iinfo(np.int32).max
            yield SubsetBlock(place, own, indices.astype(np.int32 if small else np.int64), distances)


def _stores(
    work: Path | str | None, references: Rows, scans: list[Scan], cuts: list[int], reaches: list[int]
) -> list[BlockStore] | None:
    """Where the graph of every subset is kept while the search goes on."""
    if work is None:
        return None
    whole, shape = scans[-1].hashes, (cuts, reaches)
    return [
        BlockStore(Path(work), fingerprint(part.hashes, whole, "nested", *shape, cut, reach, references.features))
        for part, cut, reach in zip(scans, cuts, reaches, strict=True)
    ]
