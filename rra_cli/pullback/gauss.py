"""The equation of Gauss: curvature from first and second derivatives of an embedding, for a batch of points."""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Two vectors of a plane are taken for parallel where the sine of their angle is below this.
PARALLEL = 1e-7


@dataclass(frozen=True)
class Geometry:
    """Per point `(b,)`: sectional curvature K, natural logarithm of the volume element, rank of the derivative."""

    curvature: torch.Tensor
    log_volume: torch.Tensor
    rank: torch.Tensor


def surface(
    u: torch.Tensor, v: torch.Tensor, uu: torch.Tensor, uv: torch.Tensor, vv: torch.Tensor, epsilon: float
) -> Geometry:
    """Geometry of the surface f(x + s u + t v) in R^n from its derivatives along u and v, each `(b, n)` float64.

    K = (<f_uu', f_vv'> - |f_uv'|^2) / det g, where ' is the part normal to f_u and f_v; Gauss 1827, e.g. do Carmo,
    "Riemannian Geometry", ch. 6, theorem 2.5. epsilon: of the type in which the derivatives were taken; the rank counts
    singular values > max(n, 2) epsilon sigma_1. K is NaN and the log volume -inf at a rank below 2. Surfaces in R^2 are
    flat: K is exactly 0.
    """
    n = u.shape[1]
    # In units of the longest derivative, so that no square over- or underflows: K of c f is K / c^2.
    scale = torch.maximum(u.norm(dim=1), v.norm(dim=1))
    unit = torch.where(scale > 0, scale, 1.0)[:, None]
    # The longer one first: its direction is the better known one.
    swap = (v.norm(dim=1) > u.norm(dim=1))[:, None]
    first, second = torch.where(swap, v, u) / unit, torch.where(swap, u, v) / unit
    length1 = first.norm(dim=1)
    q1 = _direction(first, length1)
    along = _dot(q1, second)
    rest = _without(second, q1)
    length2 = rest.norm(dim=1)
    q2 = _direction(rest, length2)

    area = length1 * length2
    squares = length1.square() + along.square() + length2.square()
    largest = torch.sqrt((squares + torch.sqrt((squares.square() - 4 * area.square()).clamp_min(0))) / 2)
    smallest = area / torch.where(largest > 0, largest, 1.0)
    rank = (scale > 0).long() + (smallest > max(n, 2) * epsilon * largest).long()
    regular = rank == 2

    uu, uv, vv = (_without(_without(part / unit, q1), q2) for part in (uu, uv, vv))
    curvature = torch.zeros_like(area) if n <= 2 else (_dot(uu, vv) - _dot(uv, uv)) / area.square() / scale.square()
    log_volume = torch.log(area) + 2 * torch.log(scale)
    return Geometry(torch.where(regular, curvature, torch.nan), torch.where(regular, log_volume, -torch.inf), rank)


def area(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Areas `(b,)` of the parallelograms of u and v `(b, n)`."""
    length = u.norm(dim=1)
    return length * _without(v, _direction(u, length)).norm(dim=1)


def plane_basis(u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An orthonormal basis of the planes spanned by u and v `(b, d)`, and which of them are planes at all `(b,)`."""
    length_u, length_v = u.norm(dim=1), v.norm(dim=1)
    first = _direction(u, length_u)
    rest = _without(_direction(v, length_v), first)
    sine = rest.norm(dim=1)
    spanned = (length_u > 0) & (length_v > 0) & (sine > PARALLEL)
    return first, _direction(rest, sine), spanned


def _without(vectors: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Their part at right angles to a unit vector; twice, as once leaves the rounding of the part taken away."""
    for _ in range(2):
        vectors = vectors - _dot(vectors, direction)[:, None] * direction
    return vectors


def _direction(vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return vectors / torch.where(lengths > 0, lengths, 1.0)[:, None]


def _dot(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left * right).sum(dim=1)
