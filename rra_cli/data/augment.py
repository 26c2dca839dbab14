"""The base of all augmentations: parameters are drawn per sample, from one generator; and the one that does nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from rra_cli.core.component import Component

# What was drawn, by name: a row per sample, on the generator's device.
Drawn = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Augment(Component, ABC):
    """A random change of training images; never applied while measuring.

    What is drawn and what it does are two steps, so that several processes draw for the whole of a joint batch, which
    is cheap, and each changes its own images alone.
    """

    @abstractmethod
    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Drawn:
        """All that is random about images of this shape, (n, c, h, w), drawn per sample.

        On the generator's device: with a CPU generator it is the same whatever device the images are on.
        """

    @abstractmethod
    def change(self, images: torch.Tensor, drawn: Drawn, view: int = 0) -> torch.Tensor:
        """Images `(n, c, h, w)` float32 in [0, 1] to the same shape, type and range; each by its row of what was drawn.

        A sample does not see the others. view: 0 or 1, the first or the second view of a pair; some sets change the two
        differently.
        """

    def __call__(self, images: torch.Tensor, generator: torch.Generator, view: int = 0) -> torch.Tensor:
        """`change` with what is drawn: equal images and an equal state of the generator give equal results."""
        return self.change(images, self.draw(images.shape, generator), view)


@dataclass(frozen=True)
class NoAugment(Augment):
    """Training images as they are."""

    name: ClassVar[str] = "none"

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Drawn:
        """Nothing."""
        return {}

    def change(self, images: torch.Tensor, drawn: Drawn, view: int = 0) -> torch.Tensor:
        """The images themselves."""
        return images
