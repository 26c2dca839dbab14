"""How sure the share of the variance is that components hold."""

from __future__ import annotations

import numpy as np
import pytest

from rra_cli.metrics.centred import Centred
from rra_cli.metrics.pca_dimension import pca_dimension
from rra_cli.metrics.share_error import components_between, decided_by, share_curve

RNG = np.random.default_rng


def shares(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cumulative shares of the variance of the law that gives sample i the mass w_i."""
    w = weights / weights.sum()
    rows = (x - w @ x) * np.sqrt(w)[:, None]
    values = np.linalg.svd(rows, compute_uv=False) ** 2
    return np.cumsum(values) / values.sum()


@pytest.mark.parametrize("shape", [(120, 5), (60, 90)])
def test_errors_are_those_of_the_derivatives_in_the_weights(shape: tuple[int, int]) -> None:
    n, d = shape
    x = RNG(0).normal(size=shape) * 1.3 ** -np.arange(d) + 1.0
    curve = share_curve(Centred(x))
    np.testing.assert_allclose(curve[0, :5], shares(x, np.ones(n))[:5], rtol=1e-9)
    change, slopes = 1e-5, []
    for at in range(n):
        more, less = np.ones(n), np.ones(n)
        more[at], less[at] = 1 + change, 1 - change
        slopes.append((shares(x, more) - shares(x, less)) / (2 * change))
    expected = np.sqrt(np.square(slopes).sum(axis=0))
    np.testing.assert_allclose(curve[1, :4], expected[:4], rtol=1e-4)
    squares = np.square(slopes)[:, 1]
    assert curve[2, 1] == pytest.approx(squares.sum() ** 2 / (squares @ squares), rel=1e-3)


def test_the_last_share_is_sure() -> None:
    curve = share_curve(Centred(RNG(1).normal(size=(80, 4))))
    np.testing.assert_allclose(curve[:, -1], [1.0, 0.0, 80.0])
    assert (curve[1, :-1] > 0).all()


def test_ends_are_where_the_moved_curves_reach_the_share() -> None:
    found = np.array([0.5, 0.78, 0.83, 0.88, 0.95, 1.0])
    curve = np.stack([found, np.full(6, 0.02), np.full(6, 1e4)])
    curve[1, -1] = 0.0
    assert components_between(curve, 0.8, 10_000, 0.95) == (2.0, 4.0)
    assert components_between(curve, 0.8, 10_000, 0.5) == (3.0, 3.0)
    assert components_between(curve, 0.98, 10_000, 0.95) == (5.0, 6.0)
    assert np.isnan(components_between(curve, 0.8, 49, 0.95)).all()
    curve[2] = 9.0
    assert decided_by(curve, 0.8) == 9.0
    assert np.isnan(components_between(curve, 0.8, 10_000, 0.95)).all()


def test_it_holds_the_value() -> None:
    for seed in range(10):
        x = RNG(seed).normal(size=(300, 30)) * 1.2 ** -np.arange(30)
        low, high = components_between(share_curve(Centred(x)), 0.9, 300, 0.95)
        assert low <= pca_dimension(x).value <= high
