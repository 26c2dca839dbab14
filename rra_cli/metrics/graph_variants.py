"""NNCS, NNLS and neighbourhood overlap on the mutual graph, the union and a fixed radius (RRA thesis, ch. 3.3).

The lists of these graphs differ in length. A sample without neighbours (mutual, radius) says nothing of its
neighbourhood: it is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.estimate import Estimate, collapsed, standard_error, undefined
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.overlap import check_comparable
from rra_cli.neighbors.variants import QUANTILE, Lists, Variant, expected_iou, lists_of, shared

Ratio = Literal["iou", "dice"]


@dataclass(frozen=True)
class Kind:
    """Which graph. Of variant radius, radius: itself; radius_quantile: that of the distances to the k-th neighbour."""

    variant: Variant
    radius_quantile: float = QUANTILE
    radius: float | None = None

    def lists(self, graph: NeighborGraph) -> Lists:
        """The graph's lists of that variant."""
        return lists_of(graph, self.variant, self.radius_quantile, self.radius)


def told_of(lists: Lists) -> dict[str, NDArray[Any]]:
    """What is told of a variant beside a value: mean number of neighbours, samples without any, radius, censored."""
    degrees = lists.degrees
    return {
        "list_mean": np.array(degrees.mean()),
        "list_none": np.array(np.count_nonzero(degrees == 0)),
        "list_radius": np.array(lists.radius),
        "list_censored": np.array(np.count_nonzero(lists.censored)),
    }


def nncs_of(
    graph: NeighborGraph,
    classes: NDArray[np.generic],
    codes: NDArray[np.int64],
    kind: Kind,
    *,
    class_balanced: bool = False,
) -> Estimate:
    """`nncs` on a variant: the mean over samples of the fraction of their neighbours with their own label.

    classes `(C,)` and codes `(n,)`: a sample's class is `classes[codes[i]]`. per_sample: NaN without neighbours.
    chance: the mean of (n_c - 1) / (N - 1) over the samples that have neighbours (balanced: over their classes), exact
    for lists of any length that know nothing of the labels. details: as `nncs`, without the table of neighbours, NaN
    for a class none of whose samples has neighbours; and `told_of`.
    """
    lists = kind.lists(graph)
    degrees, details = lists.degrees, told_of(lists)
    reason = collapsed(graph) or _none(degrees > 0, kind)
    if reason:
        return undefined(reason, details=details)
    n, used = len(codes), degrees > 0
    owners = np.repeat(codes, degrees)
    same = np.add.reduceat((codes[lists.ids] == owners).astype(np.int64), lists.starts[:-1][used])
    by_sample = np.full(n, np.nan)
    by_sample[used] = same / degrees[used]
    sizes, counts = np.bincount(codes, minlength=len(classes)), np.bincount(codes[used], minlength=len(classes))
    there, chances = counts > 0, (sizes - 1) / (n - 1)
    sums = np.bincount(codes[used], by_sample[used], len(classes))
    class_values = np.where(there, sums / np.maximum(counts, 1), np.nan)
    if class_balanced:
        value, chance = float(class_values[there].mean()), float(chances[there].mean())
        errors = [standard_error(by_sample[used & (codes == code)]) for code in np.flatnonzero(there)]
        error = float(np.sqrt(np.sum(np.square(errors))) / len(errors))
    else:
        value, chance = float(by_sample[used].mean()), float(chances[codes[used]].mean())
        error = standard_error(by_sample[used])
    details |= {"classes": classes, "class_value": class_values, "class_chance": chances, "class_size": counts}
    n_used = int(np.count_nonzero(used))
    return Estimate(value, per_sample=by_sample, std_error=error, chance=chance, n_used=n_used, details=details)


def pairs_of(
    graphs: Sequence[NeighborGraph], kind: Kind, ratio: Ratio, *, per_sample: bool = True
) -> dict[tuple[int, int], Estimate]:
    """NNLS (iou) or neighbourhood overlap (dice) of all ordered pairs of layers on a variant, the diagonal included.

    iou: |A and B| / |A or B|. dice: 2 |A and B| / (|A| + |B|), which is |A and B| / k for lists of k. The mean is over
    samples that have neighbours in both layers; per_sample is NaN for the others, and n_used counts those. chance: of
    lists of the same lengths drawn at random, exact: 2 a b / ((a + b) (N - 1)), and `expected_iou`. details of the
    diagonal: `told_of` the layer. A pair has no value where a layer has collapsed, or no sample has neighbours in both.
    Raises `InputError` for graphs that cannot be compared.
    """
    check_comparable(graphs)
    lists = [kind.lists(graph) for graph in graphs]
    reasons = [collapsed(graph) for graph in graphs]
    found: dict[tuple[int, int], Estimate] = {}
    for a, b in product(range(len(graphs)), repeat=2):
        if a > b:
            found[a, b] = found[b, a]
            continue
        reason = reasons[a] or reasons[b]
        if reason:
            found[a, b] = undefined(reason)
        else:
            found[a, b] = _pair(lists[a], lists[b], kind, ratio, per_sample)
    return found


def _pair(one: Lists, other: Lists, kind: Kind, ratio: Ratio, per_sample: bool) -> Estimate:
    a, b, n = one.degrees, other.degrees, len(one)
    used, details = (a > 0) & (b > 0), told_of(one) if one is other else {}
    reason = _none(used, kind, " in both layers" if one is not other else "")
    if reason:
        return undefined(reason, details=details)
    both = (a if one is other else shared(one, other))[used]
    a, b = a[used], b[used]
    if ratio == "iou":
        values, by_chance = both / (a + b - both), expected_iou(a, b, n - 1)
    else:
        values, by_chance = 2.0 * both / (a + b), 2.0 * a * b / ((a + b) * (n - 1.0))
    by_sample = None
    if per_sample:
        by_sample = np.full(n, np.nan)
        by_sample[used] = values
    return Estimate(
        float(values.mean()),
        per_sample=by_sample,
        std_error=standard_error(values),
        chance=float(by_chance.mean()),
        n_used=len(values),
        details=details,
    )


def _none(used: NDArray[np.bool_], kind: Kind, where: str = "") -> str:
    """Why there is no value, where no sample can be used."""
    return "" if used.any() else f"no sample has a neighbour in the {kind.variant} graph{where}"
