"""Rows of the directions that canonical correlations are of: how many of a layer, and what of it they leave out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rra_cli.metrics.canonical import SVCCA
from rra_cli.metrics.principal import LARGEST
from rra_cli.stages.run_results import RunResults

EXACT, RANDOMISED = "exact", "randomised"


def basis_rows(results: RunResults) -> Iterator[dict[str, Any]]:
    """A row a layer and SVCCA that has a value there, from the layer's pair with itself.

    held: fraction of the layer's variance that the kept directions hold; residual: 1 - held.
    """
    for stage, measured in results.pairs():
        a, b = measured.figures["a"], measured.figures["b"]
        if isinstance(stage.metric, SVCCA) and a == b and "variance_held" in measured.arrays:
            graph, held = stage.graphs[a], float(measured.arrays["variance_held"][0])
            n, n_features = graph.point.n_samples, graph.source.n_features
            yield {
                **results.place(graph.point),
                "metric": stage.key,
                "n_features": n_features,
                "n_directions": int(measured.arrays["dimensions"][0]),
                "held": held,
                "residual": 1.0 - held,
                "decomposition": EXACT if min(n, n_features) <= LARGEST else RANDOMISED,
            }
