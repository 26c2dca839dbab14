"""Permutation moments of HSIC, CKA and CCA: by all permutations, by published formulas, and their p-values."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import pearson3

from rra_cli.metrics import kernel_sums as sums_module
from rra_cli.metrics import sample_tiles
from rra_cli.metrics.canonical import CCA, cca
from rra_cli.metrics.centred import Centred
from rra_cli.metrics.hsic import CKA, HSIC, linear_cka, linear_hsic
from rra_cli.metrics.kernel_sums import kernel_sums, trace_of_cube, u_centred
from rra_cli.metrics.permutation_moments import Moments, pearson_p, permutation_moments
from rra_cli.metrics.principal import principal
from rra_cli.metrics.product_null import Product, null_moments

RNG = np.random.default_rng
Array = NDArray[np.float64]


def layers(n: int, d: int, e: int, seed: int = 0) -> tuple[Array, Array]:
    """Far from normal, so that the moments are those of no common law."""
    rng = RNG(seed)
    return rng.normal(size=(n, d)) ** 3, rng.exponential(size=(n, e))


def moments(metric: Product, *both: Array) -> Moments:
    every = [Centred(x) for x in both]
    if isinstance(metric, CCA):
        every = [Centred(principal(layer).q) for layer in every]
    a, b = (kernel_sums(layer) for layer in every)
    return null_moments(metric, a, b)


def value(metric: Product, x: Array, y: Array) -> float:
    if isinstance(metric, CCA):
        return float(cca(x, y, summary="mean_square"))
    return float((linear_cka if isinstance(metric, CKA) else linear_hsic)(x, y, estimator=metric.estimator))


METRICS: list[Product] = [HSIC(), HSIC(estimator="unbiased"), CKA(), CKA(estimator="unbiased")]


SHAPES = [(6, 2, 3), (6, 9, 3), (6, 9, 8)]
OF_CCA = (CCA(summary="mean_square"), SHAPES[0])  # of the others a layer holds every other: all correlations are 1


@pytest.mark.parametrize(("metric", "shape"), [*product(METRICS, SHAPES), OF_CCA], ids=str)
def test_moments_are_those_of_all_permutations(metric: Product, shape: tuple[int, int, int]) -> None:
    """Of all 720 of six samples; with fewer features than samples, and with more."""
    x, y = layers(*shape)
    found = np.array([value(metric, x, y[list(order)]) for order in permutations(range(6))])
    expected = (found.mean(), found.std(), ((found - found.mean()) ** 3).mean() / found.std() ** 3)
    told = moments(metric, x, y)
    assert (told.mean, told.sd, told.skewness) == pytest.approx(expected, rel=1e-8, abs=1e-13)


def test_the_variance_of_cka_is_that_published_for_the_rv_coefficient() -> None:
    """Kazi-Aoual et al. 1995, as Josse, Pages, Husson 2008 give it; of many samples."""
    n = 200
    x, y = layers(n, 7, 12)

    def of(z: Array) -> tuple[float, float]:
        z = z - z.mean(axis=0)
        kernel = z @ z.T
        beta = np.trace(kernel) ** 2 / np.vdot(kernel, kernel)
        own = n * (n + 1) * (np.diag(kernel) ** 2).sum() / np.vdot(kernel, kernel) - (n - 1) * (beta + 2)
        return beta, (n - 1) / ((n - 3) * (n - 1 - beta)) * own

    (beta_x, tau_x), (beta_y, tau_y) = of(x), of(y)
    mean = np.sqrt(beta_x * beta_y) / (n - 1)
    variance = 2 * (n - 1 - beta_x) * (n - 1 - beta_y) / ((n + 1) * (n - 1) ** 2 * (n - 2))
    variance *= 1 + (n - 3) / (2 * n * (n - 1)) * tau_x * tau_y
    told = moments(CKA(), x, y)
    assert (told.mean, told.sd) == pytest.approx((mean, variance**0.5), rel=1e-10)


@pytest.mark.parametrize("d", [3, 40, 70])
@pytest.mark.parametrize("in_file", [False, True])
def test_sums_are_those_of_the_matrices(d: int, in_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In one tile and in many, over features and over samples, in memory and in a file."""
    n = 40
    x, _ = layers(n, d, 1)
    plain = kernel_sums(Centred(x))
    for name, size in (("TILE", 16), ("PANEL", 7)):
        monkeypatch.setattr(sample_tiles, name, size)
    monkeypatch.setattr(sums_module, "TILE", 16)
    monkeypatch.setattr(sums_module, "_COLUMNS", 9)
    if in_file:
        monkeypatch.setattr(sums_module, "IN_MEMORY", 0)
    found = kernel_sums(Centred(x), path=tmp_path / "kernel.npy")
    assert not list(tmp_path.iterdir())
    centring = np.eye(n) - 1.0 / n
    kernel = centring @ x @ x.T @ centring
    a = kernel - np.trace(kernel) / (n - 1) * centring
    off = kernel - np.diag(np.diag(kernel))
    rows = off.sum(axis=1)
    u = off - (rows[:, None] + rows) / (n - 2) + off.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(u, 0.0)
    for sums in (plain, found):
        own = np.diag(a)
        expected = (np.trace(kernel), (a * a).sum(), own @ own, (own**3).sum(), own @ (a * a).sum(axis=1))
        assert (sums.trace, sums.squares, sums.own_squares, sums.own_cubes, sums.weighted) == pytest.approx(expected)
        assert (sums.crossed, sums.cubes) == pytest.approx((own @ a @ own, (a**3).sum()))
        assert sums.cyclic == pytest.approx(np.trace(a @ a @ a))
        assert sums.kernel_squares == pytest.approx(np.vdot(kernel, kernel))
        centred = u_centred(sums)
        assert (centred.squares, centred.cubes) == pytest.approx(((u * u).sum(), (u**3).sum()))
        assert centred.cyclic == pytest.approx(np.trace(u @ u @ u))
        assert not centred.own_squares, "its diagonal is 0"


