"""Barlow Twins: the projections' cross-correlation, against lightly's loss."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from objectives import batch, gradients, started

from rra_cli.methods.barlow_twins import BarlowTwins


@pytest.mark.parametrize("projector", [(6,), (8, 8, 4)])
def test_value_and_gradient_are_those_of_lightly_on_the_projections(projector: tuple[int, ...]) -> None:
    encoder, objective = started(BarlowTwins(batch_size=12, projector=projector, off_diagonal=0.02))
    shown = batch(2)
    loss, figures = objective.loss(encoder, shown)
    loss.backward()
    found = [gradients(encoder), gradients(objective)]
    criterion = BarlowTwinsLoss(lambda_param=0.02)
    expected = criterion(*(objective.projector(encoder(view)) for view in shown.views))
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0.0)
    for ours, theirs in zip(found, [gradients(encoder), gradients(objective)], strict=True):
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)
    assert figures == {}


def test_the_default_projector_is_one_linear_layer_without_bias() -> None:
    _, objective = started(BarlowTwins(batch_size=12))
    assert set(objective.state_dict()) == {"projector.1.linear.weight"}
    assert objective.state_dict()["projector.1.linear.weight"].shape == (256, 5)
    assert objective.heads == ("projector",)


def test_each_view_passes_alone() -> None:
    encoder, objective = started(BarlowTwins(batch_size=12, projector=(4,)), norm=True)
    objective.loss(encoder, batch(2))
    assert int(encoder.norm.num_batches_tracked) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"projector": ()}, r"projector is \[\]; expected at least 1 layer"),
        ({"off_diagonal": -0.1}, "off_diagonal is -0.1; it is a weight of at least 0"),
        ({"off_diagonal": float("nan")}, "off_diagonal is nan"),
        ({"batch_size": 1}, "batch_size is 1, but method=barlow_twins compares"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BarlowTwins(**fields)
