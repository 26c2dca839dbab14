"""The base of all training methods: what is optimised, for how long, and what is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from rra_cli.core.component import Component
from rra_cli.core.fields import identity, selection
from rra_cli.models.encoder import Encoder


@dataclass(frozen=True)
class Batch:
    """What an objective sees: `views`, each `(n, c, h, w)`, normalised and augmented; `labels` `(n,)`; `ids` `(n,)`."""

    views: tuple[torch.Tensor, ...]
    labels: torch.Tensor | None
    ids: torch.Tensor


class Objective(nn.Module, ABC):
    """A loss with what it trains beside the encoder (projector, momentum encoder, queue) as sub-modules and buffers.

    Its `state_dict` is part of the checkpoint, so a resumed run goes on exactly; the encoder itself is not a
    sub-module of it.
    """

    @abstractmethod
    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss (a scalar) and figures worth logging, such as accuracy in [0, 1].

        Figures are means over the batch, detached scalars left on the device, so that a step need not wait for them;
        their names are the same in every step.
        """

    def after_step(self, encoder: nn.Module) -> None:
        """Called after every optimiser step: momentum update, queue."""


@dataclass(frozen=True)
class Method(Component, ABC):
    """How an encoder is trained.

    epochs: passes over the training set. batch_size: samples per optimiser step. precision: of the forward pass
    while training (`bf16` autocasts). ranks: number of processes the joint batch is split over. milestones: epochs
    whose weights are kept and measured: a list, or a number n for "0, n, 2n, ..."; 0 is the initialisation.
    """

    trains: ClassVar[bool] = True
    n_views: ClassVar[int] = 1
    needs_labels: ClassVar[bool] = False

    epochs: int = identity(10)
    batch_size: int = identity(128)
    precision: Literal["float32", "bf16"] = identity("float32")
    ranks: int = identity(1)
    milestones: int | tuple[int, ...] = selection(())

    @abstractmethod
    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """A freshly initialised objective for that encoder; weights from torch's global generator."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(
                f"epochs is {self.epochs}; at least 1 is needed (method=none leaves the network untrained)"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; at least 1 is needed")
        if self.ranks != 1:
            raise ValueError(f"ranks is {self.ranks}; only 1 is supported by this version")
        if isinstance(self.milestones, int) and self.milestones < 1:
            raise ValueError(f"milestones={self.milestones} as a number means every n-th epoch, so it is at least 1")
        late = [epoch for epoch in self.milestone_epochs() if not 0 <= epoch <= self.epochs]
        if late:
            raise ValueError(f"milestones {late} lie outside of 0..{self.epochs} (epochs)")

    def milestone_epochs(self) -> tuple[int, ...]:
        """The epochs whose weights are kept beside best and last, ascending and without repeats."""
        if isinstance(self.milestones, int):
            return tuple(range(0, self.epochs + 1, self.milestones))
        return tuple(sorted(set(self.milestones)))
