"""Linear HSIC, CKA and the participation ratio without one of the samples, for all of them, in closed form.

With r = n / (n - 1), taking out sample i leaves the cross-product X'Y - r x_i y_i', so that <K, L> becomes <K, L> -
2 r h_i + r^2 a_i b_i: h = row sums of K * L (entry by entry), a and b the diagonals. What the unbiased estimator reads
beside it, sum_j a_j b_j, follows from K b and L a. The rows are summed tile by tile, as the products themselves are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred, slices
from rra_cli.metrics.jackknife import Spread, spread, unknown
from rra_cli.metrics.linear_products import PANEL, ROWS, TILES

Array = NDArray[np.float64]
QUANTITIES = ("hsic_biased", "hsic_unbiased", "cka_biased", "cka_unbiased")
# Unbiased normalisers below this share of the biased ones are rounding, or negative.
_NOTHING = 1e-12


@dataclass(frozen=True, eq=False)
class RowSums:
    """Of some layers of n samples. products: `(n,)` by pair of layers a <= b, sum_j K_a,ij K_b,ij. lengths: `(layers,
    n)`, the diagonals. weighted: `(layers, layers, n)`, [a, b] = K_a times the diagonal of K_b.
    """

    products: dict[tuple[int, int], Array]
    lengths: Array
    weighted: Array


def row_sums(layers: Sequence[Centred], progress: Progress = silent) -> RowSums:
    """Of all pairs of layers, in float64; at least one layer.

    Operations and memory are those of `linear_products` (over features twice as many operations), and `layers^2 * n`
    numbers more.
    """
    lengths = np.stack([layer.lengths for layer in layers])
    sums = RowSums({}, lengths, np.zeros((len(layers), *lengths.shape)))
    for pair in combinations_with_replacement(range(len(layers)), 2):
        sums.products[pair] = np.zeros(layers[0].n)
    by_features = sum(layer.d for layer in layers) <= layers[0].n
    (_over_features if by_features else _over_samples)(layers, sums, progress)
    return sums


def _over_samples(layers: Sequence[Centred], sums: RowSums, progress: Progress) -> None:
    n, widest = layers[0].n, max(layer.d for layer in layers)
    step = max(1, min(ROWS // widest, int((TILES / len(layers)) ** 0.5), n))
    pairs = list(combinations_with_replacement(slices(n, step), 2))
    for done, (rows, columns) in enumerate(pairs):
        progress(done, len(pairs), "")
        tiles = []
        for place, layer in enumerate(layers):
            first = layer.rows(rows)
            tiles.append(first @ (first if rows == columns else layer.rows(columns)).T)
            sums.weighted[place][:, rows] += sums.lengths[:, columns] @ tiles[-1].T
            if rows != columns:
                sums.weighted[place][:, columns] += sums.lengths[:, rows] @ tiles[-1]
        for (a, b), found in sums.products.items():
            found[rows] += np.einsum("ij,ij->i", tiles[a], tiles[b])
            if rows != columns:
                found[columns] += np.einsum("ij,ij->j", tiles[a], tiles[b])
    progress(len(pairs), len(pairs), "")


def _over_features(layers: Sequence[Centred], sums: RowSums, progress: Progress) -> None:
    panels = [(place, columns) for place, layer in enumerate(layers) for columns in slices(layer.d, PANEL)]
    pairs = list(combinations_with_replacement(panels, 2))
    for done, ((a, first), (b, second)) in enumerate(pairs):
        progress(done, len(pairs), "")
        product = np.zeros((first.stop - first.start, second.stop - second.start))
        blocks = list(slices(layers[a].n, ROWS // PANEL))
        for rows in blocks:
            product += layers[a].columns(first, rows).T @ layers[b].columns(second, rows)
        twice = 2.0 if a == b and first != second else 1.0
        for rows in blocks:
            left = layers[a].columns(first, rows) @ product
            sums.products[a, b][rows] += twice * np.einsum("ij,ij->i", left, layers[b].columns(second, rows))
    for place, layer in enumerate(layers):
        sums.weighted[place] = layer.times(layer.transposed_times(sums.lengths.T)).T
    progress(len(pairs), len(pairs), "")


def kernel_spreads(layers: Sequence[Centred], progress: Progress = silent) -> dict[tuple[int, int], dict[str, Spread]]:
    """Of every one of `QUANTITIES`, of all pairs of layers a <= b; the layers' samples must not coincide."""
    n, count = layers[0].n, len(layers)
    if n < 5:
        return {
            pair: dict.fromkeys(QUANTITIES, unknown(f"{n} samples"))
            for pair in combinations_with_replacement(range(count), 2)
        }
    sums = row_sums(layers, progress)
    own = [_without(sums, at, at) for at in range(count)]
    found = {}
    for a, b in sums.products:
        biased, unbiased = _without(sums, a, b)
        values = {"hsic_biased": biased, "hsic_unbiased": unbiased}
        with np.errstate(divide="ignore", invalid="ignore"):
            values["cka_biased"] = biased / np.sqrt(own[a][0]) / np.sqrt(own[b][0])
            scale = [np.where(u > _NOTHING * v, u, np.nan) for v, u in (own[a], own[b])]
            values["cka_unbiased"] = unbiased / np.sqrt(scale[0]) / np.sqrt(scale[1])
        found[a, b] = {name: spread(values[name], n) for name in QUANTITIES}
    return found


def _without(sums: RowSums, a: int, b: int) -> tuple[Array, Array]:
    """Biased and unbiased HSIC of two layers without sample i, `(n,)` each."""
    one, other, h = sums.lengths[a], sums.lengths[b], sums.products[a, b]
    n, left = len(h), len(h) - 1
    r, both = n / left, one * other
    inner = float(h.sum()) - 2 * r * h + r**2 * both
    total, total_other = one.sum() - r * one, other.sum() - r * other
    # |x_j + x_i / left|^2 of the others, times the same of the other layer, summed over j other than i.
    diagonals = float(one @ other) - both
    diagonals += 2 / left * (sums.weighted[a, b] + sums.weighted[b, a] - 2 * both)
    diagonals += (one * (other.sum() - other) + other * (one.sum() - one) + 4 * (h - both)) / left**2
    diagonals += -4 * both / left**3 + both / left**3
    bracket = inner - left / (left - 2) * diagonals + total * total_other / ((left - 1) * (left - 2))
    return inner / (left - 1) ** 2, bracket / (left * (left - 3))


def participation_spread(layer: Centred, progress: Progress = silent) -> Spread:
    """Of the participation ratio of a layer, whose samples must not coincide."""
    sums = row_sums([layer], progress)
    (lengths,), h, r = sums.lengths, sums.products[0, 0], layer.n / (layer.n - 1)
    inner = float(h.sum()) - 2 * r * h + r**2 * lengths**2
    return spread((lengths.sum() - r * lengths) ** 2 / inner, layer.n)
