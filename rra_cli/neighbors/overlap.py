"""How many neighbours two layers share, for any pairs of layers of any number of models in one pass over the samples.

All results are exact counts: they do not depend on threads, on blocks or on the order of the work.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.numba_threads import usable_cores
from rra_cli.neighbors.arguments import as_count
from rra_cli.neighbors.graph import InputError

_BLOCK_IDS = 1 << 19  # ids that a thread reads between two looks at the queue: half a millisecond
_BLOCK_COUNTS = 1 << 20  # counts by sample that it gathers meanwhile
_MEMORY = 1 << 28  # bytes of results at a time


class Lists(Protocol):
    """What is read of a graph: `indices` `(n, k)`, nearest first, and of how many samples they are ids."""

    def __len__(self) -> int: ...

    @property
    def indices(self) -> NDArray[np.integer]: ...

    @property
    def k(self) -> int: ...

    @property
    def n_reference(self) -> int: ...

    @property
    def self_excluded(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class Overlaps:
    """How many of their k nearest neighbours pairs of layers share.

    pairs: `(pairs, 2)` places of the graphs. ks: ascending. histograms: for every k, `(pairs, k + 1)` int64: how many
    samples share 0, 1, .. k neighbours. counts: by sample, `(ks, pairs, n)` unsigned integers, or None.
    """

    pairs: NDArray[np.int64]
    ks: tuple[int, ...]
    histograms: tuple[NDArray[np.int64], ...]
    counts: NDArray[np.unsignedinteger] | None

    def moments(self, values: ArrayLike, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mean over samples of a function of the count, and its standard error, `(pairs,)` each.

        values: `(k + 1,)`, the function of 0..k; `arange(k + 1) / k` gives the neighbourhood overlap. The error is
        sd / sqrt(n), as if samples were independent; NaN for one sample. Raises `InputError` for a k not counted.
        """
        if k not in self.ks:
            raise InputError(f"k = {k} was not counted, only {', '.join(map(str, self.ks))}", "name it in ks=")
        histogram, table = self.histograms[self.ks.index(k)], np.asarray(values, np.float64)
        n = int(histogram[0].sum()) if len(histogram) else 0
        # Sums over an axis, not matrix products, whose order may depend on the threads of a library.
        means = (histogram * table).sum(axis=1) / n if n else np.empty(0)
        squares = (histogram * (table - means[:, None]) ** 2).sum(axis=1)
        return means, np.sqrt(squares / (n - 1) / n) if n > 1 else np.full(len(means), np.nan)


def check_comparable(graphs: Sequence[Lists]) -> None:
    """Raises `InputError` unless the graphs have the same samples, k and kind of reference set."""
    for other in graphs[1:]:
        first = graphs[0]
        if len(other) != len(first):
            raise InputError(f"graphs of different samples cannot be compared: {len(first)} and {len(other)} rows")
        if other.n_reference != first.n_reference or other.self_excluded != first.self_excluded:
            raise InputError(
                "graphs with different reference sets cannot be compared: "
                f"{first.n_reference} and {other.n_reference} reference rows, "
                f"self excluded {first.self_excluded} and {other.self_excluded}"
            )
        if other.k != first.k:
            raise InputError(
                f"graphs of different k cannot be compared: {first.k} and {other.k}",
                f"compare the first {min(first.k, other.k)} neighbours of both: graph.prefix(k)",
            )


def all_pairs(count: int) -> NDArray[np.int64]:
    """Every two of `count` graphs once, a < b, `(pairs, 2)`."""
    return np.stack(np.triu_indices(count, 1), axis=1)


def cross_pairs(first: int, second: int) -> NDArray[np.int64]:
    """Every one of the first graphs with every one of the second, which follow them: `(first * second, 2)`.

    The pairs of two models' layers without those within a model.
    """
    a, b = np.divmod(np.arange(first * second), second)
    return np.stack([a, first + b], axis=1)


def count_overlaps(
    graphs: Sequence[Lists],
    pairs: ArrayLike | None = None,
    *,
    ks: Sequence[int] | None = None,
    per_sample: bool = False,
    threads: int | None = None,
) -> Overlaps:
    """The sizes of the common parts of neighbour lists, taken as sets: of all samples, pairs and ks at once.

    graphs: layers of one or several models, of the same samples and k; memory-mapped ones are read row by row.
    pairs: `(pairs, 2)` of their places (None: `all_pairs`). ks: prefixes of the lists to count for (None: all k of
    them); all of 1..k make an overlap curve. per_sample: whether to keep every sample's counts. threads: None for as
    many as torch uses, or all cores.

    Beside the result, a thread needs 8 bytes a reference row for every 64 layers, and 4 a number of the histograms.
    Raises `InputError` for graphs that cannot be compared, and for pairs, ks or threads that do not exist.
    """
    parts = list(overlap_parts(graphs, pairs, ks=ks, per_sample=per_sample, threads=threads, memory=sys.maxsize))
    return parts[0]


