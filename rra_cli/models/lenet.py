"""LeNet-5 of 1998, and the altered LeNet of the RMQM paper."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from rra_cli.core.fields import identity
from rra_cli.models.encoder import INPUT, Encoder, Layer
from rra_cli.models.model import Model
from rra_cli.models.parts import Activation, activation_module, check_input, check_multiplier, named, scaled


@dataclass(frozen=True)
class LeNet5(Model):
    """LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, fig. 2) for 28x28 or 32x32 images; 61,706 parameters.

    28x28 images are padded to 32x32 inside of the network by repeating their border (on MNIST: background), so that
    layer 0 stays the data set's own 784 pixels. Layers by the paper's names: input, c1, s2, c3, s4, c5, f6 (the
    representation), logits.

    Simplified against 1998: every map of c3 sees all six maps of s2 (the paper's table I connects 60 of 96 pairs);
    s2 and s4 are plain averages (there with a trainable gain and bias and a sigmoid); tanh(a) instead of
    1.7159 tanh(2a/3); a linear output with cross-entropy instead of Euclidean radial basis functions on fixed codes.
    Weights: torch's default, U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (the paper: 2.4/fan_in).
    """

    name: ClassVar[str] = "lenet5"

    activation: Activation = identity("tanh")
    width_multiplier: float = identity(1.0)

    def __post_init__(self) -> None:
        check_multiplier("width_multiplier", self.width_multiplier)

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        """The network for images of 28x28 or 32x32 pixels."""
        channels, height, width = input_shape
        check_input(self.name, input_shape, height == width and height in (28, 32), "images of 28x28 or 32x32 pixels")

        c1, c3, c5, f6 = (scaled(number, self.width_multiplier) for number in (6, 16, 120, 84))
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if height == 28:
            parts["pad"] = nn.ReplicationPad2d(2)
        parts["c1"] = named(conv=nn.Conv2d(channels, c1, 5), activation=activation_module(self.activation))
        parts["s2"] = nn.AvgPool2d(2)
        parts["c3"] = named(conv=nn.Conv2d(c1, c3, 5), activation=activation_module(self.activation))
        parts["s4"] = nn.AvgPool2d(2)
        parts["c5"] = named(conv=nn.Conv2d(c3, c5, 5), activation=activation_module(self.activation))
        parts["flatten"] = nn.Flatten()
        parts["f6"] = named(linear=nn.Linear(c5, f6), activation=activation_module(self.activation))
        layers = [
            Layer(INPUT, "", INPUT),
            Layer("c1", "c1", "stage1"),
            Layer("s2", "s2", "stage1"),
            Layer("c3", "c3", "stage2"),
            Layer("s4", "s4", "stage2"),
            Layer("c5", "c5", "head"),
            Layer("f6", "f6", "head"),
        ]
        if n_classes:
            parts["logits"] = nn.Linear(f6, n_classes)
            layers.append(Layer("logits", "logits", "head"))
        return Encoder(nn.Sequential(parts), tuple(layers), "f6", f6)


@dataclass(frozen=True)
class LeNetRMQM(Model):
    """The altered LeNet of the RMQM paper: two convolutions and an MLP that ends in an embedding.

    van der Merwe 2022: conv 1-6 k5, activation, pool; conv 6-16 k5, activation, pool; flatten (256 of 28x28); MLP
    256-512-512-512-embedding; then the classifier's activation and a linear layer. The representation is the layer
    `embedding`, before the classifier's activation. embedding: its size; the paper uses 16 to 512.

    The paper says "pool" only: 2x2 maximum pooling is used. Weights: torch's default.
    """

    name: ClassVar[str] = "lenet_rmqm"

    activation: Activation = identity("relu")
    width_multiplier: float = identity(1.0)
    embedding: int = identity(128)

    def __post_init__(self) -> None:
        check_multiplier("width_multiplier", self.width_multiplier)
        if self.embedding < 1:
            raise ValueError(f"embedding is {self.embedding}; at least 1 feature is needed")

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        """The network for images of at least 16x16 pixels."""
        channels, height, width = input_shape
        check_input(self.name, input_shape, min(height, width) >= 16, "images of at least 16x16 pixels")

        c1, c2, hidden = (scaled(number, self.width_multiplier) for number in (6, 16, 512))
        flat = c2 * _after_convolutions(height) * _after_convolutions(width)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["conv1"] = named(conv=nn.Conv2d(channels, c1, 5), activation=activation_module(self.activation))
        parts["pool1"] = nn.MaxPool2d(2)
        parts["conv2"] = named(conv=nn.Conv2d(c1, c2, 5), activation=activation_module(self.activation))
        parts["pool2"] = nn.MaxPool2d(2)
        parts["flatten"] = nn.Flatten()
        for number, n_in in enumerate((flat, hidden, hidden), start=1):
            linear = nn.Linear(n_in, hidden)
            parts[f"fc{number}"] = named(linear=linear, activation=activation_module(self.activation))
        parts["embedding"] = nn.Linear(hidden, self.embedding)
        layers = [
            Layer(INPUT, "", INPUT),
            Layer("conv1", "conv1", "stage1"),
            Layer("pool1", "pool1", "stage1"),
            Layer("conv2", "conv2", "stage2"),
            Layer("pool2", "pool2", "stage2"),
            Layer("fc1", "fc1", "mlp"),
            Layer("fc2", "fc2", "mlp"),
            Layer("fc3", "fc3", "mlp"),
            Layer("embedding", "embedding", "head"),
        ]
        if n_classes:
            parts["classifier_activation"] = activation_module(self.activation)
            parts["logits"] = nn.Linear(self.embedding, n_classes)
            layers.append(Layer("logits", "logits", "head"))
        return Encoder(nn.Sequential(parts), tuple(layers), "embedding", self.embedding)


def _after_convolutions(side: int) -> int:
    """The side that two rounds of a 5x5 convolution without padding and 2x2 pooling leave."""
    return ((side - 4) // 2 - 4) // 2
