"""Linear HSIC and CKA: how alike two layers place their samples, up to rotation (and, for CKA, scale).

Gretton et al. 2005, "Measuring statistical dependence with Hilbert-Schmidt norms"; Song et al. 2012, "Feature selection
via dependence maximization"; Kornblith et al. 2019, "Similarity of neural network representations revisited".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.centred import Centred, centred
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.linear_products import LinearProducts, linear_products
from rra_cli.metrics.metric import Input, LayerData, LayerPairMetric
from rra_cli.neighbors.graph import InputError

Estimator = Literal["biased", "unbiased"]
# An unbiased normaliser below this share of the biased one is rounding, or negative.
_NOTHING = 1e-12


def biased_hsic(products: LinearProducts) -> NDArray[np.float64]:
    """tr(K H L H) / (n - 1)^2 of all pairs of layers, `(layers, layers)`, >= 0; Gretton et al. 2005, definition 2."""
    return products.inner / (products.n - 1) ** 2


def biased_chance(products: LinearProducts) -> NDArray[np.float64]:
    """The exact mean of `biased_hsic` over all permutations of one layer's samples: tr K tr L / (n - 1)^3."""
    traces = products.lengths.sum(axis=1)
    return np.outer(traces, traces) / (products.n - 1) ** 3


def unbiased_hsic(products: LinearProducts) -> NDArray[np.float64]:
    """The unbiased estimator of Song et al. 2012, eq. 5, of all pairs `(layers, layers)`; n >= 4. May be negative.

    1 / (n (n - 3)) [tr(K~ L~) + 1'K~1 1'L~1 / ((n-1)(n-2)) - 2 / (n-2) 1'K~L~1], K~ being K with a zero diagonal. For
    centred features the row sums of K~ are minus its lost diagonal a, so that the bracket becomes <K, L> -
    n / (n-2) sum_i a_i b_i + sum a sum b / ((n-1)(n-2)). Its mean over permutations is 0.
    """
    n, lengths = products.n, products.lengths
    traces = lengths.sum(axis=1)
    bracket = products.inner - n / (n - 2) * (lengths @ lengths.T) + np.outer(traces, traces) / ((n - 1) * (n - 2))
    return bracket / (n * (n - 3))


def linear_hsic(x: NDArray[np.floating], y: NDArray[np.floating], *, estimator: Estimator = "biased") -> Estimate:
    """Linear HSIC of two layers of the same samples, `(n, d)` and `(n, e)`; see `hsic_pairs`."""
    return hsic_pairs([x, y], estimator=estimator)[0, 1]


def linear_cka(x: NDArray[np.floating], y: NDArray[np.floating], *, estimator: Estimator = "biased") -> Estimate:
    """Linear CKA of two layers of the same samples, `(n, d)` and `(n, e)`; see `cka_pairs`."""
    return cka_pairs([x, y], estimator=estimator)[0, 1]


def hsic_pairs(
    layers: Sequence[NDArray[np.floating]], *, estimator: Estimator = "biased", progress: Progress = silent
) -> dict[tuple[int, int], Estimate]:
    """Linear HSIC of all ordered pairs of layers `(n, features)`, the diagonal included.

    Symmetric; higher is more dependent, in units of both layers' variance. Unchanged by rotations and shifts; a factor
    c on one layer multiplies it by c^2. estimator: `biased` (>= 0) or `unbiased` (0 in the mean for unrelated layers).
    chance: the exact mean over permutations of the samples. std_error is not known. Without a value where a layer's
    samples coincide, and unbiased for fewer than 4 samples. Raises `InputError` for layers of different samples.
    """
    return _pairs(layers, estimator, progress, scaled=False)


