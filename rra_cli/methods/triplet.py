"""Metric learning by semi-hard triplets: on the sample's index, on labels, and on labels beside cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from rra_cli.core.fields import identity
from rra_cli.methods.losses.joint import joint_rows
from rra_cli.methods.losses.triplet import SMALLEST_MARGIN, triplet_semi_hard
from rra_cli.methods.method import Batch, Method, Objective
from rra_cli.methods.supervised import accuracy, cross_entropy
from rra_cli.models.encoder import Encoder
from rra_cli.models.tap import Tap

# All distances are 0 then, so no triplet is semi-hard: loss and gradient vanish for good.
COLLAPSE_CAUSE = (
    "a learning rate too high (optimizer.lr) or a margin too large (method.margin); where all distances are 0 no "
    "triplet is semi-hard, and nothing draws them apart again"
)


class SampleTriplets(Objective):
    """The triplet loss of two views, in which a sample's index is its label."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss in [0, margin), and `triplets`: how many are semi-hard."""
        embeddings = encoder(torch.cat(batch.views))
        embeddings, ids = joint_rows(embeddings, batch.ids.repeat(len(batch.views)))
        loss, n_active = triplet_semi_hard(embeddings, ids, self.margin)
        return loss, {"triplets": n_active.float()}


class LabelTriplets(Objective):
    """The triplet loss of one view with the classes as labels."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss in [0, margin), and `triplets`: how many are semi-hard. Raises ValueError without labels."""
        embeddings, labels = joint_rows(encoder(batch.views[0]), labels_of(batch))
        loss, n_active = triplet_semi_hard(embeddings, labels, self.margin)
        return loss, {"triplets": n_active.float()}


class EntropyTriplets(Objective):
    """Cross-entropy of the logits plus the triplet loss of the representation, of one forward pass."""

    def __init__(self, encoder: Encoder, margin: float) -> None:
        super().__init__()
        self.tap = Tap(encoder.module, encoder.representation_module)
        self.margin = margin

    def loss(self, encoder: nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Their sum; figures: `accuracy` in [0, 1] and `triplets`. Raises ValueError without labels."""
        logits, embeddings = self.tap.run(encoder, batch.views[0])
        logits, embeddings, labels = joint_rows(logits, embeddings.flatten(1), labels_of(batch))
        triplets, n_active = triplet_semi_hard(embeddings, labels, self.margin)
        figures = {"accuracy": accuracy(logits, labels), "triplets": n_active.float()}
        return cross_entropy(logits, labels) + triplets, figures


def labels_of(batch: Batch) -> torch.Tensor:
    """The labels `(n,)`. Raises ValueError where there are none."""
    if batch.labels is None:
        raise ValueError("training with triplets of one class needs labels")
    return batch.labels


def check_margin(margin: float) -> None:
    """Raises ValueError unless distances of unit vectors can differ by the margin."""
    if not SMALLEST_MARGIN <= margin <= 2.0:
        raise ValueError(f"margin is {margin}; it lies above 0 and at most at 2, the largest distance, such as 0.5")


@dataclass(frozen=True)
class TripletSS(Method):
    """Self-supervised triplets: the two views of an image belong together, all other images are negatives.

    margin: by how much a negative should be farther than the positive, Euclidean distance of L2-normalised
    representations, in [0, 2]. All semi-hard triplets of the batch count. van der Merwe 2022 (the RMQM paper): margin
    0.5, no projector.
    """

    name: ClassVar[str] = "triplet_ss"
    n_views: ClassVar[int] = 2
    drops_last: ClassVar[bool] = True
    collapse_cause: ClassVar[str] = COLLAPSE_CAUSE

    margin: float = identity(0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_margin(self.margin)

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """The loss alone; nothing is trained beside the encoder."""
        return SampleTriplets(self.margin)


@dataclass(frozen=True)
class TripletSupervised(Method):
    """Supervised triplets: images of one class belong together; semi-hard mining within the batch.

    margin: by how much a negative should be farther than the positive, Euclidean distance of L2-normalised
    representations, in [0, 2]. A class with a single sample in a batch is nobody's positive there. van der Merwe 2022
    (the RMQM paper): margin 0.5.
    """

    name: ClassVar[str] = "triplet_supervised"
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = True
    drops_last: ClassVar[bool] = True
    collapse_cause: ClassVar[str] = COLLAPSE_CAUSE

    margin: float = identity(0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_margin(self.margin)

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """The loss alone; nothing is trained beside the encoder."""
        return LabelTriplets(self.margin)


@dataclass(frozen=True)
class TripletEntropy(Method):
    """Cross-entropy plus supervised triplets: the first of the logits, the second of the representation before them.

    margin: as of `triplet_supervised`. van der Merwe 2022 (the RMQM paper): the plain sum of both, margin 0.5.
    """

    name: ClassVar[str] = "triplet_entropy"
    classifies: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = True
    drops_last: ClassVar[bool] = True
    collapse_cause: ClassVar[str] = COLLAPSE_CAUSE

    margin: float = identity(0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_margin(self.margin)

    def objective(self, encoder: Encoder, n_classes: int) -> Objective:
        """The losses alone; nothing is trained beside the encoder."""
        return EntropyTriplets(encoder, self.margin)
