"""MoCo v2: a view is told apart from a queue of earlier images by what a slowly following encoder says of them."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from rra_cli.core.fields import identity
from rra_cli.methods.heads import Norm, check_widths, features_of, mlp_head
from rra_cli.methods.losses.info_nce import info_nce
from rra_cli.methods.losses.joint import joint_rows
from rra_cli.methods.losses.rows import check_temperature, unit_rows
from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.models.encoder import Encoder


class MomentumContrast(Objective):
    """InfoNCE against a queue, with the projector, the momentum encoder (and projector) and the queue.

    The queue holds the keys of the last `len(queue)` views, unit rows; at first random ones. It is a ring: `place` is
    where the next key goes, so any number of keys can be put in. Keys of a step enter after it, all of them, so that
    the batches of one step (`accumulate`) meet the same queue.

    Batch norm of the momentum encoder is in training mode, as in the authors' code: it uses the statistics of the keys'
    batch and gathers running statistics of its own; only parameters follow the encoder. The authors also shuffle the
    keys over GPUs, lest a query find its key by the batch's statistics; that needs several devices and is not done.
    """

    heads = ("projector",)
    queue: torch.Tensor
    place: torch.Tensor

    def __init__(
        self, encoder: nn.Module, projector: nn.Sequential, *, n_keys: int, width: int, method: MoCoV2
    ) -> None:
        super().__init__()
        self.projector = projector
        self.momentum_encoder, self.momentum_projector = following(encoder), following(projector)
        self.register_buffer("queue", functional.normalize(torch.randn(n_keys, width), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.method = method
        self._new: list[torch.Tensor] = []

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """InfoNCE in nats; no figures. symmetric: the mean of both directions, and both views' keys enter the queue."""
        first, second = batch.views
        loss = self._contrast(encoder, first, second)
        if self.method.symmetric:
            loss = (loss + self._contrast(encoder, second, first)) / 2
        return loss, {}

    def after_step(self, encoder: nn.Module) -> None:
        """The momentum update, and the step's keys enter the queue.

        The authors update at the start of the next step instead, which is the same: the first update changes nothing.
        """
        with torch.no_grad():
            for followed, copied in ((encoder, self.momentum_encoder), (self.projector, self.momentum_projector)):
                for new, old in zip(followed.parameters(), copied.parameters(), strict=True):
                    old.lerp_(new.detach(), 1 - self.method.momentum)
            if self._new:
                enqueue(self.queue, self.place, torch.cat(self._new))
        self._new.clear()

    def _contrast(self, encoder: nn.Module, view: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        query = self.projector(encoder(view))
        with torch.no_grad():
            key = self.momentum_projector(self.momentum_encoder(other))
        query, key = joint_rows(query, key)
        self._new.append(unit_rows(key))
        return info_nce(query, key, self.queue, self.method.temperature)


def following(module: nn.Module) -> nn.Module:
    """A copy whose parameters no optimiser changes."""
    return copy.deepcopy(module).requires_grad_(False)


def enqueue(queue: torch.Tensor, place: torch.Tensor, keys: torch.Tensor) -> None:
    """Puts keys `(n, d)` into the ring `(K, d)` from `place` on, over the oldest ones, and moves `place`, in place.

    Of more than K keys the last K stay. Nothing waits for the device.
    """
    keys = keys[-len(queue) :]
    places = (place + torch.arange(len(keys), device=queue.device)) % len(queue)
    queue.index_copy_(0, places, keys.to(queue.dtype))
    place.add_(len(keys)).remainder_(len(queue))


@dataclass(frozen=True)
class MoCoV2(Method):
    """MoCo v2: InfoNCE of one view against the other's key and a queue of earlier keys of a momentum encoder.

    projector: units of its layers (ReLU between them). projector_norm: which layers a batch norm follows (none, hidden,
    all). temperature: of the cosines. queue: keys in it, at least those of one step. momentum: share of itself that
    the momentum encoder keeps in a step. symmetric: whether each view is also the other's key, as in the authors'
    CIFAR-10 notebook; their main code does not.

    He et al. 2020, "Momentum contrast for unsupervised visual representation learning", algorithm 1; Chen et al. 2020,
    "Improved baselines with momentum contrastive learning": hidden layer of 2048 units, output 128. Queue, momentum and
    temperature are the label-free thesis's, 4.1.2.
    """

    name: ClassVar[str] = "moco_v2"
    n_views: ClassVar[int] = 2
    drops_last: ClassVar[bool] = True

    collapse_cause: ClassVar[str] = (
        "a momentum encoder that follows too fast (method.momentum), a temperature too high (method.temperature), or a "
        "learning rate too high (optimizer.lr)"
    )

    projector: tuple[int, ...] = identity((2048, 128))
    projector_norm: Norm = identity("none")
    temperature: float = identity(0.1)
    queue: int = identity(4096)
    momentum: float = identity(0.99)
    symmetric: bool = identity(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("projector", self.projector, least=1)
        check_temperature(self.temperature)
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum is {self.momentum}; it lies in [0, 1), such as 0.99")
        entering = self.batch_size * self.accumulate * (2 if self.symmetric else 1)
        if self.queue < entering:
            raise ValueError(
                f"queue is {self.queue}, but {entering} keys enter it in a step (batch_size x accumulate, twice that "
                f"with symmetric); give it at least as many, such as 4096"
            )

    def collapsed_loss(self) -> float:
        """ln(K + 1): the key is as good as each of the K in the queue."""
        return math.log(self.queue + 1)

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """A fresh projector, its momentum copy and the encoder's, and a queue of random unit rows."""
        projector = mlp_head(features_of(encoder), self.projector, norm=self.projector_norm)
        return MomentumContrast(encoder.module, projector, n_keys=self.queue, width=self.projector[-1], method=self)
