"""Barlow Twins: the features of two views correlate, each with itself and with no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from rra_cli.core.fields import identity
from rra_cli.methods.heads import check_widths, features_of, mlp_head
from rra_cli.methods.losses.barlow_twins import barlow_twins
from rra_cli.methods.losses.joint import joint_rows
from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.models.encoder import Encoder


class Redundancy(Objective):
    """How far the cross-correlation of two views' projections is from the identity, with its projector."""

    heads = ("projector",)

    def __init__(self, projector: nn.Sequential, off_diagonal: float) -> None:
        super().__init__()
        self.projector, self.off_diagonal = projector, off_diagonal

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """At least 0; no figures. Each view passes alone, as in the authors' code: batch norm sees one view."""
        z1, z2 = joint_rows(*(self.projector(encoder(view)) for view in batch.views))
        return barlow_twins(z1, z2, self.off_diagonal), {}


@dataclass(frozen=True)
class BarlowTwins(Method):
    """Barlow Twins: the cross-correlation of two views' projections is drawn to the identity matrix.

    projector: units of its layers; all but the last are followed by batch norm and ReLU, the last has no bias, for the
    loss standardises it (batch norm without affine part). off_diagonal: lambda, the weight of the correlations of
    different features.

    Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction": 3 layers of 8192
    ([8192, 8192, 8192]), lambda 0.005. The default of one linear layer to 256 is that of the code of the poster on
    pullback metrics.
    """

    name: ClassVar[str] = "barlow_twins"
    n_views: ClassVar[int] = 2
    drops_last: ClassVar[bool] = True

    collapse_cause: ClassVar[str] = (
        "the weight of different features too high for so many of them (method.off_diagonal), or a learning rate too "
        "high (optimizer.lr)"
    )

    projector: tuple[int, ...] = identity((256,))
    off_diagonal: float = identity(0.005)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("projector", self.projector, least=1)
        if not 0.0 <= self.off_diagonal < float("inf"):
            raise ValueError(f"off_diagonal is {self.off_diagonal}; it is a weight of at least 0, such as 0.005")

    def collapsed_loss(self) -> float:
        """The number of features: a constant one correlates with nothing, not even with itself."""
        return float(self.projector[-1])

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """A fresh projector."""
        projector = mlp_head(features_of(encoder), self.projector, norm="hidden", last_bias=False)
        return Redundancy(projector, self.off_diagonal)
