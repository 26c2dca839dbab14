"""How sure the share of the variance is that the first k principal components hold, and so how many hold a share.

A sample x adds (u_j'x)^2 - l_j to the eigenvalue l_j of direction u_j to the first order (Anderson 1963, "Asymptotic
theory for principal component analysis", Ann. Math. Stat. 34), and so [sum_j<=k (u_j'x)^2 - s_k |x|^2] / tr C to the
share s_k. The number of components is where the curve of shares, moved up or down by its error, crosses the share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.centred import Centred, slices
from rra_cli.metrics.jackknife import FEWEST_DECIDE, FEWEST_SAMPLES, NONE, Spread

Array = NDArray[np.float64]
_ROWS = 1024


def share_curve(layer: Centred) -> Array:
    """`(3, r)`: of the first k = 1..r = min(n, d) components the share of the variance, its standard error, and by how
    many samples that is decided (`Spread.decide`). The layer's samples must not coincide.
    """
    values, vectors = np.linalg.eigh(layer.smaller_product())
    spectrum, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    share = np.cumsum(spectrum) / spectrum.sum()
    second, fourth = np.zeros(len(spectrum)), np.zeros(len(spectrum))
    for rows in slices(layer.n, _ROWS):
        along = layer.rows(rows) @ vectors if layer.d <= layer.n else vectors[rows] * np.sqrt(spectrum)
        held = np.square(along, out=along)
        np.cumsum(held, axis=1, out=held)
        squares = np.square((held - share * held[:, -1:]) / layer.total)
        second += squares.sum(axis=0)
        fourth += np.square(squares).sum(axis=0)
    there = second > (1e-12 / layer.n) ** 2
    decide = np.where(there, second, 1.0) ** 2 / np.where(there, fourth, 1.0)
    return np.stack([share, np.sqrt(np.where(there, second, 0.0)), np.where(there, decide, layer.n)])


def decided_by(curve: Array, share: float) -> float:
    """How many samples decide the share at the number of components that hold it."""
    return float(curve[2, _reached(curve[0], share)])


def components_between(curve: Array, share: float, n: int, level: float) -> tuple[float, float]:
    """Both ends, whole numbers, of the interval of how many components hold the share, of n samples; see `share_curve`.

    NaN where fewer than ten samples decide, or there are fewer than fifty.
    """
    found, errors, _ = curve
    decide = decided_by(curve, share)
    if n < FEWEST_SAMPLES or decide < FEWEST_DECIDE:
        return NONE
    reach = Spread(1.0, decide, n).reach(level) * errors
    return float(_reached(found + reach, share) + 1), float(_reached(found - reach, share) + 1)


def _reached(curve: Array, share: float) -> int:
    """The first place at which it is there; the last where it never is."""
    reached = curve >= share * (1.0 - 1e-12)
    return int(np.argmax(reached)) if reached.any() else len(curve) - 1
