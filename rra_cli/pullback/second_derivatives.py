"""First and second directional derivatives of a map along two directions, for a batch of points.

Forward mode over forward mode (a JVP of a JVP) is cheap and keeps no graph, but not every operation has the rules, and
some of torch's are wrong. Those that are known are replaced (plain_operations.py); besides, every map is checked once,
at a few points, against differences of lower derivatives, and where the check fails, reverse mode applied twice for
each derivative takes its place: slower, and it keeps the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.func import jvp

from rra_cli.errors import UserError
from rra_cli.pullback.plain_operations import plain_operations

# A map of rows: `(b, *shape)` to one or several tensors `(b, ...)`.
Map = Callable[[torch.Tensor], torch.Tensor | Sequence[torch.Tensor]]
# The same with every output `(b, n)`, in a tuple.
FlatMap = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]
Tensors = tuple[torch.Tensor, ...]

N_CHECKED = 3
# A rule that is wrong is wrong by as much as the derivative itself; differences are exact to a thousandth.
_AGREE = 0.02
_NOISE = 100.0


@dataclass(frozen=True)
class Derivatives:
    """Derivatives along u and v, one tensor `(b, n)` for each output of the map."""

    u: Tensors
    v: Tensors
    uu: Tensors
    uv: Tensors
    vv: Tensors

    def of(self, number: int) -> list[torch.Tensor]:
        """u, v, uu, uv, vv of one output, float64 on the CPU."""
        parts = (self.u, self.v, self.uu, self.uv, self.vv)
        return [part[number].to("cpu", torch.float64) for part in parts]


Way = Callable[[FlatMap, torch.Tensor, torch.Tensor, torch.Tensor], Derivatives]


def flat(f: Map) -> FlatMap:
    """The map with a tuple of outputs `(b, n)`."""

    def outputs(points: torch.Tensor) -> Tensors:
        found = f(points)
        found = (found,) if isinstance(found, torch.Tensor) else found
        return tuple(values.reshape(len(points), -1) for values in found)

    return outputs


def forward_over_forward(f: FlatMap, points: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> Derivatives:
    """All derivatives from one JVP of a JVP on three copies of the points; 12 times the work of the map.

    points, u, v: `(b, *shape)`. Raises NotImplementedError where an operation has no rule.
    """
    b = len(points)
    inner, outer = torch.cat([u, u, v]), torch.cat([u, v, v])

    def along(at: torch.Tensor) -> Tensors:
        return tuple(jvp(f, (at,), (inner,))[1])

    with torch.no_grad(), plain_operations():
        first, second = jvp(along, (torch.cat([points] * 3),), (outer,))[:2]
    return Derivatives(
        tuple(values[:b] for values in first),
        tuple(values[2 * b :] for values in first),
        tuple(values[:b] for values in second),
        tuple(values[b : 2 * b] for values in second),
        tuple(values[2 * b :] for values in second),
    )


def first_only(f: FlatMap, points: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> Derivatives:
    """Those of a piecewise linear map: the second derivatives are zero and not computed."""
    with torch.no_grad(), plain_operations():
        both = jvp(f, (torch.cat([points, points]),), (torch.cat([u, v]),))[1]
    b = len(points)
    zero = tuple(torch.zeros_like(values[:b]) for values in both)
    return Derivatives(tuple(values[:b] for values in both), tuple(values[b:] for values in both), zero, zero, zero)


def reverse_twice(f: FlatMap, points: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> Derivatives:
    """The same by reverse mode: J u is the derivative of (J^T w) u by w, and so once more.

    For operations without a rule for forward over forward. Keeps the graph of the map and of two derivatives.
    """
    with torch.enable_grad(), plain_operations():
        at = points.detach().clone().requires_grad_()
        values = f(at)
        first_u, first_v = _along(values, at, u, True), _along(values, at, v, True)
        second = [_along(first_u, at, u), _along(first_u, at, v), _along(first_v, at, v)]
    return Derivatives(*(tuple(value.detach() for value in part) for part in (first_u, first_v, *second)))


def _along(values: Tensors, at: torch.Tensor, direction: torch.Tensor, graph: bool = False) -> Tensors:
    if not any(value.requires_grad for value in values):
        return tuple(torch.zeros_like(value) for value in values)
    wanted = [number for number, value in enumerate(values) if value.requires_grad]
    weights = [torch.zeros_like(values[number]).requires_grad_() for number in wanted]
    outputs = [values[number] for number in wanted]
    (back,) = torch.autograd.grad(outputs, at, weights, create_graph=True, materialize_grads=True)
    if back.requires_grad:
        found = torch.autograd.grad(
            back, weights, direction, create_graph=graph, retain_graph=True, materialize_grads=True
        )
    else:
        found = tuple(torch.zeros_like(weight) for weight in weights)
    by_number = dict(zip(wanted, found, strict=True))
    return tuple(by_number.get(number, torch.zeros_like(value)) for number, value in enumerate(values))


def checked_way(f: FlatMap, points: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> Way:
    """How the derivatives of this map are taken: the first way that agrees with differences at most of the points.

    points, u, v: a few `(b, *shape)`, u and v of length 1. Raises UserError where none does: the map is random, depends
    on the other rows of its batch, or has an operation without second derivatives.
    """
    problems = []
    for way in (forward_over_forward, reverse_twice):
        try:
            found = way(f, points, u, v)
            agree = agreement(f, way, found, points, u, v)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # among them NotImplementedError; the map itself has run before
            problems.append(str(error).splitlines()[0])
            continue
        # A kink (max-pooling) may lie between the points of a difference, a wrong rule is wrong everywhere.
        if 2 * sum(agree) >= len(agree):
            return way
        problems.append("its derivatives differ from differences of its values")
    raise UserError(
        f"the second derivatives of this map cannot be taken: {'; '.join(dict.fromkeys(problems))}",
        "expected a map of one input at a time that is the same at every call, of operations that have derivatives; "
        "check dropout, batch statistics and hand-written operations",
    )


def agreement(
    f: FlatMap, way: Way, found: Derivatives, points: torch.Tensor, u: torch.Tensor, v: torch.Tensor
) -> list[bool]:
    """For each point, whether derivatives agree with central differences of values and of first derivatives.

    Meant for float64, in which the step is so small that a sharp network looks smooth.
    """
    b, epsilon = len(points), torch.finfo(points.dtype).eps
    step = epsilon ** (1 / 3) * max(1.0, float(points.nan_to_num().abs().max()))
    ends_u, ends_v = (
        torch.cat([points + step * u, points - step * u]),
        torch.cat([points + step * v, points - step * v]),
    )
    with torch.no_grad(), plain_operations():
        values_u, values_v = f(ends_u), f(ends_v)
    slope = _slope_forward if way is forward_over_forward else _slope_reverse
    slopes = slope(f, torch.cat([ends_u, ends_v, ends_v]), torch.cat([u, u, u, u, v, v]))
    slopes_uu, slopes_uv, slopes_vv = (tuple(part[k * 2 * b : (k + 1) * 2 * b] for part in slopes) for k in range(3))

    agree = torch.ones(b, dtype=torch.bool, device=points.device)
    pairs = [
        (found.u, values_u),
        (found.v, values_v),
        (found.uu, slopes_uu),
        (found.uv, slopes_uv),
        (found.vv, slopes_vv),
    ]
    for derivatives, ends in pairs:
        for derivative, end in zip(derivatives, ends, strict=True):
            exact, plus, minus = derivative.double(), end[:b].double(), end[b:].double()
            difference = (plus - minus) / (2 * step)
            size = torch.maximum(exact.norm(dim=1), difference.norm(dim=1))
            noise = _NOISE * epsilon / step * torch.maximum(plus.norm(dim=1), minus.norm(dim=1))
            error = (exact - difference).norm(dim=1)
            # What is not finite cannot be judged here; it is counted with the results.
            agree &= (error <= _AGREE * size + noise) | ~torch.isfinite(error)
    return [bool(one) for one in agree]


def _slope_forward(f: FlatMap, points: torch.Tensor, directions: torch.Tensor) -> Tensors:
    with torch.no_grad(), plain_operations():
        return tuple(jvp(f, (points,), (directions,))[1])


def _slope_reverse(f: FlatMap, points: torch.Tensor, directions: torch.Tensor) -> Tensors:
    with torch.enable_grad(), plain_operations():
        at = points.detach().clone().requires_grad_()
        return tuple(value.detach() for value in _along(f(at), at, directions))
