"""A plug-in for rra: one architecture, found by its name as soon as the package is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from rra_cli.core.fields import identity
from rra_cli.models.encoder import INPUT, Encoder, Layer
from rra_cli.models.model import Model


@dataclass(frozen=True)
class ExampleNet(Model):
    """One convolution, global average pooling and a linear layer. width: channels of the convolution."""

    name: ClassVar[str] = "example_net"

    width: int = identity(8)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width is {self.width}; at least 1 is needed")

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        layers = [Layer(INPUT, ""), Layer("conv", "conv", "convolution"), Layer("gap", "gap", "head")]
        if n_classes:
            layers.append(Layer("logits", "logits", "head"))
        # A method without labels asks for no classes: the output is then the representation.
        module = _Net(input_shape[0], self.width, n_classes)
        return Encoder(module, tuple(layers), representation="gap", n_features=self.width)


class _Net(nn.Module):
    def __init__(self, channels: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.logits = nn.Linear(width, n_classes) if n_classes else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits(self.gap(self.conv(images)))
