"""Scalar curvature against surfaces with known answers, the Ricci tensor of the metric, and the formula of Brioschi."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import riemann
import torch
from torch import nn

from rra_cli.pullback.curvature import Curvatures, scalar_curvature
from rra_cli.pullback.shallow import Shallow

Surface = Callable[[torch.Tensor], torch.Tensor]


def stack(*columns: torch.Tensor) -> torch.Tensor:
    return torch.stack(columns, dim=1)


def sphere(x: torch.Tensor) -> torch.Tensor:
    theta, phi = x.unbind(1)
    return 1.7 * stack(theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos())


def saddle(x: torch.Tensor) -> torch.Tensor:
    return stack(x[:, 0], x[:, 1], x[:, 0] * x[:, 1])


def paraboloid(x: torch.Tensor) -> torch.Tensor:
    return stack(x[:, 0], x[:, 1], x.square().sum(1) / 2)


def flat_torus(x: torch.Tensor) -> torch.Tensor:
    u, v = x.unbind(1)
    return stack(2 * (u / 2).cos(), 2 * (u / 2).sin(), v.cos(), v.sin())


def torus(x: torch.Tensor) -> torch.Tensor:
    u, v = x.unbind(1)
    return stack((3 + v.cos()) * u.cos(), (3 + v.cos()) * u.sin(), v.sin())


def catenoid(x: torch.Tensor) -> torch.Tensor:
    u, v = x.unbind(1)
    return stack(v.cosh() * u.cos(), v.cosh() * u.sin(), v)


def oblique_plane(x: torch.Tensor) -> torch.Tensor:
    """Linear; [[1, 2], [0, 1], [3, 0]]: det g = 10 * 5 - 4."""
    return x @ torch.tensor([[1.0, 0.0, 3.0], [2.0, 1.0, 0.0]], dtype=x.dtype)


# Map, scalar curvature, volume element.
SURFACES: dict[str, tuple[Surface, Surface, Surface]] = {
    "sphere": (sphere, lambda x: 2 / 1.7**2 + 0 * x[:, 0], lambda x: 1.7**2 * x[:, 0].sin()),
    "saddle": (
        saddle,
        lambda x: -2 / (1 + x.square().sum(1)).square(),
        lambda x: (1 + x.square().sum(1)).sqrt(),
    ),
    "paraboloid": (
        paraboloid,
        lambda x: 2 / (1 + x.square().sum(1)).square(),
        lambda x: (1 + x.square().sum(1)).sqrt(),
    ),
    "flat_torus": (flat_torus, lambda x: 0 * x[:, 0], lambda x: 1 + 0 * x[:, 0]),
    "torus": (torus, lambda x: 2 * x[:, 1].cos() / (3 + x[:, 1].cos()), lambda x: 3 + x[:, 1].cos()),
    "catenoid": (catenoid, lambda x: -2 / x[:, 1].cosh().pow(4), lambda x: x[:, 1].cosh().square()),
    "oblique_plane": (oblique_plane, lambda x: 0 * x[:, 0], lambda x: 46**0.5 + 0 * x[:, 0]),
}


@pytest.fixture(scope="module")
def points() -> torch.Tensor:
    """Away from the poles of the sphere."""
    return 0.3 + 2.4 * torch.rand(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network(*widths: int, seed: int = 0, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    """A perceptron in float64 with weights of twice the usual size, so that it bends."""
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        linear = nn.Linear(n_in, n_out)
        linear.weight.data *= 2
        parts += [linear, activation()]
    return nn.Sequential(*parts[:-1]).double().eval().requires_grad_(False)


def curvature(f: Surface, x: torch.Tensor, *plane: torch.Tensor, **options: object) -> Curvatures:
    found = scalar_curvature(f, x, *plane, **options)  # type: ignore[arg-type]
    assert isinstance(found, Curvatures)
    return found


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_have_their_known_curvature_and_volume(name: str, points: torch.Tensor) -> None:
    f, expected, volume = SURFACES[name]
    found = curvature(f, points)
    np.testing.assert_allclose(found.value, expected(points), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.log_volume, volume(points).log(), rtol=1e-12, atol=1e-13)
    assert (found.rank == 2).all()


@pytest.mark.parametrize("name", SURFACES)
def test_the_ricci_tensor_of_the_metric_says_the_same(name: str, points: torch.Tensor) -> None:
    """The oracle of the deep networks below is right itself."""
    f, expected, _ = SURFACES[name]
    metric = riemann.pullback(f)
    for x, right in zip(points[:4], expected(points[:4]), strict=True):
        assert float(riemann.scalar_curvature(metric, x)) == pytest.approx(float(right), rel=1e-9, abs=1e-11)


def test_a_flipped_sign_of_the_quadratic_terms_hides_on_a_sphere_and_shows_on_a_saddle(points: torch.Tensor) -> None:
    """The known error of published code: no sphere reveals it."""
    for x in points[:6]:
        assert float(riemann.scalar_curvature(riemann.pullback(sphere), x, -1)) == pytest.approx(2 / 1.7**2, rel=1e-9)
        right = -2 / float(1 + x.square().sum()) ** 2
        wrong = float(riemann.scalar_curvature(riemann.pullback(saddle), x, -1))
        ours = curvature(saddle, x[None]).value[0]
        assert ours == pytest.approx(right, rel=1e-12)
        assert abs(wrong - right) > 0.5 * abs(right)


def test_the_flipped_sign_makes_the_curvature_of_a_hidden_layer_three_times_too_large() -> None:
    """And so does the published formula for one hidden layer, which was derived from it."""
    torch.manual_seed(1)
    for d in (2, 3):
        layer = Shallow(torch.randn(25, d), torch.randn(25), "sigmoid")
        metric = riemann.pullback(lambda x, layer=layer: layer(x) / 5)
        x = torch.randn(3, d, dtype=torch.float64)
        for point, ours in zip(x, layer.scalar_curvature(x), strict=True):
            assert float(riemann.scalar_curvature(metric, point)) == pytest.approx(float(ours), rel=1e-9)
            assert float(riemann.scalar_curvature(metric, point, -1)) == pytest.approx(3 * float(ours), rel=1e-9)
            assert float(riemann.authors_shallow_curvature(metric, point)) == pytest.approx(3 * float(ours), rel=1e-9)


@pytest.mark.parametrize("activation", [nn.GELU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Softplus])
def test_deep_networks_agree_with_the_ricci_tensor(activation: type[nn.Module]) -> None:
    f = network(2, 12, 12, 12, activation=activation)
    x = torch.randn(4, 2, dtype=torch.float64)
    found = curvature(f, x)
    expected = [float(riemann.scalar_curvature(riemann.pullback(f), point)) for point in x]
    np.testing.assert_allclose(found.value, expected, rtol=1e-8)
    assert np.ptp(found.value) > 1e-3 * np.abs(found.value).max(), "a network that bends"


def test_a_deep_gelu_network_agrees_with_finite_differences_of_its_metric() -> None:
    """The formula of Brioschi from E, F and G at nine points; control: the flipped sign is far off."""
    f = network(2, 16, 16, 16, 16)
    metric = riemann.pullback(f)
    x = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = curvature(f, x).value
    expected = np.array([2 * riemann.brioschi(metric, point, 1e-3) for point in x])
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    wrong = np.array([float(riemann.scalar_curvature(metric, point, -1)) for point in x])
    assert (np.abs(wrong - expected) > 0.1 * np.abs(expected)).any()


def image_network() -> nn.Sequential:
    """Convolution, batch norm in evaluation mode, GELU, pooling: as deep networks have them."""
    torch.manual_seed(3)
    parts = [
        *(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.GELU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(32, 12)),
    ]
    norms = [part for part in parts if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.05, 0.2)
    return nn.Sequential(*parts).double().eval().requires_grad_(False)


def test_planes_through_image_space_agree_with_the_metric_of_the_plane() -> None:
    """A plane of unequal, oblique directions: the oracle sees s, t to f(x + s u + t v) only."""
    f = image_network()
    generator = torch.Generator().manual_seed(4)
    x, u, v = (torch.randn(2, 8, 8, dtype=torch.float64, generator=generator) for _ in range(3))
    v = 3 * v + u
    st = torch.randn(3, 2, dtype=torch.float64, generator=generator)

    def plane(st: torch.Tensor) -> torch.Tensor:
        return f(x + st[:, :1, None, None] * u + st[:, 1:, None, None] * v)

    at = x + torch.einsum("bk,kchw->bchw", st, torch.stack([u, v]))
    found = curvature(f, at, u, v)
    metric = riemann.pullback(plane)
    expected = [float(riemann.scalar_curvature(metric, point)) for point in st]
    np.testing.assert_allclose(found.value, expected, rtol=1e-8)
    brioschi = [2 * riemann.brioschi(metric, point, 2e-3) for point in st]
    np.testing.assert_allclose(found.value, brioschi, rtol=2e-3)
    gram = torch.tensor([[(u * u).sum(), (u * v).sum()], [(u * v).sum(), (v * v).sum()]])
    area = [0.5 * float(torch.logdet(metric(point)) - torch.logdet(gram)) for point in st]
    np.testing.assert_allclose(found.log_volume, area, rtol=1e-10, atol=1e-10)


# Laws


@pytest.mark.parametrize("f", [saddle, torus, network(2, 10, 10, 8)], ids=["saddle", "torus", "network"])
def test_turning_the_output_changes_nothing_and_scaling_divides(f: Surface, points: torch.Tensor) -> None:
    """g -> c g: R -> R / c, log volume + log c (two dimensions). Control: a stretch along one axis is neither."""
    expected = curvature(f, points)
    n = f(points).shape[1]
    torch.manual_seed(5)
    turn = torch.linalg.qr(torch.randn(n + 2, n, dtype=torch.float64))[0].T
    turned = curvature(lambda x: f(x) @ turn + 3, points)
    np.testing.assert_allclose(turned.value, expected.value, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(turned.log_volume, expected.log_volume, rtol=1e-9, atol=1e-11)
    for c in (1e-3, 0.25, 9e4):
        scaled = curvature(lambda x, c=c: c**0.5 * f(x), points)
        np.testing.assert_allclose(scaled.value * c, expected.value, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(scaled.log_volume - np.log(c), expected.log_volume, rtol=1e-9, atol=1e-11)
    stretch = torch.ones(n, dtype=torch.float64)
    stretch[0] = 2
    stretched = curvature(lambda x: f(x) * stretch, points)
    assert np.abs(stretched.value - expected.value).max() > 0.01 * np.abs(expected.value).max()


def test_coordinates_do_not_matter(points: torch.Tensor) -> None:
    """R is a scalar: f(h(x)) at x has the curvature of f at h(x). Control: the volume element has not."""

    def change(x: torch.Tensor) -> torch.Tensor:
        return stack(x[:, 0] + 0.2 * x[:, 1].sin(), 1.5 * x[:, 1] + 0.1 * x[:, 0].square())

    f = network(2, 10, 10, 8)
    there, here = curvature(f, change(points)), curvature(lambda x: f(change(x)), points)
    np.testing.assert_allclose(here.value, there.value, rtol=1e-8)
    assert np.abs(here.log_volume - there.log_volume).max() > 0.1


def test_any_basis_of_a_plane_gives_its_curvature_and_area() -> None:
    """Control: another plane through the same point has others."""
    f = network(5, 12, 12, 9)
    torch.manual_seed(6)
    x, u, v, w = torch.randn(7, 5).double(), *torch.randn(3, 5).double()
    expected = curvature(f, x, u, v)
    other = curvature(f, x, -40 * v, 1e-3 * u + 2e-3 * v)
    np.testing.assert_allclose(other.value, expected.value, rtol=1e-9)
    np.testing.assert_allclose(other.log_volume, expected.log_volume, rtol=1e-9)
    assert np.abs(curvature(f, x, u, w).value - expected.value).max() > 0.1 * np.abs(expected.value).max()


def test_directions_may_differ_from_point_to_point() -> None:
    f = network(4, 12, 9)
    torch.manual_seed(7)
    x, u, v = torch.randn(3, 6, 4).double()
    found = curvature(f, x, u, v)
    for number in range(len(x)):
        one = curvature(f, x[number : number + 1], u[number], v[number])
        assert one.value[0] == pytest.approx(found.value[number], rel=1e-9)


def test_two_outputs_are_exactly_flat_and_one_is_a_curve() -> None:
    """Not the noise that second derivatives would leave."""
    x = torch.randn(20, 2, dtype=torch.float64)
    flat = curvature(network(2, 12, 2), x)
    assert (flat.value == 0).all()
    assert flat.reason == "as many outputs as inputs: the metric is that of flat space"
    assert not flat.piecewise_linear
    curve = curvature(network(2, 12, 1), x)
    assert np.isnan(curve.value).all()
    assert curve.n_degenerate == 20
    assert "degenerate everywhere" in curve.reason


def test_float32_and_float64_agree_to_single_precision() -> None:
    """Control: they are not the same numbers."""
    f = network(2, 30, 30, 20)
    x = torch.randn(50, 2, dtype=torch.float64)
    exact = curvature(f, x)
    rough = curvature(f, x, dtype=torch.float32)
    assert rough.value.dtype == np.float64
    error = np.abs(rough.value - exact.value) / np.abs(exact.value).clip(0.1)
    assert 1e-9 < error.max() < 1e-2
    np.testing.assert_allclose(rough.log_volume, exact.log_volume, atol=1e-4)
    again = curvature(f.float(), x, dtype=torch.float64)
    np.testing.assert_allclose(again.value, exact.value, rtol=1e-3, atol=1e-4)
