"""A network made fast for derivatives is the same map, and where folding would change it nothing is folded."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from volume_maps import IMAGE, gelu_network, images

from rra_cli.models.resnet import ResNet20
from rra_cli.pullback.fast_network import SMOOTH, SavedDerivative, foldable, with_saved_derivatives
from rra_cli.pullback.layer_map import LayerMaps


def kinds(maps: LayerMaps) -> list[str]:
    return [type(module).__name__ for module in maps.fast.module.modules()]


def gradient(maps: LayerMaps, points: torch.Tensor) -> torch.Tensor:
    inputs = points.clone().requires_grad_()
    features = maps(inputs)[-1]
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.autograd.grad((features * weights.to(features)).sum(), inputs)[0]


def test_values_and_derivatives_are_the_same() -> None:
    maps = LayerMaps(gelu_network().double(), ["5", "10"], IMAGE)
    points = images(3)
    assert "BatchNorm2d" not in kinds(maps)
    assert kinds(maps).count("SavedDerivative") == 4
    for before, after in zip(maps(points), maps.fast(points), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient(maps.fast, points), gradient(maps, points), rtol=1e-11, atol=1e-13)


def test_every_batch_norm_of_a_residual_network_is_folded() -> None:
    torch.manual_seed(0)
    encoder = ResNet20(activation="gelu", width_multiplier=0.25).build((3, 8, 8), 10)
    for part in encoder.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.running_mean)
    maps = LayerMaps(encoder.module.eval().double(), ["stage2.block1.norm1", "stage3.block3"], (3, 8, 8))
    points = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert "BatchNorm2d" not in kinds(maps)
    for before, after in zip(maps(points), maps.fast(points), strict=True):
        torch.testing.assert_close(after, before)
    torch.testing.assert_close(gradient(maps.fast, points), gradient(maps, points))


def test_a_convolution_that_is_itself_a_layer_is_not_folded() -> None:
    maps = LayerMaps(gelu_network().double(), ["0", "10"], IMAGE, features="full")
    points = images(2)
    assert kinds(maps).count("BatchNorm2d") == 1
    torch.testing.assert_close(maps.fast(points)[0], maps(points)[0])


class Around(nn.Module):
    """The output of a convolution goes past its batch norm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.end = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Identity()
        nn.init.constant_(self.norm.running_var, 3)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        between = self.conv(maps)
        return self.end(between + self.norm(between))


def test_a_convolution_with_another_use_is_not_folded() -> None:
    network = Around().eval()
    assert foldable(network, images(2, dtype=torch.float32)) == [("conv", "norm")], "the control: it looks like one"
    maps = LayerMaps(network, ["end"], IMAGE)
    assert "BatchNorm2d" in kinds(maps)
    points = images(2, dtype=torch.float32)
    torch.testing.assert_close(maps.fast(points)[0], maps(points)[0])


def test_modules_that_are_called_twice_are_not_folded() -> None:
    conv, norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
    assert foldable(nn.Sequential(conv, norm, conv).eval(), images(2, dtype=torch.float32)) == []


@pytest.mark.parametrize("kind", SMOOTH)
def test_a_saved_derivative_is_the_derivative(kind: type[nn.Module]) -> None:
    points = torch.linspace(-4, 4, 41, dtype=torch.float64).reshape(1, -1).requires_grad_()
    plain, saved = kind()(points), SavedDerivative(kind())(points)
    torch.testing.assert_close(saved, plain)
    (expected,) = torch.autograd.grad(plain.sum(), points)
    for _ in range(2):  # again, from the same graph
        (found,) = torch.autograd.grad(saved.sum(), points, retain_graph=True)
        torch.testing.assert_close(found, expected)
    assert torch.equal(SavedDerivative(kind())(points.detach()), plain.detach())


def test_an_activation_in_place_is_not_one_afterwards() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.SiLU(inplace=True)).eval()
    points = torch.randn(2, 3)
    maps = LayerMaps(network, ["0", "1"], (3,))
    for before, after in zip(maps(points), maps.fast(points), strict=True):
        assert torch.equal(before, after)
    assert isinstance(with_saved_derivatives(network)[1], SavedDerivative)


class Viewed(nn.Module):
    """Flattens by `view`, which takes maps in the usual order only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(2, 5, 3), nn.Linear(80, 3)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        maps = self.conv(maps)
        return self.linear(maps.view(len(maps), -1))


def test_a_network_that_views_its_maps_keeps_their_order() -> None:
    points = images(2, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="view size is not compatible"):  # the control
        Viewed().to(memory_format=torch.channels_last)(points)
    maps = LayerMaps(Viewed().eval(), ["linear"], IMAGE)
    assert torch.equal(maps.fast(points)[0], maps(points)[0])
    assert gradient(maps.fast, points).shape == points.shape
