"""What metrics of layers and of pairs of layers cost, from sizes alone: orders of magnitude."""

from __future__ import annotations

from collections.abc import Sequence

from rra_cli.metrics.canonical import CCA, SVCCA
from rra_cli.metrics.decimation import Decimation
from rra_cli.metrics.hsic import CKA, HSIC
from rra_cli.metrics.imbalance import InformationImbalance
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import LayerMetric, LayerPairMetric, Metric
from rra_cli.metrics.neighborhood_overlap import NeighborhoodOverlap
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.metrics.persistence import Persistence
from rra_cli.metrics.principal import LARGEST
from rra_cli.neighbors.cost_model import exact_bytes, exact_seconds
from rra_cli.stages import costs
from rra_cli.stages.stage import Cost

# On the machine of benchmarks/README.md with 4 threads.
DOUBLE = 6.0e10  # operations of products in float64 a second, reading and widening included
SOLVER = 3.0e10  # of a decomposition
BLOCKS = 700 << 20  # bytes of the blocks of linear products


def of_layers(metric: LayerMetric, n: int, widths: Sequence[int]) -> Cost:
    """A metric of some layers of n samples and so many features."""
    seconds, memory = 0.01 * len(widths), 0
    for d in widths if "activations" in metric.inputs else ():
        if isinstance(metric, Decimation):
            seconds += sum(2**level * exact_seconds(n // 2**level, d, 2) for level in range(1, 5)) + n * 1e-3 / 16
            memory = max(memory, exact_bytes(n // 2, d, 2) + 2 * n * d)
        elif isinstance(metric, PCADimension) and metric.definition == "participation_ratio":
            seconds += 2.0 * n * d * min(n, d) / DOUBLE
            memory = max(memory, BLOCKS)
        else:
            cost = costs.reading(n, d)
            seconds += cost.seconds
            memory = max(memory, cost.memory_bytes)
    return Cost(seconds=seconds, memory_bytes=memory, disk_bytes=20_000)


def of_pairs(metric: LayerPairMetric, n: int, widths: Sequence[int], k: int) -> Cost:
    """A metric of all pairs of layers of n samples and so many features. k: neighbours that it reads."""
    layers, whole = len(widths), sum(widths)
    pairs = layers * (layers - 1) / 2
    disk = int(200 * pairs)
    if isinstance(metric, HSIC | CKA):
        operations = 1.0 * n * whole * min(n, whole)
        return Cost(seconds=0.1 + operations / DOUBLE, memory_bytes=BLOCKS, disk_bytes=disk)
    if isinstance(metric, CCA | SVCCA):
        return _canonical(metric, n, widths, disk)
    if isinstance(metric, InformationImbalance):
        seconds = sum(exact_seconds(n, d, 1) for d in widths)
        memory = max(exact_bytes(n, d, 1) for d in widths)
        return Cost(seconds=0.1 + seconds, memory_bytes=memory, disk_bytes=disk)
    seconds = 0.1 + costs.comparing(pairs, n, k)
    if isinstance(metric, NNLS | NeighborhoodOverlap) and metric.graph != "directed":
        # Lists of all layers, sorted both ways round, and merged pair by pair on one thread.
        seconds += layers * n * k * 4e-7 + pairs * n * k * 4e-8
        return Cost(seconds, memory_bytes=8 * int(pairs) * n + (8 * layers + 60) * n * k, disk_bytes=disk)
    if isinstance(metric, NeighborhoodOverlap) and metric.weights != "top":
        seconds += pairs * n * k * 2e-8
    if isinstance(metric, Persistence):
        return Cost(seconds + layers * n * k * 3e-7, memory_bytes=40 * layers**2 * n, disk_bytes=disk)
    return Cost(seconds=seconds, memory_bytes=8 * int(pairs) * n, disk_bytes=disk)


def _canonical(metric: CCA | SVCCA, n: int, widths: Sequence[int], disk: int) -> Cost:
    """Bases of all layers, and of every pair a product and its singular values.

    How many directions hold the variance shows only in the data: a third of what there are is assumed.
    """
    seconds, ranks, solved = 0.1, list[int](), 0
    for d in widths:
        side = min(n, d)
        ranks.append(min(side if isinstance(metric, CCA) else max(side // 3, min(side, 64)), LARGEST))
        if side <= LARGEST:
            seconds += 2.0 * n * d * side / DOUBLE + 9.0 * side**3 / SOLVER
            solved = max(solved, side)
        else:
            seconds += 8.0 * n * d * ranks[-1] / DOUBLE
    for place, a in enumerate(ranks):
        for b in ranks[:place]:
            if max(a, b) < n - 1:
                seconds += 2.0 * n * a * b / DOUBLE + 4.0 * a * b * min(a, b) / SOLVER
    largest = max(ranks, default=0)
    memory = 5 * 8 * max(solved, largest) ** 2 + 2 * 8 * n * largest
    return Cost(seconds=seconds, memory_bytes=memory, disk_bytes=disk + 8 * n * sum(ranks))


def own_spread(metric: Metric, n: int, widths: Sequence[int]) -> Cost:
    """What a metric of activations takes to tell its own standard errors: its products once more, and what they need.

    Canonical correlations are decomposed with their directions, of which SVCCA looks at as many again.
    """
    layers, whole = len(widths), sum(widths)
    if isinstance(metric, HSIC | CKA) or (isinstance(metric, PCADimension) and metric.definition != "variance"):
        by_features = whole <= n
        operations = 1.0 * n * whole * min(n, whole) * (2 if by_features else 1)
        # Sums over rows of tiles run at the speed of memory.
        sums = 0.0 if by_features else layers * (layers + 1) * n * n * 5e-10
        return Cost(0.1 + operations / DOUBLE + sums, BLOCKS + 12 * layers**2 * n, 200 * layers**2)
    if isinstance(metric, CCA | SVCCA):
        cost, whole_bases = (
            _canonical(metric, n, widths, 200 * layers**2),
            _canonical(CCA(), n, widths, 200 * layers**2),
        )
        return Cost(2.0 * cost.seconds, whole_bases.memory_bytes, whole_bases.disk_bytes)
    seconds, memory, disk = 0.1, 0, 0
    for d in widths:
        side = min(n, d)
        if side <= LARGEST:
            seconds += (2.0 if d > n else 4.0) * n * d * side / DOUBLE + 9.0 * side**3 / SOLVER
            memory, disk = max(memory, 8 * (5 * side**2 + 3072 * side) + (64 << 20)), disk + 24 * side
    return Cost(seconds, memory, disk)
