"""What all losses of two views have in common, as theorems; each with a loss or a change for which it does not hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from rra_cli.methods.losses.barlow_twins import barlow_twins
from rra_cli.methods.losses.info_nce import info_nce
from rra_cli.methods.losses.negative_cosine import negative_cosine, simsiam_loss
from rra_cli.methods.losses.nt_xent import nt_xent
from rra_cli.methods.losses.rows import unit_rows
from rra_cli.methods.losses.triplet import triplet_semi_hard

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
N, D = 6, 5


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def of_samples(z1: torch.Tensor, z2: torch.Tensor) -> torch.Tensor:
    """Triplets of two views, the label being the sample."""
    return triplet_semi_hard(torch.cat([z1, z2]), torch.arange(len(z1)).repeat(2), 0.7)[0]


# The queue lies along the axes here, so that a rotation of queries and keys is seen: see `rotated_queue`.
QUEUE = torch.eye(D, dtype=torch.float64)
LOSSES: dict[str, Loss] = {
    "nt_xent": lambda z1, z2: nt_xent(z1, z2, 0.3),
    "info_nce": lambda z1, z2: info_nce(z1, z2, QUEUE, 0.2),
    "negative_cosine": negative_cosine,
    "simsiam": lambda z1, z2: simsiam_loss(z1, z2, z1.roll(1, 1), z2.roll(1, 1)),
    "barlow_twins": lambda z1, z2: barlow_twins(z1, z2, 0.01),
    "triplet": of_samples,
}
every = pytest.mark.parametrize("name", LOSSES)
VIEWS = normal(N, D, 1), normal(N, D, 1) + 0.8 * normal(N, D, 2)


def test_every_loss_has_a_place_here() -> None:
    """A file of the package that defines a loss is tested below."""
    import rra_cli.methods.losses as package

    files = {path.stem for path in Path(package.__path__[0]).glob("*.py")}
    assert files - {"__init__", "rows", "joint"} == set(LOSSES) - {"simsiam"}


@every
def test_the_order_of_the_samples_does_not_matter(name: str) -> None:
    """Control: permuting one of the views only does."""
    (z1, z2), order = VIEWS, torch.tensor([3, 5, 0, 1, 4, 2])
    value = LOSSES[name](z1, z2)
    torch.testing.assert_close(LOSSES[name](z1[order], z2[order]), value)
    assert not torch.isclose(LOSSES[name](z1[order], z2), value)


@every
def test_a_rotation_of_the_space_does_not_matter_but_to_barlow_twins(name: str) -> None:
    """Barlow Twins looks at single features; a queue or a rolled projection that is left behind is seen."""
    rotation = torch.linalg.qr(normal(D, D, 3))[0]
    z1, z2 = VIEWS
    turned = LOSSES[name](z1 @ rotation, z2 @ rotation)
    held = name not in ("barlow_twins", "info_nce", "simsiam")
    assert bool(torch.isclose(turned, LOSSES[name](z1, z2))) == held
    rotated_queue = info_nce(z1 @ rotation, z2 @ rotation, QUEUE @ rotation, 0.2)
    torch.testing.assert_close(rotated_queue, LOSSES["info_nce"](z1, z2))


@every
def test_the_length_of_a_row_does_not_matter_but_to_barlow_twins(name: str) -> None:
    scale = torch.tensor([[1e-6], [1.0], [3.0], [40.0], [0.2], [1e6]], dtype=torch.float64)
    z1, z2 = VIEWS
    same = torch.isclose(LOSSES[name](z1 * scale, z2 * scale.flip(0)), LOSSES[name](z1, z2))
    assert bool(same) == (name != "barlow_twins")


@every
def test_so_the_gradient_of_a_row_is_orthogonal_to_it_but_for_barlow_twins(name: str) -> None:
    """Euler: what does not change with the length of a row has no derivative along it."""
    z1 = VIEWS[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name](z1, VIEWS[1]), z1)
    along = (gradient * z1).sum(dim=1).abs().max()
    assert gradient.abs().max() > 1e-3
    assert bool(along < 1e-12) == (name != "barlow_twins")


@every
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    """In float64, with respect to both views; but no gradient passes a stop-gradient (see each loss's own tests)."""
    stopped = name in ("info_nce", "negative_cosine", "simsiam")
    for seed in range(3):
        z1, z2 = normal(N, D, seed).requires_grad_(), normal(N, D, seed + 50).requires_grad_(not stopped)
        if name == "simsiam":
            z = normal(N, D, seed + 90)
            assert torch.autograd.gradcheck(
                lambda p1, p2, z=z: simsiam_loss(p1, p2, z, z.flip(0)), (z1, z2.requires_grad_())
            )
        else:
            assert torch.autograd.gradcheck(LOSSES[name], (z1, z2))


@every
def test_bfloat16_is_widened_before_anything_else(name: str) -> None:
    """Control: the same arithmetic left in bfloat16 is off by more than a hundred times the tolerance."""
    z1, z2 = (z.bfloat16() for z in VIEWS)
    loss = LOSSES[name](z1, z2)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[name](z1.double(), z2.double()).float(), rtol=2e-5, atol=1e-6)
    coarse = -functional.cosine_similarity(z1, z2).mean()
    assert (coarse.double() - negative_cosine(z1.double(), z2.double())).abs() > 1e-4


