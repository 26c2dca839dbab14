"""HSIC, CKA and the participation ratio without single samples, against leaving these out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rra_cli.metrics import kernel_jackknife as module
from rra_cli.metrics.centred import Centred, centred
from rra_cli.metrics.hsic import cka_pairs, hsic_pairs
from rra_cli.metrics.jackknife import spread
from rra_cli.metrics.kernel_jackknife import QUANTITIES, RowSums, kernel_spreads, participation_spread, row_sums
from rra_cli.metrics.pca_dimension import pca_dimension

RNG = np.random.default_rng
N = 50


def layers(n: int = N) -> list[np.ndarray]:
    rng = RNG(0)
    x = rng.normal(size=(n, 4)) * [2.0, 1.0, 1.0, 0.5] + 5.0
    return [x, np.tanh(x @ rng.normal(size=(4, 9))), x @ rng.normal(size=(4, 70)) + rng.normal(size=(n, 70))]


def left_out(measure: Callable[..., Any], every: list[np.ndarray], pair: tuple[int, int], **how: Any) -> np.ndarray:
    """The values without one sample."""
    return np.array([measure([np.delete(x, at, 0) for x in every], **how)[pair].value for at in range(len(every[0]))])


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("measure", [hsic_pairs, cka_pairs])
def test_it_is_the_jackknife_of_leaving_samples_out(measure: Callable[..., Any], estimator: str) -> None:
    every, name = layers(), f"{measure.__name__.removesuffix('_pairs')}_{estimator}"
    found = kernel_spreads(centred(every))
    assert set(found) == {(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)}
    assert set(found[0, 1]) == set(QUANTITIES)
    for pair in ((0, 1), (1, 2)):
        expected = spread(left_out(measure, every, pair, estimator=estimator), N)
        assert found[pair][name].std_error == pytest.approx(expected.std_error, rel=1e-9)
        assert found[pair][name].decide == pytest.approx(expected.decide, rel=1e-7)
    if measure is cka_pairs:
        assert found[0, 0][name].std_error == 0.0, "it is 1 whatever is left out"


def test_of_the_participation_ratio_too() -> None:
    for x in layers():
        values = [pca_dimension(np.delete(x, at, 0), definition="participation_ratio").value for at in range(N)]
        assert participation_spread(Centred(x)).std_error == pytest.approx(spread(np.array(values), N).std_error)


@pytest.mark.parametrize("small", [False, True])
def test_row_sums_are_those_of_the_kernels(small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over samples and over features, in one tile or in many."""
    if small:
        monkeypatch.setattr(module, "PANEL", 5)
        monkeypatch.setattr(module, "TILES", 400)
        monkeypatch.setattr(module, "ROWS", 60)
    every = layers(30)
    kernels = [(x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T for x in every]
    for fill in (module._over_samples, module._over_features):
        found = row_sums(centred(every))
        for array in found.products.values():
            array[:] = 0.0
        empty = RowSums(found.products, found.lengths, np.zeros_like(found.weighted))
        fill(centred(every), empty, lambda *_: None)
        for (a, b), sums in empty.products.items():
            np.testing.assert_allclose(sums, (kernels[a] * kernels[b]).sum(axis=1), rtol=1e-10)
        for a, b in np.ndindex(3, 3):
            np.testing.assert_allclose(empty.weighted[a, b], kernels[a] @ np.diag(kernels[b]), rtol=1e-9)


def weighted_cka(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Of the law that gives sample i the mass w_i."""
    w = weights / weights.sum()
    x, y = x - w @ x, y - w @ y
    crossed = [np.square((one * w[:, None]).T @ other).sum() for one, other in ((x, y), (x, x), (y, y))]
    return float(crossed[0] / np.sqrt(crossed[1] * crossed[2]))


def test_it_nears_the_derivative_in_the_weights_of_samples() -> None:
    """The influence of a sample: n (value - value without it) -> d value / d log weight, as n grows."""
    n = 600
    x, y = layers(n)[:2]
    sums = row_sums(centred([x, y]))
    without = {pair: module._without(sums, *pair)[0] for pair in sums.products}
    ratio = without[0, 1] / np.sqrt(without[0, 0] * without[1, 1])
    change, some = 1e-5, range(0, n, 40)
    slopes = []
    for at in some:
        more, less = np.ones(n), np.ones(n)
        more[at], less[at] = 1 + change, 1 - change
        slopes.append((weighted_cka(x, y, more) - weighted_cka(x, y, less)) / (2 * change))
    moved = weighted_cka(x, y, np.ones(n)) - ratio[some]
    assert np.abs(moved - slopes).max() < 0.05 * np.abs(slopes).max()
    assert np.abs(moved + slopes).max() > np.abs(slopes).max(), "the control: of the other sign"


def test_where_samples_are_few_or_coincide_but_for_one_it_is_not_known() -> None:
    assert kernel_spreads(centred([RNG(0).normal(size=(4, 3))]))[0, 0]["hsic_unbiased"].reason == "4 samples"
    x, y = np.zeros((60, 2)), RNG(1).normal(size=(60, 2))
    x[7] = 1.0
    assert kernel_spreads(centred([x, y]))[0, 1]["cka_biased"].reason == "without a single sample it has no value"


@pytest.mark.parametrize("power", [120, -140])
def test_it_has_the_unit_of_its_quantity_at_the_ends_of_float32(power: int) -> None:
    """The eighth powers of values of 2^120 and 2^-140 are no numbers."""
    every = layers()
    expected = kernel_spreads(centred(every))
    found = kernel_spreads(centred([np.ldexp(x, power) for x in every]))
    for name in QUANTITIES:
        unit = 0 if name.startswith("cka") else 4 * power
        std_error = np.ldexp(expected[0, 1][name].std_error, unit)
        assert found[0, 1][name].std_error == pytest.approx(std_error, rel=1e-9, abs=0.0)
