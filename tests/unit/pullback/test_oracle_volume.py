"""Volume elements with known values, and those of networks against independent ways to get them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from volume_maps import (
    IMAGE,
    gelu_network,
    images,
    plain_jacobian,
    sphere,
    surface,
    volume_by_svd,
)

from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.log_volume import grams_of_rows, rank_tolerance
from rra_cli.pullback.log_volume import log_volumes as log_volumes_of
from rra_cli.pullback.volume import volume_elements

PLANE = torch.tensor([[0.3, -0.7], [1.2, 0.4], [2.5, 1.9], [0.9, 0.0]], dtype=torch.float64)


def log_volumes(maps: LayerMaps, points: torch.Tensor, **options) -> np.ndarray:
    return volume_elements(maps, points, **options)[0].log_volume


# Closed forms


@pytest.mark.parametrize("radius", [0.2, 1.0, 7.0])
def test_a_sphere(radius: float) -> None:
    expected = np.log(radius**2 * np.sin(PLANE[:, 0].numpy()))
    np.testing.assert_allclose(log_volumes(surface(sphere(radius)), PLANE), expected, rtol=1e-12)


def test_a_paraboloid_and_a_saddle() -> None:
    x, y = PLANE.numpy().T

    def paraboloid(p: torch.Tensor) -> torch.Tensor:
        return torch.cat([p, p.square().sum(dim=1, keepdim=True)], dim=1)

    def saddle(p: torch.Tensor) -> torch.Tensor:
        return torch.cat([p, p.prod(dim=1, keepdim=True)], dim=1)

    np.testing.assert_allclose(log_volumes(surface(paraboloid), PLANE), np.log1p(4 * (x**2 + y**2)) / 2, atol=1e-13)
    np.testing.assert_allclose(log_volumes(surface(saddle), PLANE), np.log1p(x**2 + y**2) / 2, atol=1e-13)


@pytest.mark.parametrize(("n_outputs", "d"), [(7, 3), (3, 7), (5, 5), (1, 6), (6, 1)])
def test_a_linear_map_has_half_the_log_determinant_of_its_smaller_gram(n_outputs: int, d: int) -> None:
    torch.manual_seed(n_outputs)
    linear = nn.Linear(d, n_outputs).double().eval()
    weight = linear.weight.detach().numpy()
    gram = weight @ weight.T if n_outputs < d else weight.T @ weight
    found = volume_elements(LayerMaps(nn.Sequential(linear), ["0"], (d,)), torch.randn(3, d))[0]
    np.testing.assert_allclose(found.log_volume, np.linalg.slogdet(gram)[1] / 2, rtol=1e-12)
    assert found.rank.tolist() == [min(n_outputs, d)] * 3


def test_an_orthogonal_convolution_preserves_volume_and_another_does_not() -> None:
    conv = nn.Conv2d(4, 4, 1, bias=False).double()
    nn.init.orthogonal_(conv.weight)
    point = torch.randn(2, 4, 5, 5)
    full = log_volumes(LayerMaps(nn.Sequential(conv).eval(), ["0"], (4, 5, 5)), point)
    np.testing.assert_allclose(full, 0, atol=1e-12)
    with torch.no_grad():
        conv.weight[0] *= 2
    scaled = log_volumes(LayerMaps(nn.Sequential(conv).eval(), ["0"], (4, 5, 5)), point)
    np.testing.assert_allclose(scaled, 25 * math.log(2), rtol=1e-12)  # one of four channels, 25 places


# Laws


@pytest.mark.parametrize("factor", [1e-3, 2.5])
def test_a_scaled_output_adds_the_rank_times_the_logarithm_and_a_rotated_one_nothing(factor: float) -> None:
    network, points = gelu_network().double(), images(2)
    rotation = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    plain = log_volumes(LayerMaps(network, ["10"], IMAGE), points)

    def behind(matrix: torch.Tensor) -> np.ndarray:
        last = nn.Linear(8, 8, bias=False).double()
        last.weight = nn.Parameter(matrix)
        return log_volumes(LayerMaps(nn.Sequential(network, last).eval(), ["1"], IMAGE), points)

    np.testing.assert_allclose(behind(factor * torch.eye(8, dtype=torch.float64)), plain + 8 * math.log(factor))
    np.testing.assert_allclose(behind(rotation), plain, rtol=1e-11)
    sheared = torch.eye(8, dtype=torch.float64)
    sheared[0, 0] = 3.0
    assert np.all(np.abs(behind(sheared) - plain - math.log(3)) < 1e-9), "the control: no rotation"


# Networks


@pytest.mark.parametrize("layer", ["2", "5", "7", "10"])
def test_a_deep_network_against_torchs_jacobian_and_numpys_svd(layer: str) -> None:
    """More and fewer outputs than inputs (72): layers 2 and 5 have 216, 7 has 54, 10 has 8."""
    network = gelu_network().double()
    maps = LayerMaps(network, [layer], IMAGE, features="full")
    points = images(3)
    found = volume_elements(maps, points, spectrum=True)[0]
    upto = network[: int(layer) + 1]
    tolerance = max(maps.maps[0].n_outputs, 72) * np.finfo(np.float64).eps
    for i in range(3):
        expected, rank, values = volume_by_svd(plain_jacobian(upto, points[i : i + 1]), tolerance)
        assert found.log_volume[i] == pytest.approx(expected, rel=1e-10)
        assert found.rank[i] == found.n_used[i] == rank
        np.testing.assert_allclose(found.spectrum[i], values, rtol=1e-9, atol=1e-15 * values[0])


@pytest.mark.parametrize("layer", ["5", "7", "10"])
def test_in_float32_it_is_equal_to_the_plain_way_in_float32(layer: str) -> None:
    network, points = gelu_network(), images(3, dtype=torch.float32)
    maps = LayerMaps(network, [layer], IMAGE, features="full")
    found = volume_elements(maps, points)[0]
    tolerance = max(maps.maps[0].n_outputs, 72) * np.finfo(np.float32).eps
    for i in range(3):
        expected, rank, _ = volume_by_svd(plain_jacobian(network[: int(layer) + 1], points[i : i + 1]), tolerance)
        assert found.log_volume[i] == pytest.approx(expected, rel=1e-5)
        assert found.rank[i] == rank


def test_a_deep_network_against_finite_differences() -> None:
    network, point = gelu_network().double(), images(1)
    step = 1e-6
    with torch.no_grad():
        moved = (point.reshape(1, -1) + step * torch.cat([torch.eye(72), -torch.eye(72)])).reshape(-1, *IMAGE)
        values = network(moved).numpy()
    jacobian = ((values[:72] - values[72:]) / (2 * step)).T
    expected = np.linalg.slogdet(jacobian @ jacobian.T)[1] / 2
    assert log_volumes(LayerMaps(network, ["10"], IMAGE), point)[0] == pytest.approx(expected, abs=1e-6)


def test_fewer_outputs_than_inputs_and_a_low_rank() -> None:
    """The pseudo-determinant over the rank: 4 of 6 outputs are independent."""
    torch.manual_seed(3)
    matrix = (torch.randn(6, 4) @ torch.randn(4, 9)).double()
    linear = nn.Linear(9, 6, bias=False).double()
    linear.weight = nn.Parameter(matrix)
    found = volume_elements(LayerMaps(nn.Sequential(linear).eval(), ["0"], (9,)), torch.randn(2, 9), spectrum=True)[0]
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    # The matrix itself was made in float32: its fifth value is of that size, its rank in float64 may be 6.
    made_in_float32 = values > 9 * np.finfo(np.float32).eps * values[0]
    assert made_in_float32.sum() == 4
    top = volume_elements(LayerMaps(nn.Sequential(linear).eval(), ["0"], (9,)), torch.randn(2, 9), top=4)[0]
    np.testing.assert_allclose(top.log_volume, np.log(values[:4]).sum(), rtol=1e-12)
    np.testing.assert_allclose(found.spectrum[0], values, atol=1e-13)
    single = volume_elements(LayerMaps(nn.Sequential(linear).float().eval(), ["0"], (9,)), torch.randn(2, 9))[0]
    assert single.rank.tolist() == single.n_used.tolist() == [4, 4]
    np.testing.assert_allclose(single.log_volume, np.log(values[:4]).sum(), rtol=1e-5)


def test_a_badly_conditioned_map_keeps_its_small_values_in_float64() -> None:
    """Its Gram has lost them: squared they lie below the rounding error of the largest."""
    exact = np.array([1.0, 1e-3, 1e-6, 1e-9])
    rotations = [np.linalg.qr(np.random.default_rng(i).standard_normal((n, n)))[0] for i, n in enumerate((4, 7))]
    matrix = rotations[0] @ np.diag(exact) @ rotations[1][:4]
    linear = nn.Linear(7, 4, bias=False).double()
    linear.weight = nn.Parameter(torch.from_numpy(matrix))
    found = volume_elements(LayerMaps(nn.Sequential(linear).eval(), ["0"], (7,)), torch.randn(1, 7))[0]
    assert found.rank[0] == 4
    assert found.log_volume[0] == pytest.approx(np.log(exact).sum(), abs=1e-6)
    gram = np.linalg.eigvalsh(matrix @ matrix.T)
    assert abs(math.sqrt(max(gram[0], 0)) / 1e-9 - 1) > 0.1, "the control: the Gram's smallest root is wrong"


@pytest.mark.parametrize("shape", [(3, 3), (40, 200)])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 2.0])
def test_the_gram_of_a_float32_jacobian_loses_next_to_nothing(shape: tuple[int, int], smallest: float) -> None:
    """Against the decomposition of the same float32 matrix, down to the smallest value that still counts (2: twice)."""
    k, length = shape
    tolerance = rank_tolerance(k, length, torch.float32)
    low = smallest if smallest <= 1 else smallest * tolerance
    random = np.random.default_rng(k)
    left, right = (np.linalg.qr(random.standard_normal((n, n)))[0] for n in shape)
    matrix = ((left * np.geomspace(1, low, k)) @ right[:k]).astype(np.float32)
    matrices = torch.from_numpy(matrix)[None]
    found = log_volumes_of(grams_of_rows(matrices), matrices, tolerance, forward=torch.float32)
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    assert found.rank.tolist() == [k]
    forward_error = np.finfo(np.float32).eps / low
    assert abs(float(found.log_volume[0]) - np.log(values).sum()) < max(forward_error / 50, 1e-13)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("layer", ["2", "10"])
def test_a_gpu_finds_what_the_processor_finds(layer: str) -> None:
    points = images(3)
    expected = volume_elements(LayerMaps(gelu_network().double(), [layer], IMAGE), points)[0]
    found = volume_elements(LayerMaps(gelu_network().double().cuda(), [layer], IMAGE), points)[0]
    np.testing.assert_allclose(found.log_volume, expected.log_volume, rtol=1e-10)
    single = volume_elements(LayerMaps(gelu_network().cuda(), [layer], IMAGE), points)[0]
    np.testing.assert_allclose(single.log_volume, expected.log_volume, rtol=1e-5)