@every
def test_autocast_does_not_reach_inside(name: str) -> None:
    """Control: a product of rows under autocast is bfloat16."""
    z1, z2 = (z.float() for z in VIEWS)
    outside = LOSSES[name](z1, z2)
    with torch.autocast("cpu", torch.bfloat16):
        inside = LOSSES[name](z1, z2)
        assert (z1 @ z2.T).dtype == torch.bfloat16
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


@every
def test_a_row_of_zeros_has_a_finite_loss_and_gradient(name: str) -> None:
    """Control: torch's own normalisation sends back a gradient of 1e12."""
    z1, z2 = (z.clone() for z in VIEWS)
    z1[2] = 0.0
    z2[4] = 0.0
    z1.requires_grad_()
    loss = LOSSES[name](z1, z2)
    (gradient,) = torch.autograd.grad(loss, z1)
    assert loss.isfinite()
    assert gradient.abs().max() < 1e3
    if name != "barlow_twins":
        assert torch.equal(gradient[2], torch.zeros(D, dtype=torch.float64))
    zero = torch.zeros(1, D, requires_grad=True)
    functional.normalize(zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.max() > 1e11


@every
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_not_finite_reaches_the_loss(name: str, bad: float) -> None:
    """So that a diverged training is seen, and not trained on."""
    z1 = VIEWS[0].clone()
    z1[2, 1] = bad
    assert LOSSES[name](z1, VIEWS[1]).isnan()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "triplet"])
def test_views_of_different_shape_are_refused(name: str) -> None:
    for other, shape in ((VIEWS[1][:, :3], "6, 3"), (VIEWS[1][:5], "5, 5")):
        with pytest.raises(ValueError, match=rf"shape \(6, 5\) and .* \({shape}\); row i of both belongs to sample i"):
            LOSSES[name](VIEWS[0], other)


@every
@pytest.mark.parametrize("shape", [(6, 0), (0, 5), (6, 5, 1)])
def test_what_is_no_matrix_of_embeddings_is_refused(name: str, shape: tuple[int, ...]) -> None:
    """An embedding of size 0, an empty batch, a feature map that nobody pooled."""
    with pytest.raises(ValueError, match=r"\(n, d\) is expected, with at least one row and column|one per embedding"):
        LOSSES[name](torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize("name", ["nt_xent", "barlow_twins"])
def test_a_single_sample_is_refused_where_samples_are_compared(name: str) -> None:
    with pytest.raises(ValueError, match="a batch of 1 is too small: this loss compares samples, so it needs 2"):
        LOSSES[name](VIEWS[0][:1], VIEWS[1][:1])


@pytest.mark.parametrize("name", ["info_nce", "negative_cosine", "simsiam"])
def test_a_single_sample_is_enough_where_samples_are_not_compared(name: str) -> None:
    """The loss of a batch is the mean over its samples."""
    z1, z2 = VIEWS
    single = [LOSSES[name](z1[i : i + 1], z2[i : i + 1]) for i in range(N)]
    torch.testing.assert_close(LOSSES[name](z1, z2), torch.stack(single).mean())


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.nan, math.inf])
def test_a_temperature_is_a_positive_number(temperature: float) -> None:
    for loss in (lambda: nt_xent(*VIEWS, temperature), lambda: info_nce(*VIEWS, QUEUE, temperature)):
        with pytest.raises(ValueError, match=rf"temperature is {temperature}; it is a positive number, such as 0.1"):
            loss()


def test_unit_rows_have_length_one_down_to_the_shortest() -> None:
    rows = torch.tensor([[3.0, 4.0], [3e-11, 4e-11], [0.0, 0.0], [3e-14, 4e-14]])
    expected = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(unit_rows(rows), expected)
