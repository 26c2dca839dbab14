"""Laws that every metric obeys, whatever it measures, each with a metric that breaks it and is caught.

Metrics are found by themselves: every class with its defaults, and every setting of every file of `conf/metrics`.
Probes, which look at two splits, have laws of their own: test_every_probe.py.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import ClassVar

import numpy as np
import pytest

from rra_cli.config import catalog
from rra_cli.config.compose import load
from rra_cli.core.component import components
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import Input, LayerData, LayerMetric, LayerPairMetric, Metric
from rra_cli.neighbors import NeighborGraph, exact_neighbors


@cache
def every_metric() -> dict[str, Metric]:
    """By a readable name: defaults of all classes and all settings of the files, each once."""
    found: dict[str, Metric] = {name: cls() for name, cls in components("metrics").items()}
    # All files together, which share no key (test_every_configuration.py): composing each takes longer than the laws.
    for key, metric in load([f"metrics=[{','.join(catalog.options()['metrics'])}]"]).metrics.metrics.items():
        if metric not in found.values():
            found[key] = metric
    return found


METRICS = {name: metric for name, metric in every_metric().items() if isinstance(metric, LayerMetric | LayerPairMetric)}
N, K = 150, 6


# What is measured


@dataclasses.dataclass(frozen=True)
class Layers:
    """Two layers of the same samples, and their labels."""

    first: np.ndarray
    second: np.ndarray
    labels: np.ndarray

    @property
    def both(self) -> tuple[np.ndarray, np.ndarray]:
        return self.first, self.second

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> Layers:
        return Layers(change(self.first), change(self.second), self.labels)


def clusters(seed: int = 0) -> Layers:
    """Three overlapping clusters in five dimensions, and a bent copy of them in seven."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(N) % 3)
    first = rng.normal(size=(N, 5)) + 1.5 * labels[:, None]
    second = np.tanh(first @ rng.normal(size=(5, 7)) / 3) + 0.1 * rng.normal(size=(N, 7))
    return Layers(first, second, labels)


def measure(metric: Metric, layers: Layers, k: int = K, *, labelled: bool = True) -> list[Estimate]:
    """All estimates of the two layers in a fixed order; labels only where the metric asks for them, as the run does."""
    graphs = [exact_neighbors(layer, k) for layer in (layers.first, layers.second)]
    labels = layers.labels if labelled and "labels" in metric.inputs else None
    return measure_data(metric, [data_of(metric, *both, labels) for both in zip(graphs, layers.both, strict=True)])


def data_of(metric: Metric, graph: NeighborGraph, layer: np.ndarray, labels: np.ndarray | None) -> LayerData:
    """What a run gives to the metric: of graph and activations what it has among its inputs."""
    rows = layer.astype(np.float32)
    rows.flags.writeable = False
    inputs = metric.inputs
    return LayerData(graph if "graph" in inputs else None, labels, rows if "activations" in inputs else None)


def measure_data(metric: Metric, layers: list[LayerData]) -> list[Estimate]:
    if isinstance(metric, LayerMetric):
        return [metric.measure(layer) for layer in layers]
    assert isinstance(metric, LayerPairMetric), "a scope that this test does not know"
    found = metric.measure(layers)
    assert set(found) == set(itertools.product(range(len(layers)), repeat=2)), "all ordered pairs and the diagonal"
    return [found[pair] for pair in sorted(found)]


def same(a: Estimate, b: Estimate, rel: float = 1e-9) -> None:
    for name in ("value", "std_error", "chance"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=rel, nan_ok=True), name
    assert (a.n_used, a.reason) == (b.n_used, b.reason)


# The laws


def law_order_of_samples(metric: Metric) -> None:
    """A permutation of the samples changes no value, and permutes the values by sample."""
    data, order = clusters(), np.random.default_rng(1).permutation(N)
    moved = Layers(data.first[order], data.second[order], data.labels[order])
    for before, after in zip(measure(metric, data), measure(metric, moved), strict=True):
        same(before, after)
        if before.per_sample is not None:
            assert after.per_sample is not None
            np.testing.assert_allclose(after.per_sample, before.per_sample[order], rtol=1e-9)


