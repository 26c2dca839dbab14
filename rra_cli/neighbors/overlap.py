"""How many neighbours two layers share, for all pairs of layers in one pass over the samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.graph import InputError, NeighborGraph

_WORKSPACE = 1 << 23  # bytes of bitsets at a time: what stays in a core's cache is fastest


def check_comparable(graphs: Sequence[NeighborGraph]) -> None:
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


def intersection_blocks(
    graphs: Sequence[NeighborGraph], k: int | None = None
) -> Iterator[tuple[slice, NDArray[np.int32]]]:
    """Blocks of samples with the size of the common part of every pair of layers' k nearest neighbours.

    Yields (samples, counts `(layers, layers, samples)` int32); symmetric, k on the diagonal. Every layer's list is a
    row of bits, one for each id: and, then count. A block needs about 8 MB whatever n is, but the work grows with
    n * n_reference / 64 * layers^2 / 2.
    """
    check_comparable(graphs)
    k = graphs[0].k if k is None else k
    if not 1 <= k <= graphs[0].k:
        raise InputError(f"k must lie in 1..{graphs[0].k}, got {k}")
    layers, n = len(graphs), len(graphs[0])
    words = -(-graphs[0].n_reference // 64)
    rows = max(1, _WORKSPACE // (8 * words * (layers + 1)))
    for start in range(0, n, rows):
        samples = slice(start, min(n, start + rows))
        bits = np.stack([_bits(graph.indices[samples, :k], words) for graph in graphs])
        counts = np.full((layers, layers, bits.shape[1]), k, np.int32)
        for a in range(layers):
            for b in range(a):
                shared = np.bitwise_count(bits[a] & bits[b]).sum(axis=1, dtype=np.int32)
                counts[a, b] = counts[b, a] = shared
        yield samples, counts


def intersections(graphs: Sequence[NeighborGraph], k: int | None = None) -> NDArray[np.int32]:
    """The counts of `intersection_blocks` of all samples at once, `(layers, layers, n)` int32."""
    return np.concatenate([counts for _, counts in intersection_blocks(graphs, k)], axis=2)


def _bits(ids: NDArray[np.integer], words: int) -> NDArray[np.uint64]:
    """Row sets as bits: `(rows, k)` distinct ids to `(rows, words)` uint64."""
    bits = np.zeros(len(ids) * words, np.uint64)
    word = np.arange(len(ids))[:, None] * words + (ids >> 6)
    # The ids of a row are distinct, so adding their bits is the same as "or", for which numpy has no fast loop.
    np.add.at(bits, word.ravel(), np.uint64(1) << (ids & 63).ravel().astype(np.uint64))
    return bits.reshape(len(ids), words)
