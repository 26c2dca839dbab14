"""Tiles of the products of a layer's centred samples: what distances and linear kernels are made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.centred import Centred, slices

# Samples on a side of a tile, and features that are multiplied at a time (64 MB a side).
TILE, PANEL = 1024, 8192


def tiles(n: int) -> list[slice]:
    """The sides of all tiles of n samples; they depend on n alone, not on the memory that is free."""
    return list(slices(n, TILE))


def products(layer: Centred, rows: slice, columns: slice) -> NDArray[np.float64]:
    """Inner products of some samples with others, both around the mean of all: `(rows, columns)`."""
    found = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
    for features in slices(layer.d, PANEL):
        left = layer.columns(features, rows)
        found += left @ (left if rows == columns else layer.columns(features, columns)).T
    return found


def upper(n: int) -> Iterator[tuple[slice, slice]]:
    """Pairs of sides that have each tile on or above the diagonal once."""
    sides = tiles(n)
    return ((rows, columns) for place, rows in enumerate(sides) for columns in sides[place:])
