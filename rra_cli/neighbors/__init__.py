"""Neighbour graphs: exact and approximate search, the graph type, overlap of neighbourhoods."""

from __future__ import annotations

from rra_cli.core import numba_threads
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.nn_descent import approximate_neighbors
from rra_cli.neighbors.overlap import Overlaps, all_pairs, count_overlaps, cross_pairs, overlap_parts
from rra_cli.neighbors.ranks import cross_layer_ranks, information_imbalance, neighbor_ranks
from rra_cli.neighbors.subsets import exact_subset_graphs

__all__ = [
    "NeighborGraph",
    "Overlaps",
    "all_pairs",
    "approximate_neighbors",
    "count_overlaps",
    "cross_layer_ranks",
    "cross_pairs",
    "exact_neighbors",
    "exact_subset_graphs",
    "information_imbalance",
    "neighbor_ranks",
    "overlap_parts",
]

# Before our compiled code imports numba: an approximate search may follow an exact one.
numba_threads.reserve()
