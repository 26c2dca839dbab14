"""How often intervals of metrics of activations and of probes hold; the second table of interval_coverage.py.

Every case draws R sets of N samples of two layers of known dependence. The mean of a metric over all R sets stands for
its expectation at N: an interval covers where it holds that mean (of whole numbers of components: the mean, rounded).
`given`: the fraction of sets with an interval, which the others count for nothing. `width` as in the first table. As
the control stand intervals of sixteen disjoint blocks, as neighbour graphs have them; of SVCCA also those that take its
directions for given; of probes the accuracy +- 1.96 binomial standard errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.canonical import CCA, SVCCA
from rra_cli.metrics.canonical_jackknife import canonical_spread
from rra_cli.metrics.centred import centred
from rra_cli.metrics.hsic import CKA, HSIC
from rra_cli.metrics.jackknife import of_correlation, wilson
from rra_cli.metrics.linear_probe import LinearProbe, LogisticProbe
from rra_cli.metrics.metric import PLAIN, LayerData, LayerMetric, LayerPairMetric, SplitData, TransferMetric
from rra_cli.metrics.neighbor_probes import KNNProbe, OneNNProbe
from rra_cli.metrics.own_spread import ends, family, spreads_of_layer, spreads_of_pairs
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.metrics.principal import principal
from rra_cli.metrics.uncertainty import block_rows, interval

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], list[Array]]
FIXED = "svcca, directions given"

KERNELS: dict[str, LayerPairMetric] = {
    "hsic": HSIC(),
    "hsic unbiased": HSIC(estimator="unbiased"),
    "cka": CKA(),
    "cka unbiased": CKA(estimator="unbiased"),
}
CANONICAL: dict[str, LayerPairMetric] = {"cca": CCA(), "cca mean_square": CCA(summary="mean_square")}
PRINCIPAL: dict[str, LayerMetric] = {
    "pca_dimension": PCADimension(),
    "participation_ratio": PCADimension(definition="participation_ratio"),
}


@dataclass(frozen=True)
class Case:
    """What is drawn, and what is measured of it. share: of the variance, for SVCCA (None: not measured)."""

    name: str
    n: int
    draw: Draw
    canonical: bool = True
    share: float | None = 0.99

    @property
    def metrics(self) -> dict[str, LayerMetric | LayerPairMetric]:
        """By name."""
        found: dict[str, LayerMetric | LayerPairMetric] = {**KERNELS, **PRINCIPAL}
        found |= CANONICAL if self.canonical else {}
        return found if self.share is None else {**found, "svcca": SVCCA(share=self.share)}


@dataclass(frozen=True)
class Held:
    """Of one metric over sets: its mean and standard deviation; how many intervals are given, cover, and how wide they
    are; and the same of the control."""

    mean: float
    sd: float
    given: float
    covers: float
    width: float
    control: float
    control_width: float


def pairs(d: int, rho: float, decay: float = 0.0, freedom: float = np.inf) -> Draw:
    """Features of two layers that are correlated one by one, and have variances j^-decay.

    freedom: of Student's t, which both layers' samples share (a radius); inf: normal.
    """

    def draw(rng: np.random.Generator, n: int) -> list[Array]:
        x, noise = rng.normal(size=(2, n, d))
        radius = np.sqrt(freedom / rng.chisquare(freedom, size=(n, 1))) if np.isfinite(freedom) else 1.0
        scale = radius * np.arange(1, d + 1) ** (-decay / 2)
        return [x * scale, (rho * x + (1 - rho**2) ** 0.5 * noise) * scale]

    return draw


def subspace(inner: int, d: int, rho: float, noise: float = 0.02) -> Draw:
    """Correlated pairs of a few dimensions, turned into d with a little noise."""
    basis = np.linalg.qr(np.random.default_rng(6).normal(size=(d, inner)))[0].T

    def draw(rng: np.random.Generator, n: int) -> list[Array]:
        return [x @ basis + noise * rng.normal(size=(n, d)) for x in pairs(inner, rho)(rng, n)]

    return draw


def rectified(d: int) -> Draw:
    """Two layers of a random network with rectifiers, of inputs of 8 dimensions with noise."""
    fixed = np.random.default_rng(7)
    first, second = fixed.normal(size=(8, d)) / 3, fixed.normal(size=(d, d)) / d**0.5

    def draw(rng: np.random.Generator, n: int) -> list[Array]:
        x = np.maximum(rng.normal(size=(n, 8)) @ first, 0.0) + 0.1 * rng.normal(size=(n, d))
        return [x, np.maximum(x @ second, 0.0)]

    return draw


CASES = [
    Case("pairs d=10, rho 0.5", 500, pairs(10, 0.5), share=None),
    Case("pairs d=10, rho 0", 500, pairs(10, 0.0), share=None),
    Case("pairs d=10, rho 0.99", 500, pairs(10, 0.99), share=None),
    Case("pairs d=100, rho 0.5", 400, pairs(100, 0.5)),
    Case("wide pairs d=300, rho 0.5", 200, pairs(300, 0.5), canonical=False, share=None),
    Case("wide pairs d=300, rho 0", 200, pairs(300, 0.0), canonical=False, share=None),
    Case("decaying d=50, rho 0.7", 500, pairs(50, 0.7, 2.0)),
    Case("decaying d=50, rho 0.9", 500, pairs(50, 0.9, 1.0), share=0.9),
    Case("wide decaying d=300, rho 0.7", 200, pairs(300, 0.7, 1.0), canonical=False, share=0.8),
    Case("10 dimensions in 40, rho 0.8", 500, subspace(10, 40, 0.8)),
    Case("rectified d=64", 500, rectified(64)),
    Case("t9 d=10, rho 0.5", 500, pairs(10, 0.5, freedom=9.0), share=None),
    Case("t5 d=10, rho 0.5", 500, pairs(10, 0.5, freedom=5.0), share=None),
    Case("wide t5 d=300, rho 0.5", 200, pairs(300, 0.5, freedom=5.0), canonical=False, share=None),
]


def mixture(d: int, apart: float, classes: int = 5) -> Callable[[np.random.Generator, int], SplitData]:
    """Unit normals around points of a line, `apart` from each other; the labels are theirs."""

    def draw(rng: np.random.Generator, n: int) -> SplitData:
        labels = rng.integers(0, classes, n)
        x = rng.normal(size=(n, d))
        x[:, 0] += apart * labels
        return SplitData(x.astype(np.float32), labels)

    return draw


PROBES: dict[str, TransferMetric] = {
    "linear_probe": LinearProbe(epochs=10, standardise=True),
    "logistic_probe": LogisticProbe(),
    "knn_probe": KNNProbe(k=20),
    "one_nn_probe": OneNNProbe(),
}
PROBED = [("mixture d=5, 2 apart", 200, mixture(5, 2.0)), ("mixture d=5, 6 apart", 200, mixture(5, 6.0))]


def value_of(metric: LayerMetric | LayerPairMetric, layers: list[Array]) -> float:
    """Of the first layer, or of the first with the last."""
    data = [LayerData(None, None, x) for x in layers]
    if isinstance(metric, LayerMetric):
        return metric.measure(data[0]).value
    return metric.measure(data)[0, len(data) - 1].value


def coverage(case: Case, replications: int, seed: int = 0) -> dict[str, Held]:
    """Of every metric of a case."""
    rng, rows = np.random.default_rng([seed, case.n]), block_rows(case.n, 16)
    names = [*case.metrics, *([FIXED] if case.share else [])]
    values: dict[str, list[float]] = {name: [] for name in names}
    both: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in names}
    for _ in range(replications):
        layers, known = case.draw(rng, case.n), {}
        for name, metric in case.metrics.items():
            value, own = value_of(metric, layers), str(family(metric))
            if own not in known:
                known[own] = (
                    spreads_of_layer(metric, layers[0], PLAIN)
                    if isinstance(metric, LayerMetric)
                    else spreads_of_pairs(metric, layers, PLAIN)[0, 1]
                )
            of_blocks = np.array([value_of(metric, [x[block] for x in layers]) for block in rows])
            blocks = interval(value, of_blocks, (metric.low, metric.high))
            values[name].append(value)
            both[name].append([ends(metric, value, known[own][0], case.n, 0.95)[0], blocks])
        if case.share:
            one, other = (principal(layer, share=case.share) for layer in centred(layers))
            fixed = canonical_spread(one, other, one.rank, other.rank, squares=False)
            value = values["svcca"][-1]
            values[FIXED].append(value)
            both[FIXED].append([of_correlation(value, fixed.reach(0.95), 0.0), both["svcca"][-1][1]])
    return {name: summary(np.array(values[name]), np.array(both[name]), name == "pca_dimension") for name in names}


def probe_coverage(
    metric: TransferMetric, n: int, draw: Callable[[np.random.Generator, int], SplitData], replications: int
) -> Held:
    """Of a probe that is fitted once, to 1,000 samples, on test sets of n samples."""
    rng = np.random.default_rng([1, n])
    train, tests = draw(rng, 1000), [draw(rng, n) for _ in range(replications)]
    # Fitted once: the accuracy on all test sets together, cut into theirs.
    every = SplitData(np.concatenate([each.activations for each in tests]), np.concatenate([e.labels for e in tests]))
    right = metric.measure(train, every).per_sample
    assert right is not None, "a probe tells which samples it has right"
    values = right.reshape(replications, n).mean(axis=1)
    errors = 1.96 * np.sqrt(values * (1 - values) / n)
    both = [[wilson(float(v), n, 0.95), (v - e, v + e)] for v, e in zip(values, errors, strict=True)]
    return summary(values, np.array(both), False)


def summary(values: Array, both: Array, whole: bool) -> Held:
    """values: `(R,)`; both: `(R, 2, 2)`, ends of the interval and of the control. whole: of whole numbers."""
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    middle, told = float(round(mean)) if whole else mean, []
    for pair in (both[:, 0], both[:, 1]):
        low, high = pair[np.isfinite(pair).all(axis=1)].T
        covers = float(np.mean((low <= middle) & (middle <= high))) if len(low) else float("nan")
        width = float(np.sqrt(np.mean(((high - low) / 2) ** 2))) / (1.96 * sd) if len(low) and sd else float("nan")
        told += [covers, width]
    given = float(np.isfinite(both[:, 0]).all(axis=1).mean())
    return Held(mean, sd, given, *told)


def table(replications: int, only: str) -> Iterator[str]:
    """The rows, with their heading."""
    yield "| samples | N | metric | mean | sd | given | covers | width | control covers | width |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for case in CASES:
        if only in case.name:
            for name, held in coverage(case, replications).items():
                yield _row(case.name, case.n, name, held)
    for place, n, draw in PROBED:
        for name, probe in PROBES.items() if only in place else ():
            yield _row(place, n, name, probe_coverage(probe, n, draw, replications))


def _row(place: str, n: int, name: str, held: Held) -> str:
    own = f"{held.given:.2f} | {_told(held.covers, 3)} | {_told(held.width, 2)}"
    control = f"{_told(held.control, 3)} | {_told(held.control_width, 2)}"
    return f"| {place} | {n} | {name} | {held.mean:.4g} | {held.sd:.2g} | {own} | {control} |"


def _told(number: float, digits: int) -> str:
    return "–" if np.isnan(number) else f"{number:.{digits}f}"
