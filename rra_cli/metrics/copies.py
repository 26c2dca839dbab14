"""How far samples move when they are altered: the distance between a sample and its copy, in one layer.

Distances in a layer have no unit, so they are divided by the mean distance of two different samples: 0 is a layer that
is invariant to the alteration, 1 one in which a sample's copy is as far from it as any other sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.estimate import Estimate, standard_error, undefined

# Numbers of a block of samples of one array: 32 MB in float64.
BLOCK = 1 << 22
# Of the random pairs: the same in all layers, models and alterations.
SEED = 0


@dataclass(frozen=True)
class Pairs:
    """Of every sample `(n,)`, all float64, with x_i a sample, y_i its copy and j(i) another sample drawn at random.

    paired: |x_i - y_i|. mismatched: |x_i - y_j|. apart: |x_i - x_j|. cosine, cosine_mismatched: cos(x_i, y_i) and
    cos(x_i, y_j), NaN where one of the two is 0.
    """

    paired: NDArray[np.float64]
    mismatched: NDArray[np.float64]
    apart: NDArray[np.float64]
    cosine: NDArray[np.float64]
    cosine_mismatched: NDArray[np.float64]


def compare_copies(
    samples: NDArray[np.floating], copies: NDArray[np.floating], progress: Progress = silent
) -> dict[str, Estimate]:
    """`copy_distance`, `copy_distance_median` and `copy_cosine` of activations `(n, d)` and those of their copies.

    copy_distance: mean |x_i - y_i| / mean |x_i - x_j|, 0 for equal copies; std_error: of a ratio of means (delta
    method). copy_distance_median: the median of the numerator instead, which a few samples that move far do not change.
    copy_cosine: mean cos(x_i, y_i), 1 for copies of equal direction. chance: the same with the copy of another sample,
    drawn at random. Without a value where all samples coincide.
    """
    pairs = measure_pairs(samples, copies, progress)
    n, scale = len(pairs.apart), float(pairs.apart.mean())
    if scale == 0:
        reason = f"all {n} samples coincide (a collapsed layer)"
        return {name: undefined(reason) for name in ("copy_distance", "copy_distance_median", "copy_cosine")}
    ratio = float(pairs.paired.mean()) / scale
    known = ~np.isnan(pairs.cosine)
    cosine = undefined("all samples, or all of their copies, are 0 in this layer")
    if known.any():
        cosine = Estimate(
            float(pairs.cosine[known].mean()),
            std_error=standard_error(pairs.cosine[known]),
            chance=_mean(pairs.cosine_mismatched),
            n_used=int(known.sum()),
        )
    return {
        "copy_distance": Estimate(
            ratio,
            std_error=standard_error(pairs.paired - ratio * pairs.apart) / scale,
            chance=float(pairs.mismatched.mean()) / scale,
            n_used=n,
        ),
        "copy_distance_median": Estimate(
            float(np.median(pairs.paired)) / scale, chance=float(np.median(pairs.mismatched)) / scale, n_used=n
        ),
        "copy_cosine": cosine,
    }


def measure_pairs(samples: NDArray[np.floating], copies: NDArray[np.floating], progress: Progress = silent) -> Pairs:
    """Distances and cosines of activations `(n, d)` and their copies, read in blocks; row i of both is one sample.

    Raises ValueError for arrays that do not belong together, or for fewer than two samples.
    """
    if samples.shape != copies.shape or samples.ndim != 2 or len(samples) < 2:
        raise ValueError(f"expected two arrays of the same n >= 2 samples, got {samples.shape} and {copies.shape}")
    n, d = samples.shape
    other = partners(n)
    found = np.empty((5, n))
    for start, stop in _blocks(n, d):
        x, y = (np.asarray(array[start:stop], np.float64) for array in (samples, copies))
        # In the order of the file, which is on a disk.
        order = np.argsort(other[start:stop])
        back = np.argsort(order)
        place = other[start:stop][order]
        x_other, y_other = (np.asarray(array[place], np.float64)[back] for array in (samples, copies))
        found[:, start:stop] = (
            _lengths(x - y),
            _lengths(x - y_other),
            _lengths(x - x_other),
            _cosines(x, y),
            _cosines(x, y_other),
        )
        progress(stop, n, "")
    return Pairs(*found)


def partners(n: int) -> NDArray[np.int64]:
    """Another sample for every one of n, each drawn once: the next one on a seeded circle through all of them."""
    circle = np.random.RandomState(SEED).permutation(n)
    found = np.empty(n, np.int64)
    found[circle] = np.roll(circle, -1)
    return found


def _blocks(n: int, d: int) -> Iterator[tuple[int, int]]:
    step = max(1, BLOCK // max(1, d))
    for start in range(0, n, step):
        yield start, min(n, start + step)


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))


def _cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = _lengths(a) * _lengths(b)
    products = np.einsum("ij,ij->i", a, b)
    return np.divide(products, lengths, out=np.full(len(a), np.nan), where=lengths > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
