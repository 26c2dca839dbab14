"""Triplet margin loss over all semi-hard triplets of a batch."""

from __future__ import annotations

import math

import torch

from rra_cli.methods.losses.rows import check_matrix, full_precision, unit_rows

# Below this a float32 distance plus the margin may be the distance itself.
SMALLEST_MARGIN = 1e-6
# Triplets that are looked at together, so that memory grows as n^2 and stays small.
AT_ONCE = 2**20


def triplet_semi_hard(
    embeddings: torch.Tensor, labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of d(a, p) - d(a, n) + margin over all semi-hard triplets, in [0, margin); and how many there are.

    embeddings: `(n, d)`, brought to unit length here; d is the Euclidean distance of unit rows, in [0, 2]. labels:
    `(n,)` integers. A triplet (anchor, positive, negative) has a != p of one label and n of another; it is semi-hard
    where the negative lies farther than the positive but within the margin: d(a, p) < d(a, n) < d(a, p) + margin.
    So every one of them counts in the mean ("average of non-zero").

    Where there is no such triplet (all of one label, no label twice, nothing within the margin, one sample) the loss
    is 0 with a gradient of 0, and still part of the graph: `backward()` works. The count is an int64 scalar on the
    device. Raises ValueError for other shapes and a margin below 1e-6.

    Time grows with the number of (anchor, positive) pairs times n, memory as n^2: no triplet is ever listed.

    Schroff et al. 2015, "FaceNet", section 3.2 with plain instead of squared distances and all semi-hard triplets of
    the batch, as pytorch-metric-learning's `TripletMarginMiner(type_of_triplets="semihard")` and `TripletMarginLoss`
    have it.
    """
    check_matrix("embeddings", embeddings)
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)}; one per embedding is expected, ({len(embeddings)},)"
        )
    if not (margin >= SMALLEST_MARGIN and math.isfinite(margin)):
        raise ValueError(
            f"margin is {margin}; it is at least {SMALLEST_MARGIN:g}, such as 0.5 (distances lie in [0, 2])"
        )
    with full_precision(embeddings):
        rows = unit_rows(embeddings)
        # float64: |x|^2 + |y|^2 - 2xy of float32 rows is off by up to 3e-4 where x and y nearly agree.
        distances = torch.cdist(rows.double(), rows.double(), compute_mode="use_mm_for_euclid_dist")
        weights, n_active = semi_hard_weights(distances.detach().to(rows.dtype), labels, margin)
        # Given the triplets, the mean is linear in the distances.
        mean = (weights.double() / n_active.clamp_min(1) * distances).sum()
        return (mean + margin * (n_active > 0).double()).to(rows.dtype), n_active


def semi_hard_weights(
    distances: torch.Tensor, labels: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """How often each pair (i, j) stands in a semi-hard triplet of anchor i, and the number of triplets.

    distances: `(n, n)`; labels: `(n,)`. The counts `(n, n)` are positive where j is the positive and negative where it
    is the negative, so that sum(counts * distances) is the sum of d(a, p) - d(a, n) over the triplets.

    A block of pairs (a, p) at a time is compared with all negatives: at most `AT_ONCE` triplets, or those of one pair.
    """
    same = labels[:, None] == labels[None, :]
    negative = ~same
    positive = same.fill_diagonal_(False)
    counts = torch.zeros_like(distances)
    n_active = torch.zeros((), dtype=torch.long, device=distances.device)
    # On a GPU, `nonzero` waits for the forward pass, once a step.
    for pairs in positive.nonzero().split(max(1, AT_ONCE // len(labels))):
        anchor, chosen = pairs.unbind(1)
        to_positive, to_all = distances[anchor, chosen, None], distances[anchor]
        semi_hard = (to_all > to_positive) & (to_all < to_positive + margin) & negative[anchor]
        found = semi_hard.to(distances.dtype)
        per_pair = found.sum(dim=1)
        counts.index_add_(0, anchor, found, alpha=-1)
        counts[anchor, chosen] = per_pair  # a pair comes once, and is no negative: nothing was there
        n_active += per_pair.sum(dtype=torch.float64).long()
    return counts, n_active
