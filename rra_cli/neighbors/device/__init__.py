"""The exact search on a GPU, in torch."""
