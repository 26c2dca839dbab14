"""Tables of what is made from neighbour graphs beside metrics: their variants, and pictures of layers.

Merged into `schema.TABLES`, whose rules hold here, too.
"""

from __future__ import annotations

from typing import Any

_COMMON = ("checkpoint", "epoch", "split", "layer", "index", "pool", "scale", "subset", "n_samples")
_LAYER_KEY = ("checkpoint", "split", "layer", "pool", "scale", "subset", "n_samples")
_SEARCH = ("engine", "recall")

GRAPH_TEXT = frozenset({"graph", "method"})
GRAPH_WHOLE = frozenset({"without_neighbors", "censored", "n_neighbors", "components", "left_out"})

GRAPHS: dict[str, dict[str, Any]] = {
    # What graph=mutual, union or radius made of the stored lists: a row a layer and metric. neighbors: mean number of a
    # sample. without_neighbors: samples that have none, and are left out of the metric's value. radius: the common one;
    # censored: samples whose stored list ends within it, so that neighbours may be missing.
    "graph_lists": {
        "columns": (
            *(*_COMMON, "k", "metric", "graph", "neighbors", "without_neighbors", "radius", "censored"),
            *_SEARCH,
        ),
        "key": (*_LAYER_KEY, "k", "metric"),
    },
    # Layers in two dimensions: a row a sample that is drawn. x, y: the picture around 0 with a mean squared radius of
    # 1, turned upon that of the layer before; empty for a sample that was not placed. attribute: `pictures.color_by`.
    "pictures": {
        "columns": ("sample_id", *_COMMON, "k", "method", "x", "y", "class", "attribute", *_SEARCH),
        "key": ("sample_id", *_LAYER_KEY, "k", "method"),
    },
    # How far each of them can be trusted, with its n_neighbors. components: of the neighbour graph (isomap); left_out:
    # samples outside of the largest. chance: of preservation. variance: share that the plane holds (pca).
    "picture_quality": {
        "columns": (
            *(*_COMMON, "k", "method", "n_neighbors", "components", "left_out", "trustworthiness"),
            *("trustworthiness_error", "preservation", "preservation_error", "chance", "variance", "reason", *_SEARCH),
        ),
        "key": (*_LAYER_KEY, "k", "method"),
        "measured": "trustworthiness",
    },
}
