"""Supervised training, no training, and what every method checks about itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from rra_cli.core.component import components
from rra_cli.methods.method import Batch
from rra_cli.methods.none import NoTraining
from rra_cli.methods.supervised import Supervised
from rra_cli.models.mlp import MLP

ENCODER = MLP(width=4, depth=1).build((1, 2, 2), 3)


class Fixed(nn.Module):
    """Gives the same logits whatever it is shown."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


def batch(labels: list[int] | None) -> Batch:
    n = 2 if labels is None else len(labels)
    return Batch((torch.zeros(n, 1, 2, 2),), None if labels is None else torch.tensor(labels), torch.arange(n))


def test_cross_entropy_and_its_gradient_have_their_closed_form() -> None:
    """-log softmax, and (softmax - one-hot) / n."""
    rows, labels = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], [1, 0]
    encoder = Fixed(rows)
    loss, figures = Supervised().objective(ENCODER, 3).loss(encoder, batch(labels))
    softmax = [[math.exp(value) / sum(map(math.exp, row)) for value in row] for row in rows]
    assert loss.item() == pytest.approx(-sum(math.log(p[z]) for p, z in zip(softmax, labels, strict=True)) / 2, 1e-6)
    assert figures["accuracy"].item() == 0.5
    loss.backward()
    expected = [[(value - (c == z)) / 2 for c, value in enumerate(p)] for p, z in zip(softmax, labels, strict=True)]
    assert encoder.logits.grad is not None
    assert torch.allclose(encoder.logits.grad, torch.tensor(expected, dtype=torch.float64), atol=1e-7)


def test_label_smoothing_spreads_its_share_evenly() -> None:
    """(1 - s) times the loss of the label plus s times the mean loss over all classes."""
    row = [1.0, 2.0, 0.5]
    log_softmax = [value - math.log(sum(map(math.exp, row))) for value in row]
    loss, _ = Supervised(label_smoothing=0.3).objective(ENCODER, 3).loss(Fixed([row]), batch([1]))
    assert loss.item() == pytest.approx(-0.7 * log_softmax[1] - 0.3 * sum(log_softmax) / 3, 1e-6)
    plain, _ = Supervised().objective(ENCODER, 3).loss(Fixed([row]), batch([1]))
    assert plain.item() != pytest.approx(loss.item(), 1e-3)


def test_supervised_training_needs_labels() -> None:
    with pytest.raises(ValueError, match="needs labels"):
        Supervised().objective(ENCODER, 3).loss(Fixed([[0.0], [0.0]]), batch(None))


def test_none_does_not_train() -> None:
    assert not NoTraining.trains
    assert Supervised.trains
    loss, _ = NoTraining().objective(ENCODER, 2).loss(Fixed([[0.0, 0.0]]), batch([1]))
    assert loss.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs is 0; at least 1 is needed"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"ranks": 0}, r"ranks is 0; from 1 to batch_size \(128\)"),
        ({"ranks": 9, "batch_size": 8}, r"ranks is 9; from 1 to batch_size \(8\)"),
        ({"accumulate": 0}, "accumulate is 0; at least 1 batch"),
        ({"milestones": 0}, "every n-th epoch, so it is at least 1"),
        ({"epochs": 3, "milestones": (1, 4)}, r"milestones \[4\] lie outside of 0..3"),
        ({"milestones": (-1,)}, r"milestones \[-1\] lie outside"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1.0; it lies in \[0, 1\)"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Supervised(**fields)


def test_milestones_are_a_list_or_every_nth_epoch() -> None:
    assert Supervised(epochs=7, milestones=3).milestone_epochs() == (0, 3, 6)
    assert Supervised(epochs=7, milestones=(5, 0, 5)).milestone_epochs() == (0, 5)
    assert Supervised(epochs=7).milestone_epochs() == ()


def test_what_each_method_needs() -> None:
    """Two views or one, labels or none, a classifier or none: what the loop and the data are asked for."""
    known = {name: (cls.n_views, cls.needs_labels, cls.classifies) for name, cls in components("method").items()}
    ours = {
        "supervised": (1, True, True),
        "triplet_supervised": (1, True, False),
        "triplet_entropy": (1, True, True),
        "none": (1, False, True),
        **dict.fromkeys(("simclr", "simsiam", "moco_v2", "barlow_twins", "triplet_ss"), (2, False, False)),
    }
    assert {name: known[name] for name in ours} == ours


def test_a_single_sample_is_a_batch_where_samples_are_not_compared() -> None:
    assert Supervised(batch_size=1).batch_size == 1
    assert not Supervised.drops_last
