"""Canonical correlations of two layers: CCA, and SVCCA of the directions that hold most of the variance.

Raghu et al. 2017, "SVCCA: singular vector canonical correlation analysis for deep learning dynamics and
interpretability"; Kornblith et al. 2019, "Similarity of neural network representations revisited", table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.core.progress import Progress
from rra_cli.metrics.canonical_chance import mean_chance, mean_square_chance
from rra_cli.metrics.centred import Centred, centred, forget
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.metric import PLAIN, Input, LayerData, LayerPairMetric, Workshop
from rra_cli.metrics.principal import Principal, TooLargeError, principal
from rra_cli.neighbors.graph import InputError

Summary = Literal["mean", "mean_square"]
ShareOf = Literal["variance", "singular_values"]
# Up to so many correlations are singular values.
EXACT_SVD = 512
# Relative singular values below this are rounding of the products that bases are made from.
SMALLEST = 1e-6
# Bases above this go to the workshop's folder, where it has one.
IN_MEMORY = 1 << 26


def correlations(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The min(p, q) canonical correlations of two orthonormal bases `(n, p)`, `(n, q)`, descending, in [0, 1].

    More than 512 of them from the eigenvalues of the product with its transpose, in a third of the time: a correlation
    below 1e-8 may then be told as 0.
    """
    crossed = _crossed(a, b)
    if min(crossed.shape) <= EXACT_SVD:
        return np.minimum(np.linalg.svd(crossed, compute_uv=False), 1.0)
    product = crossed @ crossed.T if len(crossed) <= crossed.shape[1] else crossed.T @ crossed
    return np.sqrt(np.clip(np.linalg.eigvalsh(product)[::-1], 0.0, 1.0))


def cca(x: NDArray[np.floating], y: NDArray[np.floating], *, summary: Summary = "mean") -> Estimate:
    """CCA similarity of two layers of the same samples, `(n, d)` and `(n, e)`; see `cca_pairs`."""
    return cca_pairs([x, y], summary=summary)[0, 1]


def svcca(x: NDArray[np.floating], y: NDArray[np.floating], *, share: float = 0.99) -> Estimate:
    """SVCCA similarity of two layers of the same samples, `(n, d)` and `(n, e)`; see `svcca_pairs`."""
    return svcca_pairs([x, y], share=share)[0, 1]


def cca_pairs(
    layers: Sequence[NDArray[np.floating]],
    *,
    summary: Summary = "mean",
    tolerance: float = 1e-5,
    workshop: Workshop = PLAIN,
) -> dict[tuple[int, int], Estimate]:
    """The mean (squared) canonical correlation of all ordered pairs of layers `(n, features)`, the diagonal included.

    In [0, 1], symmetric, 1 for layers that are invertible linear maps of one another (and then only: with fewer
    dimensions than the other, where one lies within the other). The mean is over the min(p, q) correlations, p and q
    the layers' ranks: `mean_square` is R^2_CCA and `mean` rho_CCA of Kornblith et al. 2019. tolerance: singular values
    at most this times the largest are rounding, 1e-6 at least (1e-3 for what was stored as float16). chance:
    `mean_square_chance` and `mean_chance`. A layer of rank n - 1 holds every other, so that value and chance are 1: CCA
    says nothing with fewer samples than features. std_error is not known.

    Without a value where a layer's samples coincide, or min(n, d) exceeds 6144. Takes 1.6 GB for a decomposition, and 8
    n rank bytes a layer for its basis: in the workshop's folder where there is one, else in memory. Raises `InputError`
    for layers of different samples.
    """
    _check(summary, 0.5, tolerance)

    def basis(layer: Centred, path: Path | None, progress: Progress) -> Principal:
        return principal(layer, tolerance=tolerance, path=path, progress=progress)

    return _pairs(layers, basis, summary, workshop)


def svcca_pairs(
    layers: Sequence[NDArray[np.floating]],
    *,
    share: float = 0.99,
    share_of: ShareOf = "variance",
    tolerance: float = 1e-5,
    seed: int = 0,
    workshop: Workshop = PLAIN,
) -> dict[tuple[int, int], Estimate]:
    """The mean canonical correlation of the directions that hold `share` of each layer's variance, of all pairs.

    Raghu et al. 2017, section 2. share_of: `variance` (the paper: 99 % of it) or `singular_values` (what the authors'
    notebooks sum and call variance; it keeps more directions). Where min(n, d) exceeds 6144 the directions come from a
    randomised basis that holds at least `share`, drawn by `seed`; n x 6144 numbers at most. details: `dimensions` and
    `variance_held`, `(2,)` each, of both layers. Unchanged by rotations, shifts and factors; unlike CCA not by other
    linear maps, which change what holds the variance. Else as `cca_pairs`.
    """
    _check("mean", share, tolerance)
    if share_of not in get_args(ShareOf):
        raise InputError(f"share_of is {share_of!r}; it must be one of {', '.join(get_args(ShareOf))}")

    def basis(layer: Centred, path: Path | None, progress: Progress) -> Principal:
        roots = share_of == "singular_values"
        return principal(
            layer, share=share, of_singular_values=roots, tolerance=tolerance, seed=seed, path=path, progress=progress
        )

    return _pairs(layers, basis, "mean", workshop)


