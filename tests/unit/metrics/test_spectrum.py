"""The spectrum of a covariance: closed forms, numpy's own, and what must not change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rra_cli.metrics import spectrum
from rra_cli.metrics.metric import LayerData
from rra_cli.metrics.spectrum import (
    SingularValues,
    collapsed_dimensions,
    covariance_spectrum,
    effective_rank,
)
from rra_cli.neighbors.graph import InputError
from rra_cli.training import figures


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def measured(x: np.ndarray, metric: SingularValues | None = None):
    return (metric or SingularValues()).measure(LayerData(None, None, x))


@pytest.mark.parametrize(("n", "d"), [(50, 7), (7, 50), (20, 20), (3, 1)])
def test_eigenvalues_are_those_of_numpys_covariance(n: int, d: int) -> None:
    """From the smaller product and in small blocks; np.cov divides by n - 1."""
    x = normal(n, d) * np.arange(1, d + 1)
    expected = np.sort(np.linalg.eigvalsh(np.atleast_2d(np.cov(x.T))))[::-1][: min(n, d)] * (n - 1) / n
    np.testing.assert_allclose(covariance_spectrum(x), expected, rtol=1e-9, atol=1e-12 * expected[0])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for n, d in ((50, 7), (7, 50)):
        x = normal(n, d)
        for normalise in (False, True):
            whole = covariance_spectrum(x, normalise=normalise)
            with monkeypatch.context() as patched:
                patched.setattr(spectrum, "BLOCK", 23)
                np.testing.assert_allclose(covariance_spectrum(x, normalise=normalise), whole, rtol=1e-9, atol=1e-13)


def test_singular_values_of_known_shape() -> None:
    """Points at ± a_i on d axes: the covariance is diagonal with a_i^2 / d."""
    sizes = np.array([3.0, 2.0, 0.5])
    x = np.concatenate([np.diag(sizes), -np.diag(sizes)])
    np.testing.assert_allclose(covariance_spectrum(x), sizes**2 / 3, rtol=1e-12)


def test_the_effective_rank_has_its_closed_forms() -> None:
    """d equal values: d. One: 1. Shares 1/2, 1/4, 1/4: exp of 1.5 ln 2."""
    assert effective_rank(np.full(6, 0.3)) == pytest.approx(6)
    assert effective_rank(np.array([5.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_rank(np.array([2.0, 1.0, 1.0])) == pytest.approx(math.exp(1.5 * math.log(2)))
    assert math.isnan(effective_rank(np.zeros(3)))


def test_it_is_the_figure_of_the_training_history() -> None:
    """Two implementations of one definition, in numpy and torch."""
    for x in (normal(40, 6) * [5, 3, 1, 1, 0.1, 0], normal(6, 40)):
        assert measured(x).value == pytest.approx(figures.effective_rank(torch.from_numpy(x)), rel=1e-9)


def test_rotation_shift_and_scale_leave_the_effective_rank() -> None:
    """And stretching one axis does not (negative control); the spectrum itself scales with the square."""
    x = normal(60, 5) * [3, 2, 1, 1, 0.5]
    rotation, _ = np.linalg.qr(normal(5, 5, seed=1))
    moved = 7.0 * x @ rotation + 1e4
    assert measured(moved).value == pytest.approx(measured(x).value, rel=1e-6)
    np.testing.assert_allclose(covariance_spectrum(moved), 49 * covariance_spectrum(x), rtol=1e-6)
    assert measured(x * [10, 1, 1, 1, 1]).value < 0.7 * measured(x).value


def test_a_large_offset_costs_no_digits() -> None:
    x = normal(500, 4).astype(np.float32)
    far = x.astype(np.float64) + 1e6
    np.testing.assert_allclose(covariance_spectrum(far), covariance_spectrum(x), rtol=1e-7)


def test_normalised_rows_lie_on_the_sphere() -> None:
    x = normal(80, 6) + 2.0
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    metric = SingularValues(normalise=True)
    lengths = np.random.default_rng(3).uniform(0.1, 9.0, size=(80, 1))
    assert measured(x * lengths, metric).value == pytest.approx(measured(unit).value, rel=1e-9)
    assert measured(x * lengths).value != pytest.approx(measured(unit).value, rel=1e-3)
    np.testing.assert_allclose(covariance_spectrum(x, normalise=True).sum(), 1 - (unit.mean(axis=0) ** 2).sum())
    assert np.isfinite(covariance_spectrum(np.concatenate([x, np.zeros((1, 6))]), normalise=True)).all()


def test_collapsed_dimensions_are_counted() -> None:
    """Ten features of which three vary: seven are collapsed; a linear layer of rank 3 hides none of that."""
    x = np.zeros((200, 10))
    x[:, :3] = normal(200, 3)
    rotation, _ = np.linalg.qr(normal(10, 10, seed=1))
    for layer in (x, x @ rotation):
        estimate = measured(layer)
        assert int(estimate.details["collapsed_dimensions"]) == 7
        assert 2.5 < estimate.value <= 3
    assert int(measured(normal(200, 10)).details["collapsed_dimensions"]) == 0
    assert collapsed_dimensions(np.array([1.0, 0.1, 0.01]), 0.1) == 2


def test_fewer_samples_than_features_are_no_collapse() -> None:
    """n samples span n - 1 dimensions around their mean."""
    estimate = measured(normal(6, 40))
    assert int(estimate.details["collapsed_dimensions"]) == 0
    assert estimate.value <= 5


def test_details_of_all_layers_have_one_shape() -> None:
    shapes = {measured(normal(30, d)).details["spectrum"].shape for d in (2, 30, 90)}
    assert shapes == {(spectrum.KEPT,)}
    kept = measured(normal(30, 4)).details["spectrum"]
    assert np.isnan(kept[4:]).all()
    assert (np.diff(kept[:4]) <= 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e8])
def test_samples_that_coincide_have_no_rank(value: float) -> None:
    estimate = measured(np.full((30, 5), value))
    assert math.isnan(estimate.value)
    assert "all 30 samples coincide" in estimate.reason


def test_one_that_differs_is_no_collapse() -> None:
    """Negative control: rounding is not taken for variation, nor a small variation for rounding."""
    x = np.full((30, 5), 0.1, np.float32)
    x[0, 0] = np.nextafter(np.float32(0.1), np.float32(1))
    assert measured(x).value == pytest.approx(1)


def test_too_many_of_both_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "LARGEST", 8)
    with pytest.raises(InputError, match="9 samples of 10 features: the smaller of the two may be 8 at most"):
        covariance_spectrum(normal(9, 10))
    estimate = measured(normal(9, 10))
    assert math.isnan(estimate.value)
    assert "activations.reduce=8" in estimate.reason
    assert not math.isnan(measured(normal(9, 8)).value)


def test_impossible_tolerances_are_refused() -> None:
    for tolerance in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="it is a fraction of the largest eigenvalue"):
            SingularValues(tolerance=tolerance)
