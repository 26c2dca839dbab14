"""What the rest of the project sees of a network: a module with ordered, named layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

INPUT = "input"


@dataclass(frozen=True)
class Layer:
    """One point of a network at which the data set is looked at.

    `name` is what tables show; `module` the dotted name of the sub-module whose output it is ("" for the input);
    `stage` groups neighbouring layers (resolution stages), drawn as boundaries in plots.
    """

    name: str
    module: str
    stage: str = ""


@dataclass(frozen=True)
class Encoder:
    """A module that maps images `(n, c, h, w)` to its last layer, and its layers in order; layer 0 is the input."""

    module: nn.Module
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers or self.layers[0].name != INPUT or self.layers[0].module != "":
            raise ValueError(f"layer 0 of an encoder is Layer({INPUT!r}, '')")
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise ValueError(f"layer names repeat: {names}")
        modules = dict(self.module.named_modules())
        for layer in self.layers[1:]:
            if layer.module not in modules:
                raise ValueError(f"layer {layer.name!r} names the module {layer.module!r}, which does not exist")