def cka_pairs(
    layers: Sequence[NDArray[np.floating]], *, estimator: Estimator = "biased", progress: Progress = silent
) -> dict[tuple[int, int], Estimate]:
    """Linear centred kernel alignment of all ordered pairs of layers: HSIC_ab / sqrt(HSIC_aa HSIC_bb); at most 1.

    Kornblith et al. 2019, eq. 4. Unchanged by rotations, shifts and factors of either layer, unlike CCA not by other
    linear maps. estimator: `biased` is the paper's, in [0, 1], and rises towards 1 with features / samples even for
    unrelated layers; `unbiased` uses the unbiased HSIC (`debiased` in the authors' code; a ratio of unbiased numbers,
    so itself only nearly unbiased), may be negative. chance: the exact mean over permutations. Else as `hsic_pairs`.
    """
    return _pairs(layers, estimator, progress, scaled=True)


def _pairs(
    layers: Sequence[NDArray[np.floating]], estimator: Estimator, progress: Progress, *, scaled: bool
) -> dict[tuple[int, int], Estimate]:
    _check(estimator)
    every = centred(layers)
    if not every:
        return {}
    n, count, fewest = every[0].n, len(every), 4 if estimator == "unbiased" else 2
    few = f"the {estimator} estimator needs {fewest} samples, there are {n}" if n < fewest else ""
    reasons = [few or layer.collapsed for layer in every]
    usable = [place for place, reason in enumerate(reasons) if not reason]
    matrix, chance = np.full((count, count), np.nan), np.full((count, count), np.nan)
    if usable:
        here = np.ix_(usable, usable)
        matrix[here], chance[here] = _measured([every[at] for at in usable], estimator, progress, scaled)
    found = {}
    for a, b in product(range(count), repeat=2):
        value = float(matrix[a, b])
        if np.isnan(value):
            why = reasons[a] or reasons[b] or "the unbiased HSIC of a layer with itself is not positive"
            found[a, b] = undefined(why)
        else:
            found[a, b] = Estimate(value, chance=float(chance[a, b]), n_used=n)
    return found


def _measured(
    layers: Sequence[Centred], estimator: Estimator, progress: Progress, scaled: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and chance levels of all pairs, NaN where a layer cannot be normalised."""
    products = linear_products(layers, progress)
    biased = biased_hsic(products)
    matrix, chance = biased, biased_chance(products)
    if estimator == "unbiased":
        matrix, chance = unbiased_hsic(products), np.zeros_like(biased)
    if not scaled:
        return matrix, chance
    halves = np.frexp(np.diag(biased))[1] // 2  # products of two normalisers neither overflow nor become 0
    matrix, chance, biased = (np.ldexp(of, -np.add.outer(halves, halves)) for of in (matrix, chance, biased))
    own = np.where(np.diag(matrix) > _NOTHING * np.diag(biased), np.diag(matrix), np.nan)
    scale = np.sqrt(np.outer(own, own))
    return np.clip(matrix / scale, -1.0, 1.0), chance / scale  # rounding may leave 1 + 1e-16


def _check(estimator: str) -> None:
    if estimator not in get_args(Estimator):
        raise InputError(f"estimator is {estimator!r}; it must be one of {', '.join(get_args(Estimator))}")


@dataclass(frozen=True)
class HSIC(LayerPairMetric):
    """Linear HSIC: covariance of the samples' similarities in two layers, for all pairs of layers.

    estimator: biased (Gretton 2005) or unbiased (Song 2012).
    """

    name: ClassVar[str] = "hsic"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations"})
    unit: ClassVar[str] = "product of the layers' variances"
    higher_is: ClassVar[str] = "the two layers vary together more, also because they vary more"

    estimator: Estimator = identity("biased")

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        features, workshop = [layer.features for layer in layers], layers[0].workshop
        return hsic_pairs(features, estimator=self.estimator, progress=workshop.progress)


@dataclass(frozen=True)
class CKA(LayerPairMetric):
    """Linear centred kernel alignment (CKA) of all pairs of layers.

    estimator: biased (Kornblith 2019, the paper) or unbiased (`debiased` in its code; corrects for few samples).
    """

    name: ClassVar[str] = "cka"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations"})
    unit: ClassVar[str] = "alignment"
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "the two layers place the samples more alike, up to rotation and scale"

    estimator: Estimator = identity("biased")

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        features, workshop = [layer.features for layer in layers], layers[0].workshop
        return cka_pairs(features, estimator=self.estimator, progress=workshop.progress)
