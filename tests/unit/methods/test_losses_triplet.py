"""The semi-hard triplet loss: every triplet by plain loops, small cases by hand, and the empty set."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rra_cli.methods.losses import triplet
from rra_cli.methods.losses.triplet import semi_hard_weights, triplet_semi_hard


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def at_degrees(*angles: float) -> torch.Tensor:
    """Points on the circle; the distance of two is 2 sin(half the angle between them)."""
    return torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles], dtype=torch.float64)


def chord(degrees: float) -> float:
    return 2 * math.sin(math.radians(degrees) / 2)


def by_hand(embeddings: torch.Tensor, labels: list[int], margin: float, hard_too: bool = False) -> tuple[float, int]:
    """All triplets in plain loops."""
    points = [[x / math.hypot(*row) for x in row] for row in embeddings.tolist()]
    losses = []
    for a, p, n in product(range(len(points)), repeat=3):
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]:
            near, far = math.dist(points[a], points[p]), math.dist(points[a], points[n])
            if (hard_too or near < far) and far < near + margin:
                losses.append(near - far + margin)
    return (sum(losses) / len(losses) if losses else 0.0), len(losses)


@pytest.mark.parametrize(
    ("labels", "margin"),
    [([0, 0, 1, 1, 2, 2], 0.5), ([0, 1, 2, 3, 0, 1, 2, 3], 0.2), ([5, 5, 5, -2, 5, 9, -2], 1.0), ([1] * 9 + [0], 0.05)],
)
def test_it_is_the_mean_over_all_semi_hard_triplets(labels: list[int], margin: float) -> None:
    """Control: with the hard triplets it is another."""
    for seed in range(5):
        x = normal(len(labels), 3, seed)
        loss, n_active = triplet_semi_hard(x, torch.tensor(labels), margin)
        expected, count = by_hand(x, labels, margin)
        assert int(n_active) == count
        assert loss.item() == pytest.approx(expected, rel=1e-9)
        assert by_hand(x, labels, margin, hard_too=True)[1] > count


def test_one_triplet_by_hand() -> None:
    """Anchor at 0 and positive at 40 degrees; the negative at 50 is semi-hard from 0 only: from 40 it is nearer."""
    x, labels = at_degrees(0, 40, 50), torch.tensor([3, 3, 8])
    loss, n_active = triplet_semi_hard(x, labels, 0.5)
    assert int(n_active) == 1
    assert loss.item() == pytest.approx(chord(40) - chord(50) + 0.5, rel=1e-12)
    loss, n_active = triplet_semi_hard(x, labels, chord(50) - chord(40) - 1e-9)
    assert (loss.item(), int(n_active)) == (0.0, 0)


def test_two_classes_of_two_by_hand() -> None:
    """0 and 40 degrees against 100 and 140: from 0, both negatives are too far; from 40, the one at 100 is not."""
    loss, n_active = triplet_semi_hard(at_degrees(0, 40, 100, 140), torch.tensor([0, 0, 1, 1]), 0.5)
    assert int(n_active) == 2  # (40, 0, 100) and its mirror image (100, 140, 40)
    assert loss.item() == pytest.approx(chord(40) - chord(60) + 0.5, rel=1e-12)


EMPTY = {
    "all of one label": (normal(6, 3, 0), [4] * 6, 0.5),
    "no label twice": (normal(6, 3, 0), [0, 1, 2, 3, 4, 5], 0.5),
    "one sample": (normal(1, 3, 0), [0], 0.5),
    "all negatives too far": (at_degrees(0, 1, 90, 91), [0, 0, 1, 1], 0.5),
    "all negatives nearer": (at_degrees(0, 45, 90), [0, 1, 0], 0.5),
    "all embeddings equal": (torch.ones(6, 3).double(), [0, 0, 0, 1, 1, 1], 0.5),
    "all embeddings zero": (torch.zeros(6, 3).double(), [0, 0, 0, 1, 1, 1], 0.5),
}


@pytest.mark.parametrize("case", EMPTY)
def test_without_a_triplet_the_loss_is_zero_and_still_in_the_graph(case: str) -> None:
    """Backward works and gives zeros, so that a step on such a batch neither fails nor moves the weights."""
    x, labels, margin = EMPTY[case]
    x = x.clone().requires_grad_()
    loss, n_active = triplet_semi_hard(x, torch.tensor(labels), margin)
    assert (loss.item(), int(n_active)) == (0.0, 0)
    assert loss.requires_grad
    loss.backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_a_class_of_one_sample_serves_as_negative_only() -> None:
    """Its row gets a gradient, by the triplets of others. Control: where it is too far it gets none."""
    labels = torch.tensor([0, 0, 1])
    for angle, moved in ((50.0, True), (170.0, False)):
        x = at_degrees(0, 40, angle).requires_grad_()
        loss, n_active = triplet_semi_hard(x, labels, 0.5)
        loss.backward()
        assert x.grad is not None
        assert (int(n_active) == 1, bool(x.grad[2].abs().max() > 1e-3)) == (moved, moved)


def test_a_negative_as_near_as_the_positive_is_not_semi_hard() -> None:
    """Exact ties, at angles whose distances are exact in floating point. Control: a hair farther is semi-hard."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    assert int(triplet_semi_hard(x, torch.tensor([0, 0, 1]), 0.5)[1]) == 0
    x[2, 0] = -1e-6
    assert int(triplet_semi_hard(x, torch.tensor([0, 0, 1]), 0.5)[1]) == 1


