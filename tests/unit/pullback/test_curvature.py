"""Curvature of networks: what is said where there is none, chunks, budgets, types, and the faults of a request."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rra_cli.errors import UserError
from rra_cli.models.lenet import LeNetRMQM
from rra_cli.models.resnet import ResNet20
from rra_cli.pullback.curvature import DEGENERATE, EUCLIDEAN, FLAT, Curvatures, scalar_curvature
from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.piecewise import is_piecewise_linear


def one(found: Curvatures | list[Curvatures]) -> Curvatures:
    assert isinstance(found, Curvatures)
    return found


def perceptron(activation: type[nn.Module], n_in: int = 2, n_out: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Linear(n_in, 16), activation(), nn.Linear(16, 16), activation(), nn.Linear(16, n_out))
    ).double()


def points(n: int = 40, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *(shape or (2,)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Piecewise linear networks


@pytest.mark.parametrize(
    "activation", [nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.ReLU6, nn.Softshrink, nn.Identity]
)
def test_piecewise_linear_networks_say_that_they_are_flat(activation: type[nn.Module]) -> None:
    net = perceptron(activation)
    assert is_piecewise_linear(net)
    found = one(scalar_curvature(net.eval(), points()))
    assert found.piecewise_linear
    assert found.reason.startswith(FLAT)
    assert (found.value[found.rank == 2] == 0).all()
    assert np.isnan(found.value[found.rank < 2]).all()
    assert (found.rank == 2).any()


@pytest.mark.parametrize("activation", [nn.GELU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.ELU, nn.SiLU])
def test_smooth_networks_are_not(activation: type[nn.Module]) -> None:
    net = perceptron(activation)
    assert not is_piecewise_linear(net)
    found = one(scalar_curvature(net.eval(), points()))
    assert not found.piecewise_linear
    assert found.reason == ""
    assert (found.value != 0).all()


class Hidden(nn.Module):
    """A network whose forward pass modules do not tell."""

    def __init__(self, smooth: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear, self.smooth = nn.Linear(2, 6).double(), smooth

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.linear(x)) if self.smooth else torch.nn.functional.relu(self.linear(x)) + 1


def test_where_modules_do_not_tell_the_derivatives_do() -> None:
    for smooth in (False, True):
        net = Hidden(smooth).eval()
        assert not is_piecewise_linear(net)
        found = one(scalar_curvature(net, points()))
        assert found.piecewise_linear != smooth
        assert (FLAT in found.reason) != smooth


def test_the_log_volume_of_a_piecewise_linear_network_is_that_of_its_jacobian() -> None:
    net, x = perceptron(nn.ReLU).eval(), points(20)
    found = one(scalar_curvature(net, x))
    jacobians = torch.func.vmap(torch.func.jacrev(net))(x)
    grams = jacobians.mT @ jacobians
    full = found.rank == 2
    np.testing.assert_allclose(found.log_volume[full], torch.logdet(grams).detach().numpy()[full] / 2, rtol=1e-9)
    assert (found.log_volume[~full] == -np.inf).all()


def test_networks_of_the_project_are_told_apart() -> None:
    assert is_piecewise_linear(ResNet20().build((3, 32, 32), 10).module)
    assert is_piecewise_linear(ResNet20(shortcut="pad").build((3, 32, 32), 10).module)
    assert not is_piecewise_linear(ResNet20(activation="gelu").build((3, 32, 32), 10).module)
    assert is_piecewise_linear(LeNetRMQM().build((1, 28, 28), 10).module)
    assert not is_piecewise_linear(LeNetRMQM(activation="tanh").build((1, 28, 28), 10).module)


def test_a_subclass_of_a_known_module_is_not_taken_for_it() -> None:
    class Squared(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).square()

    assert not is_piecewise_linear(nn.Sequential(Squared(2, 3), nn.ReLU()))


# Degenerate metrics, numbers that are not finite


def test_degenerate_points_are_counted_and_have_no_curvature() -> None:
    """(x^2, y^2, x y^2): the metric has rank 1 where y is 0, 0 in the origin, and 2 where only x is 0."""

    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0].square(), x[:, 1].square(), x[:, 0] * x[:, 1].square()], 1)

    x = torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.0, 0.5], [3.0, -1.0], [-2.0, 0.0]], dtype=torch.float64)
    found = one(scalar_curvature(f, x))
    assert found.rank.tolist() == [2, 0, 2, 2, 1]
    assert np.isnan(found.value[found.rank < 2]).all()
    assert np.isfinite(found.value[found.rank == 2]).all()
    assert (found.log_volume[found.rank < 2] == -np.inf).all()
    assert found.n_degenerate == 2
    assert found.reason == "2 of 5 points have a metric of rank < 2: no curvature"


def test_the_rank_counts_singular_values_above_the_rounding_of_the_type() -> None:
    """diag(1, eps) in three dimensions; controls: a little above the bound, and the other type."""

    def stretched(eps: float) -> Any:
        return lambda x: torch.cat([x[:, :1], eps * x[:, 1:], (x[:, :1] * eps).square()], 1)

    for dtype in (torch.float64, torch.float32):
        bound = 3 * torch.finfo(dtype).eps
        for factor, rank in ((0.9, 1), (1.1, 2)):
            found = one(scalar_curvature(stretched(factor * bound), 0 * points(3), dtype=dtype))
            assert (found.rank == rank).all()
    found = one(scalar_curvature(stretched(1e-9), points(3)))
    assert (found.rank == 2).all()
    assert (one(scalar_curvature(stretched(1e-9), points(3), dtype=torch.float32)).rank == 1).all()


def test_points_that_are_not_finite_are_counted_and_spoil_no_other() -> None:
    net = perceptron(nn.GELU).eval()
    x = points(12)
    expected = one(scalar_curvature(net, x))
    x[3, 0], x[7, 1] = torch.nan, torch.inf
    found = one(scalar_curvature(net, x))
    bad = np.isin(np.arange(12), [3, 7])
    assert found.n_not_finite == 2
    assert found.n_degenerate == 0
    assert found.reason == "2 of 12 points have derivatives that are not finite"
    assert np.isnan(found.value[bad]).all()
    assert np.isnan(found.log_volume[bad]).all()
    np.testing.assert_allclose(found.value[~bad], expected.value[~bad], rtol=1e-10)


def test_lengths_that_squares_would_over_or_underflow_are_no_problem() -> None:
    """R of c f is R / c^2: c = 1e120 and 1e-120, of which the fourth power is no float64."""
    net, x = perceptron(nn.GELU).eval().requires_grad_(False), points(5)
    expected = one(scalar_curvature(net, x))
    for c in (1e120, 1e-120):
        found = one(scalar_curvature(lambda x, c=c: c * net(x), x))
        np.testing.assert_allclose(found.value * c * c, expected.value, rtol=1e-9)
        np.testing.assert_allclose(found.log_volume - 2 * np.log(c), expected.log_volume, rtol=1e-9)


# Several layers, chunks, budgets


def image_maps() -> LayerMaps:
    torch.manual_seed(2)
    net = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)),
    ).double()
    return LayerMaps(net.eval(), ["0", "2", "5", "7"], (1, 8, 8), limit=64)


def test_layers_of_one_pass_are_those_taken_one_by_one() -> None:
    """The first is linear, the last has two outputs; both say so."""
    maps, x = image_maps(), points(9, 1, 8, 8)
    u, v = points(2, 1, 8, 8, seed=1)
    found = scalar_curvature(maps, x, u, v)
    assert isinstance(found, list)
    assert [layer.n_outputs for layer in found] == [maps.n_outputs for maps in maps.maps]
    for number, layer in enumerate(found):
        alone = one(scalar_curvature(lambda x, number=number: maps(x)[number], x, u, v))
        np.testing.assert_allclose(layer.value, alone.value, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.log_volume, alone.log_volume, rtol=1e-9, atol=1e-12)
        assert layer.reason == alone.reason
    assert [layer.piecewise_linear for layer in found] == [True, False, False, False]
    assert [layer.reason for layer in found] == [FLAT, "", "", EUCLIDEAN]


def test_results_do_not_depend_on_the_chunks_and_progress_tells_of_them() -> None:
    net, x = perceptron(nn.GELU).eval(), points(50)
    seen: list[tuple[int, int]] = []
    whole = one(scalar_curvature(net, x, progress=lambda done, total, note="": seen.append((done, total))))
    assert seen == [(50, 50)]
    seen.clear()
    pieces = one(
        scalar_curvature(net, x, memory=100_000, progress=lambda done, total, note="": seen.append((done, total)))
    )
    assert len(seen) > 3
    assert seen[-1] == (50, 50)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    np.testing.assert_allclose(pieces.value, whole.value, rtol=1e-10)


def test_weights_do_not_count_as_memory_of_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of 4 M weights and 2,000 units; chunks stay small where they fit the cache, whatever is granted."""
    net = nn.Sequential(nn.Linear(2, 2000), nn.GELU(), nn.Linear(2000, 2000), nn.GELU(), nn.Linear(2000, 3)).eval()
    one(scalar_curvature(net, points(3), memory=10_000_000))
    with pytest.raises(UserError, match="the memory budget is 1\\.00 MB"):
        scalar_curvature(net, points(3), memory=1_000_000)
    seen: list[int] = []
    monkeypatch.setattr("rra_cli.pullback.prepared._CHUNK", 10_000_000)
    scalar_curvature(net, points(30), progress=lambda done, total, note="": seen.append(done))
    assert len(seen) > 2


