"""Dumping the layers of a network, and reading them back."""
