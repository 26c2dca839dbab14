"""Label overlap of any labelling: how far a sample's neighbours share its class, its brightness, or anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.fields import identity, location
from rra_cli.metrics.class_similarity import nncs
from rra_cli.metrics.estimate import Estimate, collapsed, standard_error, undefined
from rra_cli.metrics.metric import Input, LayerData, LayerMetric
from rra_cli.neighbors.graph import InputError, NeighborGraph

Quantity = Literal["within", "difference"]


def label_overlap(
    graph: NeighborGraph, labels: ArrayLike, *, quantity: Quantity = "within", tolerance: float = 0.5
) -> Estimate:
    """How much a layer's neighbours agree in an attribute of the samples.

    labels: `(n,)`. Integers or strings are categories: the mean fraction of the k neighbours with the sample's own, as
    `nncs`, in [0, 1]. Floats are a quantity: `within` is the mean fraction of neighbours within `tolerance` standard
    deviations of the sample's own, in [0, 1]; `difference` is the mean absolute difference from the neighbours divided
    by that of all pairs of samples: 0 where neighbours are equal, 1 at chance (lower agrees more).

    per_sample: `(n,)`. std_error: sd / sqrt(n), as if samples were independent. chance: exact, of all N - 1 others.
    Without a value where the layer has collapsed, or a quantity is the same for all. Raises `InputError` where labels
    do not fit the graph or are not finite.
    """
    _check(quantity, tolerance)
    array = np.asarray(labels)
    if array.dtype.kind != "f":
        found = nncs(graph, array)
        # Without tables by class, whose names are those of the classes.
        return Estimate(
            found.value, found.per_sample, found.std_error, found.chance, reason=found.reason, n_used=found.n_used
        )
    if array.shape != (len(graph),) or not graph.self_excluded:
        raise InputError(f"labels must be ({len(graph)},), of a graph of a set against itself, got shape {array.shape}")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"labels must be finite; {np.count_nonzero(~np.isfinite(values))} of {len(values)} are not")
    n, spread = len(values), float(values.std())
    # Not by the spread: that of equal values is rounding, not 0.
    reason = collapsed(graph) or ("" if np.ptp(values) > 0 else f"the attribute is the same for all {n} samples")
    if reason:
        return undefined(reason)
    by_sample = np.empty(n)
    step = max(1, (1 << 22) // graph.k)
    for rows in (slice(start, min(n, start + step)) for start in range(0, n, step)):
        apart = np.abs(values[graph.indices[rows]] - values[rows, None])
        by_sample[rows] = (apart <= tolerance * spread).mean(axis=1) if quantity == "within" else apart.mean(axis=1)
    if quantity == "within":
        chance = pairs_within(values, tolerance * spread)
    else:
        by_sample /= mean_difference(values)
        chance = 1.0
    error = standard_error(by_sample)
    return Estimate(float(by_sample.mean()), per_sample=by_sample, std_error=error, chance=chance, n_used=n)


def pairs_within(values: NDArray[np.float64], distance: float) -> float:
    """The fraction of ordered pairs of different samples whose values `(n,)` are at most that far apart; n log n."""
    order, n = np.sort(values), len(values)
    # Compared as differences, as neighbours are: adding the distance to a value would round otherwise.
    above = np.searchsorted(order, order + distance, side="right")
    above = _settled(order, above, distance)
    return float(2 * (above - np.arange(n) - 1).sum() / (n * (n - 1)))


def _settled(order: NDArray[np.float64], above: NDArray[np.intp], distance: float) -> NDArray[np.intp]:
    """The ends of the ranges, each moved until all differences within are at most the distance, and none beyond is."""
    while True:
        shrink = (above > np.arange(len(order)) + 1) & (order[above - 1] - order > distance)
        grow = (above < len(order)) & (order[np.minimum(above, len(order) - 1)] - order <= distance)
        if not (shrink | grow).any():
            return above
        above = above - shrink + grow


def mean_difference(values: NDArray[np.float64]) -> float:
    """The mean |x_i - x_j| over all pairs i != j of values `(n,)` (Gini's mean difference), in n log n."""
    order, n = np.sort(values - values.mean()), len(values)
    return float(2 * ((2 * np.arange(n) - n + 1) @ order) / (n * (n - 1)))


def _check(quantity: str, tolerance: float) -> None:
    if quantity not in get_args(Quantity):
        raise InputError(f"quantity is {quantity!r}; it must be one of {', '.join(get_args(Quantity))}")
    if not 0.0 < tolerance < np.inf:
        raise InputError(f"tolerance is {tolerance}; it must be positive, in standard deviations of the attribute")


@dataclass(frozen=True)
class LabelOverlap(LayerMetric):
    """Agreement of neighbours in any attribute of the samples: a labelling that comes with rra, or a user's column.

    labelling: class, superclass (CIFAR-100), luminance, contrast, hue (of the pictures), or a column of `file`.
    file: a CSV file with the column `sample_id` (and `split`, where both are measured); null: none. quantity: what is
    told of an attribute that is a number: within (fraction of neighbours within `tolerance` standard deviations) or
    difference (mean absolute difference, relative to that of all pairs).
    """

    name: ClassVar[str] = "label_overlap"
    version: ClassVar[int] = 2
    inputs: ClassVar[frozenset[Input]] = frozenset({"graph", "labels"})
    unit: ClassVar[str] = "fraction of neighbours, or of the difference by chance"
    low: ClassVar[float | None] = 0.0
    higher_is: ClassVar[str] = "neighbours share the attribute more (with quantity=difference: less)"

    labelling: str = identity("class")
    file: str | None = location(None)
    quantity: Quantity = identity("within")
    tolerance: float = identity(0.5)

    def __post_init__(self) -> None:
        _check(self.quantity, self.tolerance)
        if not self.labelling:
            raise ValueError(
                "labelling is empty; give class, superclass, luminance, contrast, hue, or a column of file"
            )

    def measure(self, layer: LayerData) -> Estimate:
        if layer.labels is None:
            raise InputError("label_overlap needs labels, and the data has none", "leave it out, or give a file")
        return label_overlap(layer.neighbors, layer.labels, quantity=self.quantity, tolerance=self.tolerance)
