"""Baselines and hubness against implementations that share nothing with ours: scipy, and the released formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import skew

from rra_cli.metrics.canonical import cca, svcca
from rra_cli.metrics.hsic import linear_cka
from rra_cli.metrics.hubness import hubness
from rra_cli.neighbors import exact_neighbors

N = 400


def layers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 12)) @ rng.normal(size=(12, 40)) + 0.2 * rng.normal(size=(N, 40))
    return (x + 3.0).astype(np.float32), np.tanh(x @ rng.normal(size=(40, 25)) / 4).astype(np.float32)


def released_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool) -> float:
    """By n x n matrices centred as the authors' colab does, `center_gram` with and without `unbiased`."""

    def centred(gram: np.ndarray) -> np.ndarray:
        n = len(gram)
        if not debiased:
            means = gram.mean(axis=0)
            means -= means.mean() / 2
            return gram - means[:, None] - means[None]
        gram = gram - np.diag(np.diag(gram))
        means = gram.sum(axis=0) / (n - 2)
        means -= means.sum() / (2 * (n - 1))
        gram = gram - means[:, None] - means[None]
        np.fill_diagonal(gram, 0)
        return gram

    a, b = (centred(z.astype(np.float64) @ z.astype(np.float64).T) for z in (x, y))
    return float(np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_cka_is_that_of_the_released_code() -> None:
    x, y = layers()
    for pair in ((x, y), (x[:30], y[:30])):  # fewer features than samples, and more
        assert float(linear_cka(*pair)) == pytest.approx(released_cka(*pair, debiased=False), rel=1e-9)
        debiased = float(linear_cka(*pair, estimator="unbiased"))
        assert debiased == pytest.approx(released_cka(*pair, debiased=True), rel=1e-9)


def test_canonical_correlations_are_cosines_of_subspace_angles() -> None:
    """scipy's principal angles, of all columns and of the leading ones of a singular value decomposition."""
    x, y = (z.astype(np.float64) - z.astype(np.float64).mean(axis=0) for z in layers())
    assert float(cca(x, y)) == pytest.approx(np.cos(subspace_angles(x, y)).mean(), rel=1e-7)
    leading = []
    for z in (x, y):
        u, s, _ = np.linalg.svd(z, full_matrices=False)
        leading.append(u[:, : 1 + int(np.argmax(np.cumsum(s**2) >= 0.99 * (s**2).sum()))])
    assert leading[0].shape[1] < 40
    assert float(svcca(*layers())) == pytest.approx(np.cos(subspace_angles(*leading)).mean(), rel=1e-7)


def test_hubness_is_scipys_skewness_of_brute_force_counts() -> None:
    x, _ = layers()
    distances = ((x[:, None].astype(np.float64) - x[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    counts = np.bincount(np.argsort(distances, axis=1)[:, :10].ravel(), minlength=N)
    assert float(hubness(exact_neighbors(x, 10))) == pytest.approx(skew(counts), rel=1e-10)
