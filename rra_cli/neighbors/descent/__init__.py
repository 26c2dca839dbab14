"""Nearest-neighbour descent: the library, and its results checked and measured."""
