"""Triplets on ids, on labels and beside cross-entropy, against pytorch-metric-learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from objectives import CLASSES, batch, gradients, started
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import nn
from torch.nn import functional

from rra_cli.errors import UserError
from rra_cli.methods.method import Method
from rra_cli.methods.supervised import Supervised
from rra_cli.methods.triplet import TripletEntropy, TripletSS, TripletSupervised


def reference(embeddings: torch.Tensor, labels: torch.Tensor, margin: float) -> tuple[torch.Tensor, int]:
    distance = LpDistance(normalize_embeddings=True, p=2)
    mined = TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=distance)(embeddings, labels)
    return TripletMarginLoss(margin=margin, distance=distance)(embeddings, labels, mined), len(mined[0])


def check(method: Method, embeddings_of: object, labels: torch.Tensor) -> None:
    encoder, objective = started(method)
    shown = batch(method.n_views)
    loss, figures = objective.loss(encoder, shown)
    loss.backward()
    found = gradients(encoder)
    expected, n_active = reference(embeddings_of(encoder, shown), labels, method.margin)  # type: ignore[operator, attr-defined]
    expected.backward()
    assert n_active > 0, "the comparison would be empty"
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-9)
    for one, other in zip(found, gradients(encoder), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)
    assert float(figures["triplets"]) == n_active


def test_the_index_of_a_sample_is_its_label_over_two_views() -> None:
    labels = torch.arange(12).repeat(2)
    check(TripletSS(batch_size=12), lambda encoder, shown: encoder(torch.cat(shown.views)), labels)


def test_classes_are_labels_of_one_view() -> None:
    labels = torch.arange(12) % CLASSES
    check(TripletSupervised(batch_size=12, margin=0.4), lambda encoder, shown: encoder(shown.views[0]), labels)


def test_labels_do_not_matter_to_the_self_supervised_form() -> None:
    encoder, objective = started(TripletSS(batch_size=12))
    with_labels, _ = objective.loss(encoder, batch(2))
    without, _ = objective.loss(encoder, batch(2, labelled=False))
    assert torch.equal(with_labels, without)


def test_triplet_entropy_is_the_sum_of_both_of_one_pass() -> None:
    encoder, objective = started(TripletEntropy(batch_size=12), norm=True)
    shown = batch(1)
    loss, figures = objective.loss(encoder, shown)
    assert int(encoder.norm.num_batches_tracked) == 1
    loss.backward()
    found = gradients(encoder)
    assert isinstance(encoder, nn.Sequential)
    features = encoder[:-1](shown.views[0])
    logits = encoder.logits(features)
    assert shown.labels is not None
    triplets, _ = reference(features, shown.labels, 0.5)
    (functional.cross_entropy(logits, shown.labels) + triplets).backward()
    for one, other in zip(found, gradients(encoder), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, shown.labels) + triplets, rtol=1e-6, atol=1e-9)
    assert float(figures["accuracy"]) == float((logits.argmax(1) == shown.labels).float().mean())


def test_triplet_entropy_is_neither_of_its_parts() -> None:
    """Negative control: cross-entropy alone gives another gradient."""
    encoder, objective = started(TripletEntropy(batch_size=12))
    objective.loss(encoder, batch(1))[0].backward()
    both = gradients(encoder)
    Supervised().objective(None, CLASSES).loss(encoder, batch(1))[0].backward()  # type: ignore[arg-type]
    assert any(not torch.allclose(a, b) for a, b in zip(both, gradients(encoder), strict=True))


@pytest.mark.parametrize("method", [TripletSupervised(batch_size=12), TripletEntropy(batch_size=12)])
def test_labels_are_needed(method: Method) -> None:
    encoder, objective = started(method)
    with pytest.raises(ValueError, match="needs labels"):
        objective.loss(encoder, batch(1, labelled=False))


def test_a_class_with_one_sample_is_nobodys_positive() -> None:
    """It works, and equals the loss in which that sample is a negative only; all single gives 0 with gradient 0."""
    encoder, objective = started(TripletSupervised(batch_size=12))
    shown = batch(1)
    lonely = torch.tensor([9, *([0, 1] * 5), 0])
    loss, figures = objective.loss(encoder, type(shown)(shown.views, lonely, shown.ids))
    assert torch.isfinite(loss)
    assert figures["triplets"] > 0
    expected, _ = reference(encoder(shown.views[0]), lonely, 0.5)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-9)
    nothing, figures = objective.loss(encoder, type(shown)(shown.views, torch.arange(12), shown.ids))
    nothing.backward()
    assert nothing.item() == float(figures["triplets"]) == 0.0
    assert all(not gradient.any() for gradient in gradients(encoder))


@pytest.mark.parametrize("method", [TripletSupervised(), TripletEntropy()])
def test_data_whose_every_class_has_one_sample_is_refused(method: Method) -> None:
    with pytest.raises(UserError, match="each of the 5 training samples is the only one of its class") as caught:
        method.check_labels(np.arange(5))
    assert "triplet_ss" in str(caught.value.hint)
    method.check_labels(np.array([0, 1, 2, 2]))
    TripletSS().check_labels(np.arange(5))
    Supervised().check_labels(np.arange(5))


@pytest.mark.parametrize("method", [TripletSS, TripletSupervised, TripletEntropy])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"margin": 0.0}, "margin is 0.0; it lies above 0 and at most at 2"),
        ({"margin": 2.5}, "margin is 2.5"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"batch_size": 1}, "batch_size is 1, but method=triplet_"),
    ],
)
def test_impossible_fields_are_refused(method: type[Method], fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(**fields)
