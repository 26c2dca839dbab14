"""The plane of the two largest principal components of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred

# The smaller of samples and features up to which the product is decomposed; beyond it the plane is iterated.
LARGEST = 2048
# Directions that are iterated, and at most how often; the two leading ones settle long before.
BLOCK, MOST = 32, 60
# Of the plane: the sine of the angle by which the last iteration turned it; a picture shows no less than 1e-3.
SETTLED = 1e-6


@dataclass(frozen=True, eq=False)
class Plane:
    """coordinates: `(n, 2)` around 0, the component of largest variance first. share: of all variance, in each, `(2,)`.
    angle: by which the plane may still be off, in radians; 0 where it is exact."""

    coordinates: NDArray[np.float64]
    share: NDArray[np.float64]
    angle: float = 0.0


def principal_plane(layer: Centred, *, seed: int = 0, progress: Progress = silent) -> Plane:
    """The two largest principal components; the samples must not coincide.

    Exact where the smaller of samples and features is at most 2048; else by subspace iteration of 32 directions (Halko,
    Martinsson, Tropp 2011, algorithm 4.4) until the plane stays, whose memory is that of `(n + d) x 32` numbers. Signs:
    the largest coordinate of a component is positive. A layer of one dimension has zeros in the second.
    """
    exact = min(layer.n, layer.d) <= LARGEST
    scores, angle = (_decomposed(layer), 0.0) if exact else _iterated(layer, seed, progress)
    scores = np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))
    scores *= np.where(scores[np.abs(scores).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    return Plane(scores, np.square(scores).sum(axis=0) / layer.total, angle)


def _decomposed(layer: Centred) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(layer.smaller_product())
    leading = vectors[:, ::-1][:, :2]
    if layer.d <= layer.n:
        return layer.times(leading)
    return np.asarray(leading * np.sqrt(np.maximum(values[::-1][:2], 0.0)))


def _iterated(layer: Centred, seed: int, progress: Progress) -> tuple[NDArray[np.float64], float]:
    random = np.random.RandomState(seed)  # its stream is frozen for good (NEP 19)
    basis = np.linalg.qr(layer.times(random.normal(size=(layer.d, BLOCK))))[0]
    plane, angle = np.zeros((layer.n, 2)), 1.0
    scores = plane
    for step in range(MOST):
        progress(step, MOST, "principal plane")
        onto = layer.transposed_times(basis)
        turn, sizes, _ = np.linalg.svd(onto.T, full_matrices=False)
        before, plane = plane, basis @ turn[:, :2]
        scores = plane * sizes[:2]
        # The part of the new plane that is not in the one before.
        angle = float(np.linalg.norm(plane - before @ (before.T @ plane), 2))
        if angle < SETTLED:
            break
        basis = np.linalg.qr(layer.times(np.linalg.qr(onto)[0]))[0]
    return scores, float(np.arcsin(min(1.0, angle)))
