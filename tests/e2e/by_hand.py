"""Slow versions of what the tables hold."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist


def digit_pixels(split: str) -> tuple[np.ndarray, np.ndarray]:
    from rra_cli.core.component import component

    samples = component("dataset", "digits")().load(split)
    return samples.images.reshape(len(samples.images), -1).astype(np.float64), samples.labels


def lists_of(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares of integers are exact, so ties go to the lower id here too."""
    distances = cdist(x, x, "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return ids, np.sqrt(np.take_along_axis(distances, ids, axis=1))


def twonn_of(x: np.ndarray) -> float:
    _, distances = lists_of(x, 2)
    kept = distances[:, 0] > 0
    return float(kept.sum() / np.log(distances[kept, 1] / distances[kept, 0]).sum())


def nncs_of(x: np.ndarray, labels: np.ndarray, k: int) -> float:
    return float((labels[lists_of(x, k)[0]] == labels[:, None]).mean())


def nnls_of(x: np.ndarray, y: np.ndarray, k: int) -> float:
    pairs = zip(lists_of(x, k)[0].tolist(), lists_of(y, k)[0].tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs]))
