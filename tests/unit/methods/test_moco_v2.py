"""MoCo v2 against the paper's algorithm 1 written out in plain tensors, and the ring that its queue is."""

from __future__ import annotations

import copy

import pytest
import torch
from objectives import batch, started
from torch import nn
from torch.nn import functional

from rra_cli.methods.moco_v2 import MoCoV2, MomentumContrast, enqueue


def small(**fields: object) -> MoCoV2:
    chosen = {"batch_size": 12, "projector": (6, 4), "queue": 30, "momentum": 0.9, "temperature": 0.2, **fields}
    return MoCoV2(**chosen)  # type: ignore[arg-type]


def steps(encoder: nn.Module, objective: MomentumContrast, n: int, lr: float = 0.5) -> list[float]:
    """Plain gradient descent on batches 1, 2, ...; the losses."""
    trained = [*encoder.parameters(), *objective.projector.parameters()]
    losses = []
    for number in range(n):
        loss, _ = objective.loss(encoder, batch(2, seed=number))
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter -= lr * gradient
        objective.after_step(encoder)
        losses.append(loss.item())
    return losses


class Algorithm1:
    """He et al. 2020, algorithm 1, line by line: a queue of columns, the momentum update before the next keys."""

    def __init__(self, encoder: nn.Module, projector: nn.Module, queue: torch.Tensor, method: MoCoV2) -> None:
        self.f_q, self.g_q = copy.deepcopy(encoder), copy.deepcopy(projector)
        self.f_k, self.g_k = copy.deepcopy(encoder), copy.deepcopy(projector)
        self.queue, self.m, self.t = list(queue.unbind()), method.momentum, method.temperature

    def step(self, x_q: torch.Tensor, x_k: torch.Tensor, lr: float) -> float:
        q = functional.normalize(self.g_q(self.f_q(x_q)), dim=1)
        k = functional.normalize(self.g_k(self.f_k(x_k)), dim=1).detach()
        l_pos = torch.stack([torch.dot(a, b) for a, b in zip(q, k, strict=True)])[:, None]
        l_neg = q @ torch.stack(self.queue).T
        logits = torch.cat([l_pos, l_neg], dim=1) / self.t
        loss = functional.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        trained = [*self.f_q.parameters(), *self.g_q.parameters()]
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter -= lr * gradient
            for key, query in zip(
                [*self.f_k.parameters(), *self.g_k.parameters()],
                [*self.f_q.parameters(), *self.g_q.parameters()],
                strict=True,
            ):
                key.copy_(self.m * key + (1 - self.m) * query)
        self.queue = [*self.queue[len(k) :], *k]  # first in, first out
        return loss.item()


def test_steps_are_those_of_the_published_algorithm() -> None:
    """12 keys a step and 30 places: the ring wraps around at the third step, and not at a multiple of the batch."""
    encoder, objective = started(small(), norm=True)
    assert isinstance(objective, MomentumContrast)
    reference = Algorithm1(encoder, objective.projector, objective.queue, objective.method)
    expected = [reference.step(*batch(2, seed=number).views, 0.5) for number in range(6)]
    torch.testing.assert_close(torch.tensor(steps(encoder, objective, 6)), torch.tensor(expected), rtol=1e-9, atol=0.0)
    for ours, theirs in (
        (encoder, reference.f_q),
        (objective.projector, reference.g_q),
        (objective.momentum_encoder, reference.f_k),
        (objective.momentum_projector, reference.g_k),
    ):
        for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    ring = objective.queue.roll(-int(objective.place), dims=0)
    torch.testing.assert_close(ring, torch.stack(reference.queue), rtol=1e-9, atol=1e-12)


def test_another_momentum_is_seen() -> None:
    """Negative control of the comparison above."""
    first, second = (steps(*started(small(momentum=m)), 3) for m in (0.9, 0.5))  # type: ignore[arg-type]
    assert first[0] == second[0]
    assert first[2] != pytest.approx(second[2], rel=1e-6)


