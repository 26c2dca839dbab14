"""The base of all architectures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from rra_cli.core.component import Component
from rra_cli.models.encoder import Encoder


@dataclass(frozen=True)
class Model(Component, ABC):
    """An architecture: its fields are its parameters, `build` makes the network."""

    @abstractmethod
    def build(self, input_shape: tuple[int, int, int], n_classes: int) -> Encoder:
        """A freshly initialised encoder for inputs `(channels, height, width)` with `n_classes` outputs.

        With `n_classes == 0` there is no classifier: the module's output is the representation `(n, n_features)`.

        Weights are drawn from torch's global generator: seed it first. Raises `UserError` where the input shape
        does not fit the architecture.
        """
