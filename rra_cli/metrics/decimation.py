"""TwoNN by decimation: the intrinsic dimension of ever smaller random parts of the samples, so at ever larger scales.

Facco et al. 2017, Sci. Rep. 7, 12140, "Estimating the intrinsic dimension ...", section on multiscale analysis; Ansuini
et al. 2019, "Intrinsic dimension of data representations in deep neural networks", fig. 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.intrinsic_dimension import Fit, check_fit, twonn
from rra_cli.metrics.metric import Input, LayerData, LayerMetric
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import InputError, NeighborGraph

# Scales that a layer's details hold, whatever the number of samples; the others are NaN.
MOST_SCALES = 24


def halvings(n: int, smallest: int) -> list[int]:
    """How many disjoint blocks there are at every scale: 1, 2, 4, .. as long as a block of n has `smallest` samples."""
    return [2**level for level in range(MOST_SCALES) if level == 0 or n // 2**level >= smallest]


def blocks_of(n: int, count: int, seed: int) -> list[NDArray[np.int64]]:
    """`count` disjoint random blocks of n // count of the samples, ascending within a block: parts of one order."""
    order = np.random.RandomState(seed).permutation(n)  # its stream is frozen for good (NEP 19)
    size = n // count
    return [np.sort(order[start * size : (start + 1) * size]) for start in range(count)]


def decimation(
    graph: NeighborGraph,
    activations: NDArray[np.floating],
    *,
    fit: Fit = "mle",
    unbiased: bool = False,
    discard: float = 0.1,
    smallest: int = 100,
    seed: int = 0,
    search: Callable[[NDArray[np.floating]], NeighborGraph] = lambda rows: exact_neighbors(rows, 2),
) -> Estimate:
    """TwoNN of all N samples, and of disjoint random blocks of N / 2, N / 4, .. of them: a scale curve.

    graph: of the layer, k >= 2. activations: `(N, features)`, the same samples. fit, unbiased, discard: as `twonn`.
    smallest: samples that a block has at least. seed: of the order that blocks are cut from. search: the graph of two
    neighbours of a block.

    The value is that of all samples, as are std_error and n_used; where the curve still rises towards N, it is a lower
    bound. details, `(24,)` each, NaN beyond the last: `scale_samples` of a block, `scale_rank` (2), `scale_blocks`
    with a value, `scale_value` their mean, `scale_sd` the standard deviation over blocks (NaN for one), `scale_error`
    sd / sqrt(blocks), of one block its own, and `scale_radius`, the mean distance to the second neighbour.

    Without a value where `twonn` has none. Raises `InputError` for parameters out of range and for other samples.
    """
    _check(fit, unbiased, discard, smallest)
    n = len(graph)
    if len(activations) != n:
        raise InputError(f"the graph has {n} samples, the activations {len(activations)}", "both need the same samples")
    whole = twonn(graph, fit=fit, unbiased=unbiased, discard=discard)
    if whole.reason:
        return undefined(whole.reason, n_used=whole.n_used)
    names = ("samples", "rank", "blocks", "value", "sd", "error", "radius")
    scales = {f"scale_{name}": np.full(MOST_SCALES, np.nan) for name in names}
    for level, count in enumerate(halvings(n, smallest)):
        graphs = [graph] if count == 1 else (search(activations[rows]) for rows in blocks_of(n, count, seed))
        estimates, radii = [], []
        for part in graphs:
            found = whole if count == 1 else twonn(part, fit=fit, unbiased=unbiased, discard=discard)
            if not found.reason:
                estimates.append(found)
                radii.append(float(part.distances[:, 1].mean()))
        values = np.array([found.value for found in estimates])
        several = len(values) > 1
        sd = float(values.std(ddof=1)) if several else float("nan")
        error = sd / len(values) ** 0.5 if several else estimates[0].std_error if estimates else float("nan")
        row = (
            n // count,
            2,
            len(values),
            values.mean() if len(values) else np.nan,
            sd,
            error,
            np.mean(radii or [np.nan]),
        )
        for name, number in zip(names, row, strict=True):
            scales[f"scale_{name}"][level] = number
    return Estimate(whole.value, std_error=whole.std_error, n_used=whole.n_used, details=scales)


def _check(fit: str, unbiased: bool, discard: float, smallest: int) -> None:
    check_fit(fit, unbiased, discard)
    if smallest < 3:
        raise InputError(f"smallest is {smallest}; a block needs 3 samples at least", "use smallest=100 or more")


@dataclass(frozen=True)
class Decimation(LayerMetric):
    """Intrinsic dimension (TwoNN) with its scale curve: of all samples, and of disjoint halves, quarters, eighths ...

    fit, unbiased, discard: as in twonn. smallest: samples of the smallest blocks. seed: of the blocks.
    """

    name: ClassVar[str] = "decimation"
    inputs: ClassVar[frozenset[Input]] = frozenset({"graph", "activations"})
    fixed_k: ClassVar[int | None] = 2
    unit: ClassVar[str] = "dimensions"
    low: ClassVar[float | None] = 0.0
    higher_is: ClassVar[str] = "more directions in which neighbouring samples vary"

    fit: Fit = identity("mle")
    unbiased: bool = identity(False)
    discard: float = identity(0.1)
    smallest: int = identity(100)
    seed: int = identity(0)

    def __post_init__(self) -> None:
        _check(self.fit, self.unbiased, self.discard, self.smallest)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 2**32 - 1")

    def measure(self, layer: LayerData) -> Estimate:
        workshop = layer.workshop

        def search(rows: NDArray[np.floating]) -> NeighborGraph:
            return exact_neighbors(rows, 2, device=workshop.device, memory=workshop.memory)

        return decimation(
            layer.neighbors,
            layer.features,
            fit=self.fit,
            unbiased=self.unbiased,
            discard=self.discard,
            smallest=self.smallest,
            seed=self.seed,
            search=search,
        )
