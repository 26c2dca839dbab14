"""Losses against lightly and pytorch-metric-learning: value and gradient, over random shapes and temperatures.

In float64, so that equal means equal; float32, in which people train, by a test of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rra_cli.data.torchvision_import import declare_operators
from rra_cli.methods.losses.barlow_twins import barlow_twins
from rra_cli.methods.losses.info_nce import info_nce
from rra_cli.methods.losses.negative_cosine import negative_cosine, simsiam_loss
from rra_cli.methods.losses.nt_xent import nt_xent
from rra_cli.methods.losses.triplet import triplet_semi_hard

declare_operators()  # lightly imports torchvision
with warnings.catch_warnings():  # what the oracles' own imports warn about is not ours
    warnings.simplefilter("ignore")
    from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import TripletMarginMiner

Loss = Callable[..., torch.Tensor]

shapes = st.tuples(st.integers(2, 24), st.integers(1, 17))
temperatures = st.floats(0.03, 5.0)
margins = st.floats(0.05, 1.5)
seeds = st.integers(0, 2**31)
checked = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def normal(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def assert_same(ours: Loss, theirs: Loss, *inputs: torch.Tensor, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    """The same value and the same gradient with respect to every input (None where one has none, so has the other)."""
    found = []
    for loss in (ours, theirs):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        value = loss(*leaves)
        found.append((value, torch.autograd.grad(value, leaves, allow_unused=True)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=rtol, atol=atol, check_dtype=False)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


def moco_of_lightly(queue: torch.Tensor, temperature: float) -> Loss:
    """NTXentLoss with a memory bank that holds the queue; keys are detached by its caller, as in lightly's examples."""
    loss = NTXentLoss(temperature=temperature, memory_bank_size=tuple(queue.shape))
    loss.memory_bank.bank = queue.clone()
    return lambda query, key: loss(query, key.detach())


def triplets_of_pml(labels: torch.Tensor, margin: float) -> Loss:
    """Miner and loss with their defaults: Euclidean distance of L2-normalised rows, mean over non-zero losses."""
    miner, loss = TripletMarginMiner(margin=margin, type_of_triplets="semihard"), TripletMarginLoss(margin=margin)
    return lambda x: loss(x, labels, miner(x, labels))


@checked
@given(shapes, temperatures, seeds)
def test_nt_xent_is_lightlys(shape: tuple[int, int], temperature: float, seed: int) -> None:
    z1, z2 = normal(shape, seed), normal(shape, seed + 1)
    assert_same(lambda a, b: nt_xent(a, b, temperature), NTXentLoss(temperature=temperature), z1, z2)


@checked
@given(shapes, st.integers(1, 40), temperatures, seeds)
def test_info_nce_is_lightlys_with_a_memory_bank(shape: tuple[int, int], k: int, temperature: float, seed: int) -> None:
    query, key, queue = normal(shape, seed), normal(shape, seed + 1), unit(normal((k, shape[1]), seed + 2))
    ours: Loss = lambda q, p: info_nce(q, p, queue, temperature)  # noqa: E731
    assert_same(ours, moco_of_lightly(queue, temperature), query, key)


@checked
@given(shapes, seeds)
def test_negative_cosine_is_lightlys_with_the_projection_detached(shape: tuple[int, int], seed: int) -> None:
    theirs = NegativeCosineSimilarity()
    p1, p2, z1, z2 = (normal(shape, seed + i) for i in range(4))
    assert_same(negative_cosine, lambda p, z: theirs(p, z.detach()), p1, z2)
    assert_same(
        simsiam_loss,
        lambda p1, p2, z1, z2: 0.5 * (theirs(p1, z2.detach()) + theirs(p2, z1.detach())),
        p1,
        p2,
        z1,
        z2,
    )


@checked
@given(shapes, st.floats(0.0, 1.0), seeds)
def test_barlow_twins_is_lightlys(shape: tuple[int, int], weight: float, seed: int) -> None:
    z1, z2 = 3 * normal(shape, seed) + 2, normal(shape, seed + 1)
    # Two samples: variances may be tiny, and then gradients are large.
    theirs = BarlowTwinsLoss(lambda_param=weight)
    assert_same(lambda a, b: barlow_twins(a, b, weight), theirs, z1, z2, rtol=1e-7, atol=1e-9)


