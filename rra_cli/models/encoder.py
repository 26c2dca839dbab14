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
    """A module that maps images `(n, c, h, w)` to its last layer, and its layers in order; layer 0 is the input.

    representation: the name of the layer that stands for an image, before any classifier; "" means the last layer.
    n_features: numbers per image that the representation has, so that a method can put a projector on it; 0 where the
    model does not say.
    """

    module: nn.Module
    layers: tuple[Layer, ...]
    representation: str = ""
    n_features: int = 0

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
        if not self.representation:
            object.__setattr__(self, "representation", names[-1])
        if self.representation not in names:
            raise ValueError(f"the representation {self.representation!r} is none of the layers {names}")
        if self.n_features < 0:
            raise ValueError(f"n_features is {self.n_features}; it is a number of features, or 0 where it is not said")

    @property
    def representation_module(self) -> str:
        """The dotted name of the module whose output the representation is."""
        return next(layer.module for layer in self.layers if layer.name == self.representation)
