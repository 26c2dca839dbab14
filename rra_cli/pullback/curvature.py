"""Scalar curvature of the surface that a network makes of a plane of inputs, for networks of any depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.pullback.gauss import Geometry, surface
from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.piecewise import is_piecewise_linear
from rra_cli.pullback.prepared import (
    MEMORY,
    Points,
    Prepared,
    as_float64,
    chunks,
    device_of,
    in_type,
    plane_directions,
    prepare,
    rows_at_a_time,
)
from rra_cli.pullback.second_derivatives import N_CHECKED, Way, checked_way, first_only, flat, reverse_twice

if TYPE_CHECKING:
    from rra_cli.pullback.second_derivatives import Map

FLAT = "piecewise linear: the curvature is zero almost everywhere"
EUCLIDEAN = "as many outputs as inputs: the metric is that of flat space"
DEGENERATE = "fewer outputs than dimensions: the metric is degenerate everywhere, and has no curvature"
# What was found for maps that do not change.
_WAYS: WeakKeyDictionary[LayerMaps, Way] = WeakKeyDictionary()
# Graph and temporaries of reverse mode, as a multiple of what forward mode holds.
_REVERSE = 8


@dataclass(frozen=True, eq=False)
class Curvatures:
    """Curvature at n points; float64 arrays `(n,)`.

    value: scalar curvature R = 2 K of a surface (or what `sectional.py` says). NaN where the metric is degenerate or a
    number is not finite; 0 for piecewise linear maps wherever the rank is full. R of c f is R / c^2, of a rotated
    output R itself.
    log_volume: natural logarithm of how much the surface's area is magnified against the plane in input space,
    log sqrt(det g) in an orthonormal basis of the plane; -inf at a lower rank. It does not depend on which u and v span
    the plane.
    rank: of the derivative, at most `full_rank`. n_outputs: n of the layer, for `per_output`.
    """

    value: NDArray[np.float64]
    log_volume: NDArray[np.float64]
    rank: NDArray[np.int64]
    full_rank: int
    n_outputs: int
    piecewise_linear: bool
    note: str = ""

    @property
    def n_degenerate(self) -> int:
        """Points at which the metric has a rank below `full_rank` (where it is known at all)."""
        return int(((self.rank < self.full_rank) & (self.rank >= 0)).sum())

    @property
    def n_not_finite(self) -> int:
        """Points at which a derivative over- or underflowed or is NaN."""
        return int((self.rank < 0).sum())

    @property
    def reason(self) -> str:
        """What is to be said beside the numbers, in one line; "" where there is nothing."""
        n = len(self.value)
        parts = [self.note]
        if self.n_degenerate and self.n_outputs >= self.full_rank:
            parts.append(f"{self.n_degenerate} of {n} points have a metric of rank < {self.full_rank}: no curvature")
        if self.n_not_finite:
            parts.append(f"{self.n_not_finite} of {n} points have derivatives that are not finite")
        return "; ".join(filter(None, parts))

    def per_output(self) -> Curvatures:
        """With the metric divided by the number of outputs, g / n: values times n, log volumes - (rank / 2) log n."""
        n = self.n_outputs
        return replace(self, value=self.value * n, log_volume=self.log_volume - self.full_rank / 2 * log(n))


def scalar_curvature(
    f: Map,
    points: Points,
    u: Points | None = None,
    v: Points | None = None,
    *,
    dtype: torch.dtype | None = None,
    memory: int = MEMORY,
    progress: Progress = silent,
) -> Curvatures | list[Curvatures]:
    """Scalar curvature R = 2 K, at each point, of the surface that f makes of the plane point + s u + t v.

    f: `(b, *shape)` to `(b, ...)`, row by row: a network in evaluation mode, `LayerMaps`, or any such function of
    torch; where it gives a list (several layers from one pass) so does this function. points: `(n, *shape)`. u, v:
    `(*shape)` for all points, or `(n, *shape)`; without them the axes of a two-dimensional input, for which this is the
    scalar curvature of the pullback metric itself. In more dimensions it is that of a surface within the image, not the
    sectional curvature of the image: see `sectional.sectional_curvature`. dtype: of the passes; None takes the
    network's, float64 for other functions. Curvature is a difference of products of second derivatives: float64 is
    worth its price where the metric is nearly degenerate. memory: bytes that a chunk of points may take, about.

    By the equation of Gauss (gauss.py) from five directional derivatives (second_derivatives.py). Piecewise linear
    networks are told by their modules or by second derivatives that vanish exactly, and say so in `reason`.

    Raises UserError for integers, shapes that do not fit, parallel u and v, a network in training mode, a map without
    second derivatives, and a budget too small for one point.
    """
    given = as_float64(points)
    first, second = plane_directions(u, v, given)
    prepared = prepare(f, given, dtype, device_of(points))
    way, cost = way_of(prepared, given, first, second)
    found: list[list[Geometry]] = []
    bends = np.zeros(len(prepared.n_outputs), bool)
    for part in chunks(len(given), rows_at_a_time(cost, memory, prepared.device)):
        at, along, across = (prepared.ready(values[part]) for values in (given, first, second))
        derivatives = way(prepared.map, at, along, across)
        found.append([])
        for number in range(len(bends)):
            five = derivatives.of(number)
            bends[number] |= any(bool((values != 0).any()) for values in five[2:])
            found[-1].append(geometry(five, torch.finfo(prepared.dtype).eps))
        progress(part.stop, len(given), "")
    results = [
        collected([chunk[number] for chunk in found], 2, n_outputs, not bool(bends[number]), times=2.0)
        for number, n_outputs in enumerate(prepared.n_outputs)
    ]
    return results[0] if prepared.single else results


def geometry(five: list[torch.Tensor], epsilon: float) -> Geometry:
    """`gauss.surface` where everything is finite; elsewhere NaN, and the rank -1."""
    finite = torch.stack([torch.isfinite(values).all(dim=1) for values in five]).all(dim=0)
    u, v, uu, uv, vv = (torch.where(finite[:, None], values, 0.0) for values in five)
    found = surface(u, v, uu, uv, vv, epsilon)
    # A curvature beyond the range of numbers is none.
    finite &= ~torch.isinf(found.curvature)
    return Geometry(
        torch.where(finite, found.curvature, torch.nan),
        torch.where(finite, found.log_volume, torch.nan),
        torch.where(finite, found.rank, -1),
    )


def way_of(prepared: Prepared, points: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> tuple[Way, int]:
    """How derivatives of this map are taken, and the bytes that a point takes then.

    points: `(n, *shape)`; u, v: `(n, d)`, of length 1.
    """
    if prepared.module is not None and is_piecewise_linear(prepared.module):
        return first_only, prepared.bytes_per_row
    way = _WAYS.get(prepared.source) if isinstance(prepared.source, LayerMaps) else None
    if way is None:
        # In float64 also for float32 networks: the rules are the same, and differences tell more.
        dtype = prepared.dtype if prepared.module is None else torch.float64
        some = np.unique(np.linspace(0, len(points) - 1, N_CHECKED).round().astype(int))
        rows = (prepared.ready(values[some], dtype) for values in (points, u, v))
        way = checked_way(flat(in_type(prepared.source, dtype)), *rows)
        if isinstance(prepared.source, LayerMaps):
            _WAYS[prepared.source] = way
    return way, prepared.bytes_per_row * (_REVERSE if way is reverse_twice else 1)


def collected(
    parts: Sequence[Geometry], full_rank: int, n_outputs: int, straight: bool, times: float = 1.0
) -> Curvatures:
    """The chunks together; straight: no second derivative differed from zero anywhere. times: of every curvature."""
    curvature, log_volume, rank = (
        torch.cat([getattr(part, name) for part in parts]).numpy() for name in ("curvature", "log_volume", "rank")
    )
    # Where no point has full rank, nothing is known of the pieces.
    piecewise_linear = straight and bool((rank == full_rank).any())
    note = FLAT if piecewise_linear else {full_rank: EUCLIDEAN}.get(n_outputs, "")
    if n_outputs < full_rank:
        note = DEGENERATE
    # -0.0 would show in tables.
    return Curvatures(times * curvature + 0.0, log_volume, rank, full_rank, n_outputs, piecewise_linear, note)
