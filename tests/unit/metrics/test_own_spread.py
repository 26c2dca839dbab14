"""Intervals that metrics of activations tell by themselves: which have them, within what bounds, and how often they
hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rra_cli.metrics import own_spread as module
from rra_cli.metrics.canonical import CCA, SVCCA
from rra_cli.metrics.hsic import CKA, HSIC
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.jackknife import Spread
from rra_cli.metrics.metric import PLAIN, LayerData, LayerPairMetric, Metric, Workshop
from rra_cli.metrics.own_spread import ends, family, name_of, spreads_of_layer, spreads_of_pairs, tells
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.metrics.uncertainty import block_rows, interval

RNG = np.random.default_rng
PAIRS: list[LayerPairMetric] = [HSIC(), HSIC("unbiased"), CKA(), CKA("unbiased"), CCA(), CCA("mean_square"), SVCCA(0.8)]
RATIO = PCADimension("participation_ratio")


def value_of(metric: Metric, layers: list[np.ndarray]) -> float:
    data = [LayerData(None, None, x) for x in layers]
    if isinstance(metric, LayerPairMetric):
        return metric.measure(data)[0, len(data) - 1].value
    return metric.measure(data[0]).value  # type: ignore[attr-defined, no-any-return]


def interval_of(metric: Metric, layers: list[np.ndarray], value: float, level: float = 0.95) -> tuple[float, float]:
    if isinstance(metric, LayerPairMetric):
        told = spreads_of_pairs(metric, layers, PLAIN)[0, 1][0]
    else:
        told = spreads_of_layer(metric, layers[0], PLAIN)[0]
    return ends(metric, value, told, len(layers[0]), level)[0]


def test_who_tells_and_who_shares() -> None:
    assert all(map(tells, [*PAIRS, RATIO, PCADimension()]))
    assert not tells(TwoNN())
    assert family(HSIC()) == family(CKA("unbiased"))
    assert len({str(family(metric)) for metric in (*PAIRS, RATIO, PCADimension(), CKA())}) == 6


@pytest.mark.parametrize("metric", PAIRS, ids=str)
def test_equal_layers_are_surely_equal(metric: LayerPairMetric) -> None:
    x = RNG(0).normal(size=(200, 8))
    rotated = x @ np.linalg.qr(RNG(1).normal(size=(8, 8)))[0]
    told = spreads_of_pairs(metric, [x, rotated, RNG(2).normal(size=(200, 8))], PLAIN)
    assert set(told) >= {(0, 1), (0, 2), (1, 2)}
    if not isinstance(metric, HSIC):
        assert ends(metric, 1.0, {}, 200, 0.95, itself=True) == ((1.0, 1.0), 0.0)
        low, high = ends(metric, value_of(metric, [x, rotated]), told[0, 1][0], 200, 0.95)[0]
        assert (low, high) == pytest.approx((1.0, 1.0), abs=1e-9)
        assert high <= 1.0
    # The control: unrelated layers.
    low, high = ends(metric, value_of(metric, [x, RNG(2).normal(size=(200, 8))]), told[0, 2][0], 200, 0.95)[0]
    assert high - low > 1e-3
    assert low >= (-1.0 if isinstance(metric, CKA) else -np.inf)


@pytest.mark.parametrize("summary", ["mean", "mean_square"])
def test_a_layer_that_is_linear_in_another_has_no_error(summary: Any) -> None:
    """As logits are in the layer before them: without any sample all correlations are 1. The control: with noise."""
    metric, x = CCA(summary), RNG(0).normal(size=(300, 24))
    logits = x @ RNG(1).normal(size=(24, 5))
    noisy = logits + RNG(2).normal(size=logits.shape)
    for other, exact in ((logits, True), (noisy, False)):
        told = spreads_of_pairs(metric, [x, other], PLAIN)[0, 1][0]
        _, error = ends(metric, value_of(metric, [x, other]), told, 300, 0.95)
        assert (error == 0.0) == exact


def test_intervals_stay_within_bounds() -> None:
    wide = Spread(10.0, 100.0, 400).array()
    told = {"spread": wide, **{f"{n}_{e}": wide for n in ("hsic", "cka") for e in ("biased", "unbiased")}}
    bounds = {CKA(): (0, 1), CKA("unbiased"): (-1, 1), CCA(): (0, 1), SVCCA(): (0, 1), RATIO: (1, np.inf)}
    for metric, (least, most) in bounds.items():
        low, high = ends(metric, 1.5 if metric == RATIO else 0.5, told, 400, 0.95)[0]
        assert least <= low < high <= most
    assert ends(HSIC(), 0.5, told, 400, 0.95)[0][0] == 0.0
    assert ends(HSIC("unbiased"), 0.5, told, 400, 0.95)[0][0] < 0.0


def test_where_there_is_none_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = RNG(0)
    wide, same = rng.normal(size=(80, 100)), np.ones((80, 3))

    def of_pair(metric: LayerPairMetric, *layers: np.ndarray) -> str:
        return spreads_of_pairs(metric, layers, PLAIN)[0, 1][1][name_of(metric)]

    def of_layer(metric: PCADimension, x: np.ndarray) -> str:
        return spreads_of_layer(metric, x, PLAIN)[1][name_of(metric)]

    why = "as many directions as samples: some correlations are 1 whatever the layers are"
    assert of_pair(CCA(), wide, rng.normal(size=(80, 5))) == why
    told = spreads_of_pairs(CCA(), [wide, rng.normal(size=(80, 5))], PLAIN)[0, 1][0]
    assert np.isnan(ends(CCA(), 1.0, told, 80, 0.95)[0]).all()
    assert set(spreads_of_pairs(CKA(), [wide, same, wide], PLAIN)) == {(0, 0), (0, 2), (2, 2)}
    assert spreads_of_pairs(CKA(), [same], PLAIN) == {}
    assert of_layer(PCADimension(), same) == "all 80 samples coincide (a collapsed layer)"
    assert np.isnan(ends(CKA(), 0.5, {}, 80, 0.95)[0]).all()
    heavy = rng.normal(size=(80, 3))
    heavy[5] *= 30.0
    few = "fewer than 10 samples decide"
    assert of_layer(RATIO, heavy) == of_layer(PCADimension(), heavy) == of_pair(CKA(), heavy, wide) == few
    told = spreads_of_pairs(CKA(), [heavy, wide], PLAIN)[0, 1][0]
    found, error = ends(CKA(), 0.5, told, 80, 0.95)
    assert np.isnan([*found, error]).all()
    monkeypatch.setattr(module, "LARGEST", 20)
    assert of_layer(PCADimension(), wide) == "its components are those of a randomised basis"
    assert of_pair(SVCCA(), wide, wide) == "more than 20 directions, or a randomised basis"


def test_directions_on_disk_are_those_in_memory(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = pairs(6, 0.5)(RNG(0), 200)
    before = spreads_of_pairs(SVCCA(0.8), layers, PLAIN)[0, 1][0]["spread"]
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    found = spreads_of_pairs(SVCCA(0.8), layers, Workshop(folder=tmp_path))[0, 1][0]["spread"]  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, before)
    assert list(tmp_path.iterdir()) == []  # type: ignore[attr-defined]


def pairs(d: int, rho: float, decay: float = 1.0) -> Callable[[np.random.Generator, int], list[np.ndarray]]:
    """Normal features, of variances decay^j, that two layers have correlated one by one."""

    def draw(rng: np.random.Generator, n: int) -> list[np.ndarray]:
        x, noise = rng.normal(size=(2, n, d)) * decay ** (np.arange(d) / 2)
        return [x, rho * x + (1 - rho**2) ** 0.5 * noise]

    return draw


# Of 200 sets 95 % +- 1.5 %: fewer than 0.9 would be three standard deviations off. The control: what disjoint blocks of
# the samples say, whose values are those of other quantities.
@pytest.mark.parametrize(
    ("metric", "n", "draw", "others"),
    [
        (HSIC("unbiased"), 120, pairs(5, 0.5), 1.0),
        pytest.param(CKA(), 120, pairs(5, 0.5), 1.0, marks=pytest.mark.long),
        (CKA(), 60, pairs(90, 0.5), 0.85),
        pytest.param(CKA("unbiased"), 60, pairs(90, 0.5), 1.0, marks=pytest.mark.long),
        (CCA("mean_square"), 120, pairs(8, 0.7), 0.1),
        pytest.param(CCA(), 120, pairs(8, 0.7), 0.1, marks=pytest.mark.long),
        pytest.param(SVCCA(0.8), 160, pairs(6, 0.6, 0.4), 1.0, marks=pytest.mark.long),
        (RATIO, 60, pairs(90, 0.0), 0.8),
        (PCADimension(), 150, pairs(12, 0.0, 0.8), 1.0),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_on_known_laws_they_hold(
    metric: Metric, n: int, draw: Callable[[np.random.Generator, int], list[np.ndarray]], others: float
) -> None:
    rng, rows = RNG(5), block_rows(n, 16)
    values, told, blocks = [], [], []
    for number in range(200):
        layers = draw(rng, n)
        values.append(value_of(metric, layers))
        told.append(interval_of(metric, layers, values[-1]))
        if others < 1.0 and number < 40:
            of_blocks = np.array([value_of(metric, [x[block] for x in layers]) for block in rows])
            blocks.append(interval(values[-1], of_blocks, (metric.low, metric.high)))
    mean, sd = float(np.mean(values)), float(np.std(values))
    middle = round(mean) if isinstance(metric, PCADimension) and metric.definition == "variance" else mean
    given = [pair for pair in told if not np.isnan(pair[0])]
    assert len(given) > 150
    assert np.mean([low <= middle <= high for low, high in given]) >= 0.9
    assert np.median([high - low for low, high in given]) < 2.5 * max(2 * 1.96 * sd, 1.0 if middle != mean else 0.0)
    if blocks:
        assert np.mean([low <= middle <= high for low, high in blocks]) <= others, "the control"
