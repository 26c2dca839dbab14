"""Linear dimension of a layer by PCA: the baseline that a curved set of low dimension deceives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import centred
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.linear_products import linear_products
from rra_cli.metrics.metric import Input, LayerData, LayerMetric
from rra_cli.metrics.principal import LARGEST, TooLargeError, kept, principal
from rra_cli.neighbors.graph import InputError

Definition = Literal["variance", "participation_ratio"]


def components_for(spectrum: NDArray[np.float64], share: float) -> int:
    """The fewest leading values of a descending spectrum that add up to `share` of its sum."""
    return kept(spectrum, float(spectrum.sum()), share, 0.0)


def participation_ratio(spectrum: NDArray[np.float64]) -> float:
    """(sum v)^2 / sum v^2 of a spectrum, from 1 to its length: d equal values give d."""
    return float(spectrum.sum()) ** 2 / float(spectrum @ spectrum)


def pca_dimension(
    x: NDArray[np.floating],
    *,
    definition: Definition = "variance",
    share: float = 0.9,
    seed: int = 0,
    progress: Progress = silent,
) -> Estimate:
    """Linear dimensions of a layer `(n, d)`; from 1 to min(n - 1, d), in float64 around the mean.

    `variance`: principal components that hold `share` of the variance (Ansuini et al. 2019: 90 %), from the covariance
    or the products of samples, whichever is smaller; where min(n, d) exceeds 6144, from a randomised basis drawn by
    `seed`, which may need a few more. `participation_ratio`: (tr C)^2 / tr C^2 of the covariance C, by blocks at any
    size, so that nothing is decomposed. std_error and chance are not known. Without a value where all samples coincide,
    or where 6144 components do not hold the share. Raises `InputError` for parameters out of range.
    """
    _check(definition, share)
    (layer,) = centred([x])
    if layer.collapsed:
        return undefined(layer.collapsed)
    if definition == "participation_ratio":
        squares = float(linear_products([layer], progress).inner[0, 0])
        return Estimate(layer.total**2 / squares, n_used=layer.n)
    if min(layer.n, layer.d) <= LARGEST:
        values = np.linalg.eigvalsh(layer.smaller_product())[::-1]
        return Estimate(float(components_for(np.maximum(values, 0.0), share)), n_used=layer.n)
    try:
        found = principal(layer, share=share, tolerance=1e-9, seed=seed, progress=progress)
    except TooLargeError as error:
        return undefined(str(error), n_used=layer.n)
    return Estimate(float(found.rank), n_used=layer.n)


def _check(definition: str, share: float) -> None:
    if definition not in get_args(Definition):
        raise InputError(f"definition is {definition!r}; it must be one of {', '.join(get_args(Definition))}")
    if not 0.0 < share < 1.0:
        raise InputError(f"share is {share}; it is a fraction of the variance, between 0 and 1")


@dataclass(frozen=True)
class PCADimension(LayerMetric):
    """Linear dimension by PCA: components that hold most of the variance, or the participation ratio.

    definition: variance or participation_ratio. share: of the variance. seed: of the randomised basis of layers with
    more than 6144 samples and features.
    """

    name: ClassVar[str] = "pca_dimension"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations"})
    unit: ClassVar[str] = "linear dimensions"
    low: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "samples vary over more linear dimensions"

    definition: Definition = identity("variance")
    share: float = identity(0.9)
    seed: int = identity(0)

    def __post_init__(self) -> None:
        _check(self.definition, self.share)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 2**32 - 1")

    def measure(self, layer: LayerData) -> Estimate:
        return pca_dimension(
            layer.features,
            definition=self.definition,
            share=self.share,
            seed=self.seed,
            progress=layer.workshop.progress,
        )
