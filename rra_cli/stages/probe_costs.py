"""What probes cost, from sizes alone: orders of magnitude, measured by benchmarks/probe_costs.py."""

from __future__ import annotations

from rra_cli.metrics.linear_probe import LinearProbe, LogisticProbe
from rra_cli.metrics.metric import TransferMetric
from rra_cli.metrics.neighbor_probes import KNNProbe, OneNNProbe
from rra_cli.neighbors.cost_model import exact_bytes, exact_seconds
from rra_cli.stages.stage import Cost

# On the machine of benchmarks/README.md with 4 threads.
STEP = 4.0e-4  # seconds of a step of Adam, whatever its size
TRAFFIC = 4.0e9  # bytes of features a second that products with few classes go through
FEWEST, USUAL = 20, 0.5  # evaluations of L-BFGS: at least, and as a share of those allowed
READING = 6.0e8  # bytes of features a second that are read and divided by their norms


def probe(metric: TransferMetric, n_train: int, n_test: int, d: int, n_classes: int) -> Cost:
    """One probe of one layer of d features. A metric that is not known here is taken for one that reads the layer."""
    seconds = (n_train + n_test) * 4.0 * d / READING
    memory = 4 * (n_train + n_test) * d
    passes = 0.0
    if isinstance(metric, LinearProbe):
        steps = metric.epochs * -(-n_train // metric.batch_size)
        seconds += steps * (STEP + 40.0 * n_classes * d / TRAFFIC)
        passes = 3.0 * metric.epochs
    elif isinstance(metric, LogisticProbe):
        passes = 2.0 * max(FEWEST, USUAL * metric.max_iterations)
    elif isinstance(metric, KNNProbe | OneNNProbe):
        k = metric.n_train
        seconds += exact_seconds(n_test, d, k, n_reference=n_train)
        memory += exact_bytes(n_test, d, k) + 2 * n_train * d  # two eight-bit parts of the reference
    # A product reads the features, and multiplies them by as many columns as there are classes.
    seconds += passes * n_train * d * (4.0 + n_classes / 8.0) / TRAFFIC
    return Cost(seconds=0.02 + seconds, memory_bytes=memory, disk_bytes=10_000)
