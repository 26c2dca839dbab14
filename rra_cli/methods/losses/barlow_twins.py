"""The loss of Barlow Twins."""

from __future__ import annotations

import torch
from torch.nn import functional

from rra_cli.methods.losses.rows import check_pair, full_precision, widened


def cross_correlation(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    """Correlations `(d, d)` in [-1, 1] over the batch, of every feature of z1 with every feature of z2, both `(n, d)`.

    Zbontar et al. 2021, eq. 2. Features are standardised by batch norm without affine part, as the authors' code does:
    variance by 1/n, plus 1e-5. (The paper's algorithm 1 takes torch's `std`, by 1/(n - 1), so that no entry could
    reach 1.) A constant feature correlates by 0 with all.
    """
    standard1, standard2 = (functional.batch_norm(widened(z), None, None, training=True) for z in (z1, z2))
    return standard1.T @ standard2 / len(z1)


def barlow_twins(z1: torch.Tensor, z2: torch.Tensor, off_diagonal: float) -> torch.Tensor:
    """sum_i (1 - C_ii)^2 + off_diagonal * sum_{i != j} C_ij^2, with C the cross-correlation; >= 0, lower is better.

    z1, z2: `(n, d)`, n >= 2: projections of two views, *before* any standardisation. off_diagonal: lambda, >= 0
    (0.005 in the paper). The sums are not divided by d, so the loss grows with it. Raises ValueError for other shapes,
    a single sample (it has no variance) and a negative weight.

    Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction", eq. 1 and 2.
    """
    check_pair("z1", z1, "z2", z2, least=2)
    if not off_diagonal >= 0:
        raise ValueError(f"off_diagonal is {off_diagonal}; it is a weight of at least 0, such as 0.005")
    with full_precision(z1):
        correlation = cross_correlation(z1, z2)
        invariance = (1 - correlation.diagonal()).square().sum()
        # Subtracting the diagonal's squares from the sum of all would cancel: with d features on the diagonal near 1
        # the rest is small beside them.
        redundancy = correlation.clone().fill_diagonal_(0.0).square().sum()
        return invariance + off_diagonal * redundancy
