"""The base of all augmentations: parameters are drawn per sample, on the device, from one generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from rra_cli.core.component import Component


@dataclass(frozen=True)
class Augment(Component, ABC):
    """A random change of training images; never applied while measuring."""

    @abstractmethod
    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Images `(n, c, h, w)` float32 in [0, 1] to the same shape, type and range; parameters drawn per sample."""
