"""The collapse watch: silent on healthy embeddings, loud on collapsed ones, once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from training_jobs import job, tiny, trained_methods

from rra_cli.methods.method import Batch
from rra_cli.training.collapse import lasting, new_warnings, patience, warnings
from rra_cli.training.figures import effective_rank, embedding_std
from rra_cli.training.job import begin


def normal(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def line(epoch: int, embeddings: torch.Tensor | None, loss: float = 4.0) -> dict[str, Any]:
    """The line of an epoch whose representation these embeddings are."""
    seen = embeddings is not None
    return {
        "epoch": epoch,
        "train_loss": loss if epoch else None,
        "embedding_std": embedding_std(embeddings) if seen else None,
        "effective_rank": effective_rank(embeddings) if seen else None,
    }


SPREAD = normal(500, 32)
CLASSES = torch.eye(10).repeat(50, 1) + 0.01 * normal(500, 10)  # ten tight classes
POINT = torch.ones(500, 32) + 0.01 * normal(500, 32)
FEW = normal(500, 32) * torch.tensor([1.0, 0.6] + [0.02] * 30)


def kinds(embeddings: torch.Tensor, n_classes: int = 10) -> set[str]:
    return set(warnings(line(3, embeddings), n_classes=n_classes, collapsed_loss=None, cause="none"))


def test_healthy_embeddings_are_not_warned_of() -> None:
    """A representation that is left with its classes, as supervised ones are at the end, is healthy too."""
    assert kinds(SPREAD) == kinds(CLASSES) == set()
    assert kinds(FEW, n_classes=2) == set(), "two classes take one dimension"


def test_collapsed_embeddings_are_named_by_kind() -> None:
    assert kinds(POINT) == {"complete"}
    assert kinds(FEW) == {"dimensional"}


def test_a_message_says_what_was_seen_and_why() -> None:
    found = warnings(line(3, POINT), n_classes=10, collapsed_loss=None, cause="a missing stop-gradient")
    assert "complete collapse after epoch 3: the representation of all samples" in found["complete"]
    assert "Likely cause: a missing stop-gradient" in found["complete"]


def test_the_projection_is_watched_as_well() -> None:
    seen = line(3, SPREAD) | {"projection_std": 0.001, "projection_effective_rank": 1.0}
    found = warnings(seen, n_classes=10, collapsed_loss=None, cause="x")
    assert "the projection of all samples is nearly the same" in found["complete"]


def test_a_loss_at_its_collapsed_value_is_named() -> None:
    stuck = math.log(2 * 20 - 1)
    for loss, expected in ((stuck, {"loss"}), (stuck * 1.004, {"loss"}), (0.95 * stuck, set())):
        assert set(warnings(line(3, SPREAD, loss), n_classes=10, collapsed_loss=stuck, cause="x")) == expected


@pytest.mark.parametrize("name", trained_methods())
def test_the_collapsed_loss_is_the_loss_of_equal_embeddings(name: str) -> None:
    """Whatever comes in, the heads give one point; so does MoCo's queue."""
    method = tiny(name)
    expected = method.collapsed_loss()
    if expected is None:
        return
    training = begin(job(method=method), "cpu", 1)
    objective = training.objective.train()
    for head in (*objective.heads, "momentum_projector"):
        if hasattr(objective, head):
            setattr(objective, head, Constant(8))
    if name == "moco_v2":
        objective.queue.fill_(8**-0.5)
    images = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    batch = Batch((images, images.flip(0)), torch.arange(20) % 3, torch.arange(20))
    loss, _ = objective.loss(training.encoder, batch)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


class Constant(torch.nn.Module):
    """One point, whatever comes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(inputs), self.width)


def test_one_bad_epoch_is_let_pass_and_two_are_not() -> None:
    method = tiny("simclr")
    good, bad = line(1, SPREAD), line(1, POINT)
    assert lasting([line(0, POINT), bad | {"epoch": 1}, good | {"epoch": 2}], method, 10) == {}
    assert lasting([line(0, POINT), good, bad | {"epoch": 2}], method, 10) == {}
    assert set(lasting([line(0, POINT), good, bad | {"epoch": 2}, bad | {"epoch": 3}], method, 10)) == {"complete"}


@pytest.mark.parametrize(
    ("ranks", "told"), [((1.3, 1.4, 2.1), False), ((1.3, 1.4, 1.4), True), ((2.9, 2.0, 2.2), True)]
)
def test_a_low_rank_that_grows_is_on_its_way(ranks: tuple[float, ...], told: bool) -> None:
    """Narrow networks begin with one; those of the last two are stuck, or were higher before."""
    lines = [line(epoch, SPREAD) | {"effective_rank": rank} for epoch, rank in enumerate(ranks)]
    assert set(lasting(lines, tiny("simclr"), 10)) == ({"dimensional"} if told else set())
    stuck = [each | {"projection_std": 0.5, "projection_effective_rank": 1.2} for each in lines]
    assert set(lasting(stuck, tiny("simclr"), 10)) == {"dimensional"}, "of another space"


def test_a_long_training_is_given_a_tenth_of_its_epochs() -> None:
    assert [patience(epochs) for epochs in (1, 3, 20, 21, 200)] == [2, 2, 2, 3, 20]
    method = replace(tiny("simclr"), epochs=30)
    bad = [line(0, SPREAD), *(line(epoch, POINT) for epoch in (1, 2, 3))]
    assert lasting(bad[:3], method, 10) == {}
    assert set(lasting(bad, method, 10)) == {"complete"}


def test_a_training_of_one_epoch_has_no_second_to_wait_for() -> None:
    assert set(lasting([line(0, SPREAD), line(1, POINT)], replace(tiny("simclr"), epochs=1), 10)) == {"complete"}


def test_a_warning_is_given_once_in_a_run_whoever_resumes_it() -> None:
    """The whole history decides, so a run that is resumed after any epoch says the same in all."""
    a_job = job(method=tiny("simclr"))
    bad = [line(0, SPREAD), *(line(epoch, POINT) for epoch in range(1, 7))]
    said = [len(new_warnings(a_job, bad[:end])) for end in range(1, len(bad) + 1)]
    assert said == [0, 0, 1, 0, 0, 0, 0]
    assert new_warnings(a_job, []) == []


def test_initial_weights_may_look_collapsed() -> None:
    assert new_warnings(job(method=tiny("simclr")), [line(0, POINT)]) == []
