"""The function from a network's inputs to a layer's features, ready to be differentiated."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from rra_cli.activations.hooks import Taps
from rra_cli.errors import UserError
from rra_cli.pullback.checks import check_evaluation_mode, check_gradient, checked_points
from rra_cli.pullback.fast_network import fast_network

Features = Literal["pooled", "full"]
# Numbers that a pooled layer has at most: what the authors of the poster take from each stage.
LIMIT = 512


@dataclass(frozen=True)
class LayerMap:
    """One layer as a function of the input.

    name: in tables. module: its reference (`activations.hooks`), "" the input. shape: of one sample of the layer.
    window: (height, width) of the windows that are averaged, (1, 1) where nothing is pooled. n_outputs: numbers left.
    """

    name: str
    module: str
    shape: tuple[int, ...]
    window: tuple[int, int]
    n_outputs: int

    def features(self, values: torch.Tensor) -> torch.Tensor:
        """The layer `(n, *shape)` as `(n, n_outputs)`: pooled, then flattened in C order."""
        if self.window != (1, 1):
            # Windows at the border count the places that they have, as the other poolings of the project do.
            return functional.avg_pool2d(values, self.window, ceil_mode=True, count_include_pad=False).flatten(1)
        return values.clone().flatten(1)


def pooling_window(shape: Sequence[int], limit: int = LIMIT) -> tuple[int, int]:
    """The smallest window (height, width) over which maps `(channels, height, width)` average to <= limit numbers.

    Sides are doubled in turn, the height first, and stop where they cover the map. A ResNet34's stages at 32x32 pixels
    give (16, 8), (8, 8), (8, 4), (4, 4), the windows of Zavatone-Veth et al.'s code. (1, 1) for layers that are no
    maps; more channels than `limit` leave one number a channel.
    """
    if len(shape) != 3:
        return (1, 1)
    channels, height, width = shape
    window = [1, 1]
    side = 0
    while channels * math.ceil(height / window[0]) * math.ceil(width / window[1]) > limit:
        if window[0] >= height and window[1] >= width:
            break
        if window[side] < (height, width)[side]:
            window[side] *= 2
        side = 1 - side
    return (min(window[0], height), min(window[1], width))


class LayerMaps:
    """Several layers of a network as differentiable functions of its input, in evaluation mode.

    module: the network; a private, frozen copy of it is made, so it may be trained on and is never disturbed.
    layers: references of modules (`activations.hooks`: dotted names, `name@2` for a second call, "" for the input), or
    a mapping from the name in tables to the reference. input_shape: of one sample. features: "pooled" averages maps
    over `pooling_window` so that at most `limit` numbers are left, "full" takes every number (flat layers are always
    whole). dtype: of the copy and of the inputs that it takes; None: the network's own.

    Raises UserError for a module that does not exist or is not called exactly once, for batch norm or dropout in
    training mode, for layers whose numbers of one sample depend on other samples, that are no floating-point numbers
    or have no gradient path to the input, for networks that take integers, and for types narrower than float32. One
    dry run on two samples.

    maps: one `LayerMap` per layer, in the given order. n_inputs: d. device, dtype: of the network, and of the points
    that it takes (the processor and float32 for a network without numbers of its own).
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[str] | Mapping[str, str],
        input_shape: Sequence[int],
        *,
        features: Features = "pooled",
        limit: int = LIMIT,
        dtype: torch.dtype | None = None,
    ) -> None:
        if features not in get_args(Features):
            raise ValueError(f"features is {features!r}; expected one of {', '.join(get_args(Features))}")
        if limit < 1 or not layers:
            raise ValueError(f"limit is {limit}, layers are {list(layers)}; expected at least one of each")
        named = dict(layers) if isinstance(layers, Mapping) else {layer or "input": layer for layer in layers}
        check_evaluation_mode(module)
        self.module = frozen_copy(module, dtype)
        example = next(numbers_of(self.module), torch.empty(0, dtype=dtype))
        self.device, self.dtype = example.device, example.dtype
        if self.dtype not in (torch.float32, torch.float64):
            raise UserError(
                f"the network computes in {str(self.dtype).removeprefix('torch.')}; expected float32 or float64",
                "rounding errors of a narrower type hide most singular values of a Jacobian; use float32",
            )
        self.input_shape = tuple(input_shape)
        self.n_inputs = math.prod(self.input_shape)
        shapes = self._dry_run(list(dict.fromkeys(named.values())))
        self.maps = tuple(
            layer_map(name, reference, shapes[reference], features, limit) for name, reference in named.items()
        )

    @cached_property
    def fast(self) -> LayerMaps:
        """The same maps, fit for many first derivatives at a point: equal up to rounding (see `fast_network`)."""
        twin = copy.copy(self)

        def evaluate(network: nn.Module, points: torch.Tensor) -> list[torch.Tensor]:
            twin.module = network
            with torch.no_grad():
                return twin(points)

        names = {layer.module.partition("@")[0] for layer in self.maps}
        twin.module = fast_network(self.module, names, self._example(), evaluate)
        return twin

    def __call__(self, points: torch.Tensor) -> list[torch.Tensor]:
        """`(n, *input_shape)` or `(n, d)` of `dtype` on `device` -> `(n, n_outputs)` per layer, in the order of `maps`.

        Differentiable in every mode that the network's operations are (backward, forward, nested, `torch.func`).
        Raises UserError for points that are integers or of another shape.
        """
        points = checked_points(points, self.input_shape)
        features: dict[str, list[torch.Tensor]] = {}
        by_module: dict[str, list[LayerMap]] = {}
        for layer in self.maps:
            by_module.setdefault(layer.module, []).append(layer)

        def receive(reference: str, values: torch.Tensor) -> None:
            # Used at once, because the network may overwrite it.
            features[reference] = [layer.features(values) for layer in by_module[reference]]
            if len(features) == len(by_module):
                raise _AllFound

        run_until_found(self.module, list(by_module), points, receive)
        return [features[layer.module][by_module[layer.module].index(layer)] for layer in self.maps]

    def _example(self) -> torch.Tensor:
        """Two points of normal numbers, always the same."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(2, *self.input_shape, generator=generator).to(self.device, self.dtype)

    @torch.enable_grad()
    def _dry_run(self, references: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of every layer; every check that needs the network to run."""
        points = self._example().requires_grad_()
        values: dict[str, torch.Tensor] = {}

        def receive(reference: str, tensor: torch.Tensor) -> None:
            values[reference] = tensor.clone()

        try:
            run_until_found(self.module, references, points, receive)
        except (IndexError, RuntimeError) as error:
            if "indices" not in str(error) and "Long" not in str(error):
                raise
            raise UserError(
                f"the network takes integers, expected floating-point inputs: {str(error).splitlines()[0]}",
                "the pullback metric needs derivatives with respect to the input; measure a network of real inputs",
            ) from error
        for reference in references:
            check_gradient(reference, values[reference], points)
        return {reference: tuple(tensor.shape[1:]) for reference, tensor in values.items()}


