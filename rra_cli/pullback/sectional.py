"""Curvature of the d-dimensional manifold that a network makes of its whole input space.

Two curvatures belong to a pair of directions u, v at a point, and they differ. That of the *surface* f(x + s u + t v)
(half of `curvature.scalar_curvature`) takes from the second derivatives their part within span(f_u, f_v) alone. The
*sectional curvature* of the metric pulled back on all of input space, here, takes away their part within the whole
tangent space, the span of J: it is the curvature of the surface of geodesics that start between u and v, and straight
lines of input space are no geodesics. The two agree for two-dimensional inputs. A layer of fewer numbers than the input
(any layer of a usual network of images) pulls back a degenerate metric, which has no curvature: take surfaces there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch.func import jvp

from rra_cli.core.progress import Progress, silent
from rra_cli.errors import UserError
from rra_cli.pullback.curvature import Curvatures, collected, way_of
from rra_cli.pullback.gauss import Geometry, area
from rra_cli.pullback.plain_operations import plain_operations
from rra_cli.pullback.prepared import (
    MEMORY,
    Points,
    Prepared,
    as_float64,
    chunks,
    device_of,
    plane_directions,
    prepare,
    rows_at_a_time,
)
from rra_cli.pullback.second_derivatives import Way

if TYPE_CHECKING:
    from rra_cli.pullback.second_derivatives import Map


@dataclass(frozen=True)
class Frames:
    """The tangent spaces of one layer at b points: J = q r, q `(b, n, d)` orthonormal, r `(b, d, d)`; rank `(b,)`."""

    q: torch.Tensor
    r: torch.Tensor
    rank: torch.Tensor

    @property
    def log_volume(self) -> torch.Tensor:
        """log sqrt(det g), `(b,)`."""
        return self.r.diagonal(dim1=1, dim2=2).abs().log().sum(dim=1)

    def normal(self, vectors: torch.Tensor) -> torch.Tensor:
        """The part of `(b, n, m)` at right angles to the tangent spaces; twice, for the rounding of the first time."""
        for _ in range(2):
            vectors = vectors - self.q @ (self.q.mT @ vectors)
        return vectors


def frames(jacobians: torch.Tensor, epsilon: float) -> Frames:
    """Of Jacobians `(b, n, d)` float64 with n >= d; the rank counts singular values > n epsilon sigma_1."""
    q, r = torch.linalg.qr(jacobians)
    sigma = torch.linalg.svdvals(r)
    rank = (sigma > jacobians.shape[1] * epsilon * sigma[:, :1]).sum(dim=1)
    return Frames(q, r, rank)


def sectional_curvature(
    f: Map,
    points: Points,
    u: Points,
    v: Points,
    *,
    dtype: torch.dtype | None = None,
    memory: int = MEMORY,
    progress: Progress = silent,
) -> Curvatures | list[Curvatures]:
    """Sectional curvature K(u, v), at each point, of the metric that f pulls back on all d dimensions of its input.

    Arguments and errors as `curvature.scalar_curvature`. value is K (not 2 K), full_rank is d, log_volume that of all d
    dimensions. K = (<II(u,u), II(v,v)> - |II(u,v)|^2) / (g(u,u) g(v,v) - g(u,v)^2), II the part of the second
    derivative normal to the span of J. The whole Jacobian of a point, n x d numbers, has to fit the budget.
    """
    given = as_float64(points)
    first, second = plane_directions(u, v, given)

    def measure(way: Way, prepared: Prepared, part: slice, at: torch.Tensor, of: Mapping[int, Frames]) -> Measured:
        derivatives = way(prepared.map, at, prepared.ready(first[part]), prepared.ready(second[part]))
        found = {}
        for number, frame in of.items():
            along_u, along_v, *bends = derivatives.of(number)
            uu, uv, vv = frame.normal(torch.stack(bends, dim=2)).unbind(dim=2)
            curvature = ((uu * vv).sum(dim=1) - uv.square().sum(dim=1)) / area(along_u, along_v).square()
            found[number] = (curvature, any(bool(bend.any()) for bend in bends))
        return found

    return _over_points(f, given, (first, second), dtype, device_of(points), memory, progress, measure)


def manifold_scalar_curvature(
    f: Map, points: Points, *, dtype: torch.dtype | None = None, memory: int = MEMORY, progress: Progress = silent
) -> Curvatures | list[Curvatures]:
    """Scalar curvature of the metric that f pulls back on all d dimensions: the sum of K over ordered pairs of an
    orthonormal basis, R = |tr II|^2 - |II|^2.

    Arguments and errors as `curvature.scalar_curvature`, with which it agrees for d = 2. It takes d (d - 1) / 2 passes
    of second derivatives and n d^2 numbers a point: meant for inputs of few dimensions.
    """
    given = as_float64(points)
    d = prod(given.shape[1:])
    if d < 2:
        raise UserError("the inputs have 1 number, and a line has no curvature", "give inputs of at least 2 numbers")
    axes = torch.eye(d, dtype=torch.float64)

    def measure(way: Way, prepared: Prepared, part: slice, at: torch.Tensor, of: Mapping[int, Frames]) -> Measured:
        b = len(at)
        second = {k: torch.zeros(b, prepared.n_outputs[k], d, d, dtype=torch.float64) for k in of}
        for i in range(d):
            for j in range(i + 1, d):
                pair = (prepared.ready(axes[k].expand(b, -1)) for k in (i, j))
                derivatives = way(prepared.map, at, *pair)
                for number, tensor in second.items():
                    _, _, tensor[..., i, i], uv, tensor[..., j, j] = derivatives.of(number)
                    tensor[..., i, j] = tensor[..., j, i] = uv
        found = {}
        for number, tensor in second.items():
            frame = of[number]
            normal = frame.normal(tensor.flatten(2)).reshape(tensor.shape)
            inverse = torch.linalg.inv_ex(frame.r)[0][:, None]
            normal = inverse.mT @ normal @ inverse
            trace = normal.diagonal(dim1=2, dim2=3).sum(dim=2)
            found[number] = (trace.square().sum(dim=1) - normal.square().sum(dim=(1, 2, 3)), bool(tensor.any()))
        return found

    pair = (axes[:1].expand(len(given), -1), axes[1:2].expand(len(given), -1))
    return _over_points(f, given, pair, dtype, device_of(points), memory, progress, measure, squares=True)


# Of each layer with a tangent frame: curvatures `(b,)`, and whether any second derivative differs from zero.
Measured = dict[int, tuple[torch.Tensor, bool]]
Measure = Callable[[Way, Prepared, slice, torch.Tensor, Mapping[int, Frames]], Measured]


def _over_points(
    f: Map,
    given: torch.Tensor,
    pair: tuple[torch.Tensor, torch.Tensor],
    dtype: torch.dtype | None,
    home: torch.device,
    memory: int,
    progress: Progress,
    measure: Measure,
    squares: bool = False,
) -> Curvatures | list[Curvatures]:
    """What `measure` finds, chunk by chunk; squares: it holds all second derivatives of a point."""
    prepared = prepare(f, given, dtype, home)
    epsilon, sizes, d = torch.finfo(prepared.dtype).eps, prepared.n_outputs, prod(prepared.shape)
    way, cost = way_of(prepared, given, *pair)
    # q, J and copies, r and what its decomposition takes.
    held = sum(8 * (4 * n * d + 4 * d * d + (3 * n * d * d if squares else 0)) for n in sizes if n >= d)
    what = f"one point with its Jacobian of {max(sizes)} x {d} numbers"
    at_a_time = rows_at_a_time(cost + held, memory, prepared.device, what)
    found: list[list[Geometry]] = [[] for _ in sizes]
    bends = [False] * len(sizes)
    for part in chunks(len(given), at_a_time):
        at = prepared.ready(given[part])
        # A layer of fewer numbers than the input has no frame, and no curvature.
        framed, finite = {}, {}
        for number, jacobian in _jacobians(prepared, at, max(1, memory // cost)).items():
            finite[number] = torch.isfinite(jacobian).all(dim=(1, 2))
            framed[number] = frames(torch.where(finite[number][:, None, None], jacobian, 0.0), epsilon)
        measured = measure(way, prepared, part, at, framed)
        for number, parts in enumerate(found):
            if number not in framed:
                empty = torch.full((len(at),), torch.nan, dtype=torch.float64)
                parts.append(Geometry(empty, empty, torch.zeros(len(at), dtype=torch.int64)))
                continue
            values, bent = measured[number]
            bends[number] |= bent
            parts.append(_geometry(framed[number], finite[number], values, sizes[number] == d))
        progress(part.stop, len(given), "")
    results = [collected(parts, d, n, n >= d and not bent) for parts, n, bent in zip(found, sizes, bends, strict=True)]
    return results[0] if prepared.single else results


def _geometry(frame: Frames, finite: torch.Tensor, curvature: torch.Tensor, euclidean: bool) -> Geometry:
    """With NaN where the rank is not full, and the rank -1 where a number is not finite."""
    regular = frame.rank == frame.r.shape[-1]
    curvature = torch.zeros_like(curvature) if euclidean else curvature
    finite = finite & ~(regular & ~torch.isfinite(curvature))
    return Geometry(
        torch.where(regular & finite, curvature, torch.nan),
        torch.where(finite, torch.where(regular, frame.log_volume, -torch.inf), torch.nan),
        torch.where(finite, frame.rank, -1),
    )


def _jacobians(prepared: Prepared, at: torch.Tensor, rows: int) -> dict[int, torch.Tensor]:
    """Jacobians `(b, n, d)` float64 of the layers with n >= d, column by column; rows: points in a pass."""
    b, d = len(at), prod(prepared.shape)
    wanted = {
        number: torch.empty(b, n, d, dtype=torch.float64) for number, n in enumerate(prepared.n_outputs) if n >= d
    }
    axes = prepared.ready(torch.eye(d, dtype=torch.float64)) if wanted else at[:0]
    for part in chunks(len(axes), max(1, rows // b)):
        k = part.stop - part.start
        points, tangents = at.repeat(k, *[1] * len(prepared.shape)), axes[part].repeat_interleave(b, dim=0)
        with torch.no_grad(), plain_operations():
            columns = jvp(prepared.map, (points,), (tangents,))[1]
        for number, jacobian in wanted.items():
            jacobian[:, :, part] = columns[number].to("cpu", torch.float64).reshape(k, b, -1).permute(1, 2, 0)
    return wanted
