"""An encoder with a method's projector and predictor behind it, so that their layers can be captured, too."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from rra_cli.models.encoder import Layer


class Headed(nn.Module):
    """Runs the encoder, then its heads one after the other: `(n, c, h, w)` to the last head's output.

    Heads are sub-modules under their own names; the encoder's modules lie below `encoder`.
    """

    def __init__(self, encoder: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self._heads = tuple(heads)
        for name, head in heads.items():
            self.add_module(name, head)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The output of the last head."""
        values: torch.Tensor = self.encoder(images)
        for name in self._heads:
            values = getattr(self, name)(values)
        return values

    def reference(self, module: str) -> str:
        """What a module of the encoder, or a head's, is called here; "" is the input."""
        return module if not module or module.partition(".")[0] in self._heads else f"encoder.{module}"


def head_layers(heads: Mapping[str, nn.Module]) -> tuple[Layer, ...]:
    """A layer for every block of every head, in the order in which they run: `projector.1`, `projector.2` ..."""
    return tuple(
        Layer(f"{name}.{block}", f"{name}.{block}", name)
        for name, head in heads.items()
        for block, _ in head.named_children()
    )
