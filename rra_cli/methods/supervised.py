"""Supervised classification by cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from rra_cli.core.fields import identity
from rra_cli.methods.losses.joint import joint_rows
from rra_cli.methods.losses.rows import widened
from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.models.encoder import Encoder


class CrossEntropy(Objective):
    """Mean cross-entropy (nats) of the encoder's logits, and the accuracy in [0, 1]. No parameters of its own."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of the first view; raises ValueError without labels."""
        if batch.labels is None:
            raise ValueError("supervised training needs labels")
        logits, labels = joint_rows(encoder(batch.views[0]), batch.labels)
        return cross_entropy(logits, labels, self.label_smoothing), {"accuracy": accuracy(logits, labels)}


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy in nats of logits `(n, c)` with labels `(n,)`, in float32 at least."""
    # Under bf16 autocast the logits are bfloat16, too coarse for a log-sum-exp.
    return functional.cross_entropy(widened(logits), labels, label_smoothing=label_smoothing)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Fraction of samples whose largest logit is that of their label, in [0, 1]."""
    return (logits.detach().argmax(dim=1) == labels).float().mean()


@dataclass(frozen=True)
class Supervised(Method):
    """Cross-entropy on the labels. label_smoothing: share of the target spread evenly over all classes (0 is none)."""

    name: ClassVar[str] = "supervised"
    classifies: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    label_smoothing: float = identity(0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it lies in [0, 1)")

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """Cross-entropy of the encoder's last layer."""
        return CrossEntropy(self.label_smoothing)