def test_a_float32_network_is_taken_as_it_is_unless_asked_and_stays_as_it_was() -> None:
    net = perceptron(nn.GELU).float()
    net.train()
    for part in net.modules():
        part.training = True
    x = points(10)
    single = one(scalar_curvature(net, x))
    double = one(scalar_curvature(net, x, dtype=torch.float64))
    error = np.abs(single.value - double.value) / np.abs(double.value)
    assert 1e-9 < error.max() < 1e-2
    assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in net.parameters())
    assert all(part.training for part in net.modules())
    maps = LayerMaps(net.eval(), ["4"], (2,))
    (from_maps,) = scalar_curvature(maps, x, dtype=torch.float64)  # type: ignore[misc]
    np.testing.assert_allclose(from_maps.value, double.value, rtol=1e-12)
    assert maps.dtype == torch.float32


def test_numpy_arrays_and_tensors_are_one() -> None:
    net, x = perceptron(nn.GELU, n_in=5).eval(), points(6, 5)
    u, v = points(2, 5, seed=3)
    expected = one(scalar_curvature(net, x, u, v))
    found = one(scalar_curvature(net, x.numpy(), u.numpy(), v.expand(6, 5).numpy()))
    assert np.array_equal(found.value, expected.value)


def test_a_metric_per_output_has_its_curvature_multiplied() -> None:
    """g / n: as of f / sqrt(n)."""
    net, x = perceptron(nn.GELU).eval().requires_grad_(False), points(6)
    found = one(scalar_curvature(net, x)).per_output()
    expected = one(scalar_curvature(lambda x: net(x) / 8**0.5, x))
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-10)
    np.testing.assert_allclose(found.log_volume, expected.log_volume, rtol=1e-10)