def law_rotation_shift_and_scale(metric: Metric) -> None:
    """Neighbour metrics see shape only: neither the axes, nor the origin, nor the unit of length."""
    if "activations" in metric.inputs:
        return
    rng, data = np.random.default_rng(2), clusters()

    def moved(x: np.ndarray) -> np.ndarray:
        rotation, _ = np.linalg.qr(rng.normal(size=(x.shape[1], x.shape[1])))
        return 1000.0 * x @ rotation + 3.0

    for before, after in zip(measure(metric, data), measure(metric, data.map(moved)), strict=True):
        same(before, after, rel=1e-6)


def law_range(metric: Metric) -> None:
    """Values, and the chance level where there is one, lie between `low` and `high`."""
    low = -math.inf if metric.low is None else metric.low
    high = math.inf if metric.high is None else metric.high
    for k, seed in ((2, 0), (K, 1), (N - 1, 2)):
        for estimate in measure(metric, clusters(seed), k):
            for number in (estimate.value, estimate.chance):
                assert math.isnan(number) or low <= number <= high
            assert math.isnan(estimate.std_error) or estimate.std_error >= 0
            assert 0 <= estimate.n_used <= N


def degenerate() -> dict[str, Layers]:
    """What a collapsed or tiny layer may look like."""
    rng = np.random.default_rng(3)
    labels, good = np.arange(20) % 2, rng.normal(size=(20, 3))
    return {
        "constant": Layers(np.zeros((20, 3)), np.ones((20, 3)), labels),
        "one layer constant": Layers(good, np.zeros((20, 3)), labels),
        "all duplicates": Layers(np.repeat(good[:10], 2, axis=0), np.repeat(good[:5], 4, axis=0), labels),
        "equal distances": Layers(np.eye(20), np.eye(20), labels),
        "one class": Layers(good, good[::-1], labels * 0),
        "three samples": Layers(good[:3], good[3:6], labels[:3]),
    }


def law_an_empty_value_has_its_reason(metric: Metric) -> None:
    """Nothing degenerate raises; NaN never comes without a reason nor a reason without NaN."""
    for name, data in degenerate().items():
        for estimate in measure(metric, data, 2):
            assert math.isnan(estimate.value) == bool(estimate.reason), name
            assert not math.isinf(estimate.value), name
    assert not any(estimate.reason for estimate in measure(metric, clusters())), "no value of ordinary data"


def law_determinism(metric: Metric) -> None:
    """Equal input gives equal bits, whatever numpy's generator has done in between."""
    found = []
    for seed in (4, 5):
        np.random.seed(seed)  # noqa: NPY002 - the global generator is the one that must not matter
        found.append(measure(metric, clusters()))
    for before, after in zip(*found, strict=True):
        assert (before.value, before.n_used) == (after.value, after.n_used)
        np.testing.assert_array_equal(before.std_error, after.std_error)


def law_values_by_sample_are_aligned(metric: Metric) -> None:
    """One float64 per row of the graph, NaN where a row was left out; `n_used` counts the others."""
    data = clusters()
    repeated = data.map(lambda x: np.concatenate([x[:20], x[:20], x[40:]]))  # twenty pairs of duplicates
    for layers in (data, repeated):
        for estimate in measure(metric, layers):
            if estimate.per_sample is not None:
                assert estimate.per_sample.shape == (N,)
                assert estimate.per_sample.dtype == np.float64
                assert np.count_nonzero(~np.isnan(estimate.per_sample)) == estimate.n_used


def law_inputs_are_declared(metric: Metric) -> None:
    """What is not among `inputs` makes no difference: a metric without labels in them runs where there are none."""
    assert metric.inputs <= {"graph", "labels", "activations"}
    if "labels" not in metric.inputs:
        data = clusters()
        graphs = [exact_neighbors(layer, K) for layer in data.both]

        def measured(labels: np.ndarray | None) -> list[Estimate]:
            places = zip(graphs, data.both, strict=True)
            return measure_data(metric, [data_of(metric, *place, labels) for place in places])

        for with_labels, without in zip(measured(data.labels), measured(None), strict=True):
            same(with_labels, without)


