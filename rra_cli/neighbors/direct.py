"""Distances by direct difference, accumulated in float64: what the nearest neighbours' order and r1, r2 rest on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 18  # elements of workspace per thread: what fits into a core's cache is fastest
_THREADED = 1 << 10  # features from which numpy's calls are long enough for threads to gain


def direct_distances(
    query: NDArray[Any],
    query_ids: NDArray[np.int64],
    reference: NDArray[Any],
    reference_ids: NDArray[np.int64],
    *,
    scale: float = 1.0,
    threads: int = 1,
    memory: int | None = None,
) -> NDArray[np.float64]:
    """The Euclidean distances of pairs of rows, times `scale` (a power of two), `(pairs,)` float64.

    Differences, squares and numpy's pairwise sum are taken in float64 without an expansion into norms, so the relative
    error is a few 1e-16 whatever the offset of the data. Every pair is computed in the same order of operations
    however the work is cut into blocks, so the result does not depend on threads, memory or device.
    """
    distances = np.empty(len(query_ids))
    features = query.shape[1]
    elements = _CHUNK if memory is None else min(_CHUNK, memory // (32 * threads))
    pairs = max(1, elements // features)

    def work(start: int, stop: int) -> None:
        a = np.empty((pairs, features), reference.dtype)
        b = np.empty((pairs, features), query.dtype)
        difference = np.empty((pairs, features))
        for at in range(start, stop, pairs):
            m = min(pairs, stop - at)
            np.take(reference, reference_ids[at : at + m], axis=0, out=a[:m], mode="clip")
            np.take(query, query_ids[at : at + m], axis=0, out=b[:m], mode="clip")
            if scale == 1.0:
                np.subtract(a[:m], b[:m], out=difference[:m], dtype=np.float64)
            else:  # before subtracting, which could overflow
                np.subtract(a[:m] * scale, b[:m] * scale, out=difference[:m], dtype=np.float64)
            np.multiply(difference[:m], difference[:m], out=difference[:m])
            np.add.reduce(difference[:m], axis=1, out=distances[at : at + m])

    if threads == 1 or features < _THREADED or len(query_ids) <= pairs:
        work(0, len(query_ids))
    else:
        bounds = np.linspace(0, len(query_ids), 4 * threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, bounds[:-1], bounds[1:]))
    return np.sqrt(distances, out=distances)