class _AllFound(Exception):
    """Ends a forward pass behind the last layer that is wanted."""


def run_until_found(
    module: nn.Module,
    references: Sequence[str],
    points: torch.Tensor,
    receive: Callable[[str, torch.Tensor], None],
) -> None:
    """A forward pass with gradients that a receiver may end by `_AllFound`; the points are not overwritten."""
    with suppress(_AllFound), Taps(module, references, receive) as taps:
        taps.forward(points.clone())


def layer_map(name: str, module: str, shape: Sequence[int], features: Features, limit: int) -> LayerMap:
    """The map of a layer whose samples have that shape."""
    window = pooling_window(shape, limit) if features == "pooled" else (1, 1)
    sides = [math.ceil(side / step) for side, step in zip(shape[1:], window, strict=True)] if len(shape) == 3 else ()
    n_outputs = shape[0] * math.prod(sides) if len(shape) == 3 else math.prod(shape)
    return LayerMap(name, module, tuple(shape), window, n_outputs)


def frozen_copy(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy in evaluation mode whose parameters need no gradients, of that floating-point type."""
    return copy.deepcopy(module).to(dtype=dtype).eval().requires_grad_(False)


def numbers_of(module: nn.Module) -> Iterator[torch.Tensor]:
    """Its parameters and buffers of floating-point numbers."""
    return (tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point())
