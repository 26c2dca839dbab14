"""SimCLR: two views of an image attract each other and repel all other views of the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from rra_cli.core.fields import identity
from rra_cli.methods.heads import Norm, check_widths, features_of, mlp_head
from rra_cli.methods.losses.joint import joint_rows
from rra_cli.methods.losses.nt_xent import nt_xent
from rra_cli.methods.losses.rows import check_temperature
from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.models.encoder import Encoder


class Contrast(Objective):
    """NT-Xent of the projections of two views, with its projector."""

    def __init__(self, n_features: int, projector: Sequence[int], norm: Norm, temperature: float) -> None:
        super().__init__()
        self.heads = ("projector",) if projector else ()
        self.projector = mlp_head(n_features, projector, norm=norm)
        self.temperature = temperature

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """NT-Xent in nats; no figures."""
        # One pass over both views, as in the authors' code: batch norm sees 2n images. Others make two passes of n.
        z1, z2 = joint_rows(*self.projector(encoder(torch.cat(batch.views))).chunk(2))
        return nt_xent(z1, z2, self.temperature), {}


@dataclass(frozen=True)
class SimCLR(Method):
    """SimCLR: NT-Xent over the two views of every image, the rest of the batch as negatives.

    projector: units of its layers (ReLU between them); none puts the loss on the representation itself, as the RMQM
    paper does. projector_norm: which layers a batch norm follows (none, hidden, all). temperature: of the cosines.

    Chen et al. 2020, "A simple framework for contrastive learning of visual representations": g(h) = W2 relu(W1 h). The
    paper has no batch norm in it, its code has. Widths and temperature are the label-free thesis's, 4.1.2.
    """

    name: ClassVar[str] = "simclr"
    n_views: ClassVar[int] = 2
    drops_last: ClassVar[bool] = True

    collapse_cause: ClassVar[str] = (
        "a temperature too high or too low (method.temperature), too few negatives (method.batch_size), or a learning "
        "rate too high (optimizer.lr)"
    )

    projector: tuple[int, ...] = identity((2048, 128))
    projector_norm: Norm = identity("none")
    temperature: float = identity(0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths("projector", self.projector)
        check_temperature(self.temperature)

    def collapsed_loss(self) -> float:
        """ln(2N - 1): the positive is as good as each of the 2N - 2 negatives."""
        return math.log(2 * self.batch_size - 1)

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """NT-Xent with a fresh projector."""
        n_features = features_of(encoder) if self.projector else 0
        return Contrast(n_features, self.projector, self.projector_norm, self.temperature)
