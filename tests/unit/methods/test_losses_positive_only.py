"""Losses without negatives, SimSiam's and Barlow Twins': small cases by hand, stop-gradient, invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rra_cli.methods.losses.barlow_twins import barlow_twins, cross_correlation
from rra_cli.methods.losses.negative_cosine import negative_cosine, simsiam_loss

# What batch norm's 1e-5 makes of a feature of variance 1: its correlation with itself.
SELF = 1 / (1 + 1e-5)


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def columns(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).T


# SimSiam


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 135, 180])
def test_negative_cosine_of_an_angle(degrees: int) -> None:
    angle = math.radians(degrees)
    p, z = torch.tensor([[2.0, 0.0], [3 * math.cos(angle), 3 * math.sin(angle)]], dtype=torch.float64).split(1)
    assert negative_cosine(p, z).item() == pytest.approx(-math.cos(angle), abs=1e-12)


def test_the_gradient_of_the_prediction_has_its_closed_form() -> None:
    """-(z^ - cos p^) / (n |p|), with unit vectors z^ and p^."""
    p, z = normal(4, 3, 0).requires_grad_(), normal(4, 3, 1)
    (gradient,) = torch.autograd.grad(negative_cosine(p, z), p)
    length = p.detach().norm(dim=1, keepdim=True)
    unit_p, unit_z = p.detach() / length, z / z.norm(dim=1, keepdim=True)
    cosine = (unit_p * unit_z).sum(dim=1, keepdim=True)
    torch.testing.assert_close(gradient, -(unit_z - cosine * unit_p) / length / 4)


def test_no_gradient_passes_the_projections() -> None:
    """Control: without the stop-gradient, the same formula has one."""
    p1, p2, z1, z2 = (normal(4, 3, seed).requires_grad_() for seed in range(4))
    simsiam_loss(p1, p2, z1, z2).backward()
    assert z1.grad is None
    assert z2.grad is None
    assert all(p.grad is not None and p.grad.abs().max() > 0.01 for p in (p1, p2))
    through = -torch.nn.functional.cosine_similarity(p1, z2).mean()
    assert torch.autograd.grad(through, z2)[0].abs().max() > 0.01


def test_simsiam_crosses_the_views() -> None:
    """p1 meets z2 and p2 meets z1. Control: uncrossed, the value here is 0."""
    e1, e2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert simsiam_loss(e1, e2, e2, e1).item() == -1.0
    assert simsiam_loss(e1, e2, e1, e2).item() == 0.0
    assert simsiam_loss(e1, -e2, e2, e1).item() == 0.0
    views = [normal(4, 3, seed) for seed in range(4)]
    p1, p2, z1, z2 = views
    torch.testing.assert_close(simsiam_loss(p1, p2, z1, z2), simsiam_loss(p2, p1, z2, z1))


# Barlow Twins

A, B = [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]


@pytest.mark.parametrize(
    ("z1", "z2", "correlation"),
    [
        ([A, B], [A, B], [[1, 0], [0, 1]]),
        ([A, B], [B, A], [[0, 1], [1, 0]]),
        ([A, B], [A, A], [[1, 1], [0, 0]]),
        ([A, A], [A, A], [[1, 1], [1, 1]]),
        ([A, B], [[-1, -1, 1, 1], B], [[-1, 0], [0, 1]]),
        ([A, [5, 5, 5, 5]], [A, B], [[1, 0], [0, 0]]),
    ],
)
def test_barlow_twins_by_hand(z1: list[list[float]], z2: list[list[float]], correlation: list[list[int]]) -> None:
    """Equal, exchanged, repeated, redundant, opposite and constant features."""
    found = cross_correlation(columns(*z1), columns(*z2))
    torch.testing.assert_close(found, SELF * torch.tensor(correlation, dtype=torch.float64))
    c = [[SELF * value for value in row] for row in correlation]
    for weight in (0.0, 0.005, 1.0):
        expected = (1 - c[0][0]) ** 2 + (1 - c[1][1]) ** 2 + weight * (c[0][1] ** 2 + c[1][0] ** 2)
        assert barlow_twins(columns(*z1), columns(*z2), weight).item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_the_correlation_is_pearsons_with_the_variance_of_the_batch() -> None:
    """NumPy's, where features are so large that 1e-5 is nothing. Control: the paper's `std` loses a factor (n-1)/n."""
    z1, z2 = 1e4 * normal(6, 3, 0), 1e4 * normal(6, 3, 1)
    expected = np.corrcoef(z1.numpy(), z2.numpy(), rowvar=False)[:3, 3:]
    np.testing.assert_allclose(cross_correlation(z1, z2).numpy(), expected, rtol=1e-10)
    standard = [(z - z.mean(0)) / z.std(0) for z in (z1, z2)]
    np.testing.assert_allclose((standard[0].T @ standard[1] / 6).numpy(), expected * 5 / 6, rtol=1e-10)


def test_barlow_twins_does_not_see_shift_scale_order_or_common_sign_of_features() -> None:
    """Control: scaling rows, which other losses do not see, changes it; so does a sign in one view only."""
    z1, z2 = 1e4 * normal(8, 3, 0), 1e4 * normal(8, 3, 1)
    value = barlow_twins(z1, z2, 0.1)
    scale, shift = torch.tensor([0.5, 3.0, 20.0]).double(), torch.tensor([-1e4, 0.0, 5e3]).double()
    sign, order = torch.tensor([1.0, -1.0, 1.0]).double(), torch.tensor([2, 0, 1])
    same = [(z1 * scale + shift, z2), (z1, z2 * scale - shift), (z1 * sign, z2 * sign), (z1[:, order], z2[:, order])]
    for other in same:
        torch.testing.assert_close(barlow_twins(*other, 0.1), value, rtol=1e-9, atol=0)
    rows = torch.arange(1, 9).double()[:, None]
    for other in ((z1 * rows, z2 * rows), (z1 * sign, z2)):
        assert not torch.isclose(barlow_twins(*other, 0.1), value, rtol=1e-3)


def test_the_loss_grows_with_independent_redundancy() -> None:
    """d equal features: 0 on the diagonal, weight * d(d-1) off it."""
    for d in (2, 5, 30):
        z = columns(*[A] * d) * 1e4
        assert barlow_twins(z, z, 0.005).item() == pytest.approx(0.005 * d * (d - 1), rel=1e-9)


@pytest.mark.parametrize("weight", [-0.1, math.nan])
def test_a_negative_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"off_diagonal is {weight}; it is a weight of at least 0, such as 0.005"):
        barlow_twins(normal(4, 2, 0), normal(4, 2, 1), weight)
