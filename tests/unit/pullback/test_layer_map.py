"""The map to a layer: which windows are averaged, what is refused, and that the network is left alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from volume_maps import IMAGE, gelu_network, images

from rra_cli.errors import UserError
from rra_cli.models.resnet import ResNet34
from rra_cli.pullback.layer_map import LayerMaps, pooling_window

# Windows


def test_the_stages_of_a_resnet34_have_the_authors_windows_and_512_numbers() -> None:
    shapes = [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert [pooling_window(shape) for shape in shapes] == [(16, 8), (8, 8), (8, 4), (4, 4)]
    encoder = ResNet34(activation="gelu", width_multiplier=1 / 16, depth_multiplier=0.01).build((3, 32, 32), 10)
    layers = [f"stage{number}.block1" for number in (1, 2, 3, 4)]
    maps = LayerMaps(encoder.module.eval(), layers, (3, 32, 32), limit=32)
    assert [layer.window for layer in maps.maps] == [(16, 8), (8, 8), (8, 4), (4, 4)]
    assert [layer.n_outputs for layer in maps.maps] == [32] * 4


@pytest.mark.parametrize("shape", [(3, 32, 32), (7, 28, 28), (20, 13, 9), (1, 1, 600), (600, 3, 3), (512, 1, 1)])
def test_a_window_is_the_smallest_of_its_kind_that_reaches_the_limit(shape: tuple[int, int, int]) -> None:
    def numbers(window: tuple[int, int]) -> int:
        return shape[0] * math.ceil(shape[1] / window[0]) * math.ceil(shape[2] / window[1])

    height, width = pooling_window(shape)
    assert numbers((height, width)) <= max(512, shape[0])
    smaller = [(math.ceil(height / 2), width), (height, math.ceil(width / 2))]
    assert (height, width) == (1, 1) or any(numbers(window) > 512 for window in smaller)


def test_flat_layers_are_whole_whatever_the_limit() -> None:
    maps = LayerMaps(nn.Sequential(nn.Linear(4, 900)).eval(), ["0"], (4,), limit=10)
    assert maps.maps[0].n_outputs == 900


def test_features_are_means_over_the_places_that_a_window_has() -> None:
    network = nn.Sequential(nn.Identity())
    maps = LayerMaps(network.eval(), ["0"], (1, 3, 2), limit=3)
    point = torch.arange(6.0).reshape(1, 1, 3, 2)  # (2, 1): rows 0 and 1, then row 2 alone
    assert maps.maps[0].window == (2, 2)
    assert maps(point)[0].tolist() == [[1.5, 4.5]]
    assert LayerMaps(network, ["0"], (1, 3, 2), features="full")(point)[0].tolist() == [point.flatten().tolist()]


# Layers


def test_inner_modules_the_input_and_names_of_ones_own() -> None:
    network = gelu_network()
    points = images(3, dtype=torch.float32)
    maps = LayerMaps(network, {"picture": "", "first": "0", "last": "10"}, IMAGE, features="full")
    picture, first, last = maps(points)
    assert [layer.name for layer in maps.maps] == ["picture", "first", "last"]
    assert torch.equal(picture, points.flatten(1))
    assert torch.equal(first, network[0](points).flatten(1))
    assert torch.equal(last, network(points))
    assert torch.equal(maps(points.flatten(1))[2], last), "flat points"


def test_a_layer_that_is_overwritten_afterwards() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)).eval()
    points = torch.randn(5, 3)
    before, after = LayerMaps(network, ["0", "1"], (3,))(points)
    assert torch.equal(before, network[0](points))
    assert torch.equal(after, before.relu())
    assert (before < 0).any()


def test_the_forward_pass_ends_behind_the_last_layer() -> None:
    class Dear(nn.Module):
        calls = 0

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            Dear.calls += 1
            return values

    maps = LayerMaps(nn.Sequential(nn.Linear(3, 4), Dear()).eval(), ["0"], (3,))
    before = Dear.calls
    maps(torch.randn(2, 3))
    assert Dear.calls == before == 1, "once, in the dry run"


def test_the_network_is_left_alone_and_may_change_afterwards() -> None:
    network = gelu_network()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    maps = LayerMaps(network, ["10"], IMAGE, dtype=torch.float64)
    points = images(2)
    first = maps(points)[0]
    assert maps.dtype == torch.float64
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        network[0].weight.zero_()
    assert torch.equal(maps(points)[0], first)


# What is refused


def test_batch_norm_in_training_mode() -> None:
    network = gelu_network()
    LayerMaps(network, ["10"], IMAGE)  # the control
    with pytest.raises(UserError, match=r"module '1' is batch norm in training mode.*evaluation mode") as error:
        LayerMaps(network.train(), ["10"], IMAGE)
    assert error.value.hint == "call module.eval() first"
    assert "\n" not in error.value.message


def test_batch_norm_without_running_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    with pytest.raises(UserError, match="module '1' is batch norm without running statistics"):
        LayerMaps(network, ["1"], IMAGE)


def test_dropout_in_training_mode() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)).train()
    with pytest.raises(UserError, match="module '1' is dropout in training mode"):
        LayerMaps(network, ["1"], (3,))
    LayerMaps(network.eval(), ["1"], (3,))


class Tail(nn.Module):
    """A linear layer and something behind it."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.linear, self.end = what, nn.Linear(3, 4), nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = self.linear(values)
        if self.what == "detached":
            values = values.detach()
        if self.what == "integer":
            values = values.argmax(dim=1)
        if self.what == "mixed":
            values = values - values.mean(dim=0)
        if self.what == "functional":
            values = functional.batch_norm(values, None, None, training=True)
        return self.end(values)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("detached", "layer 'end' has no gradient path to the input"),
        ("integer", "layer 'end' holds int64 numbers, which have no derivative"),
        ("mixed", "layer 'end' of one input depends on the other inputs of its batch"),
        ("functional", "layer 'end' of one input depends on the other inputs of its batch"),
    ],
)
def test_layers_that_are_no_maps_of_one_input(what: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        LayerMaps(Tail(what).eval(), ["end"], (3,))
    assert "\n" not in error.value.message
    assert error.value.hint
    LayerMaps(Tail(what).eval(), ["linear"], (3,))


def test_networks_and_points_of_integers() -> None:
    with pytest.raises(UserError, match="the network takes integers, expected floating-point inputs"):
        LayerMaps(nn.Sequential(nn.Embedding(10, 4), nn.Flatten()).eval(), ["1"], (3,))
    maps = LayerMaps(nn.Sequential(nn.Linear(3, 4)).eval(), ["0"], (3,))
    with pytest.raises(UserError, match="the points are uint8 numbers; expected floating-point inputs"):
        maps(torch.zeros(2, 3, dtype=torch.uint8))


def test_points_of_another_size_and_unknown_modules() -> None:
    maps = LayerMaps(nn.Sequential(nn.Linear(3, 4)).eval(), ["0"], (3,))
    with pytest.raises(UserError, match=r"the points have shape \(2, 4\); expected \(n, 3\)"):
        maps(torch.zeros(2, 4))
    with pytest.raises(UserError, match="the network has no module 'linaer'"):
        LayerMaps(Tail("").eval(), ["linaer"], (3,))


def test_types_narrower_than_float32() -> None:
    with pytest.raises(UserError, match="the network computes in bfloat16; expected float32 or float64"):
        LayerMaps(nn.Sequential(nn.Linear(3, 4)).eval(), ["0"], (3,), dtype=torch.bfloat16)


def test_wrong_options() -> None:
    network = nn.Sequential(nn.Linear(3, 4)).eval()
    with pytest.raises(ValueError, match="features is 'half'"):
        LayerMaps(network, ["0"], (3,), features="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit is 0"):
        LayerMaps(network, ["0"], (3,), limit=0)
