"""The tables of a sample study: values by numbers of samples and of neighbours.

`n_samples` is the size of a nested subset of the measured samples, the largest of which is all of them; `ndr` is k /
n_samples. basis: `graph` where a graph was searched; `definition` where k = N - 1, so that every other sample is a
neighbour: NNCS is then the chance level and NNLS 1, whatever the layer.
"""

from __future__ import annotations

from typing import Any

GRAPH, DEFINITION = "graph", "definition"
# What two compared cells have in common.
FIXED_N, FIXED_DENSITY, FIXED_K = "n_samples", "ndr", "k"

_LAYER = ("checkpoint", "epoch", "split", "layer", "index", "pool", "scale", "subset", "n_samples")
_LAYER_KEY = ("checkpoint", "split", "layer", "pool", "scale", "subset", "n_samples")
_PLACE = ("checkpoint", "epoch", "split", "pool", "scale", "subset")
_PLACE_KEY = ("checkpoint", "split", "pool", "scale", "subset")
_PAIR = ("layer_a", "index_a", "layer_b", "index_b")
_CELL = ("std_error", "chance")
_END = ("basis", "reason", "engine", "recall")

SAMPLES_WHOLE = frozenset({"index_a", "index_b", "n_samples_a", "n_samples_b", "k_a", "k_b", "n_layers"})
SAMPLES_TEXT = frozenset({"basis", "basis_a", "basis_b", "fixed"})

# As `schema.Table` takes them.
SAMPLES: dict[str, dict[str, Any]] = {
    # A row a layer, size, k and metric; of the intrinsic dimension, which reads two neighbours, k is 2.
    "samples": {
        "columns": (*_LAYER, "k", "ndr", "metric", "value", *_CELL, "n_used", *_END),
        "key": (*_LAYER_KEY, "k", "metric"),
        "measured": "value",
    },
    # Quantiles of μ at every size, as in mu.csv.
    "samples_mu": {
        "columns": (*_LAYER, "quantile", "mu", "engine", "recall"),
        "key": (*_LAYER_KEY, "quantile"),
    },
    # A row a pair of layers, the earlier one first, size and k.
    "samples_nnls": {
        "columns": (*_PLACE, "n_samples", "k", "ndr", *_PAIR, "nnls", *_CELL, *_END),
        "key": (*_PLACE_KEY, "n_samples", "k", "layer_a", "layer_b"),
        "measured": "nnls",
    },
    # NNLS_SIM (RRA thesis, eq. 5.2; 0 = equal) of two cells, in nats, by both definitions of the divergence of two
    # numbers. fixed: what the cells have in common; ndr: the density that was asked for, where it is that.
    "nnls_sim": {
        "columns": (
            *(*_PLACE, "fixed", "ndr", "n_samples_a", "k_a", "n_samples_b", "k_b", "bernoulli", "unnormalised"),
            *("n_layers", "basis_a", "basis_b", "reason"),
        ),
        "key": (*_PLACE_KEY, "fixed", "n_samples_a", "k_a", "n_samples_b", "k_b"),
        "measured": "bernoulli",
    },
}
