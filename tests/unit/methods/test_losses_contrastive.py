"""NT-Xent and InfoNCE: small cases by hand, limits, and what is a negative and what is not."""

from __future__ import annotations

import math

import pytest
import torch

from rra_cli.methods.losses.info_nce import info_nce
from rra_cli.methods.losses.nt_xent import nt_xent

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def nt_xent_by_hand(z1: torch.Tensor, z2: torch.Tensor, temperature: float, mask_own: bool = True) -> float:
    """Algorithm 1 of the paper in plain loops, with views 2k-1 and 2k of sample k beside each other."""
    views = [row.tolist() for pair in zip(z1, z2, strict=True) for row in pair]
    total = 0.0
    for i, view in enumerate(views):
        s = [math.exp(cosine(view, other) / temperature) for other in views]
        total -= math.log(s[i ^ 1] / (sum(s) - (s[i] if mask_own else 0.0)))
    return total / len(views)


# NT-Xent


@pytest.mark.parametrize(("n", "d", "temperature"), [(2, 1, 1.0), (3, 4, 0.5), (7, 3, 0.07), (5, 20, 10.0)])
def test_nt_xent_is_the_papers_algorithm(n: int, d: int, temperature: float) -> None:
    """Control: with the own view left in the denominator the value is another."""
    z1, z2 = normal(n, d, n), normal(n, d, n + 1)
    expected = nt_xent_by_hand(z1, z2, temperature)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(expected, rel=1e-12)
    assert nt_xent_by_hand(z1, z2, temperature, mask_own=False) > expected + 1e-3


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_of_two_orthogonal_samples(temperature: float) -> None:
    """Each view agrees with its positive and is orthogonal to the two others: ln(1 + 2 exp(-1/t))."""
    z = rows(E1, E2)
    assert nt_xent(z, 7 * z, temperature).item() == pytest.approx(math.log1p(2 * math.exp(-1 / temperature)), rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 50])
def test_nt_xent_of_a_collapsed_network_is_chance(n: int) -> None:
    """All views equal: each of the 2n - 1 others is as likely, at every temperature."""
    z = rows(E1).expand(n, 2)
    for temperature in (0.01, 0.5, 100.0):
        assert nt_xent(z, z, temperature).item() == pytest.approx(math.log(2 * n - 1), rel=1e-12)


def test_nt_xent_when_hot_is_chance_and_when_cold_the_hardest_negative() -> None:
    """t -> infinity: ln(2n - 1). t -> 0: t times the loss is the mean of max(0, best negative - positive)."""
    z1, z2 = normal(4, 3, 0), normal(4, 3, 1)
    assert nt_xent(z1, z2, 1e9).item() == pytest.approx(math.log(7), abs=1e-8)
    views = torch.nn.functional.normalize(torch.cat([z1, z2]))
    s = (views @ views.T).fill_diagonal_(-2)
    hardest = (s.max(dim=1).values - s[torch.arange(8), torch.arange(8).roll(4)]).mean().item()
    assert hardest > 0.1
    assert 1e-5 * nt_xent(z1, z2, 1e-5).item() == pytest.approx(hardest, rel=1e-9)


def test_nt_xent_does_not_overflow_in_float32() -> None:
    """exp(1 / 0.001) is infinite in float32; a log-sum-exp never forms it."""
    z = rows(E1, E2, [-1.0, 0.0]).float().requires_grad_()
    loss = nt_xent(z, z.detach().flip(0), 1e-3)
    loss.backward()
    assert loss.item() == pytest.approx(nt_xent(z.double(), z.double().flip(0), 1e-3).item(), rel=1e-6)
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_nt_xent_does_not_care_which_view_is_the_first() -> None:
    """For the whole batch, and for single samples."""
    z1, z2 = normal(5, 4, 0), normal(5, 4, 1)
    swap = torch.tensor([[True], [False], [True], [True], [False]])
    value = nt_xent(z1, z2, 0.2)
    torch.testing.assert_close(nt_xent(z2, z1, 0.2), value)
    torch.testing.assert_close(nt_xent(torch.where(swap, z2, z1), torch.where(swap, z1, z2), 0.2), value)


# InfoNCE


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_info_nce_by_hand(temperature: float) -> None:
    """The query is its key, one negative is orthogonal and one opposite: ln(1 + exp(-1/t) + exp(-2/t))."""
    expected = math.log1p(math.exp(-1 / temperature) + math.exp(-2 / temperature))
    found = info_nce(rows([3.0, 0.0]), rows([0.5, 0.0]), rows(E2, [-1.0, 0.0]), temperature)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (3, 4, 9), (8, 2, 5)])
def test_info_nce_is_the_papers_equation(n: int, d: int, k: int) -> None:
    """In plain loops. Control: with the other keys of the batch as further negatives the value is another."""
    query, key = normal(n, d, 0), normal(n, d, 1)
    queue = torch.nn.functional.normalize(normal(k, d, 2))

    def by_hand(others: bool) -> float:
        total = 0.0
        for i, q in enumerate(query.tolist()):
            negatives = queue.tolist() + [row for j, row in enumerate(key.tolist()) if others and j != i]
            positive = math.exp(cosine(q, key[i].tolist()) / 0.3)
            total -= math.log(positive / (positive + sum(math.exp(cosine(q, row) / 0.3) for row in negatives)))
        return total / n

    found = info_nce(query, key, queue, 0.3).item()
    assert found == pytest.approx(by_hand(others=False), rel=1e-12)
    assert n == 1 or by_hand(others=True) > found + 1e-3


def test_info_nce_when_hot_is_chance() -> None:
    """ln(K + 1)."""
    queue = torch.nn.functional.normalize(normal(9, 4, 2))
    assert info_nce(normal(5, 4, 0), normal(5, 4, 1), queue, 1e9).item() == pytest.approx(math.log(10), abs=1e-8)


def test_keys_and_queue_carry_no_gradient() -> None:
    """Control: the query does."""
    query, key, queue = (normal(4, 3, seed).requires_grad_() for seed in range(3))
    info_nce(query, key, queue, 0.2).backward()
    assert key.grad is None
    assert queue.grad is None
    assert query.grad is not None
    assert query.grad.abs().max() > 0.01


def test_info_nce_refuses_an_empty_queue_and_one_of_other_dimension() -> None:
    query = normal(4, 3, 0)
    with pytest.raises(ValueError, match=r"queue has shape \(0, 3\); \(n, d\) is expected, with at least one row"):
        info_nce(query, query, torch.zeros(0, 3), 0.2)
    with pytest.raises(ValueError, match="the queue holds keys of 5 dimensions, the queries have 3"):
        info_nce(query, query, torch.zeros(8, 5), 0.2)
