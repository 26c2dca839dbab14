"""Mean canonical correlations without one of the samples, in closed form to the first order (CCA and SVCCA).

In orthonormal bases Q_a, Q_b of sample space, with C = Q_a'Q_b and rows a_i, b_i, taking out sample i leaves the
covariances I - r a a', I - r b b' and C - r a b', r = n / (n - 1). The sum of squared correlations of these is exact.
The sum of correlations is the trace with the polar factor of C, which differs from the nuclear norm by terms of the
second order; the factors (I - r a a')^(-1/2) are exact, as samples weigh much where there are few for the directions.

Where directions are chosen by the variance they hold (SVCCA), they turn towards those left out as the samples change:
direction j of variance l_j towards k by y_ij y_ik / (l_j - l_k) (Anderson 1963, "Asymptotic theory for principal
component analysis", Ann. Math. Stat. 34). How many there are is taken as fixed. Between directions of about equal
variance that is no first order any more: gaps count as at least half of their standard error, our choice by coverage
(benchmarks/interval_coverage.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.reproducibility import derive_seed
from rra_cli.metrics.centred import forget
from rra_cli.metrics.jackknife import Spread, spread, unknown
from rra_cli.metrics.principal import Principal

Array = NDArray[np.float64]
# Samples that are left out one by one; of more a random part, which tells the standard error to 3 % or so.
MOST = 2000
_ROWS = 1024
# Gaps between variances count as at least so many of their standard errors, those of normal samples.
_SMALLEST_GAP = 0.5
# A sample whose direction is this much its own.
_ALONE = 1e-6


def canonical_spread(a: Principal, b: Principal, p: int, q: int, *, squares: bool) -> Spread:
    """Of the mean (squared) canonical correlation of the first p directions of a and the first q of b.

    Those beyond are what the first may turn to. None where p + q directions leave no freedom in n samples, or a sample
    has a direction for itself, which is gone without it.
    """
    n = len(a.q)
    if p + q >= n - 1:
        return unknown("as many directions as samples: some correlations are 1 whatever the layers are")
    crossed = _crossed(a.q, b.q)
    left, sizes, right = np.linalg.svd(crossed[:p, :q], full_matrices=False)
    order = np.random.RandomState(derive_seed(0, "jackknife", n) % 2**32).permutation(n)
    some = np.sort(order[:MOST])
    one, other = np.array(a.q[some]), np.array(b.q[some])
    weights = max(np.square(one[:, :p]).sum(axis=1).max(), np.square(other[:, :q]).sum(axis=1).max())
    if weights * n / (n - 1) > 1.0 - _ALONE:
        return unknown("some direction is that of one sample alone")
    sums = _without(one[:, :p], other[:, :q], left, sizes, right.T, n, squares=squares)
    # What the sum changes by where directions move: the polar factor, or twice C.
    polar = left @ (np.diag(2.0 * sizes) if squares else np.eye(len(sizes))) @ right
    turned = _turned(one, a.spectrum, p, crossed[p:, :q] @ polar.T, n)
    turned += _turned(other, b.spectrum, q, crossed[:p, q:].T @ polar, n)
    return spread((sums - n / (n - 1) * turned) / len(sizes), n)


def _without(a: Array, b: Array, left: Array, sizes: Array, right: Array, n: int, *, squares: bool) -> Array:
    """Sums of correlations or of their squares without one sample, `(m,)`, in the bases of all samples.

    a: `(m, p)`, b: `(m, q)`; left, sizes, right: the singular value decomposition of the product of the whole bases.
    """
    r, u, v = n / (n - 1), a @ left, b @ right
    one, other = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
    across = np.einsum("ij,ij,j->i", u, v, sizes)
    both = across - r * one * other  # a'(C - r a b')b
    if squares:
        of_a = np.einsum("ij,ij,j->i", u, u, sizes**2) - 2 * r * one * across + r**2 * one**2 * other
        of_b = np.einsum("ij,ij,j->i", v, v, sizes**2) - 2 * r * other * across + r**2 * other**2 * one
        first, second = r / (1 - r * one), r / (1 - r * other)
        whole = float(sizes @ sizes) - 2 * r * across + r**2 * one * other
        return np.asarray(whole + first * of_a + second * of_b + first * second * both**2)
    polar = np.einsum("ij,ij->i", u, v)
    first, second = _root(one, r), _root(other, r)
    of_a = np.einsum("ij,ij,j->i", u, u, sizes) - r * one * polar
    of_b = np.einsum("ij,ij,j->i", v, v, sizes) - r * other * polar
    return np.asarray(float(sizes.sum()) - r * polar + first * of_a + second * of_b + first * second * both * polar)


def _root(lengths: Array, r: float) -> Array:
    """s of (I - r a a')^(-1/2) = I + s a a', by |a|^2."""
    return np.asarray((1 / np.sqrt(1 - r * lengths) - 1) / np.maximum(lengths, 1e-300))


def _turned(rows: Array, spectrum: Array, p: int, gradient: Array, n: int) -> Array:
    """What each sample adds to the sum by turning the first p directions towards the others, `(m,)`.

    rows: `(m, r)` of the orthonormal basis. gradient: `(r - p, p)`, of the sum in the components of direction j along
    k.
    """
    near, far = spectrum[:p], spectrum[p : rows.shape[1], None]
    gaps = np.hypot(near - far, _SMALLEST_GAP * np.sqrt(2 / n) * np.hypot(near, far))
    weights = far / gaps * gradient
    return np.einsum("ij,ij->i", rows[:, p:] @ weights, rows[:, :p])


def _crossed(a: Array, b: Array) -> Array:
    """a' b, in blocks of rows, as the bases may lie on disk."""
    found = np.zeros((a.shape[1], b.shape[1]))
    for start in range(0, len(a), _ROWS):
        found += a[start : start + _ROWS].T @ b[start : start + _ROWS]
    for basis in (a, b):
        forget(basis)
    return found
