"""NNCS for many numbers of neighbours from one graph, and where every other sample is a neighbour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.metrics.estimate import Estimate, standard_error

_AT_A_TIME = 1 << 22  # neighbours that are looked at together


def same_class_counts(indices: NDArray[np.integer], codes: NDArray[np.int64], ks: Sequence[int]) -> NDArray[np.int64]:
    """How many of the first k neighbours have the sample's own class: `(n, len(ks))`.

    indices: `(n, k)` neighbours, nearest first, k at least the largest of `ks`; a memory map is read once, in blocks of
    samples. codes: `(n,)` classes. ks: ascending, each once.
    """
    counts = np.empty((len(indices), len(ks)), np.int64)
    if not len(ks):
        return counts
    starts = np.array([0, *ks[:-1]])
    step = max(1, _AT_A_TIME // ks[-1])
    for at in range(0, len(indices), step):
        rows = slice(at, min(len(indices), at + step))
        same = codes[indices[rows, : ks[-1]]] == codes[rows, None]
        # Sums between one k and the next, then added up: a cumulative sum would write as many numbers as it reads.
        counts[rows] = np.add.reduceat(same, starts, axis=1, dtype=np.int64).cumsum(axis=1)
    return counts


def purity(counts: NDArray[np.int64], codes: NDArray[np.int64], k: int, *, class_balanced: bool = False) -> Estimate:
    """NNCS from the neighbours of a sample's own class, `(n,)` of k each; the values are those of `nncs`.

    codes: `(n,)` classes. class_balanced: the mean of the classes' means.
    """
    classes, places, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    fractions, n = counts / k, len(codes)
    chances = (sizes - 1) / (n - 1)
    if not class_balanced:
        chance = float(sizes @ chances / n)
        return Estimate(float(fractions.mean()), std_error=standard_error(fractions), chance=chance, n_used=n)
    means = np.bincount(places, fractions, len(classes)) / sizes
    errors = [standard_error(fractions[places == place]) for place in range(len(classes))]
    error = float(np.sqrt(np.sum(np.square(errors))) / len(classes))
    return Estimate(float(means.mean()), std_error=error, chance=float(chances.mean()), n_used=n)


def purity_of_all(labels: ArrayLike, *, class_balanced: bool = False) -> Estimate:
    """NNCS at k = N - 1, where every other sample is a neighbour: the chance level, of any layer; no graph is needed.

    labels: `(n,)`. std_error: as for other k, of the fractions of the samples; 0 for classes of equal size.
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64)
    others = np.bincount(codes)[codes] - 1
    return purity(others, codes, len(codes) - 1, class_balanced=class_balanced)
