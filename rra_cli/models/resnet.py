"""Residual networks for small images: ResNet20 (CIFAR form), ResNet18 and ResNet34 with the 3x3 stem."""

from __future__ import annotations

from abc import ABC
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from rra_cli.core.fields import identity
from rra_cli.models.encoder import INPUT, Encoder, Layer
from rra_cli.models.model import Model
from rra_cli.models.parts import (
    Activation,
    GlobalAveragePool,
    Sum,
    activation_module,
    check_input,
    check_multiplier,
    conv_norm,
    init_he,
    named,
    scaled,
)

Shortcut = Literal["projection", "pad"]


class PadShortcut(nn.Module):
    """He et al.'s option A: every second pixel, and new channels of zeros; no parameters."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.n_new = stride, n_out - n_in

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(n, n_in, h, w)` to `(n, n_out, ceil(h / stride), ceil(w / stride))`."""
        return functional.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.n_new))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them (He et al. 2016, fig. 2); `sum` is its pre-activation."""

    def __init__(self, n_in: int, n_out: int, stride: int, activation: Activation, shortcut: Shortcut) -> None:
        super().__init__()
        first, second = conv_norm(n_in, n_out, 3, stride), conv_norm(n_out, n_out, 3)
        self.conv1, self.norm1, self.activation1 = first["conv"], first["norm"], activation_module(activation)
        self.conv2, self.norm2 = second["conv"], second["norm"]
        self.shortcut: nn.Module
        if stride == 1 and n_in == n_out:
            self.shortcut = nn.Identity()
        elif shortcut == "projection":
            self.shortcut = nn.Sequential(conv_norm(n_in, n_out, 1, stride))
        else:
            self.shortcut = PadShortcut(n_in, n_out, stride)
        self.sum = Sum()
        self.activation2 = activation_module(activation)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(n, n_in, h, w)` to `(n, n_out, ceil(h / stride), ceil(w / stride))`."""
        branch = self.norm2(self.conv2(self.activation1(self.norm1(self.conv1(maps)))))
        return self.activation2(self.sum(branch, self.shortcut(maps)))


def residual_trunk(
    name: str,
    input_shape: tuple[int, int, int],
    widths: Sequence[int],
    blocks: Sequence[int],
    activation: Activation,
    shortcut: Shortcut,
) -> tuple[OrderedDict[str, nn.Module], list[Layer]]:
    """Everything up to the pooled features, as parts of an `nn.Sequential`, and its layers: input, neck, blocks, gap.

    widths, blocks: channels and number of blocks of each stage. Raises `UserError` where the images are too small.
    """
    smallest = 2 ** (len(widths) - 1)
    fits = min(input_shape[1:]) >= smallest and input_shape[0] >= 1
    check_input(name, input_shape, fits, f"images of at least {smallest}x{smallest} pixels")

    layers = [Layer(INPUT, "", INPUT), Layer("neck", "neck", "stage1")]
    neck = conv_norm(input_shape[0], widths[0], 3)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["neck"] = named(**neck, activation=activation_module(activation))
    n_in = widths[0]
    for number, (n_out, n_blocks) in enumerate(zip(widths, blocks, strict=True), start=1):
        stage = f"stage{number}"
        stage_blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for block in range(1, n_blocks + 1):
            stride = 2 if number > 1 and block == 1 else 1
            stage_blocks[f"block{block}"] = BasicBlock(n_in, n_out, stride, activation, shortcut)
            layers.append(Layer(f"{stage}.block{block}", f"{stage}.block{block}", stage))
            n_in = n_out
        parts[stage] = nn.Sequential(stage_blocks)
    parts["gap"] = GlobalAveragePool()
    layers.append(Layer("gap", "gap", "head"))
    return parts, layers


@dataclass(frozen=True)
class ResNet(Model, ABC):
    """A 3x3 stem without pooling, stages of basic blocks that halve the side from the second on, pooling, logits.

    Layers: input, neck, every block's output, gap (the representation), logits. activation: after every batch norm and
    sum. width_multiplier, depth_multiplier: of the channels and of the blocks per stage, rounded. shortcut: where the
    shape changes, a 1x1 convolution with batch norm (`projection`, He et al.'s option B), or every second pixel and
    zero channels (`pad`, option A). Weights: He normal (fan-in), the classifier torch's default.
    """

    widths: ClassVar[tuple[int, ...]]
    blocks: ClassVar[tuple[int, ...]]

    activation: Activation = identity("relu")
    width_multiplier: float = identity(1.0)
    depth_multiplier: float = identity(1.0)
    shortcut: Shortcut = identity("projection")

    def __post_init__(self) -> None:
        check_multiplier("width_multiplier", self.width_multiplier)
        check_multiplier("depth_multiplier", self.depth_multiplier)

    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        """The network for images of at least one pixel per side in the last stage."""
        widths = [scaled(width, self.width_multiplier) for width in self.widths]
        blocks = [scaled(number, self.depth_multiplier) for number in self.blocks]
        parts, layers = residual_trunk(self.name, input_shape, widths, blocks, self.activation, self.shortcut)
        if n_classes:
            parts["logits"] = nn.Linear(widths[-1], n_classes)
            layers.append(Layer("logits", "logits", "head"))
        module = nn.Sequential(parts)
        init_he(module)
        return Encoder(module, tuple(layers), "gap", widths[-1])


@dataclass(frozen=True)
class ResNet20(ResNet):
    """ResNet20 for CIFAR: 3 stages of 3 blocks, 16-32-64 channels; 272,474 parameters (pad: 269,722).

    He et al. 2016, "Deep residual learning", section 4.2. The RRA thesis's table 4.1 is this network with
    `shortcut=projection`: 13 layers of 3072; 16384 (neck and stage 1) x4; 8192 x3; 4096 x3; 64; 10 features.
    """

    name: ClassVar[str] = "resnet20"
    widths: ClassVar[tuple[int, ...]] = (16, 32, 64)
    blocks: ClassVar[tuple[int, ...]] = (3, 3, 3)


@dataclass(frozen=True)
class ResNet18(ResNet):
    """ResNet18 with a 3x3 stem and no max-pooling ("ResNet-18L"); 11,173,962 parameters for 10 classes of RGB.

    He et al. 2016, table 1, with the first layer of its CIFAR networks: the ImageNet stem would leave 8x8 pixels of a
    32x32 image.
    """

    name: ClassVar[str] = "resnet18"
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512)
    blocks: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)


@dataclass(frozen=True)
class ResNet34(ResNet):
    """ResNet34 with a 3x3 stem and no max-pooling; 21,282,122 parameters for 10 classes of RGB.

    He et al. 2016, table 1, with the first layer of its CIFAR networks.
    """

    name: ClassVar[str] = "resnet34"
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512)
    blocks: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