def test_names_of_labels_do_not_matter() -> None:
    x, labels = normal(12, 4, 0), torch.arange(12) % 3
    renamed = torch.tensor([-7, 2**40, 0])[labels]
    assert torch.equal(triplet_semi_hard(x, labels, 0.4)[0], triplet_semi_hard(x, renamed, 0.4)[0])


def test_a_step_down_the_gradient_parts_the_classes() -> None:
    x, labels = normal(12, 4, 0).requires_grad_(), torch.arange(12) % 3
    loss, _ = triplet_semi_hard(x, labels, 0.4)
    (gradient,) = torch.autograd.grad(loss, x)
    fixed, n = semi_hard_weights(torch.cdist(*[x.detach() / x.detach().norm(dim=1, keepdim=True)] * 2), labels, 0.4)
    moved = x.detach() - 0.1 * gradient
    moved = moved / moved.norm(dim=1, keepdim=True)
    assert (fixed / n * torch.cdist(moved, moved)).sum() + 0.4 < loss


def test_the_counts_of_pairs_add_up() -> None:
    """Every triplet is once a positive and once a negative pair of its anchor; a sample and itself are no pair."""
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 0, 1])
    for seed in range(20):
        x = torch.nn.functional.normalize(normal(8, 2, seed))
        counts, n_active = semi_hard_weights(torch.cdist(x, x), labels, 0.6)
        same = labels[:, None] == labels[None, :]
        assert torch.equal(counts.sum(dim=1), torch.zeros(8, dtype=counts.dtype))
        assert counts[same].sum() == n_active == -counts[~same].sum()
        assert counts[same].min() >= 0 >= counts[~same].max()
        assert counts.diagonal().abs().max() == 0


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that is made."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else (out,):
            if isinstance(made, torch.Tensor):
                self.entries = max(self.entries, made.numel())
        return out


def test_nothing_larger_than_a_matrix_of_pairs_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward, whatever the size of the blocks. Control: the way by a mask of all triplets is seen."""
    n = 40
    x, labels = normal(n, 8, 0).requires_grad_(), torch.arange(n) % 4
    expected = triplet_semi_hard(x, labels, 0.5)
    for block in (1, n * n, n * n - 1, 7 * n):
        monkeypatch.setattr(triplet, "AT_ONCE", block)
        with Largest() as largest:
            loss, n_active = triplet_semi_hard(x, labels, 0.5)
            loss.backward()
        assert largest.entries == n * n
        assert (loss.item(), int(n_active)) == (expected[0].item(), int(expected[1]))
    with Largest() as largest:
        distances = torch.cdist(x, x)
        (distances[:, :, None] < distances[:, None, :]).sum()
    assert largest.entries == n**3


def test_near_duplicates_keep_their_distance_in_float32() -> None:
    """1e-5 apart, the squared distance is lost in float32's |x|^2 + |y|^2 - 2xy."""
    x = at_degrees(*(math.degrees(a) for a in (0.0, 1e-5, 3e-5))).float()
    loss, n_active = triplet_semi_hard(x, torch.tensor([0, 0, 1]), 0.5)
    assert int(n_active) == 2  # from 0: 1e-5 < 3e-5; from 1e-5: 1e-5 < 2e-5
    assert loss.item() == pytest.approx(0.5 - 1.5e-5, abs=1e-7)
    assert torch.cdist(x[:1], x[1:2], compute_mode="use_mm_for_euclid_dist").item() != pytest.approx(1e-5, rel=0.1)


@pytest.mark.parametrize("margin", [0.0, -0.5, 1e-9, math.nan, math.inf])
def test_a_margin_is_positive(margin: float) -> None:
    with pytest.raises(ValueError, match=rf"margin is {margin}; it is at least 1e-06, such as 0.5"):
        triplet_semi_hard(normal(4, 2, 0), torch.tensor([0, 0, 1, 1]), margin)


@pytest.mark.parametrize("labels", [[0, 0, 1], [[0], [0], [1], [1]]])
def test_there_is_one_label_per_embedding(labels: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"labels have shape .*; one per embedding is expected, \(4,\)"):
        triplet_semi_hard(normal(4, 2, 0), torch.tensor(labels), 0.5)
