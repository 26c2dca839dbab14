"""NT-Xent, the loss of SimCLR."""

from __future__ import annotations

import torch
from torch.nn import functional

from rra_cli.methods.losses.rows import check_pair, check_temperature, full_precision, unit_rows


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """Normalised temperature-scaled cross-entropy in nats: >= 0, lower is better, about ln(2n - 1) for unrelated views.

    z1, z2: `(n, d)`, n >= 2; row i of both is a view of sample i. With s(a, b) the cosine of two of the 2n views,

        l(i) = -ln( exp(s(i, i')/t) / sum over k != i of exp(s(i, k)/t) ),   i' the other view of i's sample,

    and the loss is the mean of l over all 2n views. A view is not its own negative (k != i: the diagonal is masked);
    its positive stays in the denominator. Memory: a matrix of 2n x 2n. Raises ValueError for other shapes, a single
    sample (its loss is 0 whatever the network does) and a temperature that is not positive.

    Chen et al. 2020, "A simple framework for contrastive learning of visual representations", eq. 1 and algorithm 1.
    """
    check_pair("z1", z1, "z2", z2, least=2)
    check_temperature(temperature)
    n = len(z1)
    with full_precision(z1):
        views = unit_rows(torch.cat([z1, z2]))
        logits = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
        positives = torch.arange(2 * n, device=logits.device).roll(n)
        return functional.cross_entropy(logits, positives)