@pytest.mark.long
def test_a_resnet_bends_planes_of_images() -> None:
    """ResNet20-GELU in float32 against float64; the ReLU network is flat."""
    torch.manual_seed(4)
    x, u, v = points(2, 3, 32, 32), *points(2, 3, 32, 32, seed=5)
    net = ResNet20(activation="gelu").build((3, 32, 32), 10).module.eval()
    maps = LayerMaps(net, ["stage1.block3", "gap"], (3, 32, 32))
    single, double = scalar_curvature(maps, x, u, v), scalar_curvature(maps, x, u, v, dtype=torch.float64)
    for rough, exact in zip(single, double, strict=True):  # type: ignore[arg-type]
        np.testing.assert_allclose(rough.value, exact.value, rtol=1e-2)
        assert (exact.value != 0).all()
    relu = ResNet20().build((3, 32, 32), 10).module.eval()
    assert one(scalar_curvature(relu, x, u, v)).reason == FLAT


# The user's faults


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.ones(3, 5, dtype=torch.int64)}, "the points are int64 numbers; expected floating-point inputs"),
        ({"x": torch.ones(5)}, "the points have shape (5,); expected (n, ...)"),
        ({"x": torch.ones(0, 5)}, "the points have shape (0, 5); expected (n, ...)"),
        ({"u": None, "v": None}, "the inputs have 5 numbers and two directions are needed; got u=None, v=None"),
        ({"v": None}, "two directions are needed; got u=(5,), v=None"),
        ({"u": torch.ones(4)}, "u has shape (4,); expected (5,), or (3, 5) for one per point"),
        ({"v": torch.ones(2, 5)}, "v has shape (2, 5); expected (5,), or (3, 5) for one per point"),
        ({"v": torch.full((5,), torch.nan)}, "v has numbers that are not finite"),
        ({"v": 3 * torch.arange(1.0, 6.0)}, "u and v are parallel, or one of them is zero: they span no plane"),
        ({"u": torch.zeros(5)}, "u and v are parallel, or one of them is zero: they span no plane"),
        ({"memory": 2000}, "here, the memory budget is 2.00 kB"),
        ({"f": lambda x: x.argmax(1)}, "the map gives int64 numbers, which have no derivative"),
        ({"f": nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))}, "is batch norm in training mode"),
        ({"f": nn.Sequential(nn.Linear(5, 4), nn.Dropout())}, "is dropout in training mode"),
        ({"f": lambda x: x * torch.rand_like(x)}, "the second derivatives of this map cannot be taken"),
    ],
)
def test_a_request_that_cannot_be_met_says_why_and_what_to_do(arguments: dict[str, Any], message: str) -> None:
    given = {"f": perceptron(nn.GELU, n_in=5).eval(), "x": torch.ones(3, 5), "u": torch.arange(1.0, 6.0)}
    given |= {"v": torch.eye(5)[0], **arguments}
    f, x = given.pop("f"), given.pop("x")
    with pytest.raises(UserError, match=re.escape(message)) as fault:
        scalar_curvature(f, x, **given)
    assert fault.value.hint