def overlap_parts(
    graphs: Sequence[Lists],
    pairs: ArrayLike | None = None,
    *,
    ks: Sequence[int] | None = None,
    per_sample: bool = False,
    threads: int | None = None,
    memory: int = _MEMORY,
) -> Iterator[Overlaps]:
    """`count_overlaps` in parts of at most about `memory` bytes: some ks of all pairs, or some pairs of one k."""
    check_comparable(graphs)
    chosen = _checked_pairs(pairs, len(graphs))
    prefixes = _checked_ks(graphs, ks)
    workers = usable_threads() if threads is None else as_count(threads, "threads")
    n = len(graphs[0])
    size = np.array([(k + 1) * (8 + 4 * workers) + per_sample * n * _count_type(k).itemsize for k in prefixes])
    pairs_at_once = max(1, min(len(chosen), memory // int(size.max())))
    ks_at_once = max(1, memory // int(size.max() * max(1, len(chosen)))) if pairs_at_once >= len(chosen) else 1
    for at in range(0, len(prefixes), ks_at_once):
        for start in range(0, max(1, len(chosen)), pairs_at_once):
            part = chosen[start : start + pairs_at_once]
            yield _count(graphs, part, prefixes[at : at + ks_at_once], per_sample, workers)


def usable_threads() -> int:
    """As many as torch was told to use where it is loaded, otherwise all cores of this process."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return usable_cores()


def _count(
    graphs: Sequence[Lists], pairs: NDArray[np.int64], ks: tuple[int, ...], per_sample: bool, threads: int
) -> Overlaps:
    from rra_cli.neighbors.overlap_kernels import count_samples

    if not len(pairs):
        return Overlaps(pairs, ks, tuple(np.zeros((0, k + 1), np.int64) for k in ks), None)
    used, tiles, cells = _layout(pairs)
    arrays = [graphs[place].indices for place in used]
    lists = np.array([_list(ids) for ids in arrays], np.uint64)
    prefixes = np.array(ks, np.uint64)
    n, n_reference = len(graphs[0]), graphs[0].n_reference
    per_row = len(used) * ks[-1]
    rows = max(1, min(_BLOCK_IDS // per_row, _BLOCK_COUNTS // (len(pairs) * len(ks))))
    counts = np.empty((len(ks), len(pairs), n), _count_type(ks[-1])) if per_sample else None
    blocks = deque((start, min(n, start + rows)) for start in range(0, n, rows))
    groups = -(-len(used) // 64)

    def work() -> NDArray[np.uint32]:
        masks = np.zeros((groups, n_reference), np.uint64)
        seen = np.empty((groups, min(n_reference, 64 * ks[-1]) + 1), np.uint64)
        words = np.empty((groups, 64 * (min(n_reference, per_row // 2) // 64 + 2)), np.uint64)
        histogram = np.zeros(sum(len(pairs) * (k + 1) for k in ks), np.uint32)
        buffer = np.empty((rows if per_sample else 0, len(ks), len(pairs)), np.int32)
        while True:
            try:
                first, last = blocks.popleft()
            except IndexError:
                return histogram
            if not count_samples(
                lists, prefixes, tiles, cells, n_reference, masks, seen, words, histogram, buffer, first, last
            ):
                raise InputError(
                    f"a neighbour graph has an id outside of 0..{n_reference - 1} in rows {first}..{last - 1}",
                    "it was changed after it was made or loaded: remove it and build it again",
                )
            if counts is not None:
                counts[:, :, first:last] = buffer[: last - first].transpose(1, 2, 0)

    sizes = [len(pairs) * (k + 1) for k in ks]
    total = np.zeros(sum(sizes), np.int64)
    workers = max(1, min(threads, len(blocks)))
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            for future in futures:
                total += future.result()
        except BaseException:
            blocks.clear()  # so that the others stop
            raise
    parts = np.split(total, np.cumsum(sizes)[:-1])
    histograms = tuple(part.reshape(len(pairs), k + 1) for part, k in zip(parts, ks, strict=True))
    return Overlaps(pairs, ks, histograms, counts)


def _layout(pairs: NDArray[np.int64]) -> tuple[list[int], NDArray[np.uint64], NDArray[np.uint64]]:
    """The graphs needed, which eights of those meet `(tiles, 2)`, and a pair's place among 64 a tile `(pairs,)`."""
    alone = pairs[:, 0] == pairs[:, 1]
    # What only one list has is dropped, so a graph that meets itself comes twice.
    used, twice = np.unique(pairs), np.unique(pairs[alone])
    ends = np.searchsorted(used, pairs)
    ends[alone, 1] = len(used) + np.searchsorted(twice, pairs[alone, 1])
    met: dict[tuple[int, int], int] = {}
    tile = [met.setdefault((a, b), len(met)) for a, b in (ends >> 3).tolist()]
    cells = 64 * np.array(tile) + 8 * (ends[:, 0] & 7) + (ends[:, 1] & 7)
    return [*used.tolist(), *twice.tolist()], np.array(list(met), np.uint64), cells.astype(np.uint64)


def _list(ids: NDArray[np.integer]) -> tuple[int, int, int, int]:
    """Where a kernel finds a graph's ids: address, bytes from row to row and rank to rank, whether they are int64."""
    row, rank = (stride % (1 << 64) for stride in ids.strides)
    return ids.ctypes.data, row, rank, int(ids.itemsize == 8)


def _count_type(k: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype(np.min_scalar_type(k))


def _checked_pairs(pairs: ArrayLike | None, count: int) -> NDArray[np.int64]:
    if pairs is None:
        return all_pairs(count)
    array = np.asarray(pairs)
    if array.ndim != 2 or array.shape[1] != 2 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"pairs must be whole numbers (pairs, 2), got {array.dtype} {array.shape}")
    if array.size and not (array.min() >= 0 and array.max() < count):
        raise InputError(
            f"pairs must be places of the {count} graphs, 0..{count - 1}, got {array.min()}..{array.max()}"
        )
    return array.astype(np.int64)


def _checked_ks(graphs: Sequence[Lists], ks: Sequence[int] | None) -> tuple[int, ...]:
    if not graphs:
        raise InputError("there are no graphs to compare")
    chosen = sorted({as_count(k, "k") for k in ([graphs[0].k] if ks is None else ks)})
    if not chosen or chosen[-1] > graphs[0].k:
        got = f"got {chosen[-1]}" if chosen else "got none"
        raise InputError(f"k must lie in 1..{graphs[0].k}, {got}")
    return tuple(chosen)
