"""Layers in two dimensions, from activations or stored neighbour graphs, and how far to trust the picture."""