def test_a_curve_and_a_degenerate_layer_have_one_reason() -> None:
    found = one(scalar_curvature(perceptron(nn.GELU, n_out=1).eval(), points(4)))
    assert found.reason == DEGENERATE


def test_a_sharp_network_in_single_precision_is_no_wrong_rule() -> None:
    """Weights of 500: differences of float32 would see steps where there are slopes. The check takes float64."""
    torch.manual_seed(6)
    net = nn.Sequential(nn.Linear(2, 50), nn.Sigmoid()).eval().requires_grad_(False)
    net[0].weight.data *= 700
    net[0].bias.data *= 700
    maps = LayerMaps(net, ["1"], (2,))
    x = points(400)
    for f in (net, maps):
        found = scalar_curvature(f, x)
        single = found[0] if isinstance(found, list) else found
        double = one(scalar_curvature(net, x, dtype=torch.float64))
        usable = (single.rank == 2) & (double.rank == 2) & (double.log_volume > 0)
        assert usable.sum() > 20
        error = np.abs(single.value - double.value)[usable] / np.abs(double.value[usable])
        assert np.median(error) < 1e-2


def test_maps_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LayerMaps` are measured block by block; other networks may change from call to call."""
    from rra_cli.pullback import curvature

    calls: list[int] = []
    checked = curvature.checked_way
    monkeypatch.setattr(curvature, "checked_way", lambda *rows: calls.append(1) or checked(*rows))
    net = perceptron(nn.GELU).eval()
    maps = LayerMaps(net, ["1"], (2,))
    for f, expected in ((maps, 1), (net, 3)):
        calls.clear()
        values = [scalar_curvature(f, points(4)) for _ in range(3)]
        assert len(calls) == expected
        assert len(values) == 3
