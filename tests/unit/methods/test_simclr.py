"""SimCLR: projections of two views, against lightly's loss; nothing else is trained."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import NTXentLoss
from objectives import batch, gradients, started

from rra_cli.methods.simclr import SimCLR


def test_value_and_gradient_are_those_of_lightly_on_the_projections() -> None:
    encoder, objective = started(SimCLR(batch_size=12, projector=(7, 4), temperature=0.3))
    shown = batch(2)
    loss, figures = objective.loss(encoder, shown)
    loss.backward()
    found = [gradients(encoder), gradients(objective)]
    expected = NTXentLoss(temperature=0.3)(*(objective.projector(encoder(view)) for view in shown.views))
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0.0)
    for ours, theirs in zip(found, [gradients(encoder), gradients(objective)], strict=True):
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)
    assert figures == {}


def test_views_pass_together_so_batch_norm_sees_both() -> None:
    """The running mean after one step from 0: a tenth of the mean over all 2n images, not over the last n."""
    encoder, objective = started(SimCLR(batch_size=12, projector=(4,)), norm=True)
    shown = batch(2)
    objective.loss(encoder, shown)
    both = torch.cat([encoder.linear(view.flatten(1)) for view in shown.views]).mean(dim=0)
    torch.testing.assert_close(encoder.norm.running_mean, 0.1 * both)
    assert int(encoder.norm.num_batches_tracked) == 1


def test_without_a_projector_the_loss_is_on_the_representation() -> None:
    """The RMQM paper's NT-Xent; nothing of the objective's own, so no heads."""
    encoder, objective = started(SimCLR(batch_size=12, projector=(), temperature=0.07))
    shown = batch(2)
    loss, _ = objective.loss(encoder, shown)
    expected = NTXentLoss(temperature=0.07)(*(encoder(view) for view in shown.views))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0.0)
    assert objective.heads == ()
    assert not list(objective.parameters())


def test_the_projector_is_the_only_head() -> None:
    _, objective = started(SimCLR(batch_size=12, projector=(7, 4)))
    assert objective.heads == ("projector",)
    assert {name.partition(".")[0] for name in objective.state_dict()} == {"projector"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it is a positive number"),
        ({"projector": (0,)}, r"projector is \[0\]; expected layers of at least 1 unit"),
        ({"batch_size": 1}, "batch_size is 1, but method=simclr compares samples of a batch: at least 2 are needed"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimCLR(**fields)
