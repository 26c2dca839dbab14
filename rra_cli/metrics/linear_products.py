"""Inner products of linear kernels, for all pairs of layers in one go and without any matrix of samples by samples.

With X_a, X_b centred, the kernels K_a = X_a X_a^T have the inner product <K_a, K_b> = |X_a^T X_b|^2 (Frobenius). It is
summed tile by tile, over samples or over features, whichever takes fewer operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred, slices

# Features that meet as many others at a time.
PANEL = 2048
# Numbers of a block of samples of the widest layer (128 MB), and of the tiles of all layers (256 MB).
ROWS, TILES = 1 << 24, 1 << 25


@dataclass(frozen=True, eq=False)
class LinearProducts:
    """Of some layers with the same n samples.

    inner: `(layers, layers)`, <K_a, K_b>. lengths: `(layers, n)`, the diagonals of the kernels: |x_i - mean|^2.
    """

    inner: NDArray[np.float64]
    lengths: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Samples."""
        return int(self.lengths.shape[1])


def linear_products(layers: Sequence[Centred], progress: Progress = silent) -> LinearProducts:
    """Of all pairs of layers, in float64; at least one layer.

    Operations: n^2 D over samples or n D^2 over features, D the features of all layers together. Beside the layers
    themselves, which are read in blocks, it takes less than 0.7 GB, and `(layers, n)` numbers.
    """
    n, width = layers[0].n, sum(layer.d for layer in layers)
    lengths = np.stack([layer.lengths for layer in layers])
    inner = _over_features(layers, progress) if width <= n else _over_samples(layers, progress)
    return LinearProducts(inner, lengths)


def _over_samples(layers: Sequence[Centred], progress: Progress) -> NDArray[np.float64]:
    """Sums over tiles of the kernels: entry (i, j) of all of them at a time."""
    n, widest = layers[0].n, max(layer.d for layer in layers)
    step = max(1, min(ROWS // widest, int((TILES / len(layers)) ** 0.5), n))
    blocks = list(slices(n, step))
    inner = np.zeros((len(layers), len(layers)))
    pairs = list(combinations_with_replacement(blocks, 2))
    for done, (rows, columns) in enumerate(pairs):
        progress(done, len(pairs), "")
        tiles = np.empty((len(layers), (rows.stop - rows.start) * (columns.stop - columns.start)))
        for place, layer in enumerate(layers):
            first = layer.rows(rows)
            second = first if rows == columns else layer.rows(columns)
            tiles[place] = (first @ second.T).ravel()
        inner += (1.0 if rows == columns else 2.0) * (tiles @ tiles.T)
    progress(len(pairs), len(pairs), "")
    return inner


def _over_features(layers: Sequence[Centred], progress: Progress) -> NDArray[np.float64]:
    """Sums over tiles of the cross-covariances."""
    panels = [(place, columns) for place, layer in enumerate(layers) for columns in slices(layer.d, PANEL)]
    inner = np.zeros((len(layers), len(layers)))
    pairs = list(combinations_with_replacement(panels, 2))
    for done, (one, other) in enumerate(pairs):
        progress(done, len(pairs), "")
        (a, first), (b, second) = one, other
        product = np.zeros((first.stop - first.start, second.stop - second.start))
        for rows in slices(layers[a].n, ROWS // PANEL):
            product += layers[a].columns(first, rows).T @ layers[b].columns(second, rows)
        found = float(np.vdot(product, product))
        if a != b:
            inner[a, b] += found
            inner[b, a] += found
        else:
            inner[a, a] += found if one == other else 2.0 * found
    progress(len(pairs), len(pairs), "")
    return inner
