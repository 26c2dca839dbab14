"""Neighbour graphs of layers: which engine searches, in shards or side by side, and on what activations."""
