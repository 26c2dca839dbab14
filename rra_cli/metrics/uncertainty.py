"""How far a value would move with other samples of the same kind: intervals from disjoint blocks of the samples.

Values of different samples share neighbours, so the standard error of their mean, and equally a bootstrap that draws
them one by one, is too small: by a third and more for NNLS and class similarity, by a fifth for TwoNN (measured by
benchmarks/interval_coverage.py).
Here the metric is measured anew, graph included, on B disjoint random blocks of b = N / B samples. Those are B
independent values of the metric at b; where sqrt(n) times its error has a limit law, as it has for means over neighbour
graphs, the spread at N is that of the blocks times sqrt(b / N), so their standard deviation divided by sqrt(B):
subsampling (Politis, Romano 1994, "Large sample confidence regions based on subsamples under minimal assumptions", Ann.
Statist. 22; Politis, Romano, Wolf 1999, "Subsampling", ch. 2), with the B disjoint blocks of batch means, whose few
values take the quantile of Student's t. Assumed: samples drawn independently from one law, and a metric whose value at
one sample depends on a few around it. The jackknife of such lists would be too wide: in the mean it is never too narrow
(Efron, Stein 1981, "The jackknife estimate of variance", Ann. Statist. 9), and far from it where neighbours are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.reproducibility import derive_seed
from rra_cli.metrics.gride import Gride
from rra_cli.metrics.hubness import Hubness
from rra_cli.metrics.imbalance import InformationImbalance

if TYPE_CHECKING:
    from rra_cli.metrics.metric import Metric

# As many blocks as there are samples for, between these; with fewer samples there is no interval.
MOST_BLOCKS, FEWEST_BLOCKS = 16, 4
SMALLEST_BLOCK = 50
# Of a heavier tail than that of a skewness of 1, the few largest hubs decide, which no part of the samples knows of.
MOST_SKEWNESS = 1.0


def n_blocks(n: int) -> int:
    """Into how many blocks n samples are divided: 16, fewer where they would have less than 50 samples, 0 below 4."""
    blocks = min(MOST_BLOCKS, n // SMALLEST_BLOCK)
    return blocks if blocks >= FEWEST_BLOCKS else 0


def block_rows(n: int, blocks: int) -> list[NDArray[np.int64]]:
    """Disjoint random blocks of n // blocks of the samples, ascending within a block; the same for all layers."""
    order = np.random.RandomState(derive_seed(0, "blocks", n) % 2**32).permutation(n)  # frozen for good (NEP 19)
    size = n // blocks
    return [np.sort(order[place * size : (place + 1) * size]) for place in range(blocks)]


def block_k(metric: Metric, k: int, n: int, blocks: int) -> int:
    """How many neighbours a metric of k neighbours of n samples reads within a block.

    What reads a fixed number (TwoNN, Gride at its rank) reads that. Otherwise k / blocks^(2/3), at least 2 of them:
    between k / blocks, whose neighbourhoods are as large as they were but whose noise is that of few neighbours (too
    wide), and k, whose neighbourhoods are `blocks` times as large (too narrow); at most half of the block.
    """
    if metric.fixed_k is not None:
        return metric.fixed_k
    if isinstance(metric, Gride):
        return min(k, metric.rank)
    return min(k, max(2, min(round(k / blocks ** (2 / 3)), n // blocks // 2)))


def interval(
    value: float, of_blocks: NDArray[np.float64], bounds: tuple[float | None, float | None], level: float = 0.95
) -> tuple[float, float]:
    """The interval around a metric's value that, for a fraction `level` of all sets of N such samples, holds the mean
    of the metric over sets of N; NaN where a block has no value.

    It says how far the value may lie from its mean over samples, not how far that mean lies from what it estimates:
    TwoNN of 20 dimensions is 16 at N = 2,000, and its interval is around 16. of_blocks: `(B,)`, the metric on disjoint
    blocks. bounds: the least and largest values that the metric can have (None: unbounded).

    The metric has another level on blocks than on all samples, so their spread is told on a scale on which it depends
    little on the level: fractions by the arcsine of their root, quantities from 0 by their logarithm, those without
    bounds, or 0 somewhere, by asinh. Its ends lie within the bounds.
    """
    from scipy.special import stdtrit

    if np.isnan(value) or len(of_blocks) < FEWEST_BLOCKS or np.isnan(of_blocks).any():
        return float("nan"), float("nan")
    reach = float(stdtrit(len(of_blocks) - 1, 0.5 + level / 2)) / len(of_blocks) ** 0.5
    low, high = bounds
    if low == 0.0 and high == 1.0:
        middle, half = np.arcsin(np.sqrt(value)), reach * np.arcsin(np.sqrt(of_blocks)).std(ddof=1)
        ends = np.clip([middle - half, middle + half], 0.0, np.pi / 2)
        return float(np.sin(ends[0]) ** 2), float(np.sin(ends[1]) ** 2)
    if low == 0.0 and min(value, of_blocks.min()) > 0.0:
        factor = float(np.exp(reach * np.log(of_blocks).std(ddof=1)))
        return value / factor, min(value * factor, np.inf if high is None else high)
    middle, half = float(np.arcsinh(value)), reach * float(np.arcsinh(of_blocks).std(ddof=1))
    least, most = -np.inf if low is None else low, np.inf if high is None else high
    return max(float(np.sinh(middle - half)), least), min(float(np.sinh(middle + half)), most)


def interval_of(
    metric: Metric, value: float, of_blocks: NDArray[np.float64], n: int, level: float = 0.95
) -> tuple[float, float]:
    """`interval` of a metric of n samples with the bounds that it declares.

    Information imbalance is told above 2 / n, its least value, which is that of equal layers and sixteen times as large
    in a sixteenth. Hubness of a skewness above 1 has no interval: what the few largest hubs do, blocks cannot tell (in
    trials it held seven to eight times out of ten).
    """
    if isinstance(metric, Hubness) and not abs(value) <= MOST_SKEWNESS:
        return float("nan"), float("nan")
    if isinstance(metric, InformationImbalance) and len(of_blocks):
        least, of_block = 2.0 / n, 2.0 / (n // len(of_blocks))
        above = np.maximum((of_blocks - of_block) / 2.0, 0.0)
        low, high = interval(max((value - least) / 2.0, 0.0), above, (0.0, 1.0), level)
        return least + 2.0 * low, min(least + 2.0 * high, 2.0)
    return interval(value, of_blocks, (metric.low, metric.high), level)
