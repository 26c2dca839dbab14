"""No training: the network as initialised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rra_cli.methods.method import Method, Objective
from rra_cli.methods.supervised import CrossEntropy
from rra_cli.models.encoder import Encoder


@dataclass(frozen=True)
class NoTraining(Method):
    """Random initialisation: the baseline of every table. Only the initial weights (epoch 0) exist."""

    name: ClassVar[str] = "none"
    trains: ClassVar[bool] = False
    classifies: ClassVar[bool] = True

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """Cross-entropy, the loss that training would start from; it is never optimised."""
        return CrossEntropy(label_smoothing=0.0)
