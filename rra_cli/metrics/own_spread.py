"""Which metrics tell by themselves how far their values move with other samples, without blocks, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity_of
from rra_cli.metrics.canonical import CCA, IN_MEMORY, SVCCA
from rra_cli.metrics.canonical_jackknife import canonical_spread
from rra_cli.metrics.centred import Centred, centred
from rra_cli.metrics.hsic import CKA, HSIC
from rra_cli.metrics.jackknife import NONE, ROUNDING, Spread, few, of_correlation, of_positive, of_signed, unknown
from rra_cli.metrics.kernel_jackknife import kernel_spreads, participation_spread
from rra_cli.metrics.metric import Metric, Workshop
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.metrics.principal import LARGEST, Principal, kept, principal
from rra_cli.metrics.share_error import components_between, decided_by, share_curve

Told = dict[str, NDArray[np.float64]]
Reasons = dict[str, str]
OWN = HSIC | CKA | CCA | SVCCA | PCADimension
SPREAD, CURVE = "spread", "shares"


def tells(metric: Metric) -> bool:
    """Whether it has intervals of its own."""
    return isinstance(metric, OWN)


def family(metric: Metric) -> dict[str, Any]:
    """What of a metric decides its spreads: HSIC and CKA of both estimators have theirs from one pass."""
    if isinstance(metric, HSIC | CKA):
        return {"family": "linear kernels", "version": 1}
    return {"metric": identity_of(metric), "version": metric.version}


def name_of(metric: Metric) -> str:
    """By which of the arrays and reasons of its family are told."""
    return f"{metric.name}_{metric.estimator}" if isinstance(metric, HSIC | CKA) else SPREAD


def spreads_of_layer(metric: Metric, x: NDArray[np.floating], workshop: Workshop) -> tuple[Told, Reasons]:
    """Arrays for `ends` of a layer `(n, d)`, and why there is no interval, by `name_of`."""
    assert isinstance(metric, PCADimension)
    (layer,) = centred([x])
    if layer.collapsed:
        return {}, {SPREAD: layer.collapsed}
    if metric.definition == "participation_ratio":
        found = participation_spread(layer, workshop.progress)
        return {SPREAD: found.array()}, {SPREAD: found.reason}
    if min(layer.n, layer.d) > LARGEST:
        return {}, {SPREAD: "its components are those of a randomised basis"}
    curve = share_curve(layer)
    return {CURVE: curve}, {SPREAD: few(decided_by(curve, metric.share))}


def spreads_of_pairs(
    metric: Metric, layers: Sequence[NDArray[np.floating]], workshop: Workshop
) -> dict[tuple[int, int], tuple[Told, Reasons]]:
    """The same by pair of positions a <= b; without those of layers whose samples coincide."""
    every = centred(layers)
    usable = [place for place, layer in enumerate(every) if not layer.collapsed]
    if not usable:
        return {}
    if isinstance(metric, HSIC | CKA):
        found = kernel_spreads([every[place] for place in usable], workshop.progress)
        return {(usable[a], usable[b]): _of_spreads(of) for (a, b), of in found.items()}
    assert isinstance(metric, CCA | SVCCA)
    bases = _bases(metric, {place: every[place] for place in usable}, workshop)
    told, pairs = {}, list(combinations(bases, 2))
    for done, (a, b) in enumerate(pairs):
        workshop.progress(done, len(pairs), "pairs")
        (one, p), (other, q) = bases[a], bases[b]
        squares = isinstance(metric, CCA) and metric.summary == "mean_square"
        told[a, b] = _of_spreads({SPREAD: canonical_spread(one, other, p, q, squares=squares)})
    for place in usable:
        path = _path(workshop.folder, place, every[place])
        if path is not None:
            path.unlink(missing_ok=True)
    missing = _of_spreads({SPREAD: unknown(f"more than {LARGEST} directions, or a randomised basis")})
    for pair in combinations(usable, 2):
        told.setdefault(pair, missing)
    return told


def _of_spreads(found: dict[str, Spread]) -> tuple[Told, Reasons]:
    return {name: each.array() for name, each in found.items()}, {name: each.reason for name, each in found.items()}


def _bases(metric: CCA | SVCCA, layers: dict[int, Centred], workshop: Workshop) -> dict[int, tuple[Principal, int]]:
    """All directions of every layer that are looked at, and how many of them the metric reads."""
    found = {}
    for place, layer in layers.items():
        if min(layer.n, layer.d) > LARGEST:
            continue
        path, progress = _path(workshop.folder, place, layer), workshop.progress
        basis = principal(layer, tolerance=metric.tolerance, path=path, progress=progress)
        count = basis.rank
        if isinstance(metric, SVCCA):
            roots = metric.share_of == "singular_values"
            count = kept(basis.spectrum, layer.total, metric.share, metric.tolerance, of_roots=roots)
            # Directions turn to those of about as much variance: as many again, and some.
            most = min(basis.rank, 2 * count + 64)
            basis = Principal(basis.q[:, :most], basis.spectrum[:most], basis.held, basis.exact)
        found[place] = basis, count
    return found


def _path(folder: Path | None, place: int, layer: Centred) -> Path | None:
    large = 8 * layer.n * min(layer.n, layer.d) > IN_MEMORY
    return folder / f"directions_{place}.npy" if large and folder is not None else None


def ends(
    metric: Metric, value: float, told: Told, n: int, level: float, *, itself: bool = False
) -> tuple[tuple[float, float], float]:
    """The interval around a value of n samples, for a fraction `level` of all sets of N such samples around the mean of
    the metric over sets of N; and the standard error. NaN where they are not known. itself: of a layer with itself.
    """
    nothing = float("nan")
    if itself and not isinstance(metric, HSIC):
        return (1.0, 1.0), 0.0
    if CURVE in told and isinstance(metric, PCADimension):
        return components_between(told[CURVE], metric.share, n, level), nothing
    if name_of(metric) not in told:
        return NONE, nothing
    error, decide, many = (float(number) for number in told[name_of(metric)])
    reach = Spread(error, decide, int(many)).reach(level) if error >= 0.0 else nothing
    if np.isnan(reach):
        return NONE, nothing
    if isinstance(metric, HSIC):
        return of_signed(value, error, reach, 0.0 if metric.estimator == "biased" else -np.inf), error
    if isinstance(metric, PCADimension):
        return of_positive(value, reach, 1.0), error
    low = -1.0 if isinstance(metric, CKA) and metric.estimator == "unbiased" else 0.0
    # Where one layer is linear in the other no sample changes that; what the first order leaves is of the second.
    return of_correlation(value, reach, low), 0.0 if value >= 1.0 - ROUNDING else error