def test_the_trace_of_a_cube_counts_every_block_as_often_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = RNG(1).normal(size=(17, 17))
    matrix += matrix.T
    monkeypatch.setattr(sums_module, "TILE", 5)
    assert trace_of_cube(matrix) == pytest.approx(np.trace(matrix @ matrix @ matrix))


@pytest.mark.parametrize("skewness", [0.0, 1e-6, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("z", [0.1, 1.0, 2.0, 4.0])
def test_p_is_that_of_the_pearson_law(skewness: float, z: float) -> None:
    """SciPy's, on both sides; for a skewness of either sign and values of either side."""
    expected = pearson3.sf(z, skewness) + pearson3.cdf(-z, skewness)
    for sign in (1.0, -1.0):
        for side in (1.0, -1.0):
            found = pearson_p(7.0 + side * z * 0.5, Moments(7.0, 0.5, sign * skewness))
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-12)
    assert pearson_p(7.0, Moments(7.0, 0.5, skewness)) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", METRICS[2:], ids=str)
def test_p_is_near_that_of_permutations(metric: Product) -> None:
    """10,000 of them, over the whole range of values: within their own error and a hundredth."""
    n, m = 40, 10_000
    x = RNG(3).normal(size=(n, 6))
    y = np.maximum(RNG(6).normal(size=(n, 8)), 0.0)
    told = moments(metric, x, y)
    rng = RNG(4)
    kernel, other = (_matrix(metric, z) for z in (x, y))
    null = np.array([np.vdot(kernel, other[np.ix_(order, order)]) for order in (rng.permutation(n) for _ in range(m))])
    scale = value(metric, x, y) / np.vdot(kernel, other)
    null *= scale
    assert null.mean() == pytest.approx(told.mean, abs=4 * told.sd / m**0.5)
    for z in (0.5, 1.0, 1.5, 2.0, 3.0):
        share = np.mean(np.abs(null - told.mean) >= z * told.sd)
        found = pearson_p(told.mean + z * told.sd, told)
        assert found == pytest.approx(share, abs=4 * (share / m) ** 0.5 + 0.01)


def _matrix(metric: Product, z: Array) -> Array:
    """What the metric is a product of, but for a factor."""
    n = len(z)
    z = z - z.mean(axis=0)
    kernel = z @ z.T
    if isinstance(metric, HSIC | CKA) and metric.estimator == "biased":
        return kernel
    np.fill_diagonal(kernel, 0.0)
    rows = kernel.sum(axis=1)
    kernel += -(rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(kernel, 0.0)
    return kernel


def test_p_values_of_unrelated_layers_are_uniform_and_related_ones_are_told() -> None:
    rng, repeats = RNG(5), 300
    found = []
    for _ in range(repeats):
        x, y = rng.normal(size=(40, 3)), rng.exponential(size=(40, 4))
        found.append(pearson_p(float(linear_cka(x, y)), moments(CKA(), x, y)))
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(found) <= level)
        assert share == pytest.approx(level, abs=4 * (level * (1 - level) / repeats) ** 0.5)
    x = rng.normal(size=(40, 3))
    assert pearson_p(float(linear_cka(x, np.tanh(x))), moments(CKA(), x, np.tanh(x))) < 1e-4


def test_where_no_permutation_changes_the_value_there_is_no_spread() -> None:
    """A layer that holds every other, whose kernel is the same under every order of the samples."""
    x, y = layers(6, 9, 3)
    told = moments(CCA(summary="mean_square"), x, y)
    assert told.mean == pytest.approx(1.0)
    assert np.isnan(told.sd)
    assert np.isnan(pearson_p(1.0, told))
    few = kernel_sums(Centred(x[:3]))
    assert np.isnan(null_moments(HSIC(estimator="unbiased"), few, few).mean)
    assert permutation_moments(few, few).sd > 0


@pytest.mark.parametrize("power", [120, -140])
@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_moments_have_the_unit_of_the_metric_however_large_that_is(metric: Product, power: int) -> None:
    """The cube of a variance of two layers of 2^120 is no number: twenty-fourth powers of their values."""
    x, y = layers(12, 3, 5)
    told, found = moments(metric, x, y), moments(metric, np.ldexp(x, power), np.ldexp(y, power))
    unit = 0 if isinstance(metric, CKA) else 4 * power
    expected = (np.ldexp(told.mean, unit), np.ldexp(told.sd, unit), told.skewness)
    assert (found.mean, found.sd, found.skewness) == pytest.approx(expected, rel=1e-12, abs=0.0)