@checked
@given(st.integers(2, 30), st.integers(2, 12), st.integers(1, 6), margins, seeds)
def test_triplets_are_those_of_pytorch_metric_learning(n: int, d: int, classes: int, margin: float, seed: int) -> None:
    x = normal((n, d), seed)
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    theirs = triplets_of_pml(labels, margin)
    assert_same(lambda x: triplet_semi_hard(x, labels, margin)[0], theirs, x, rtol=1e-7, atol=1e-9)
    mined = TripletMarginMiner(margin=margin, type_of_triplets="semihard")(x, labels)
    assert int(triplet_semi_hard(x, labels, margin)[1]) == len(mined[0])


@checked
@given(st.integers(1, 20), st.integers(2, 12), margins, seeds)
def test_triplets_of_two_views_are_those_of_pytorch_metric_learning(n: int, d: int, margin: float, seed: int) -> None:
    """Each label twice: the self-supervised form. Views near each other, as a trained network has them."""
    x = normal((n, d), seed).repeat(2, 1) + 0.3 * normal((2 * n, d), seed + 1)
    labels = torch.arange(n).repeat(2)
    theirs = triplets_of_pml(labels, margin)
    assert_same(lambda x: triplet_semi_hard(x, labels, margin)[0], theirs, x, rtol=1e-7, atol=1e-9)


def test_the_empty_set_is_pytorch_metric_learnings() -> None:
    """Zero, and a backward pass that works, in both."""
    for labels in (torch.zeros(5, dtype=torch.long), torch.arange(5)):
        assert_same(
            lambda x, y=labels: triplet_semi_hard(x, y, 0.5)[0], triplets_of_pml(labels, 0.5), normal((5, 3), 0)
        )


IN_FLOAT32: dict[str, tuple[Loss, Loss, int]] = {
    "nt_xent": (lambda a, b: nt_xent(a, b, 0.07), NTXentLoss(temperature=0.07), 256),
    "simsiam": (negative_cosine, lambda a, b: NegativeCosineSimilarity()(a, b.detach()), 256),
    "barlow_twins": (lambda a, b: barlow_twins(a, b, 0.005), BarlowTwinsLoss(lambda_param=0.005), 256),
}


@pytest.mark.parametrize("name", IN_FLOAT32)
def test_float32_and_real_sizes(name: str) -> None:
    """A batch of 256 and 128 features. The oracle runs in float64: the distance is our rounding alone."""
    ours, theirs, n = IN_FLOAT32[name]
    z1 = normal((n, 128), 0, torch.float32)
    z2 = z1 + normal((n, 128), 1, torch.float32)
    single, double = z1.clone().requires_grad_(), z1.double().requires_grad_()
    value, expected = ours(single, z2), theirs(double, z2.double())
    torch.testing.assert_close(value.double(), expected, rtol=2e-6, atol=0)
    (found,), (gradient,) = torch.autograd.grad(value, single), torch.autograd.grad(expected, double)
    assert (found - gradient).norm() < 1e-5 * gradient.norm()


def test_triplets_in_float32_and_a_batch_of_512() -> None:
    """Ten classes, 128 features: 13 million candidates, 3 million of them semi-hard."""
    x, labels = normal((512, 128), 0), torch.arange(512) % 10
    x += 2 * normal((10, 128), 1)[labels] * 0.2
    x32, x64 = x.float().requires_grad_(), x.float().double().requires_grad_()
    loss, n_active = triplet_semi_hard(x32, labels, 0.2)
    expected = triplets_of_pml(labels, 0.2)(x64)
    loss.backward()
    expected.backward()
    assert int(n_active) > 1_000_000
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert x32.grad is not None
    assert x64.grad is not None
    assert (x32.grad - x64.grad).norm() < 1e-4 * x64.grad.norm()


WRONG: dict[str, tuple[Loss, Loss]] = {
    "another temperature": (lambda a, b: nt_xent(a, b, 0.2), NTXentLoss(temperature=0.201)),
    "no stop-gradient": (negative_cosine, NegativeCosineSimilarity()),
    "another weight": (lambda a, b: barlow_twins(a, b, 0.005), BarlowTwinsLoss(lambda_param=0.0051)),
    "keys with gradient": (
        lambda a, b: info_nce(a, b, unit(normal((9, 4), 5)), 0.2),
        lambda a, b: moco_of_lightly(unit(normal((9, 4), 5)), 0.2)(a, b) + 0 * b.sum(),
    ),
    "squared distances": (
        lambda a, b: triplet_semi_hard(torch.cat([a, b]), torch.arange(8).repeat(2), 0.9)[0],
        lambda a, b: torch.cdist(unit(a), unit(b)).square().mean(),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_comparison_sees_what_is_wrong(what: str) -> None:
    """Negative control of every comparison above."""
    with pytest.raises(AssertionError):
        assert_same(*WRONG[what], normal((8, 4), 0), normal((8, 4), 1))
