"""How far a sample's neighbours are of its own class (NNCS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, collapsed, standard_error, undefined
from rra_cli.metrics.graph_variants import Kind, nncs_of
from rra_cli.metrics.metric import Input, LayerData, LayerMetric
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.variants import QUANTILE, Variant, check_variant

DIRECTED = Kind("directed")


def nncs(graph: NeighborGraph, labels: ArrayLike, *, class_balanced: bool = False, kind: Kind = DIRECTED) -> Estimate:
    """Nearest-neighbour class similarity: the mean fraction of the k neighbours that have the sample's own label.

    In [0, 1]; higher means that classes keep more to themselves. RRA thesis eq. 3.4; the same as the label
    neighbourhood overlap of Doimo et al. 2020. labels: `(n,)` integers or strings of the samples of a graph of a set
    against itself.
    class_balanced: the mean of the classes' means instead (the default of DADApy). kind: another graph made from this
    one's lists, whose chance level and details are those of `graph_variants.nncs_of`.

    per_sample: `(n,)` fraction of every sample. std_error: sd / sqrt(n) of them, as if samples were independent
    (neighbourhoods overlap, so the true error is larger). chance: sum_c p_c (n_c - 1) / (N - 1), what a graph that
    knows nothing of the labels gives in the mean, and k = N - 1 exactly; class-balanced: the mean over classes of
    (n_c - 1) / (N - 1). details: `classes`, `class_value`, `class_chance`, `class_size`, each `(C,)`, and
    `class_neighbors` `(C, C)`, the table of that function.

    Without a value where all samples coincide (a collapsed layer).

    Raises `InputError` where labels do not fit the graph.
    """
    classes, codes = _codes(graph, labels)
    if kind.variant != "directed":
        return nncs_of(graph, classes, codes, kind, class_balanced=class_balanced)
    reason = collapsed(graph)
    if reason:
        return undefined(reason)
    n, sizes = len(codes), np.bincount(codes, minlength=len(classes))
    per_sample = np.empty(n)
    for rows in _row_blocks(graph):
        per_sample[rows] = (codes[graph.indices[rows]] == codes[rows, None]).mean(axis=1)
    class_values = np.bincount(codes, per_sample, len(classes)) / sizes
    class_chance = (sizes - 1) / (n - 1)
    if class_balanced:
        value, chance = float(class_values.mean()), float(class_chance.mean())
        errors = [standard_error(per_sample[codes == code]) for code in range(len(classes))]
        error = float(np.sqrt(np.sum(np.square(errors))) / len(classes))
    else:
        value, chance = float(per_sample.mean()), float(sizes @ class_chance / n)
        error = standard_error(per_sample)
    details = {
        "classes": classes,
        "class_value": class_values,
        "class_chance": class_chance,
        "class_size": sizes,
        "class_neighbors": _neighbor_table(graph, codes, len(classes)),
    }
    return Estimate(value, per_sample=per_sample, std_error=error, chance=chance, n_used=n, details=details)


def class_neighbors(graph: NeighborGraph, labels: ArrayLike) -> NDArray[np.float64]:
    """Of which classes the neighbours are: `(C, C)`, rows sum to 1, classes in the order of `np.unique(labels)`.

    Row c, column e: the fraction of the neighbours of class c's samples that are of class e. The diagonal is NNCS per
    class. Chance: n_e / (N - 1), and (n_c - 1) / (N - 1) on the diagonal.
    """
    classes, codes = _codes(graph, labels)
    return _neighbor_table(graph, codes, len(classes))


def _neighbor_table(graph: NeighborGraph, codes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    table = np.zeros(count * count, np.int64)
    for rows in _row_blocks(graph):
        table += np.bincount((codes[rows, None] * count + codes[graph.indices[rows]]).ravel(), minlength=count * count)
    square = table.reshape(count, count).astype(np.float64)
    return square / square.sum(axis=1, keepdims=True)


def _codes(graph: NeighborGraph, labels: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    array = np.asarray(labels)
    if array.shape != (len(graph),):
        raise InputError(f"labels must be ({len(graph)},), one for each row of the graph, got shape {array.shape}")
    if not graph.self_excluded:
        raise InputError(
            "labels fit a graph of a set against itself; this one was searched against a reference set",
            "search without reference=",
        )
    if array.dtype.kind not in "iubUST":
        raise InputError(f"labels must be integers or strings, got dtype {array.dtype}")
    classes, codes = np.unique(array, return_inverse=True)
    return classes, codes.astype(np.int64)


def _row_blocks(graph: NeighborGraph) -> list[slice]:
    step = max(1, (1 << 22) // graph.k)
    return [slice(start, min(len(graph), start + step)) for start in range(0, len(graph), step)]


@dataclass(frozen=True)
class NNCS(LayerMetric):
    """Fraction of a sample's nearest neighbours that are of its own class (NNCS).

    class_balanced: every class counts the same, however many samples it has. graph: directed (the k nearest), mutual
    (each among the k nearest of the other), union (one of the two), radius (no farther than a common radius);
    samples without neighbours are left out and counted. radius: of graph=radius, in the units of the layer's
    distances; lists end at k within it, too. radius_quantile: without it, which quantile of the distances to the k-th
    neighbour the radius is.
    """

    name: ClassVar[str] = "nncs"
    inputs: ClassVar[frozenset[Input]] = frozenset({"graph", "labels"})
    unit: ClassVar[str] = "fraction of neighbours"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "classes keep more to themselves"

    class_balanced: bool = identity(False)
    graph: Variant = identity("directed", before="directed")
    radius_quantile: float = identity(QUANTILE, before=0.5)
    radius: float | None = identity(None, before=None)

    def __post_init__(self) -> None:
        check_variant(self.graph, self.radius_quantile, self.radius)

    def measure(self, layer: LayerData) -> Estimate:
        if layer.labels is None:
            raise InputError("nncs needs labels, and the data has none", "leave metrics.nncs out")
        kind = Kind(self.graph, self.radius_quantile, self.radius)
        return nncs(layer.neighbors, layer.labels, class_balanced=self.class_balanced, kind=kind)
