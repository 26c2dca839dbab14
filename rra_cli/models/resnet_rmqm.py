"""The ResNet18 of the RMQM paper, with an MLP that ends in an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from rra_cli.core.fields import identity
from rra_cli.models.encoder import Encoder, Layer
from rra_cli.models.model import Model
from rra_cli.models.parts import Activation, activation_module, check_multiplier, init_he, named, scaled
from rra_cli.models.resnet import Shortcut, residual_trunk

WIDTHS, BLOCKS = (64, 128, 256, 512), (2, 2, 2, 2)
# Units of the MLP's hidden layers.
HIDDEN = 1024


@dataclass(frozen=True)
class ResNet18RMQM(Model):
    """The RMQM paper's ResNet18: pooled features, then an MLP that ends in an embedding.

    van der Merwe 2022: MLP 512-1024-1024-embedding on the pooled features; for classification the activation and a
    linear layer follow. The representation is the layer `embedding`, before the classifier's activation. embedding:
    its size; the paper uses 16 to 512. width_multiplier: of the channels and the 1024 hidden units; depth_multiplier:
    of the blocks per stage.

    The paper does not say which stem: the 3x3 one of small images is used, as in `resnet18`. Weights: convolutions He
    normal (fan-in), linear layers torch's default.
    """

    name: ClassVar[str] = "resnet18_rmqm"

    activation: Activation = identity("relu")
    width_multiplier: float = identity(1.0)
    depth_multiplier: float = identity(1.0)
    shortcut: Shortcut = identity("projection")
    embedding: int = identity(128)

    def __post_init__(self) -> None:
        check_multiplier("width_multiplier", self.width_multiplier)
        check_multiplier("depth_multiplier", self.depth_multiplier)
        if self.embedding < 1:
            raise ValueError(f"embedding is {self.embedding}; at least 1 feature is needed")

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        """The network for images of at least 8x8 pixels."""
        widths = [scaled(width, self.width_multiplier) for width in WIDTHS]
        blocks = [scaled(number, self.depth_multiplier) for number in BLOCKS]
        parts, layers = residual_trunk(self.name, input_shape, widths, blocks, self.activation, self.shortcut)
        hidden = scaled(HIDDEN, self.width_multiplier)
        for number, n_in in enumerate((widths[-1], hidden), start=1):
            linear = nn.Linear(n_in, hidden)
            parts[f"fc{number}"] = named(linear=linear, activation=activation_module(self.activation))
            layers.append(Layer(f"fc{number}", f"fc{number}", "head"))
        parts["embedding"] = nn.Linear(hidden, self.embedding)
        layers.append(Layer("embedding", "embedding", "head"))
        if n_classes:
            parts["classifier_activation"] = activation_module(self.activation)
            parts["logits"] = nn.Linear(self.embedding, n_classes)
            layers.append(Layer("logits", "logits", "head"))
        module = nn.Sequential(parts)
        init_he(module)
        return Encoder(module, tuple(layers), "embedding", self.embedding)