def test_symmetric_is_the_mean_of_both_directions_and_enters_both_views() -> None:
    encoder, objective = started(small(symmetric=True))
    one_way = started(small())[1]
    shown = batch(2)
    loss, _ = objective.loss(encoder, shown)
    there, _ = one_way.loss(encoder, shown)
    back, _ = one_way.loss(encoder, batch(2).__class__(shown.views[::-1], shown.labels, shown.ids))
    torch.testing.assert_close(loss, (there + back) / 2)
    objective.after_step(encoder)
    assert int(objective.place) == 24


def test_all_batches_of_a_step_meet_the_same_queue() -> None:
    """Gradients of `accumulate` batches are averaged: a key that entered between them would be known to the second."""
    encoder, objective = started(small())
    before = objective.queue.clone()
    once = objective.loss(encoder, batch(2, seed=1))[0].item()
    assert objective.loss(encoder, batch(2, seed=1))[0].item() == once
    assert torch.equal(objective.queue, before)
    objective.after_step(encoder)
    assert int(objective.place) == 24
    assert not torch.equal(objective.queue, before)


def test_the_momentum_encoder_is_not_trained_and_keeps_its_own_running_statistics() -> None:
    encoder, objective = started(small(), norm=True)
    assert not any(p.requires_grad for p in objective.momentum_encoder.parameters())
    assert not any(p.requires_grad for p in objective.momentum_projector.parameters())
    shown = batch(2)
    loss, _ = objective.loss(encoder, shown)
    loss.backward()
    objective.after_step(encoder)
    keys = objective.momentum_encoder.linear(shown.views[1].flatten(1))
    torch.testing.assert_close(objective.momentum_encoder.norm.running_mean, 0.1 * keys.mean(dim=0))
    assert not torch.allclose(objective.momentum_encoder.norm.running_mean, encoder.norm.running_mean)


def test_a_state_that_was_saved_goes_on_with_the_same_losses() -> None:
    """Queue, place and momentum encoder are part of it; a fresh queue gives others."""
    encoder, objective = started(small(), norm=True)
    steps(encoder, objective, 3)
    saved = copy.deepcopy((encoder.state_dict(), objective.state_dict()))
    expected = steps(encoder, objective, 3)
    again, restored = started(small(), norm=True, seed=5)
    again.load_state_dict(saved[0])
    restored.load_state_dict(saved[1])
    assert steps(again, restored, 3) == expected
    again.load_state_dict(saved[0])
    fresh = {**saved[1], "queue": functional.normalize(torch.randn(30, 4, dtype=torch.float64), dim=1)}
    restored.load_state_dict(fresh)
    assert steps(again, restored, 3) != expected


def test_the_queue_begins_with_seeded_unit_rows() -> None:
    first, second, other = (started(small(), seed=seed)[1].queue for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(30, dtype=torch.float64))


@pytest.mark.parametrize("sizes", [[3, 3, 3], [4, 1, 7], [10], [23], [2, 10, 5]])
def test_the_ring_holds_the_last_keys(sizes: list[int]) -> None:
    """As a list of the newest 10 would, whatever the sizes of the groups in which keys come."""
    queue, place = torch.zeros(10, 1), torch.zeros((), dtype=torch.long)
    expected = [0.0] * 10
    start = 1
    for size in sizes:
        keys = torch.arange(start, start + size, dtype=torch.float32)[:, None]
        enqueue(queue, place, keys)
        expected = [*expected, *keys.flatten().tolist()][-10:]
        start += size
    assert queue.roll(-int(place), dims=0).flatten().tolist() == expected


def test_weights_are_drawn_after_the_encoders() -> None:
    """The queue comes last: another queue leaves projector and encoder as they are."""
    (one, first), (other, second) = (started(small(queue=size)) for size in (30, 40))
    for ours, theirs in ((one, other), (first.projector, second.projector)):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"momentum": 1.0}, r"momentum is 1.0; it lies in \[0, 1\)"),
        ({"queue": 100, "batch_size": 128}, "queue is 100, but 128 keys enter it in a step"),
        ({"queue": 100, "batch_size": 60, "symmetric": True}, "queue is 100, but 120 keys enter"),
        ({"queue": 100, "batch_size": 60, "accumulate": 2}, "queue is 100, but 120 keys enter"),
        ({"projector": ()}, "expected at least 1 layer"),
        ({"batch_size": 1}, "batch_size is 1, but method=moco_v2 compares"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MoCoV2(**fields)
