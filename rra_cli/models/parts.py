"""Building blocks shared by the architectures.

Every step of a network is a module of its own, none works in place and none is used twice, so that each can be
captured by its dotted name: convolution, batch norm, residual sum (the pre-activation), activation, pooling.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

import torch
from torch import nn

from rra_cli.errors import UserError

Activation = Literal["relu", "gelu", "sigmoid", "tanh", "erf"]


class Erf(nn.Module):
    """erf(x / sqrt(2)), from -1 to 1: 2 Phi(x) - 1 of the normal distribution's Phi."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return torch.erf(values * math.sqrt(0.5))


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "erf": Erf,
}


def activation_module(name: Activation) -> nn.Module:
    """A new module of that non-linearity, not in place."""
    return _ACTIVATIONS[name]()


def scaled(number: int, multiplier: float) -> int:
    """A width or a depth times a multiplier, rounded, at least 1."""
    return max(1, round(number * multiplier))


def check_multiplier(name: str, value: float) -> None:
    """Raises ValueError unless a width or depth multiplier lies in (0, 64]: beyond it no memory holds the network."""
    if not 0.0 < value <= 64.0:
        raise ValueError(f"{name} is {value}; it lies above 0 and at most at 64 (1 is the published size)")


def check_input(model: str, input_shape: tuple[int, int, int], fits: bool, what_fits: str) -> None:
    """Raises `UserError` saying which images fit the architecture, unless these do."""
    if not fits:
        channels, height, width = input_shape
        raise UserError(
            f"model={model} takes {what_fits}, but the data set's images are {channels}x{height}x{width} "
            "(channels x height x width)",
            "choose another model or another dataset; `rra ls model` lists what there is",
        )


def named(**modules: nn.Module) -> nn.Sequential:
    """The modules one after the other, under these names."""
    return nn.Sequential(OrderedDict(modules))


def conv_norm(n_in: int, n_out: int, kernel: int, stride: int = 1) -> OrderedDict[str, nn.Module]:
    """A convolution that keeps the side at stride 1, without bias because batch norm follows, and that batch norm."""
    conv = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return OrderedDict(conv=conv, norm=nn.BatchNorm2d(n_out))


def init_he(module: nn.Module) -> None:
    """Draws every convolution from N(0, 2 / fan_in), batch norm stays at 1 and 0, linear layers at torch's default.

    He et al. 2015, "Delving deep into rectifiers", eq. 10. Used for every activation: batch norm follows each
    convolution and removes the scale.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")


class Sum(nn.Module):
    """The sum of a residual branch and its shortcut: the pre-activation of a block."""

    def forward(self, branch: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
        """`(n, c, h, w)` twice to `(n, c, h, w)`."""
        return branch + shortcut


class Scale(nn.Module):
    """Times a fixed number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return values * self.factor


class GlobalAveragePool(nn.Module):
    """The mean over space: `(n, c, h, w)` to `(n, c)`."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        # A mean rather than AdaptiveAvgPool2d, whose gradient has no deterministic implementation on CUDA.
        return maps.mean(dim=(2, 3))