def _pairs(
    layers: Sequence[NDArray[np.floating]],
    basis: Callable[[Centred, Path | None, Progress], Principal],
    summary: Summary,
    workshop: Workshop,
) -> dict[tuple[int, int], Estimate]:
    every, bases, reasons = centred(layers), dict[int, Principal](), dict[int, str]()
    paths = [None if workshop.folder is None else workshop.folder / f"basis_{place}.npy" for place in range(len(every))]
    # A basis takes about as long as all pairs that a layer has.
    steps = len(every) ** 2 + len(every) * (len(every) - 1) // 2
    for place, layer in enumerate(every):
        progress = partial(_part_of, workshop.progress, place * len(every), len(every), steps)
        progress(0, 1, "bases")
        if layer.collapsed:
            reasons[place] = layer.collapsed
            continue
        on_disk = paths[place] if 8 * layer.n * min(layer.n, layer.d) > IN_MEMORY else None
        try:
            bases[place] = basis(layer, on_disk, progress)
        except TooLargeError as error:
            reasons[place] = str(error)
    found, done = dict[tuple[int, int], Estimate](), len(every) ** 2
    for a, b in product(range(len(every)), repeat=2):
        if a in reasons or b in reasons:
            found[a, b] = undefined(reasons.get(a) or reasons[b])
        elif a <= b:
            found[a, b] = _similarity(bases[a], bases[b], summary, same=a == b)
            done += a != b
            workshop.progress(min(done, steps), steps, "pairs")
        else:
            other = found[b, a]
            details = {name: value[::-1] for name, value in other.details.items()}
            found[a, b] = Estimate(other.value, chance=other.chance, n_used=other.n_used, details=details)
    for path in paths:
        if path is not None:
            path.unlink(missing_ok=True)
    return found


def _part_of(whole: Progress, start: int, part: int, steps: int, done: int, total: int, note: str = "") -> None:
    """Tells how far a piece is that is `part` of all steps and begins at `start`."""
    whole(start + part * done // max(1, total), steps, note)


def _similarity(a: Principal, b: Principal, summary: Summary, *, same: bool) -> Estimate:
    n, p, q = len(a.q), a.rank, b.rank
    if same or a.full or b.full:
        value = 1.0
    elif summary == "mean":
        value = float(correlations(a.q, b.q).mean())
    else:
        value = min(1.0, float(np.square(_crossed(a.q, b.q)).sum()) / min(p, q))
    chance = mean_chance(p, q, n) if summary == "mean" else mean_square_chance(p, q, n)
    details = {"dimensions": np.array([p, q]), "variance_held": np.array([a.held, b.held])}
    return Estimate(value, chance=chance, n_used=n, details=details)


def _crossed(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a' b `(p, q)`, in blocks of rows, as the bases may lie on disk."""
    found = np.zeros((a.shape[1], b.shape[1]))
    for start in range(0, len(a), 1024):
        found += a[start : start + 1024].T @ b[start : start + 1024]
    for basis in (a, b):
        forget(basis)
    return found


def _check(summary: str, share: float, tolerance: float) -> None:
    if summary not in get_args(Summary):
        raise InputError(f"summary is {summary!r}; it must be one of {', '.join(get_args(Summary))}")
    if not 0.0 < share < 1.0:
        raise InputError(f"share is {share}; it must lie between 0 and 1", "cca keeps all directions")
    if not SMALLEST <= tolerance < 1.0:
        allowed = f"a fraction of the largest singular value, from {SMALLEST:g} to 1"
        raise InputError(f"tolerance is {tolerance}; it must be {allowed}")


@dataclass(frozen=True)
class CCA(LayerPairMetric):
    """Mean canonical correlation (CCA) of all pairs of layers; needs many more samples than features.

    summary: mean of the correlations, or mean_square. tolerance: singular values at most this times the largest are
    rounding.
    """

    name: ClassVar[str] = "cca"
    version: ClassVar[int] = 2
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations"})
    unit: ClassVar[str] = "correlation"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "the two layers are more nearly linear maps of one another"

    summary: Summary = identity("mean")
    tolerance: float = identity(1e-5)

    def __post_init__(self) -> None:
        _check(self.summary, 0.5, self.tolerance)

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        features, workshop = [layer.features for layer in layers], layers[0].workshop
        return cca_pairs(features, summary=self.summary, tolerance=self.tolerance, workshop=workshop)


@dataclass(frozen=True)
class SVCCA(LayerPairMetric):
    """Mean canonical correlation of the directions that hold most of each layer's variance (SVCCA).

    share: of the variance that is kept. share_of: variance (the paper) or singular_values (the authors' notebooks).
    tolerance: singular values at most this times the largest are rounding. seed: of the randomised basis of layers
    with more than 6144 samples and features.
    """

    name: ClassVar[str] = "svcca"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations"})
    unit: ClassVar[str] = "correlation"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "the directions of most variance are more nearly linear maps of one another"

    share: float = identity(0.99)
    share_of: ShareOf = identity("variance")
    tolerance: float = identity(1e-5)
    seed: int = identity(0)

    def __post_init__(self) -> None:
        _check("mean", self.share, self.tolerance)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 2**32 - 1")

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        features, workshop = [layer.features for layer in layers], layers[0].workshop
        return svcca_pairs(
            features,
            share=self.share,
            share_of=self.share_of,
            tolerance=self.tolerance,
            seed=self.seed,
            workshop=workshop,
        )
