"""The base of all augmentations: parameters are drawn per sample, from one generator; and the one that does nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from rra_cli.core.component import Component


@dataclass(frozen=True)
class Augment(Component, ABC):
    """A random change of training images; never applied while measuring."""

    @abstractmethod
    def __call__(self, images: torch.Tensor, generator: torch.Generator, view: int = 0) -> torch.Tensor:
        """Images `(n, c, h, w)` float32 in [0, 1] to the same shape, type and range; parameters drawn per sample.

        The parameters are drawn on the generator's device and moved to the images': with a CPU generator they are the
        same on every device. Nothing else is random: equal images and an equal state of the generator give equal
        results. view: 0 or 1, the first or the second view of a pair; some sets change the two differently.
        """


@dataclass(frozen=True)
class NoAugment(Augment):
    """Training images as they are."""

    name: ClassVar[str] = "none"

    def __call__(self, images: torch.Tensor, generator: torch.Generator, view: int = 0) -> torch.Tensor:
        """The images themselves; draws nothing."""
        return images
