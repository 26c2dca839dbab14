"""SimSiam: each view predicts the other's projection, which is taken as a constant; no negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from rra_cli.core.fields import identity
from rra_cli.methods.heads import check_widths, features_of, mlp_head
from rra_cli.methods.losses.joint import joint_rows
from rra_cli.methods.losses.negative_cosine import simsiam_loss
from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.models.encoder import Encoder


class Prediction(Objective):
    """Symmetric negative cosine of predictions and projections, with projector and predictor."""

    heads = ("projector", "predictor")

    def __init__(self, projector: nn.Sequential, predictor: nn.Sequential) -> None:
        super().__init__()
        self.projector, self.predictor = projector, predictor

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """In [-1, 1]; no figures. Each view passes alone, as in the authors' code: batch norm sees one view."""
        z1, z2 = (self.projector(encoder(view)) for view in batch.views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return simsiam_loss(*joint_rows(p1, p2, z1.detach(), z2.detach())), {}


@dataclass(frozen=True)
class SimSiam(Method):
    """SimSiam: a predictor on one view's projection, stop-gradient on the other's, symmetric negative cosine.

    projector: units of its layers, all followed by batch norm, ReLU between them. projector_affine: whether the last
    batch norm has scale and shift. predictor: units of its hidden layer (batch norm, ReLU); it ends with as many units
    as the projector, without batch norm.

    Chen and He 2021, "Exploring simple Siamese representation learning", section 3: 3 layers of 2048, predictor
    2048-512-2048 (on CIFAR-10 the paper takes 2 layers; the label-free thesis, 4.1.2, 3). The last batch norm is not
    affine in the authors' code. The paper keeps the predictor's learning rate constant; the thesis does not say so.
    """

    name: ClassVar[str] = "simsiam"
    n_views: ClassVar[int] = 2
    drops_last: ClassVar[bool] = True

    collapse_cause: ClassVar[str] = (
        "a missing stop-gradient or predictor, a learning rate too high (optimizer.lr), or views that are all the same "
        "(augment)"
    )

    projector: tuple[int, ...] = identity((2048, 2048, 2048))
    projector_affine: bool = identity(False)
    predictor: int = identity(512)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("projector", self.projector, least=1)
        if self.predictor < 1:
            raise ValueError(f"predictor is {self.predictor}; its hidden layer has at least 1 unit, such as 512")

    def collapsed_loss(self) -> float:
        """-1, the minimum."""
        return -1.0

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """A fresh projector, then a fresh predictor."""
        projector = mlp_head(features_of(encoder), self.projector, norm="all", last_affine=self.projector_affine)
        width = self.projector[-1]
        return Prediction(projector, mlp_head(width, (self.predictor, width), norm="hidden"))
