"""How much two maps of layer similarities differ (NNLS_SIM): the mean Jensen-Shannon divergence of their cells.

Hryniowski 2024 (RRA thesis), eq. 5.2. Despite its name 0 means equal. The Jensen-Shannon divergence is one of
distributions, and a cell is one number: which distribution is meant has to be said. Handed to a library as a list of
one element, a cell is normalised to 1, and the result is 0 whatever the maps hold.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Definition = Literal["bernoulli", "unnormalised"]


def bernoulli_divergence(p: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of the distributions (p, 1 - p) and (q, 1 - q), in nats, element by element.

    p, q: probabilities of the same shape. In [0, log 2]; symmetric; 0 only where p = q.
    """
    one, other = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return unnormalised_divergence(one, other) + unnormalised_divergence(1.0 - one, 1.0 - other)


def unnormalised_divergence(p: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
    """(p log(p / m) + q log(q / m)) / 2, m = (p + q) / 2, element by element: the terms of the values themselves.

    p, q: at least 0, of the same shape. At least 0, since x log x is convex; 0 only where p = q.
    """
    one, other = np.asarray(p, np.float64), np.asarray(q, np.float64)
    mean = (one + other) / 2.0
    # Rounding may leave a difference of equal numbers just below 0.
    return np.maximum(0.5 * (_term(one, mean) + _term(other, mean)), 0.0)


def _term(value: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """value log(value / mean), 0 where value is 0."""
    ratio = np.divide(value, mean, out=np.ones_like(mean), where=value > 0)
    return value * np.log(ratio)


def nnls_sim(one: ArrayLike, other: ArrayLike, definition: Definition = "bernoulli") -> float:
    """The mean divergence over all cells of two maps of equal shape, the diagonal included (eq. 5.2).

    NaN where a cell of either has no value: a mean over other cells would be another quantity. Raises ValueError for
    maps of different shapes or without cells.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"two maps of the same shape are compared, got {a.shape} and {b.shape}")
    divergence = bernoulli_divergence if definition == "bernoulli" else unnormalised_divergence
    return float(divergence(a, b).mean())
