"""A measurement's values on other graphs of its layers: of a block of the samples, or of permuted ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import nan

from rra_cli.metrics.metric import LayerData
from rra_cli.metrics.scale_similarity import nnls_between
from rra_cli.stages.across_scales import AcrossScales
from rra_cli.stages.measure import LayerMeasure, PairMeasure
from rra_cli.stages.to_last import ToLast

Measured = LayerMeasure | PairMeasure | AcrossScales | ToLast


def evaluate(of: Measured, layers: Sequence[LayerData | None]) -> list[float]:
    """The values in the order of the measurement's results; NaN where a layer is None or the metric has no value.

    layers: one for each of `of.graphs`.
    """
    if isinstance(of, LayerMeasure):
        return [nan if layer is None else of.metric.measure(layer).value for layer in layers]
    if isinstance(of, ToLast):
        half = len(layers) // 2
        pairs = [(layers[place], layers[half + place]) for place in range(half)]
        return [
            nan if one is None or other is None else of.metric.measure([one, other])[0, 1].value for one, other in pairs
        ]
    usable = [place for place, layer in enumerate(layers) if layer is not None]
    there = {place: layer for place, layer in enumerate(layers) if layer is not None}
    if isinstance(of, AcrossScales):
        rows, columns = ([p for p in usable if p < of.n_rows], [p for p in usable if p >= of.n_rows])
        graphs = {place: layer.neighbors for place, layer in there.items()}
        between = nnls_between([graphs[p] for p in rows], [graphs[p] for p in columns])
        found = {(rows[a], columns[b]): estimate.value for (a, b), estimate in between.items()}
        order = [*product(range(of.n_rows), range(of.n_rows, len(layers)))]
    else:
        measured = of.metric.measure(list(there.values())) if there else {}
        found = {(usable[a], usable[b]): estimate.value for (a, b), estimate in measured.items()}
        order = [(a, b) for a in range(len(layers)) for b in range(len(layers))]
    return [found.get(pair, nan) for pair in order]
