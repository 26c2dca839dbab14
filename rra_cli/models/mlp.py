"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from rra_cli.core.fields import identity
from rra_cli.models.encoder import INPUT, Encoder, Layer
from rra_cli.models.model import Model
from rra_cli.models.parts import Activation, Scale, activation_module, check_multiplier, named, scaled


@dataclass(frozen=True)
class MLP(Model):
    """A multilayer perceptron on the flattened image; takes images of any size.

    width: units of a hidden layer; depth: number of hidden layers; both times their multiplier, rounded. Layers:
    input, hidden1 ... (after the activation), logits. The last hidden layer is the representation.

    init: `uniform`, torch's default for weights and biases, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); `normal`: all of them
    N(0, 1), and each layer but the first divided by the root of its fan-in, as in Zavatone-Veth et al. 2023 and its
    code, so that a wide network is a Gaussian process at the start.
    """

    name: ClassVar[str] = "mlp"

    activation: Activation = identity("relu")
    width_multiplier: float = identity(1.0)
    depth_multiplier: float = identity(1.0)
    width: int = identity(512)
    depth: int = identity(3)
    init: Literal["uniform", "normal"] = identity("uniform", before="uniform")

    def __post_init__(self) -> None:
        check_multiplier("width_multiplier", self.width_multiplier)
        check_multiplier("depth_multiplier", self.depth_multiplier)
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"width is {self.width} and depth {self.depth}; both must be at least 1")

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        """The network for images of any shape."""
        n_units = scaled(self.width, self.width_multiplier)
        parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        layers = [Layer(INPUT, "", INPUT)]
        n_in = math.prod(input_shape)
        for number in range(1, scaled(self.depth, self.depth_multiplier) + 1):
            name = f"hidden{number}"
            parts[name] = named(**self._linear(n_in, n_units, number), activation=activation_module(self.activation))
            layers.append(Layer(name, name, "hidden"))
            n_in = n_units
        representation = layers[-1].name
        if n_classes:
            linear = self._linear(n_in, n_classes, len(layers))
            parts["logits"] = named(**linear) if len(linear) > 1 else linear["linear"]
            layers.append(Layer("logits", "logits", "head"))
        return Encoder(nn.Sequential(parts), tuple(layers), representation, n_in)

    def _linear(self, n_in: int, n_out: int, number: int) -> dict[str, nn.Module]:
        """A linear layer, and the division that follows it; number: from 1."""
        linear = nn.Linear(n_in, n_out)
        if self.init == "uniform":
            return {"linear": linear}
        nn.init.normal_(linear.weight)
        nn.init.normal_(linear.bias)
        return {"linear": linear} if number == 1 else {"linear": linear, "scale": Scale(1.0 / math.sqrt(n_in))}
