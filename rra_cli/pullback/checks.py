"""What must hold of a network, a layer and points before a layer is differentiated with respect to the input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from rra_cli.errors import UserError


def check_evaluation_mode(module: nn.Module) -> None:
    """Raises UserError where a sample's result would depend on the other samples, or on chance."""
    for name, child in module.named_modules():
        where = f"module {name!r}" if name else "the network"
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            if child.training:
                raise UserError(
                    f"{where} is batch norm in training mode, so the map of one input depends on the other inputs; "
                    "expected evaluation mode",
                    "call module.eval() first",
                )
            if child.running_mean is None:
                raise UserError(
                    f"{where} is batch norm without running statistics, so the map of one input depends on the others",
                    "train it with track_running_stats=True",
                )
        if isinstance(child, nn.modules.dropout._DropoutNd) and child.training and child.p > 0:
            raise UserError(
                f"{where} is dropout in training mode, so the map is random; expected evaluation mode",
                "call module.eval() first",
            )


def check_gradient(reference: str, values: torch.Tensor, points: torch.Tensor) -> None:
    """Raises UserError unless the layer `(2, ...)` of two points has a gradient path to its own point and only to it.

    points: `(2, ...)`, a leaf.
    """
    layer = f"layer {reference or 'input'!r}"
    if not values.is_floating_point():
        raise UserError(
            f"{layer} holds {str(values.dtype).removeprefix('torch.')} numbers, which have no derivative; expected "
            "floating-point numbers",
            "name the layer before it becomes integers (before an argmax or a comparison)",
        )
    gradient = None
    if values.requires_grad:
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(values[0].shape, generator=generator).to(values)  # a sum alone may be constant
        (gradient,) = torch.autograd.grad((weights * values[0]).sum(), points, allow_unused=True, retain_graph=True)
    if gradient is None:
        raise UserError(
            f"{layer} has no gradient path to the input: something on the way is detached or has no derivative",
            "name an earlier layer, or take detach() and argmax out of the way",
        )
    if bool((gradient[1].nan_to_num(0, 0, 0) != 0).any()):
        raise UserError(
            f"{layer} of one input depends on the other inputs of its batch (batch statistics?), so it is no map of "
            "one input",
            "use a network in evaluation mode whose samples do not meet",
        )


def checked_points(points: torch.Tensor, input_shape: Sequence[int]) -> torch.Tensor:
    """The points as `(n, *input_shape)`. Raises UserError for integers and for another size."""
    if not points.is_floating_point():
        raise UserError(
            f"the points are {str(points.dtype).removeprefix('torch.')} numbers; expected floating-point inputs",
            "normalise the images as the model's inputs are before the map is differentiated",
        )
    if points.ndim < 2 or math.prod(points.shape[1:]) != math.prod(input_shape):
        raise UserError(
            f"the points have shape {tuple(points.shape)}; expected (n, {', '.join(map(str, input_shape))})",
            "give one row per point, of the network's input size",
        )
    return points.reshape(len(points), *input_shape)
