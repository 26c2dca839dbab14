"""SimSiam: what passes where, what gets a gradient, and what does not."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from objectives import batch, gradients, started

from rra_cli.methods.simsiam import SimSiam


def small(**fields: object) -> SimSiam:
    return SimSiam(batch_size=12, **{"projector": (6, 6, 4), "predictor": 3, **fields})  # type: ignore[arg-type]


def test_value_and_gradient_are_those_of_the_published_pseudocode() -> None:
    """Algorithm 1 of the paper with lightly's negative cosine: z1, z2; p1, p2; D(p1, z2)/2 + D(p2, z1)/2."""
    encoder, objective = started(small())
    shown = batch(2)
    loss, figures = objective.loss(encoder, shown)
    loss.backward()
    found = [gradients(encoder), gradients(objective)]
    z1, z2 = (objective.projector(encoder(view)) for view in shown.views)
    p1, p2 = objective.predictor(z1), objective.predictor(z2)
    distance = NegativeCosineSimilarity()
    expected = distance(p1, z2.detach()) / 2 + distance(p2, z1.detach()) / 2
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0.0)
    for ours, theirs in zip(found, [gradients(encoder), gradients(objective)], strict=True):
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)
    assert figures == {}


def test_the_gradient_stops_at_the_other_views_projection() -> None:
    """Without the stop another gradient would reach the encoder."""
    encoder, objective = started(small())
    shown = batch(2)
    objective.loss(encoder, shown)[0].backward()
    stopped = gradients(encoder)
    z1, z2 = (objective.projector(encoder(view)) for view in shown.views)
    distance = NegativeCosineSimilarity()
    (distance(objective.predictor(z1), z2) / 2 + distance(objective.predictor(z2), z1) / 2).backward()
    assert any(not torch.allclose(a, b) for a, b in zip(stopped, gradients(encoder), strict=True))


def test_each_view_passes_alone() -> None:
    encoder, objective = started(small(), norm=True)
    objective.loss(encoder, batch(2))
    assert int(encoder.norm.num_batches_tracked) == 2


def test_projector_then_predictor() -> None:
    _, objective = started(small())
    assert objective.heads == ("projector", "predictor")
    assert objective.projector(torch.randn(12, 5, dtype=torch.float64)).shape == (12, 4)
    assert objective.predictor(torch.randn(12, 4, dtype=torch.float64)).shape == (12, 4)
    assert "projector.3.norm.weight" not in objective.state_dict(), "the last batch norm has no scale"
    _, affine = started(small(projector_affine=True))
    assert "projector.3.norm.weight" in affine.state_dict()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"projector": ()}, r"projector is \[\]; expected at least 1 layer"),
        ({"predictor": 0}, "predictor is 0; its hidden layer has at least 1 unit"),
        ({"batch_size": 1}, "batch_size is 1, but method=simsiam compares"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimSiam(**fields)
