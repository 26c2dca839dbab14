"""What canonical correlations of unrelated subspaces are in the mean: chance levels of CCA and SVCCA."""

from __future__ import annotations

from math import exp, lgamma

import numpy as np


def mean_square_chance(p: int, q: int, n: int) -> float:
    """The mean squared correlation of unrelated subspaces of p and q dimensions: max(p, q) / (n - 1), at most 1.

    Exact, as the mean over permutations of the n centred samples.
    """
    return min(1.0, max(p, q) / (n - 1))


def mean_chance(p: int, q: int, n: int) -> float:
    """The mean correlation of unrelated subspaces of p and q of n - 1 dimensions, uniformly drawn.

    One direction against q: exact (a squared correlation is Beta distributed). Else Wachter's limit law (1980, "The
    limiting empirical measure of multiple discriminant ratios", Ann. Stat. 8), right to 1 % from about ten dimensions.
    """
    p, q, size = min(p, q), max(p, q), n - 1
    if q >= size:
        return 1.0
    if p == 1:
        return exp(lgamma((q + 1) / 2) + lgamma(size / 2) - lgamma(q / 2) - lgamma((size + 1) / 2))
    x, y = p / size, q / size
    middle, radius = x + y - 2 * x * y, 2 * float(np.sqrt(x * y * (1 - x) * (1 - y)))
    # The density is sqrt((t - low) (high - t)) / (2 pi x t (1 - t)): Gauss-Chebyshev quadrature of the second kind.
    angles = np.arange(1, 20_001) * np.pi / 20_001
    t = np.clip(middle + radius * np.cos(angles), 1e-300, 1 - 1e-16)
    weights = radius**2 * np.sin(angles) ** 2 * np.pi / 20_001
    continuous = float(np.sum(weights * np.sqrt(t) / (2 * np.pi * x * t * (1 - t))))
    return min(1.0, continuous + max(0.0, (x + y - 1) / x))
