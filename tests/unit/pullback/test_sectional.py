"""Curvature of the whole pulled-back manifold, and how it differs from that of surfaces within it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rra_cli.errors import UserError
from rra_cli.pullback.curvature import DEGENERATE, EUCLIDEAN, FLAT, Curvatures, scalar_curvature
from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.sectional import manifold_scalar_curvature, sectional_curvature

AXES = torch.eye(4, dtype=torch.float64)


def one(found: Curvatures | list[Curvatures]) -> Curvatures:
    assert isinstance(found, Curvatures)
    return found


def hypersphere(x: torch.Tensor) -> torch.Tensor:
    """d angles to the sphere of radius 2 in d + 1 dimensions."""
    parts, rest = [], 2 * torch.ones(len(x), dtype=x.dtype)
    for angle in x.unbind(1):
        parts.append(rest * angle.cos())
        rest = rest * angle.sin()
    return torch.stack([*parts, rest], 1)


def cylinder(x: torch.Tensor) -> torch.Tensor:
    """A sphere of radius 2 times a line of length 3 a unit."""
    return torch.cat([hypersphere(x[:, :2]), 3 * x[:, 2:3]], 1)


def spherical_coordinates(x: torch.Tensor) -> torch.Tensor:
    """Flat three-dimensional space in curved coordinates (radius, two angles), within five dimensions."""
    radius, theta, phi = x.unbind(1)
    zero = torch.zeros_like(radius)
    flat = (radius * theta.sin() * phi.cos(), radius * theta.sin() * phi.sin(), radius * theta.cos(), zero, zero)
    return torch.stack(flat, 1)


def angles(n: int, d: int) -> torch.Tensor:
    return 0.5 + 1.5 * torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(d))


def network(n_in: int, n_out: int, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    torch.manual_seed(1)
    parts = (nn.Linear(n_in, 16), activation(), nn.Linear(16, 16), activation(), nn.Linear(16, n_out))
    return nn.Sequential(*parts).double().eval().requires_grad_(False)


@pytest.mark.parametrize("d", [2, 3, 4])
def test_a_sphere_has_the_same_curvature_in_all_directions(d: int) -> None:
    """K = 1 / r^2, R = d (d - 1) / r^2, volume r^d times the sines."""
    x = angles(6, d)
    u, v = torch.randn(2, 6, d, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    found = one(sectional_curvature(hypersphere, x, u, v))
    np.testing.assert_allclose(found.value, 1 / 4, rtol=1e-11)
    total = one(manifold_scalar_curvature(hypersphere, x))
    np.testing.assert_allclose(total.value, d * (d - 1) / 4, rtol=1e-11)
    volume = d * np.log(2) + sum((d - 1 - k) * np.log(np.sin(x[:, k].numpy())) for k in range(d))
    for either in (found, total):
        np.testing.assert_allclose(either.log_volume, volume, atol=1e-12)
        assert (either.rank == either.full_rank).all()
        assert either.full_rank == d


def test_a_product_is_curved_in_one_plane_only() -> None:
    x = angles(5, 3)
    for i, j, expected in ((0, 1, 0.25), (0, 2, 0.0), (1, 2, 0.0)):
        found = one(sectional_curvature(cylinder, x, AXES[i, :3], AXES[j, :3]))
        np.testing.assert_allclose(found.value, expected, atol=1e-13)
    np.testing.assert_allclose(one(manifold_scalar_curvature(cylinder, x)).value, 0.5, rtol=1e-12)


def test_a_surface_within_the_image_may_be_curved_where_the_image_is_flat() -> None:
    """The plane of two angles is a sphere of that radius in flat space; the whole image is that flat space."""
    x = angles(6, 3)
    u, v = AXES[1, :3], AXES[2, :3]
    np.testing.assert_allclose(one(sectional_curvature(spherical_coordinates, x, u, v)).value, 0, atol=1e-12)
    np.testing.assert_allclose(one(manifold_scalar_curvature(spherical_coordinates, x)).value, 0, atol=1e-12)
    surface = one(scalar_curvature(spherical_coordinates, x, u, v))
    np.testing.assert_allclose(surface.value, 2 / x[:, 0].numpy() ** 2, rtol=1e-11)


@pytest.mark.parametrize("f", [hypersphere, network(2, 7)], ids=["sphere", "network"])
def test_for_two_inputs_all_three_agree(f: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = angles(8, 2)
    surface = one(scalar_curvature(f, x))
    sectional = one(sectional_curvature(f, x, torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])))
    np.testing.assert_allclose(2 * sectional.value, surface.value, rtol=1e-9)
    np.testing.assert_allclose(one(manifold_scalar_curvature(f, x)).value, surface.value, rtol=1e-9)
    np.testing.assert_allclose(sectional.log_volume, surface.log_volume, rtol=1e-10)


def test_the_ricci_tensor_of_the_metric_says_the_same_in_three_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "oracle"))
    import riemann

    f, x = network(3, 9), angles(3, 3)
    metric = riemann.pullback(f)
    expected = [float(riemann.scalar_curvature(metric, point)) for point in x]
    np.testing.assert_allclose(one(manifold_scalar_curvature(f, x)).value, expected, rtol=1e-8)
    sys.modules.pop("riemann", None)


def test_the_sum_over_pairs_of_an_orthonormal_basis_is_the_scalar_curvature() -> None:
    """Orthonormal in the pulled-back metric, at each point. Control: an orthonormal basis of input space is not."""
    f, x = network(4, 11), angles(3, 4)
    total = one(manifold_scalar_curvature(f, x)).value
    jacobians = torch.func.vmap(torch.func.jacrev(f))(x)
    bases = torch.linalg.inv(torch.linalg.qr(jacobians)[1])  # columns

    def summed(bases: torch.Tensor) -> Any:
        pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
        assert len(pairs) == comb(4, 2)
        return sum(2 * one(sectional_curvature(f, x, bases[:, :, i], bases[:, :, j])).value for i, j in pairs)

    np.testing.assert_allclose(summed(bases), total, rtol=1e-9)
    assert np.abs(summed(AXES.expand(3, 4, 4)) - total).max() > 0.01 * np.abs(total).max()


def test_as_many_outputs_as_inputs_are_flat_and_fewer_have_no_curvature() -> None:
    x, u, v = angles(4, 3), AXES[0, :3], AXES[1, :3]
    for measure in (lambda f: sectional_curvature(f, x, u, v), lambda f: manifold_scalar_curvature(f, x)):
        same = one(measure(network(3, 3)))
        assert (same.value == 0).all()
        assert same.reason == EUCLIDEAN
        assert np.isfinite(same.log_volume).all()
        fewer = one(measure(network(3, 2)))
        assert np.isnan(fewer.value).all()
        assert fewer.reason == DEGENERATE
    assert np.isfinite(one(scalar_curvature(network(3, 5), x, u, v)).value).all()


def test_piecewise_linear_networks_say_so() -> None:
    found = one(sectional_curvature(network(3, 9, nn.LeakyReLU), angles(5, 3), AXES[0, :3], AXES[1, :3]))
    assert found.piecewise_linear
    assert found.reason == FLAT
    assert (found.value == 0).all()


def test_degenerate_and_not_finite_points_are_counted() -> None:
    """(x^2, y^2, z^2, x + y^2, 0)."""

    def f(x: torch.Tensor) -> torch.Tensor:
        a, b, c = x.square().unbind(1)
        return torch.stack([a, b, c, x[:, 0] + b, torch.zeros_like(a)], 1)

    x = angles(5, 3)
    x[1, 2], x[4, 0] = 0.0, torch.nan
    for found in (sectional_curvature(f, x, AXES[0, :3], AXES[1, :3]), manifold_scalar_curvature(f, x)):
        found = one(found)
        assert found.rank.tolist() == [3, 2, 3, 3, -1]
        assert np.isnan(found.value).tolist() == [False, True, False, False, True]
        assert found.log_volume[1] == -np.inf
        assert "1 of 5 points have a metric of rank < 3" in found.reason
        assert "1 of 5 points have derivatives that are not finite" in found.reason


def test_layers_and_chunks_do_not_matter() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 2)).double().eval()
    x, u, v = angles(7, 3), AXES[0, :3], AXES[1, :3]
    seen: list[int] = []
    for number, reference in enumerate(("0", "1", "3", "4")):
        maps = LayerMaps(net, [reference], (3,))
        (whole,) = sectional_curvature(maps, x, u, v)  # type: ignore[misc]
        (pieces,) = sectional_curvature(  # type: ignore[misc]
            maps, x, u, v, memory=20_000, progress=lambda done, total, note="": seen.append(done)
        )
        np.testing.assert_allclose(pieces.value, whole.value, rtol=1e-9, atol=1e-14)
        assert (whole.reason == "") == (number in (1, 2))
    assert len(seen) > 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, x: sectional_curvature(f, x, AXES[0, :3], 2 * AXES[0, :3]), "u and v are parallel"),
        (lambda f, x: sectional_curvature(f, x, AXES[0, :3], AXES[1, :3], memory=1000), "Jacobian of 9 x 3 numbers"),
        (lambda f, x: manifold_scalar_curvature(lambda x: x, x[:, :1]), "a line has no curvature"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as fault:
        call(network(3, 9), angles(4, 3))
    assert fault.value.hint
