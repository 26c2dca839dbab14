"""How often intervals of metrics hold: fractions over many sets of samples of known laws.

    python benchmarks/interval_coverage.py [--replications 400] [--only NAME] [--of graphs|activations]
        [--block-neighbors rule]

Every case draws R sets of N samples and measures metrics on each. The mean of a metric over all R sets stands for its
expectation at N: an interval covers where it holds that mean. Beside the intervals of disjoint blocks stand those of
the standard error that takes samples for independent (value +- 1.96 standard errors). `width`: the root mean square of
the half-width divided by 1.96 standard deviations of the metric over the sets; 1 is as wide as it should be.
`--block-neighbors` has blocks read k / blocks (share) or k (whole) neighbours in place of what `rra` lets them read.
`--of activations`: metrics of activations and probes, whose intervals are made otherwise
(interval_coverage_activations.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import interval_coverage_activations
import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.decimation import Decimation
from rra_cli.metrics.gride import Gride
from rra_cli.metrics.hubness import Hubness
from rra_cli.metrics.imbalance import InformationImbalance
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import LayerData, LayerMetric, LayerPairMetric
from rra_cli.metrics.neighborhood_overlap import NeighborhoodOverlap
from rra_cli.metrics.persistence import Persistence
from rra_cli.metrics.uncertainty import block_k, block_rows, interval_of, n_blocks
from rra_cli.neighbors.exact import exact_neighbors

Array = NDArray[np.float64]
Metric = LayerMetric | LayerPairMetric


@dataclass(frozen=True)
class Drawn:
    """One set: layers `(n, features)`, labels `(n,)` or None."""

    layers: list[Array]
    labels: NDArray[Any] | None = None


@dataclass(frozen=True)
class Case:
    """What is drawn, and what is measured of it with k neighbours."""

    name: str
    n: int
    k: int
    draw: Callable[[np.random.Generator, int], Drawn]
    metrics: dict[str, Metric]


@dataclass(frozen=True)
class Coverage:
    """Of one metric: mean and standard deviation over sets; coverage and width by blocks and by independent samples."""

    mean: float
    sd: float
    blocks: float
    blocks_width: float
    independent: float
    independent_width: float


def ball(d: int) -> Callable[[np.random.Generator, int], Drawn]:
    """Uniform in the ball of d dimensions."""

    def draw(rng: np.random.Generator, n: int) -> Drawn:
        x = rng.normal(size=(n, d))
        return Drawn([x / np.linalg.norm(x, axis=1, keepdims=True) * rng.random((n, 1)) ** (1 / d)])

    return draw


def torus(d: int) -> Callable[[np.random.Generator, int], Drawn]:
    """Uniform on the flat torus of d dimensions, in 2 d."""

    def draw(rng: np.random.Generator, n: int) -> Drawn:
        angles = rng.uniform(0.0, 2 * np.pi, (n, d))
        return Drawn([np.hstack([np.cos(angles), np.sin(angles)])])

    return draw


def gaussian(d: int) -> Callable[[np.random.Generator, int], Drawn]:
    """Normal in d dimensions."""
    return lambda rng, n: Drawn([rng.normal(size=(n, d))])


def mixture(d: int, apart: float, classes: int = 5) -> Callable[[np.random.Generator, int], Drawn]:
    """Unit normals around points of a line, `apart` from each other; the labels are theirs."""

    def draw(rng: np.random.Generator, n: int) -> Drawn:
        labels = rng.integers(0, classes, n)
        x = rng.normal(size=(n, d))
        x[:, 0] += apart * labels
        return Drawn([x], labels)

    return draw


def attribute(d: int) -> Callable[[np.random.Generator, int], Drawn]:
    """Normal in d dimensions; the label is the first of them with noise."""

    def draw(rng: np.random.Generator, n: int) -> Drawn:
        x = rng.normal(size=(n, d))
        return Drawn([x], x[:, 0] + 0.5 * rng.normal(size=n))

    return draw


def noisy_copies(d: int, *noise: float) -> Callable[[np.random.Generator, int], Drawn]:
    """A normal set, and copies with ever more noise."""

    def draw(rng: np.random.Generator, n: int) -> Drawn:
        layers = [rng.normal(size=(n, d))]
        for each in noise:
            layers.append(layers[-1] + each * rng.normal(size=(n, d)))
        return Drawn(layers)

    return draw


DIMENSIONS: dict[str, Metric] = {
    "twonn mle": TwoNN(),
    "twonn linear": TwoNN(fit="linear"),
    "twonn mle_censored": TwoNN(fit="mle_censored"),
    "gride 16": Gride(),
    "decimation": Decimation(),
}
CLASSES: dict[str, Metric] = {"nncs": NNCS(), "nncs balanced": NNCS(class_balanced=True)}
ATTRIBUTES: dict[str, Metric] = {
    "label_overlap within": LabelOverlap(),
    "label_overlap difference": LabelOverlap(quantity="difference"),
}
PAIRS: dict[str, Metric] = {
    "nnls": NNLS(),
    "overlap": NeighborhoodOverlap(),
    "overlap average": NeighborhoodOverlap(weights="average"),
    "overlap rank_biased": NeighborhoodOverlap(weights="rank_biased"),
    "persistence": Persistence(),
    "information_imbalance": InformationImbalance(),
}
HUBS: dict[str, Metric] = {"hubness": Hubness()}

CASES = [
    *(Case(f"ball d={d}", n, 20, ball(d), DIMENSIONS) for d, n in ((2, 1000), (5, 1000), (10, 2000))),
    Case("torus d=3", 2000, 20, torus(3), DIMENSIONS),
    Case("Gaussian d=20", 2000, 20, gaussian(20), DIMENSIONS),
    Case("mixture d=2, 1 apart", 1000, 20, mixture(2, 1.0), CLASSES),
    Case("mixture d=10, 3 apart", 2000, 40, mixture(10, 3.0), CLASSES),
    Case("mixture d=5, 6 apart", 1000, 20, mixture(5, 6.0), CLASSES),
    Case("attribute d=5", 1000, 20, attribute(5), ATTRIBUTES),
    Case("copies d=3, noise 0.3", 1000, 10, noisy_copies(3, 0.3, 0.3), PAIRS),
    Case("copies d=10, noise 0.5", 1500, 15, noisy_copies(10, 0.5, 0.5), PAIRS),
    Case("copies d=3, noise 0.02", 1000, 10, noisy_copies(3, 0.02, 0.02), PAIRS),
    *(Case(f"hubs, Gaussian d={d}", 1000, 10, gaussian(d), HUBS) for d in (3, 8, 30)),
]


def in_blocks(metric: Metric, case: Case, rule: str) -> int:
    """How many neighbours a metric reads within a block, by a rule of `--block-neighbors`."""
    blocks = n_blocks(case.n)
    if rule == "rule" or metric.fixed_k is not None:
        return block_k(metric, case.k, case.n, blocks)
    return max(1, round(case.k / blocks)) if rule == "share" else min(case.k, case.n // blocks - 1)


def measured(
    case: Case, metrics: dict[str, Metric], drawn: Drawn, whole: bool, rule: str = "rule"
) -> dict[str, tuple[float, float]]:
    """Value and standard error of every metric; of pairs, of the first layer with the last. whole: not a block."""
    n = len(drawn.layers[0])
    ks = {
        name: (metric.fixed_k or case.k) if whole else in_blocks(metric, case, rule) for name, metric in metrics.items()
    }
    graphs = [exact_neighbors(x, min(n - 1, max(ks.values()))) for x in drawn.layers]
    found = {}
    for name, metric in metrics.items():
        layers = [
            LayerData(
                graph.prefix(ks[name]),
                drawn.labels if "labels" in metric.inputs else None,
                x if "activations" in metric.inputs else None,
            )
            for graph, x in zip(graphs, drawn.layers, strict=True)
        ]
        estimate = (
            metric.measure(layers[0]) if isinstance(metric, LayerMetric) else metric.measure(layers)[0, len(layers) - 1]
        )
        found[name] = (estimate.value, estimate.std_error)
    return found


def part(drawn: Drawn, rows: NDArray[np.int64]) -> Drawn:
    """Some of the samples."""
    return Drawn([x[rows] for x in drawn.layers], None if drawn.labels is None else drawn.labels[rows])


def coverage(case: Case, replications: int, seed: int = 0, rule: str = "rule") -> dict[str, Coverage]:
    """Of every metric of a case."""
    rng = np.random.default_rng([seed, case.n])
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in case.metrics}
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in case.metrics}
    rows = block_rows(case.n, n_blocks(case.n))
    for _ in range(replications):
        drawn = case.draw(rng, case.n)
        of_blocks = [measured(case, case.metrics, part(drawn, block), False, rule) for block in rows]
        for name, found in measured(case, case.metrics, drawn, True).items():
            values[name].append(found)
            own = np.array([each[name][0] for each in of_blocks])
            ends[name].append(interval_of(case.metrics[name], found[0], own, case.n))
    return {name: summary(np.array(values[name]), np.array(ends[name])) for name in case.metrics}


def summary(values: Array, ends: Array) -> Coverage:
    """values: `(R, 2)`, value and standard error; ends: `(R, 2)`, NaN where there is no interval, which then counts
    for nothing."""
    value, error = values.T
    mean, sd = float(value.mean()), float(value.std(ddof=1))
    there = np.isfinite(ends).all(axis=1)
    low, high = ends[there].T
    none = float("nan")
    return Coverage(
        mean,
        sd,
        float(np.mean((low <= mean) & (mean <= high))) if there.any() else none,
        float(np.sqrt(np.mean(((high - low) / 2) ** 2)) / (1.96 * sd)) if there.any() else none,
        float(np.mean(np.abs(value - mean) <= 1.96 * error)) if np.isfinite(error).all() else none,
        float(np.sqrt(np.mean(error**2)) / sd) if np.isfinite(error).all() else none,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--block-neighbors", choices=("rule", "share", "whole"), default="rule")
    parser.add_argument("--of", choices=("graphs", "activations"), default="graphs")
    options = parser.parse_args()
    if options.of == "activations":
        print(f"{options.replications} replications")
        for line in interval_coverage_activations.table(options.replications, options.only):
            print(line, flush=True)
        return
    print(f"{options.replications} replications, neighbours of blocks: {options.block_neighbors}")
    print("| samples | N | k | metric | mean | sd | blocks cover | width | independent cover | width |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        if options.only not in case.name:
            continue
        for name, found in coverage(case, options.replications, rule=options.block_neighbors).items():
            numbers = f"{found.mean:.4g} | {found.sd:.2g} | {found.blocks:.3f} | {found.blocks_width:.2f}"
            others = f"{found.independent:.3f} | {found.independent_width:.2f}"
            print(f"| {case.name} | {case.n} | {case.k} | {name} | {numbers} | {others} |", flush=True)


if __name__ == "__main__":
    main()
