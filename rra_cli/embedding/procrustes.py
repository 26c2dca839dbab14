"""Pictures turned upon one another, so that an eye can follow the samples from layer to layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def standardised(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """The picture `(n, 2)` around 0 with a mean squared radius of 1; rows of NaN stay, and so does a single point."""
    placed = np.isfinite(picture).all(axis=1)
    found = picture.copy()
    if placed.any():
        found[placed] -= found[placed].mean(axis=0)
        radius = float(np.sqrt(np.square(found[placed]).sum(axis=1).mean()))
        found[placed] /= radius if radius > 0 else 1.0
    return found


def aligned(picture: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standardised picture, rotated and mirrored to lie as near as it can on the reference, both `(n, 2)`.

    Orthogonal Procrustes (Schoenemann 1966) over the samples that both have placed: distances within the picture stay
    what they are in proportion to each other.
    """
    found = standardised(picture)
    both = np.isfinite(found).all(axis=1) & np.isfinite(reference).all(axis=1)
    if not both.any():
        return found
    a, b = (each[both] - each[both].mean(axis=0) for each in (found, reference))
    u, _, v = np.linalg.svd(a.T @ b)
    return np.asarray(found @ (u @ v))
