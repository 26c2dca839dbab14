"""Neighbour graphs: exact and approximate search, the graph type, overlap of neighbourhoods."""

from __future__ import annotations

from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.nn_descent import approximate_neighbors
from rra_cli.neighbors.ranks import cross_layer_ranks, information_imbalance, neighbor_ranks
from rra_cli.neighbors.subsets import exact_subset_graphs

__all__ = [
    "NeighborGraph",
    "approximate_neighbors",
    "cross_layer_ranks",
    "exact_neighbors",
    "exact_subset_graphs",
    "information_imbalance",
    "neighbor_ranks",
]
