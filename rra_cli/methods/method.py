"""The base of all training methods: what is optimised, for how long, and what is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rra_cli.core.component import Component
from rra_cli.core.fields import identity, selection
from rra_cli.errors import UserError
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
    sub-module of it. heads: names of the sub-modules that follow the representation, in the order in which they run
    (projector, predictor); they are kept with every checkpoint, and their layers can be measured.
    """

    heads: tuple[str, ...] = ()

    @abstractmethod
    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss (a scalar) and figures worth logging, such as accuracy in [0, 1].

        encoder: the bare module or a wrapped one (data parallel, compiled): it is only called. The loss is that of the
        joint batch of all ranks (`losses/joint.py`).

        Figures are means over the batch, detached scalars left on the device, so that a step need not wait for them;
        their names are the same in every step.
        """

    def after_step(self, encoder: nn.Module) -> None:
        """Called after every optimiser step: momentum update, queue."""


@dataclass(frozen=True)
class Method(Component, ABC):
    """How an encoder is trained.

    epochs: passes over the training set. batch_size: samples that the loss sees at once. accumulate: batches whose
    gradients are averaged for one optimiser step. precision: of the forward pass while training (`bf16` autocasts).
    compile: torch.compile the network, which may change the last bits of a result. ranks: number of processes that a
    batch is split over. milestones: epochs whose weights are kept and measured: a list, or a number n for "0, n, 2n,
    ..."; 0 is the initialisation. knn_bank: training samples among which the online k-NN accuracy has its neighbours,
    and which the figures of un-augmented training samples are of; null is all. knn_every: epochs between two such looks
    (0 and the last one are always looked at); null is every epoch where that is cheap, else about a tenth of them.

    Class variables. trains: false where the network stays as initialised. n_views: augmented copies of an image that
    the loss sees. classifies: whether the encoder ends in logits; else its output is the representation.
    needs_labels: whether the loss reads them. needs_pairs: whether it needs two samples of one class. drops_last:
    whether samples are compared with others of their batch; then a batch has at least two, and an incomplete last one
    of an epoch, which has fewer to compare with, is left out, as all published recipes do.
    """

    trains: ClassVar[bool] = True
    n_views: ClassVar[int] = 1
    classifies: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    needs_pairs: ClassVar[bool] = False
    drops_last: ClassVar[bool] = False
    # What is likely behind embeddings that are all alike.
    collapse_cause: ClassVar[str] = "a learning rate too high (optimizer.lr), or no warm-up (optimizer.warmup_epochs)"

    epochs: int = identity(10)
    batch_size: int = identity(128)
    accumulate: int = identity(1)
    precision: Literal["float32", "bf16"] = identity("float32")
    compile: bool = identity(False)
    ranks: int = identity(1)
    milestones: int | tuple[int, ...] = selection(())
    knn_bank: int | None = identity(10_000)
    knn_every: int | None = identity(None)

    @abstractmethod
    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """A freshly initialised objective for that encoder; weights from torch's global generator.

        Raises `UserError` where it needs a projector and the encoder does not say how many features it has.
        """

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(
                f"epochs is {self.epochs}; at least 1 is needed (method=none leaves the network untrained)"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; at least 1 is needed")
        if self.drops_last and self.batch_size < 2:
            raise ValueError(
                f"batch_size is 1, but method={self.name} compares samples of a batch: at least 2 are needed"
            )
        if self.accumulate < 1:
            raise ValueError(f"accumulate is {self.accumulate}; at least 1 batch makes a step")
        if not 1 <= self.ranks <= self.batch_size:
            raise ValueError(f"ranks is {self.ranks}; from 1 to batch_size ({self.batch_size}) can share a batch")
        if self.knn_bank is not None and self.knn_bank < 1:
            raise ValueError(f"knn_bank is {self.knn_bank}; at least 1 sample is needed (null takes all)")
        if self.knn_every is not None and self.knn_every < 1:
            raise ValueError(f"knn_every is {self.knn_every}; at least 1 epoch is needed (null: where it is cheap)")
        if isinstance(self.milestones, int) and self.milestones < 1:
            raise ValueError(f"milestones={self.milestones} as a number means every n-th epoch, so it is at least 1")
        late = [epoch for epoch in self.milestone_epochs() if not 0 <= epoch <= self.epochs]
        if late:
            raise ValueError(f"milestones {late} lie outside of 0..{self.epochs} (epochs)")

    def collapsed_loss(self) -> float | None:
        """The loss where all embeddings are alike; None where there is no such value, or a good end has it as well."""
        return None

    def milestone_epochs(self) -> tuple[int, ...]:
        """The epochs whose weights are kept beside best and last, ascending and without repeats."""
        if isinstance(self.milestones, int):
            return tuple(range(0, self.epochs + 1, self.milestones))
        return tuple(sorted(set(self.milestones)))

    def check_labels(self, labels: NDArray[np.integer]) -> None:
        """Raises `UserError` where the labels `(n,)` of the training samples leave nothing to learn.

        A single class with one sample is fine: that sample is never anybody's positive.
        """
        if self.needs_pairs and len(labels) and np.unique(labels, return_counts=True)[1].max() < 2:
            raise UserError(
                f"method={self.name} compares samples of one class, but each of the {len(labels)} training samples "
                "is the only one of its class",
                "train on more samples (dataset.train_size), or without labels: method=triplet_ss, simclr",
            )
