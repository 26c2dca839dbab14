"""Over how many dimensions a layer varies: the spectrum of its covariance, its effective rank, collapsed dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.metric import Input, LayerData, LayerMetric
from rra_cli.neighbors.graph import InputError

# The smaller of samples and features may not exceed this: the matrix of products of its square (8192: 0.5 GB of
# float64) is decomposed, which takes a minute or two.
LARGEST = 8192
# Eigenvalues that are kept as details; layers of fewer dimensions are filled up with NaN.
KEPT = 2048
# Numbers of a block that is read and widened to float64 at a time (64 MB).
BLOCK = 1 << 23
# A standard deviation smaller than this, relative to the values' size, is what rounding leaves of equal samples.
ROUNDING = 1e-13


def covariance_spectrum(x: NDArray[np.floating], *, normalise: bool = False) -> NDArray[np.float64]:
    """Eigenvalues of the covariance of rows x `(n, d)`, descending, non-negative: `(min(n, d),)`; the others are 0.

    They are the covariance matrix's singular values, (1/n) sum_i (x_i - mean)(x_i - mean)^T (Jing et al. 2022,
    "Understanding dimensional collapse in contrastive self-supervised learning", section 3). normalise: rows are first
    divided by their lengths (a row of zeros stays). Samples that coincide give zeros, whatever rounding would leave.

    In float64 from the smaller of the two products, `(d, d)` or `(n, n)`; x is read in blocks, of rows or of columns,
    after one pass for the mean, so that a large common offset costs no digits. Raises `InputError` where both n and d
    exceed 8192.
    """
    n, d = x.shape
    if min(n, d) > LARGEST:
        raise InputError(
            f"{n} samples of {d} features: the smaller of the two may be {LARGEST} at most for a spectrum",
            f"use activations.reduce={LARGEST} or less, or measure at most {LARGEST} samples",
        )
    scale = _inverse_lengths(x) if normalise else np.ones(n)
    mean, squares = np.zeros(d), 0.0
    for rows in _blocks(n, d):
        block = x[rows].astype(np.float64) * scale[rows, None]
        mean += block.sum(axis=0) / n
        squares += float(np.vdot(block, block))
    product = np.zeros((min(n, d), min(n, d)))
    if d <= n:
        for rows in _blocks(n, d):
            block = x[rows].astype(np.float64) * scale[rows, None] - mean
            product += block.T @ block
    else:
        for columns in _blocks(d, n):
            block = x[:, columns].astype(np.float64) * scale[:, None] - mean[columns]
            product += block @ block.T
    if np.trace(product) <= ROUNDING**2 * squares:
        return np.zeros(len(product))
    return np.maximum(np.linalg.eigvalsh(product)[::-1], 0.0) / n


def effective_rank(spectrum: NDArray[np.float64]) -> float:
    """exp of the entropy of the spectrum divided by its sum, in [1, len]; NaN where all of it is 0.

    Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality", eq. 3 and 4, with the singular
    values of the covariance matrix. (Of the centred features themselves, whose singular values are the square roots,
    it would be larger.) d equal values give d; a single one gives 1.
    """
    total = spectrum.sum()
    if not total > 0:
        return float("nan")
    shares = spectrum[spectrum > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def collapsed_dimensions(spectrum: NDArray[np.float64], tolerance: float) -> int:
    """How many of the values are at most `tolerance` times the largest; all of them where that is 0."""
    return int(np.count_nonzero(spectrum <= tolerance * spectrum.max()))


def _inverse_lengths(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """`(n,)`: one over the Euclidean length of each row; 1 for a row of zeros."""
    lengths = np.empty(len(x))
    for rows in _blocks(*x.shape):
        lengths[rows] = np.linalg.norm(x[rows].astype(np.float64), axis=1)
    return 1.0 / np.where(lengths > 0, lengths, 1.0)


def _blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of 0..n of so many rows of that width as one block may hold."""
    step = max(1, BLOCK // width)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


@dataclass(frozen=True)
class SingularValues(LayerMetric):
    """Effective rank of a layer: over how many dimensions its samples vary (spectrum of the covariance).

    normalise: of rows brought to unit length, as losses on the sphere see them. tolerance: a dimension counts as
    collapsed where its eigenvalue is at most this times the largest; our choice, as Jing et al. 2022 read it off the
    curve. Details: `spectrum` `(2048,)`, the largest eigenvalues in descending order (NaN beyond the last), and
    `collapsed_dimensions`, of the layer's d features (n - 1 where there are fewer samples).
    """

    name: ClassVar[str] = "singular_values"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations"})
    unit: ClassVar[str] = "linear dimensions"
    low: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "samples vary over more dimensions"

    normalise: bool = identity(False)
    tolerance: float = identity(1e-5)

    def __post_init__(self) -> None:
        if not 0.0 <= self.tolerance < 1.0:
            raise ValueError(f"tolerance is {self.tolerance}; it is a fraction of the largest eigenvalue, in [0, 1)")

    def measure(self, layer: LayerData) -> Estimate:
        assert layer.activations is not None, "the run gives what is among `inputs`"
        n, d = layer.activations.shape
        try:
            spectrum = covariance_spectrum(layer.activations, normalise=self.normalise)
        except InputError as error:
            return undefined(f"{error.message}; {error.hint}")
        value = effective_rank(spectrum)
        if np.isnan(value):
            return undefined(f"all {n} samples coincide (a collapsed layer)")
        kept = np.full(KEPT, np.nan)
        kept[: len(spectrum)] = spectrum[:KEPT]
        # n samples span n - 1 dimensions around their mean: the n-th is no collapse.
        dimensions = spectrum[: min(d, n - 1)]
        details = {
            "spectrum": kept,
            "collapsed_dimensions": np.array(collapsed_dimensions(dimensions, self.tolerance)),
        }
        return Estimate(value, n_used=n, details=details)