def law_fixed_k_is_all_that_is_read(metric: Metric) -> None:
    """A metric that declares `fixed_k` has the same value for any k: results of it are not measured again."""
    if metric.fixed_k is not None:
        pairs = zip(measure(metric, clusters(), metric.fixed_k), measure(metric, clusters(), 3 * K), strict=True)
        for small, large in pairs:
            same(small, large)


LAWS = [
    law_order_of_samples,
    law_rotation_shift_and_scale,
    law_range,
    law_an_empty_value_has_its_reason,
    law_determinism,
    law_values_by_sample_are_aligned,
    law_inputs_are_declared,
    law_fixed_k_is_all_that_is_read,
]
Law = Callable[[Metric], None]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_obeys_the_laws(name: str, law: Law) -> None:
    law(METRICS[name])


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_what_its_numbers_mean(name: str) -> None:
    metric = METRICS[name]
    assert metric.version >= 1
    assert metric.unit
    assert metric.higher_is
    assert metric.scope in ("layer", "layers")
    assert metric.low is None or metric.high is None or metric.low < metric.high
    assert dataclasses.is_dataclass(metric)
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_not_blind(name: str) -> None:
    """The control of all invariances: another geometry of the same samples gives another value.

    Bent, as a linear map is none to CCA; and by more than rounding.
    """
    data = clusters()
    bent = Layers(np.sinh(data.first) * np.array([100.0, 1, 1, 1, 1]), data.second, data.labels)
    values = [[estimate.value for estimate in measure(METRICS[name], layers)] for layers in (data, bent)]
    assert values[0] != pytest.approx(values[1], rel=1e-3)


# Metrics that break a law; without a name they are no components.


class Broken(LayerMetric):
    def measure(self, layer: LayerData) -> Estimate:
        return Estimate(0.5, n_used=len(layer.neighbors))


class FirstSampleCounts(Broken):
    def measure(self, layer: LayerData) -> Estimate:
        return Estimate(
            float(layer.neighbors.distances[0, 0] / layer.neighbors.distances.mean()), n_used=len(layer.neighbors)
        )


class MeanDistance(Broken):
    def measure(self, layer: LayerData) -> Estimate:
        return Estimate(float(layer.neighbors.distances.mean()), n_used=len(layer.neighbors))


class TooLarge(Broken):
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 0.4


class Infinite(Broken):
    def measure(self, layer: LayerData) -> Estimate:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = float(np.max(layer.neighbors.distances[:, 1] / layer.neighbors.distances[:, 0]))
        return Estimate(ratio, n_used=len(layer.neighbors)) if ratio == ratio else Estimate(math.inf)


class Drawn(Broken):
    def measure(self, layer: LayerData) -> Estimate:
        return Estimate(float(np.random.rand()), n_used=len(layer.neighbors))  # noqa: NPY002


class Shortened(Broken):
    def measure(self, layer: LayerData) -> Estimate:
        used = layer.neighbors.distances[layer.neighbors.distances[:, 0] > 0, 0]
        return Estimate(0.5, per_sample=used, n_used=len(used))


class SecretlyLabelled(Broken):
    inputs: ClassVar[frozenset[Input]] = frozenset({"graph"})

    def measure(self, layer: LayerData) -> Estimate:
        return Estimate(0.5 if layer.labels is None else 0.6, n_used=len(layer.neighbors))


class ReadsAll(Broken):
    fixed_k: ClassVar[int | None] = 2

    def measure(self, layer: LayerData) -> Estimate:
        return Estimate(float(layer.neighbors.distances[:, -1].mean()), n_used=len(layer.neighbors))


BREAKERS = [
    FirstSampleCounts, MeanDistance, TooLarge, Infinite, Drawn, Shortened, SecretlyLabelled, ReadsAll,
]  # fmt: skip


@pytest.mark.parametrize(("law", "breaker"), list(zip(LAWS, BREAKERS, strict=True)))
def test_a_metric_that_breaks_a_law_is_seen(law: Law, breaker: type[LayerMetric]) -> None:
    with pytest.raises(AssertionError):
        law(breaker())


def test_a_value_without_a_reason_cannot_even_be_made() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Estimate(math.nan)
