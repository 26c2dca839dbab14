"""Linear HSIC and CKA: by kernel matrices, by permutations, and what must and must not change them."""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import numpy as np
import pytest

from rra_cli.metrics import linear_products as products_module
from rra_cli.metrics.centred import Centred
from rra_cli.metrics.hsic import cka_pairs, hsic_pairs, linear_cka, linear_hsic
from rra_cli.metrics.linear_products import linear_products
from rra_cli.neighbors.graph import InputError

RNG = np.random.default_rng


def layers(n: int = 30) -> list[np.ndarray]:
    rng = RNG(0)
    x = rng.normal(size=(n, 4)) * [3.0, 1.0, 1.0, 0.2] + 5.0
    return [x, np.tanh(x @ rng.normal(size=(4, 9))), rng.normal(size=(n, 50))]


def kernel_products(every: list[np.ndarray]) -> np.ndarray:
    """<HKH, HLH> of all pairs by n x n matrices."""
    n = len(every[0])
    centring = np.eye(n) - 1.0 / n
    kernels = [centring @ (x @ x.T) @ centring for x in every]
    return np.array([[np.vdot(k, other) for other in kernels] for k in kernels])


@pytest.mark.parametrize("n", [7, 30, 200])  # more features than samples, about as many, fewer
@pytest.mark.parametrize("small", [False, True])
def test_products_are_those_of_the_kernels(n: int, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over samples and over features, in one tile or in many."""
    if small:
        monkeypatch.setattr(products_module, "PANEL", 5)
        monkeypatch.setattr(products_module, "TILES", 40)
        monkeypatch.setattr(products_module, "ROWS", 60)
    every = layers(n)
    expected = kernel_products(every)
    for measure in (products_module._over_samples, products_module._over_features):
        found = measure([Centred(x) for x in every], lambda *_: None)
        np.testing.assert_allclose(found, expected, rtol=1e-11)
    lengths = linear_products([Centred(x) for x in every]).lengths
    np.testing.assert_allclose(lengths[0], ((every[0] - every[0].mean(axis=0)) ** 2).sum(axis=1), rtol=1e-12)


def test_unbiased_hsic_is_its_own_mean_over_quadruples() -> None:
    """Song et al. 2012, eq. 4: the mean of a kernel over all ordered quadruples of different samples; n = 6."""
    rng = RNG(1)
    x, y = rng.normal(size=(6, 2)) + 3.0, rng.normal(size=(6, 3))
    k, other = x @ x.T, y @ y.T
    expected = np.mean(
        [
            k[i, j] * other[i, j] + k[i, j] * other[q, r] - 2 * k[i, j] * other[i, q]
            for i, j, q, r in permutations(range(6), 4)
        ]
    )
    assert float(linear_hsic(x, y, estimator="unbiased")) == pytest.approx(expected, rel=1e-10)
    assert abs(float(linear_hsic(x, y)) - expected) > 1e-3


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("of", [linear_hsic, linear_cka])
def test_chance_is_the_mean_over_all_permutations(of, estimator) -> None:
    """Exact, by all 720 permutations of six samples; control: the value itself is elsewhere."""
    rng = RNG(2)
    x = rng.normal(size=(6, 3))
    y = x[:, :2] + 0.1 * rng.normal(size=(6, 2))
    found = [float(of(x, y[list(order)], estimator=estimator)) for order in permutations(range(6))]
    estimate = of(x, y, estimator=estimator)
    assert np.mean(found) == pytest.approx(estimate.chance, rel=1e-10, abs=1e-12)
    assert abs(float(estimate) - estimate.chance) > 0.1 * abs(float(estimate))


def rotation(d: int) -> np.ndarray:
    return np.linalg.qr(RNG(3).normal(size=(d, d)))[0]


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_invariances(estimator) -> None:
    """CKA: rotation, shift, scale. HSIC: rotation and shift; a factor c gives c^2. Controls: a stretched axis."""
    x, y, _ = layers()
    moved = 10.0 * x @ rotation(4) - 100.0
    cka, hsic = (float(of(x, y, estimator=estimator)) for of in (linear_cka, linear_hsic))
    assert float(linear_cka(moved, y, estimator=estimator)) == pytest.approx(cka, rel=1e-9)
    assert float(linear_hsic(moved, y, estimator=estimator)) == pytest.approx(100.0 * hsic, rel=1e-9)
    assert float(linear_cka(x, moved, estimator=estimator)) == pytest.approx(1.0, rel=1e-12)
    stretched = x * [1.0, 30.0, 1.0, 1.0]
    assert abs(float(linear_cka(stretched, y, estimator=estimator)) - cka) > 0.01
    assert float(linear_cka(x, stretched, estimator=estimator)) < 0.9


def test_debiasing_matters_where_features_outnumber_samples() -> None:
    """Unrelated layers of 500 features and 50 samples: biased CKA near 1 - its chance says so; unbiased near 0."""
    rng = RNG(4)
    x, y = rng.normal(size=(50, 500)), rng.normal(size=(50, 500))
    biased, unbiased = linear_cka(x, y), linear_cka(x, y, estimator="unbiased")
    assert float(biased) > 0.85
    assert float(biased) == pytest.approx(biased.chance, abs=0.01)
    assert abs(float(unbiased)) < 0.05


def test_closed_forms() -> None:
    """K of +-1 in one dimension: HSIC = n^2 / (n - 1)^2. Orthogonal designs: 0. Half of the variance shared."""
    a, b = np.tile([1.0, 1.0, -1.0, -1.0], 5)[:, None], np.tile([1.0, -1.0, 1.0, -1.0], 5)[:, None]
    assert float(linear_hsic(a, a)) == pytest.approx((20 / 19) ** 2)
    assert float(linear_hsic(a, b)) == pytest.approx(0.0, abs=1e-15)
    assert float(linear_cka(a, np.hstack([a, b]))) == pytest.approx(0.5**0.5)


def test_pairs_are_symmetric_and_collapsed_layers_have_a_reason() -> None:
    every = [*layers(), np.full((30, 3), 7.1)]
    for found in (hsic_pairs(every), cka_pairs(every), cka_pairs(every, estimator="unbiased")):
        assert len(found) == 16
        assert all(float(found[a, b]) == float(found[b, a]) for a in range(3) for b in range(3))
        assert all("collapsed" in found[a, 3].reason and "collapsed" in found[3, a].reason for a in range(4))
    assert "4 samples" in linear_hsic(every[0][:3], every[1][:3], estimator="unbiased").reason


def test_half_precision_and_offsets_lose_nothing() -> None:
    """float16 values are exact in float64; a common offset of 1e4 leaves nine digits."""
    x, y, _ = (layer.astype(np.float16) for layer in layers())
    assert float(linear_cka(x, y)) == float(linear_cka(x.astype(np.float64), y.astype(np.float64)))
    x, y, _ = layers()
    assert float(linear_cka(x + 1e4, y)) == pytest.approx(float(linear_cka(x, y)), rel=1e-9)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"same samples.*\(30, 4\), \(29, 9\)"):
        linear_cka(layers()[0], layers()[1][:-1])
    with pytest.raises(InputError, match="biased, unbiased"):
        linear_hsic(*layers()[:2], estimator="debiased")  # type: ignore[arg-type]


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("power", [126, -140])
def test_cka_has_no_unit_at_the_ends_of_float32(estimator: Literal["biased", "unbiased"], power: int) -> None:
    """The eighth powers of values of 2^126 and 2^-140 are no numbers; HSIC, of fourth powers, is scaled by them."""
    x, y = RNG(7).normal(size=(20, 3)), RNG(8).normal(size=(20, 4))
    large = [np.ldexp(each, power) for each in (x, y)]
    expected, found = cka_pairs([x, y], estimator=estimator), cka_pairs(large, estimator=estimator)
    for pair in expected:
        assert found[pair].value == pytest.approx(expected[pair].value, rel=1e-12)
        assert found[pair].chance == pytest.approx(expected[pair].chance, rel=1e-12)
    own = hsic_pairs(large, estimator=estimator)[0, 1].value
    assert own == pytest.approx(np.ldexp(hsic_pairs([x, y], estimator=estimator)[0, 1].value, 4 * power), rel=1e-12)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_values_beyond_float32_are_told(factor: float) -> None:
    x = RNG(9).normal(size=(20, 3)) + 2.0
    found = hsic_pairs([x, factor * x])
    assert found[0, 0].value > 0.0
    assert np.isnan(found[0, 1].value)
    assert "beyond the range of float32; scale the layer" in found[0, 1].reason
