"""A small convolutional network for small images, trained within seconds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from rra_cli.core.fields import identity
from rra_cli.models.encoder import INPUT, Encoder, Layer
from rra_cli.models.model import Model
from rra_cli.models.parts import (
    Activation,
    GlobalAveragePool,
    activation_module,
    check_input,
    check_multiplier,
    conv_norm,
    init_he,
    named,
    scaled,
)

WIDTHS = (16, 32, 64)
CONVOLUTIONS_PER_STAGE = 2


@dataclass(frozen=True)
class ConvNetSmall(Model):
    """A small convolutional net: 3 stages of 2 convolutions with batch norm, 16-32-64 channels; for 8x8 digits.

    Like ResNet20 without shortcuts and with a third of its depth: the side halves at the start of the second and the
    third stage, then comes global average pooling (`gap`, the representation). width_multiplier, depth_multiplier: of
    the channels and of the convolutions per stage, rounded. Weights: He normal (fan-in), the classifier torch's
    default.
    """

    name: ClassVar[str] = "convnet_small"

    activation: Activation = identity("relu")
    width_multiplier: float = identity(1.0)
    depth_multiplier: float = identity(1.0)

    def __post_init__(self) -> None:
        check_multiplier("width_multiplier", self.width_multiplier)
        check_multiplier("depth_multiplier", self.depth_multiplier)

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        """The network for images of at least one pixel per side in the last stage."""
        n_in, *sides = input_shape
        check_input(self.name, input_shape, min(sides) >= 4, "images of at least 4x4 pixels")

        parts: OrderedDict[str, nn.Module] = OrderedDict()
        layers = [Layer(INPUT, "", INPUT)]
        for number, width in enumerate(WIDTHS, start=1):
            n_out = scaled(width, self.width_multiplier)
            stage: OrderedDict[str, nn.Module] = OrderedDict()
            for position in range(1, scaled(CONVOLUTIONS_PER_STAGE, self.depth_multiplier) + 1):
                stride = 2 if number > 1 and position == 1 else 1
                convolution = conv_norm(n_in, n_out, 3, stride)
                stage[f"conv{position}"] = named(**convolution, activation=activation_module(self.activation))
                layers.append(Layer(f"stage{number}.conv{position}", f"stage{number}.conv{position}", f"stage{number}"))
                n_in = n_out
            parts[f"stage{number}"] = nn.Sequential(stage)
        parts["gap"] = GlobalAveragePool()
        layers.append(Layer("gap", "gap", "head"))
        if n_classes:
            parts["logits"] = nn.Linear(n_in, n_classes)
            layers.append(Layer("logits", "logits", "head"))
        module = nn.Sequential(parts)
        init_he(module)
        return Encoder(module, tuple(layers), "gap", n_in)
