"""Negative cosine similarity with stop-gradient, the loss of SimSiam."""

from __future__ import annotations

import torch

from rra_cli.methods.losses.rows import check_pair, full_precision, unit_rows


def negative_cosine(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """D(p, stopgrad(z)): minus the mean cosine of the rows; in [-1, 1], -1 where all agree.

    p, z: `(n, d)`, prediction of one view and projection of the other. z is taken as a constant: no gradient passes
    through it. Raises ValueError for other shapes. Chen & He 2021, "Exploring simple Siamese representation learning",
    eq. 1 and 3.
    """
    check_pair("p", p, "z", z)
    with full_precision(p):
        return -(unit_rows(p) * unit_rows(z.detach())).sum(dim=1).mean()


def simsiam_loss(p1: torch.Tensor, p2: torch.Tensor, z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    """D(p1, stopgrad(z2))/2 + D(p2, stopgrad(z1))/2, in [-1, 1]; p: predictions, z: projections `(n, d)` of two views.

    Chen & He 2021, eq. 2 with the stop-gradient of eq. 4.
    """
    return negative_cosine(p1, z2) / 2 + negative_cosine(p2, z1) / 2
