"""Neighbour graphs: exact and approximate search, the graph type, overlap of neighbourhoods."""

from __future__ import annotations

from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.nn_descent import approximate_neighbors

__all__ = ["NeighborGraph", "approximate_neighbors", "exact_neighbors"]
