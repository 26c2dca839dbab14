"""A map and its points made ready: type, device, directions, and how many points go through at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from rra_cli.core.resources import format_bytes
from rra_cli.errors import UserError
from rra_cli.pullback.gauss import plane_basis
from rra_cli.pullback.layer_map import LayerMaps, check_evaluation_mode, frozen_copy
from rra_cli.pullback.second_derivatives import FlatMap, Map, flat

Points = torch.Tensor | NDArray[Any]
MEMORY = 1 << 30
# On a CPU larger chunks than this are slower: what they hold leaves the cache.
_CHUNK = 1 << 28
# What a JVP of a JVP holds at once, as a multiple of the largest output of an operation: four of the input, four of the
# output, and what the derivatives of an activation make on their way. Measured on a ResNet20-GELU: 45.
_HELD = 48
_COPIES = 3  # of the points, one for each second derivative


@dataclass(frozen=True)
class Prepared:
    """A map of rows `(b, *shape)` in `dtype` on `device`; module: the network behind it, None where that is not known.

    source: as it was given. single: whether the map gives one tensor, not several.
    """

    map: FlatMap
    module: nn.Module | None
    source: Map
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    single: bool
    n_outputs: tuple[int, ...]
    bytes_per_row: int

    def ready(self, values: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Rows `(b, d)` as the map takes them."""
        return values.reshape(len(values), *self.shape).to(self.device, dtype or self.dtype)


def as_float64(points: Points) -> torch.Tensor:
    """`(n, *shape)` float64 on the CPU. Raises UserError for integers, and where there is no point or no axis."""
    tensor = torch.as_tensor(np.asarray(points) if not isinstance(points, torch.Tensor) else points)
    if not tensor.is_floating_point():
        raise UserError(
            f"the points are {str(tensor.dtype).removeprefix('torch.')} numbers; expected floating-point inputs",
            "normalise the images as the model's inputs are before the map is differentiated",
        )
    if tensor.ndim < 2 or tensor.numel() == 0:
        raise UserError(f"the points have shape {tuple(tensor.shape)}; expected (n, ...)", "give one row per point")
    return tensor.detach().to("cpu", torch.float64)


def device_of(points: Points) -> torch.device:
    """Where the points were given."""
    return points.device if isinstance(points, torch.Tensor) else torch.device("cpu")


def prepare(f: Map, points: torch.Tensor, dtype: torch.dtype | None, home: torch.device) -> Prepared:
    """The map in that type (None: the network's own; float64 for a map that is no network), tried on one point.

    points: `(n, *shape)`. home: the device of a map that is no network. A network is copied; of `LayerMaps` a copy is
    made where the type differs. Raises UserError for a network in training mode.
    """
    module = f.module if isinstance(f, LayerMaps) else f if isinstance(f, nn.Module) else None
    found = (
        next((t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()), None) if module else None
    )
    if dtype is None:
        dtype = torch.float64 if found is None else found.dtype
    device = home if found is None else found.device
    if isinstance(f, nn.Module):
        check_evaluation_mode(f)
    source, f = f, in_type(f, dtype)
    module = f.module if isinstance(f, LayerMaps) else f if isinstance(f, nn.Module) else None

    shape = tuple(points.shape[1:])
    one = points[:1].to(device, dtype)
    with torch.no_grad(), _LargestOutput() as seen:
        values = f(one)
    outputs = flat(lambda _: values)(one)
    for output in outputs:
        if not output.is_floating_point():
            raise UserError(
                f"the map gives {str(output.dtype).removeprefix('torch.')} numbers, which have no derivative",
                "expected floating-point numbers: take the layer before it becomes integers",
            )
    sizes = tuple(output.shape[1] for output in outputs)
    # Besides the pass itself: five derivatives, and some copies in float64.
    held = _COPIES * _HELD * max(seen.bytes, one.numel() * one.element_size()) + 16 * 8 * (sum(sizes) + prod(shape))
    return Prepared(flat(f), module, source, shape, dtype, device, isinstance(values, torch.Tensor), sizes, held)


def in_type(f: Map, dtype: torch.dtype) -> Map:
    """A frozen copy of a network, or of `LayerMaps` of another type; other functions as they are."""
    if isinstance(f, LayerMaps) and f.dtype != dtype:
        f = copy.copy(f)
        f.module = frozen_copy(f.module, dtype)
    return frozen_copy(f, dtype) if isinstance(f, nn.Module) else f


def rows_at_a_time(bytes_per_row: int, memory: int, device: torch.device, what: str = "one point") -> int:
    """How many rows go through at a time. Raises UserError where the budget is too small for one."""
    if bytes_per_row > memory:
        raise UserError(
            f"{what} takes about {format_bytes(bytes_per_row)} here, the memory budget is {format_bytes(memory)}",
            "raise the memory budget, take an earlier or a pooled layer, smaller inputs, or dtype=float32",
        )
    return max(1, (min(memory, _CHUNK) if device.type == "cpu" else memory) // bytes_per_row)


def chunks(n: int, at_a_time: int) -> Iterator[slice]:
    """0 to n in equal pieces but the last."""
    for start in range(0, n, at_a_time):
        yield slice(start, min(n, start + at_a_time))


def directions(u: Points | None, v: Points | None, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """u and v as `(n, d)` or `(1, d)` float64; without any, the axes of a two-dimensional input.

    Raises UserError where one is missing, they do not fit the points, or they are not finite.
    """
    n, shape = len(points), tuple(points.shape[1:])
    d = prod(shape)
    if u is None and v is None and d == 2:
        basis = torch.eye(2, dtype=torch.float64)
        return basis[:1], basis[1:]
    if u is None or v is None:
        raise UserError(
            f"the inputs have {d} numbers and two directions are needed; got u={_shape(u)}, v={_shape(v)}",
            "give both u and v, the directions of the plane through input space; only 2-D inputs have their own",
        )
    first, second = _direction("u", u, n, shape), _direction("v", v, n, shape)
    rows = max(len(first), len(second))
    return first.expand(rows, -1), second.expand(rows, -1)


def plane_directions(u: Points | None, v: Points | None, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An orthonormal basis `(n, d)`, `(n, d)` of the planes that `directions` gives. Raises UserError for parallels."""
    first, second, spanned = plane_basis(*directions(u, v, points))
    if not bool(spanned.all()):
        raise UserError("u and v are parallel, or one of them is zero: they span no plane", "give two other directions")
    return first.expand(len(points), -1), second.expand(len(points), -1)


def _direction(name: str, values: Points, n: int, shape: Sequence[int]) -> torch.Tensor:
    given = torch.as_tensor(values).detach().to("cpu", torch.float64)
    if tuple(given.shape) not in (tuple(shape), (n, *shape)):
        raise UserError(
            f"{name} has shape {tuple(given.shape)}; expected {tuple(shape)}, or {(n, *shape)} for one per point",
            "directions have the shape of an input",
        )
    if not bool(torch.isfinite(given).all()):
        raise UserError(f"{name} has numbers that are not finite", "give directions of finite numbers")
    return given.reshape(-1, prod(shape))


def _shape(values: Points | None) -> str:
    return "None" if values is None else str(tuple(values.shape))


class _LargestOutput(TorchDispatchMode):
    """Bytes of the largest tensor that an operation gives while a map runs."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        # Views, of weights above all, take nothing.
        given = {value.untyped_storage().data_ptr() for value in args if isinstance(value, torch.Tensor)}
        for value in found if isinstance(found, tuple | list) else (found,):
            if isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() not in given:
                self.bytes = max(self.bytes, value.numel() * value.element_size())
        return found
