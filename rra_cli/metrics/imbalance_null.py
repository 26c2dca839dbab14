"""Information imbalance of layers whose samples are permuted: all permutations from one pass over the distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred, slices
from rra_cli.metrics.estimate import collapsed
from rra_cli.metrics.metric import PLAIN, Workshop
from rra_cli.metrics.permutation import permutation
from rra_cli.metrics.sample_tiles import products, tiles
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.resume import read_state, write_state
from rra_cli.neighbors.threads import over_rows

# Of the squares that a squared distance is the difference of: what lies below is rounding, and counts as 0.
_ROUNDING = 1e-13
_SELF = np.uint32(0xFFFFFFFF)


def permuted_imbalances(
    graphs: Sequence[NeighborGraph],
    layers: Sequence[NDArray[np.floating]],
    permutations: int,
    *,
    workshop: Workshop = PLAIN,
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Delta(a -> b) of all ordered pairs of different layers, the samples of a permuted: `(1 + permutations,)` each.

    The first value is that of the samples in their own order. It and the others are made of the same ranks, so that
    they are exchangeable where the layers are unrelated, and a p-value of them is exact however distances are rounded.
    graphs, layers: as in `imbalance_pairs`; a layer whose samples coincide, or whose values are
    beyond float32, is in no pair. With a folder in the
    workshop, an interrupted call goes on with the layers that it has not looked at.
    """
    n = len(graphs[0]) if graphs else 0
    usable = [
        place
        for place, (graph, x) in enumerate(zip(graphs, layers, strict=True))
        if not ((collapsed(graph) and Centred(x).collapsed) or Centred(x).beyond)
    ]
    found = dict[tuple[int, int], NDArray[np.float64]]()
    for done, b in enumerate(usable):
        others = [a for a in usable if a != b]
        kept = None if workshop.folder is None else workshop.folder / f"ranks_{b}.state"
        sums = _kept(kept, (len(others), 1 + permutations))
        if sums is None and others:
            nearest = np.stack([graphs[a].indices[:, 0] for a in others])
            progress = partial(_part_of, workshop.progress, done, len(usable))
            sums = rank_sums(nearest, layers[b], permutations, memory=workshop.memory, progress=progress)
            if kept is not None:
                write_state(kept, [sums])
        for a, of_a in zip(others, [] if sums is None else sums, strict=True):
            found[a, b] = 2.0 / n * (of_a / n)
    workshop.progress(len(usable), len(usable), "")
    return found


def rank_sums(
    nearest: NDArray[np.integer],
    layer: NDArray[np.floating],
    permutations: int,
    *,
    memory: int | None = None,
    progress: Progress = silent,
) -> NDArray[np.int64]:
    """Sums over samples of the ranks, in a layer, of neighbours of other layers under permuted names.

    nearest: `(layers, n)`, the neighbour of every sample in each of the others. A permutation calls sample i s(i): what
    is ranked, among all others in the row of s(i), is s(nearest[i]). `(layers, 1 + permutations)`; the first of them
    leaves all names. Rank 1 is the nearest.

    Squared distances are differences of products in float64, rounded to 24 digits: those that agree in them tie, and
    ties go to the lower id, as in `neighbor_ranks`. Each distance is computed once where n x n numbers of 4 bytes are
    at most half of the memory, else twice; and again for every few thousand permutations that do not fit in a quarter.
    """
    from rra_cli.neighbors.tiles.rank_sum_kernels import add_ranks

    n, budget = len(layer), workspace(memory)
    rows, near = Centred(layer), np.ascontiguousarray(nearest, np.int32)
    sums, lock = np.zeros((len(near), 1 + permutations), np.int64), Lock()
    groups = list(slices(1 + permutations, max(1, budget // 4 // (8 * n))))
    for at, group in enumerate(groups):
        places = np.stack([_order(n, number) for number in range(group.start, group.stop)])
        samples = np.ascontiguousarray(np.argsort(places, axis=1).T.astype(np.int32))

        def add(
            keys: NDArray[np.uint32],
            first: int,
            begin: int,
            end: int,
            given: tuple[NDArray[np.int32], NDArray[np.int32]] = (places, samples),
            out: NDArray[np.int64] = sums[:, group],
        ) -> None:
            own = np.zeros(out.shape, np.int64)
            add_ranks(keys, near, *given, first, own, begin, end)
            with lock:
                out += own

        for first, keys in _bands(rows, budget // 2, partial(_part_of, progress, at, len(groups))):
            over_rows(partial(add, keys, first), len(keys))
    return sums


def _order(n: int, number: int) -> NDArray[np.int32]:
    """The names that permutation `number` gives, 0 being none."""
    return np.arange(n, dtype=np.int32) if number == 0 else permutation(n, 0, number - 1).astype(np.int32)


def _bands(layer: Centred, memory: int, progress: Progress) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """Consecutive rows of all distances, `(m, n)`, as whole numbers that are in their order; with the first row.

    Tiles are the same whatever the memory, and those below the diagonal are those above it, transposed.
    """
    n, sides = layer.n, tiles(layer.n)
    each = max(1, memory // (4 * n * sides[0].stop))
    total, done, scale = len(sides) ** 2, 0, float(layer.lengths.max())
    for start in range(0, len(sides), each):
        band = sides[start : start + each]
        first, last = band[0].start, band[-1].stop
        keys = np.empty((last - first, n), np.uint32)
        for rows in band:
            here = slice(rows.start - first, rows.stop - first)
            for columns in sides:
                progress(done, total, "ranks")
                done += 1
                if first <= columns.start < rows.start:
                    continue  # with the tile on the other side of the diagonal
                if columns.start < rows.start:
                    keys[here, columns] = _tile(layer, columns, rows, scale).T
                    continue
                tile = _tile(layer, rows, columns, scale)
                keys[here, columns] = tile
                if rows.start < columns.start < last:
                    keys[columns.start - first : columns.stop - first, rows] = tile.T
        keys[np.arange(last - first), np.arange(first, last)] = _SELF
        yield first, keys
    progress(total, total, "")


def _tile(layer: Centred, rows: slice, columns: slice, scale: float) -> NDArray[np.uint32]:
    """Squared distances of some rows from others, over `scale`, in single precision: its bits, which are in order."""
    sizes = layer.lengths[rows][:, None] + layer.lengths[columns]
    squares = sizes - 2.0 * products(layer, rows, columns)
    squares[squares <= _ROUNDING * sizes] = 0.0
    return (squares / scale).astype(np.float32).view(np.uint32)


def _kept(path: Path | None, shape: tuple[int, int]) -> NDArray[np.int64] | None:
    """What an interrupted call left of a layer."""
    state = None if path is None else read_state(path)
    fits = state is not None and len(state) == 1 and state[0].shape == shape and state[0].dtype == np.int64
    return state[0] if state is not None and fits else None


def _part_of(whole: Progress, place: int, count: int, done: int, total: int, note: str = "") -> None:
    """Tells how far one of `count` equal pieces is."""
    whole(place * 1000 + 1000 * done // max(1, total), count * 1000, note)
