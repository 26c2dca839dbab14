"""What probes take beside what `rra plan` says of them; about two minutes on four quiet cores.

    python benchmarks/probe_costs.py [--largest FEATURES]

The constants are in rra_cli/stages/probe_costs.py: ratios (measured / planned) should lie between 0.5 and 2.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from rra_cli.metrics.linear_probe import LinearProbe, LogisticProbe
from rra_cli.metrics.metric import SplitData, TransferMetric
from rra_cli.metrics.neighbor_probes import KNNProbe, OneNNProbe
from rra_cli.stages.probe_costs import probe

# Training samples, test samples, features: of representations, of MNIST itself, of a convolution's maps.
SIZES = [(5_000, 1_000, 64), (60_000, 10_000, 84), (50_000, 10_000, 512), (60_000, 10_000, 784), (10_000, 5_000, 4096)]
CLASSES = 10


def split(n: int, d: int, seed: int) -> SplitData:
    """Overlapping classes on a nonlinear manifold, with the decaying spectrum of a layer."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, n)
    latent = shared.normal(size=(CLASSES, 16))[labels] + rng.normal(size=(n, 16))
    rows = np.tanh(latent @ shared.normal(size=(16, d)) / 4)
    rows += 0.1 * rng.normal(size=(n, d))
    return SplitData(rows.astype(np.float32), labels)


def seconds(metric: TransferMetric, train: SplitData, test: SplitData) -> float:
    """Wall-clock seconds of one probe."""
    began = time.perf_counter()
    metric.measure(train, test)
    return time.perf_counter() - began


def main() -> None:
    """Prints a line for every size and probe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=10**6, help="layers of at most so many features")
    largest = parser.parse_args().largest
    metrics: list[TransferMetric] = [LinearProbe(), LogisticProbe(), KNNProbe(), OneNNProbe()]
    for metric in metrics:  # compiles, starts threads
        metric.measure(split(500, 8, 1), split(300, 8, 2))
    print("| probe | train | test | features | seconds | planned | ratio |\n|---|---|---|---|---|---|---|")
    for n_train, n_test, d in SIZES:
        if d > largest:
            continue
        train, test = split(n_train, d, 1), split(n_test, d, 2)
        for metric in metrics:
            took = seconds(metric, train, test)
            planned = probe(metric, n_train, n_test, d, CLASSES).seconds
            sizes = f"{n_train:,} | {n_test:,} | {d:,}"
            print(f"| {metric.name} | {sizes} | {took:.2f} | {planned:.2f} | {took / planned:.2f} |", flush=True)


if __name__ == "__main__":
    main()
