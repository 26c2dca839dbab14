"""How volume elements are cut into passes changes nothing; what is reported beside them; memory; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from volume_maps import IMAGE, gelu_network, images, surface

from rra_cli.errors import UserError
from rra_cli.pullback.layer_map import LayerMaps
from rra_cli.pullback.log_volume import grams_of_rows, log_volumes
from rra_cli.pullback.passes import column_blocks, graph_bytes, has_forward_mode, repeated, row_blocks
from rra_cli.pullback.plan import Job, plan
from rra_cli.pullback.volume import Collected, Volumes, volume_elements


def equal(found: Volumes, expected: Volumes, rtol: float = 1e-11) -> None:
    np.testing.assert_allclose(found.log_volume, expected.log_volume, rtol=rtol)
    assert found.rank.tolist() == expected.rank.tolist()
    assert found.n_used.tolist() == expected.n_used.tolist()


class NoForwardMode(nn.Module):
    """The identity by an operation that has no forward-mode derivative."""

    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values: torch.Tensor) -> torch.Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
            return gradient

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.Plain.apply(values)


# How the work is cut


@pytest.mark.parametrize("layers", [["10"], ["2"], ["2", "7", "10"], ["2", "5", "0", "7", "10"]])
def test_neither_the_budget_nor_the_other_points_change_the_result(layers: list[str]) -> None:
    maps = LayerMaps(gelu_network(), layers, IMAGE, features="full", dtype=torch.float64)
    points = images(5)
    expected = volume_elements(maps, points)
    tight = volume_elements(maps, points, memory=1_200_000)
    for single in range(5):
        for number, alone in enumerate(volume_elements(maps, points[single : single + 1])):
            assert alone.log_volume[0] == pytest.approx(expected[number].log_volume[single], rel=1e-11)
    for found, wanted in zip(tight, expected, strict=True):
        equal(found, wanted)


def test_several_layers_from_one_call_are_those_of_single_calls() -> None:
    points = images(3)
    together = volume_elements(LayerMaps(gelu_network().double(), ["2", "7", "10"], IMAGE), points)
    for name, found in zip(["2", "7", "10"], together, strict=True):
        assert found.layer == name
        equal(volume_elements(LayerMaps(gelu_network().double(), [name], IMAGE), points)[0], found)


@pytest.mark.parametrize("layer", ["2", "7", "10"])
def test_rows_and_columns_give_the_same_jacobian(layer: str) -> None:
    maps = LayerMaps(gelu_network().double(), [layer], IMAGE, features="full").fast
    points = images(2)
    n_outputs = maps.maps[0].n_outputs
    assert has_forward_mode(maps, points[:1])
    columns = torch.cat([blocks[0] for _, blocks in column_blocks(maps, points, 7)], dim=1)
    inputs = repeated(points, 5).requires_grad_()
    rows = torch.cat([block for _, block in row_blocks(maps(inputs)[0], inputs, 2)], dim=1)
    assert columns.shape == (2, 72, n_outputs)
    torch.testing.assert_close(rows, columns.mT, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("layer", ["2", "10"])
def test_a_gram_that_is_added_up_is_that_of_the_whole_jacobian(layer: str) -> None:
    maps = LayerMaps(gelu_network().double(), [layer], IMAGE, features="full")
    points = images(2)
    columns = torch.cat([blocks[0] for _, blocks in column_blocks(maps, points, 72)], dim=1)
    added = Collected(2, 72, maps.maps[0].n_outputs, held=False)
    held = Collected(2, 72, maps.maps[0].n_outputs, held=True)
    for start in range(0, 72, 9):
        for collected in (added, held):
            collected.add(start, columns[:, start : start + 9])
    torch.testing.assert_close(added.result()[0], columns.mT @ columns)
    torch.testing.assert_close(held.result()[0], columns @ columns.mT)


def test_networks_without_forward_mode_go_by_rows() -> None:
    network = gelu_network()
    blocked = nn.Sequential(NoForwardMode(), network).eval()
    points = images(2)
    maps = LayerMaps(blocked, ["1.2", "1.10"], IMAGE, features="full", dtype=torch.float64)
    assert not has_forward_mode(maps, points[:1])
    expected = volume_elements(LayerMaps(network, ["2", "10"], IMAGE, features="full", dtype=torch.float64), points)
    for found, wanted in zip(volume_elements(maps, points), expected, strict=True):
        equal(found, wanted, rtol=1e-6)


# The plan


def planned(shapes: list[int], d: int, *, memory: int = 1 << 30, n_points: int = 1000, **options) -> list[Job]:
    maps = LayerMaps(nn.Sequential(*[nn.Identity()] * 1).eval(), ["0"], (2,))
    layers = [type(maps.maps[0])(str(n), "", (n,), (1, 1), n) for n in shapes]
    options = {"graph": 1000, "dtype": torch.float32, "device": "cpu", "forward_mode": lambda: True} | options
    return plan(layers, d, n_points, memory=memory, **options)


def test_rows_or_columns_by_their_number() -> None:
    assert [job.by_rows for job in planned([512], 3072)] == [True]
    assert [job.by_rows for job in planned([250], 2)] == [False]
    assert [job.by_rows for job in planned([250], 2, forward_mode=lambda: False)] == [True]
    several = planned([512] * 16, 3072)
    assert [(job.by_rows, job.layers) for job in several] == [(False, tuple(range(16)))], "columns serve all layers"
    assert [job.layers for job in planned([512] * 4, 3072)] == [(0, 1, 2, 3)]


def test_where_the_jacobian_does_not_fit_its_gram_is_added_up() -> None:
    held, added = planned([30], 200_000, memory=1 << 30)[0], planned([30], 200_000, memory=20_000_000)[0]
    assert held.by_rows
    assert held.held == (True,)
    assert not added.by_rows
    assert added.held == (False,)


def test_memory_does_not_decide_below_one_point_and_a_batch_grows_with_it() -> None:
    small, large = planned([512], 3072, memory=30_000_000)[0], planned([512], 3072, memory=3_000_000_000)[0]
    assert small.points == 1
    assert 100 < large.points < 3_000_000_000 / (512 * 3072 * 4 + 512 * 512 * 8), "its Jacobian and its Gram at least"


def test_what_does_not_fit_is_refused_with_what_to_lower() -> None:
    with pytest.raises(UserError, match=r"one point of layer '65536' .*Gram of 3072 x 3072.* MB may be taken") as error:
        planned([65536], 3072, memory=100_000_000)
    assert error.value.hint is not None
    assert error.value.hint.startswith("lower the size of the inputs, pool the layer")
    maps = LayerMaps(gelu_network(), ["10"], IMAGE)
    with pytest.raises(UserError, match="may be taken"):
        volume_elements(maps, images(1), memory=1000)


def test_the_graph_of_a_forward_pass_is_counted() -> None:
    network = nn.Sequential(nn.Linear(10, 100), nn.Tanh(), nn.Linear(100, 5)).eval()
    maps = LayerMaps(network, ["2"], (10,))
    counted = graph_bytes(maps, torch.zeros(4, 10), [*maps.module.parameters()])
    assert 400 <= counted <= 600, "the 100 values of the tanh and the input, in float32"


def test_memory_does_not_grow_with_the_number_of_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graphs alive at a time are those of as many points as the budget allows, and of more where it allows more."""
    maps = LayerMaps(gelu_network(), ["10"], IMAGE)
    maps.fast  # noqa: B018 - made before it is watched
    alive: list[int] = []
    forward = LayerMaps.__call__

    def watched(self: LayerMaps, points: torch.Tensor) -> list[torch.Tensor]:
        alive.append(len(points))
        return forward(self, points)

    monkeypatch.setattr(LayerMaps, "__call__", watched)

    def most(n: int, memory: int) -> int:
        alive.clear()
        volume_elements(maps, images(n), memory=memory)
        return max(alive)

    budget = 1_000_000
    assert most(100, budget) == most(300, budget) < 100
    assert most(300, 4 * budget) > most(300, budget), "the control"


# What is reported


def test_logarithms_and_width() -> None:
    torch.manual_seed(0)
    maps = LayerMaps(nn.Sequential(nn.Linear(3, 40)).double().eval(), ["0"], (3,))
    found = volume_elements(maps, torch.randn(2, 3))[0]
    jacobian = maps.module[0].weight.numpy()
    np.testing.assert_allclose(found.log10, np.log10(np.sqrt(np.linalg.det(jacobian.T @ jacobian))))
    np.testing.assert_allclose(found.width_normalised, np.linalg.slogdet(jacobian.T @ jacobian / 40)[1] / 2)
    np.testing.assert_allclose(found.log_volume - found.width_normalised, 3 / 2 * math.log(40))
    assert (found.n_inputs, found.n_outputs, found.reasons) == (3, 40, ["", ""])
    assert found.spectrum is None


def test_top_counts_the_largest_values_only() -> None:
    maps = LayerMaps(gelu_network(), ["10"], IMAGE, dtype=torch.float64)
    whole = volume_elements(maps, images(2), spectrum=True)[0]
    assert whole.spectrum is not None
    some = volume_elements(maps, images(2), top=3)[0]
    np.testing.assert_allclose(some.log_volume, np.log(whole.spectrum[:, :3]).sum(axis=1), rtol=1e-10)
    assert (some.n_used.tolist(), some.rank.tolist()) == ([3, 3], [8, 8])
    equal(volume_elements(maps, images(2), top=1000)[0], whole)
    with pytest.raises(ValueError, match="top is 0"):
        volume_elements(maps, images(1), top=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n_outputs", "d"), [(50, 2), (2, 50)])
def test_rounding_errors_are_those_of_the_longer_side(dtype: torch.dtype, n_outputs: int, d: int) -> None:
    """Singular values 1 and s: s counts above 50 eps, whichever of both sides has the 50 numbers."""
    linear = nn.Linear(d, n_outputs, bias=False).to(dtype)
    for factor, rank in ((0.8, 1), (1.25, 2)):
        with torch.no_grad():
            linear.weight.zero_()
            linear.weight[0, 0], linear.weight[1, 1] = 1.0, factor * 50 * torch.finfo(dtype).eps
        found = volume_elements(LayerMaps(nn.Sequential(linear).eval(), ["0"], (d,)), torch.zeros(1, d))[0]
        assert found.rank.tolist() == [rank]


def test_a_gram_alone_does_not_tell_small_values_of_float64_from_zero() -> None:
    """Squared, 1e-9 is below the rounding of 1; 1e-7 is above it. With the matrix itself both are there."""
    for smallest, by_gram in ((1e-9, 1), (1e-7, 2)):
        matrices = torch.diag(torch.tensor([1.0, smallest], dtype=torch.float64))[None]
        grams = grams_of_rows(matrices)
        ranks = [int(log_volumes(grams, given, 1e-15, forward=torch.float64, top=1).rank) for given in (None, matrices)]
        assert ranks == [by_gram, 2]


def test_rank_0_is_missing_with_a_reason() -> None:
    """relu(x) is constant on the negative side."""
    network = nn.Sequential(nn.ReLU()).eval()
    points = torch.tensor([[-1.0, -2.0], [1.0, -1.0], [1.0, 2.0]])
    found = volume_elements(LayerMaps(network, ["0"], (2,)), points)[0]
    assert found.rank.tolist() == [0, 1, 2]
    assert np.isnan(found.log_volume[0])
    assert found.log_volume[1:].tolist() == [0, 0]
    assert found.reasons == ["rank 0: the layer is constant here", "", ""]


def test_a_jacobian_that_is_not_finite_is_missing_with_a_reason() -> None:
    maps = surface(lambda p: torch.stack([p[:, 0].sqrt(), p[:, 1]], dim=1))
    found = volume_elements(maps, torch.tensor([[0.0, 1.0], [4.0, 1.0]]), spectrum=True)[0]
    assert np.isnan(found.log_volume[0])
    assert found.log_volume[1] == pytest.approx(math.log(1 / 4))
    assert (found.rank.tolist(), found.n_used.tolist()) == ([-1, 2], [-1, 2])
    assert found.reasons == ["the Jacobian is not finite", ""]
    assert found.spectrum is not None
    assert np.isnan(found.spectrum[0]).all()


def test_points_from_numpy_of_another_type_and_progress() -> None:
    seen: list[tuple[int, int]] = []
    maps = LayerMaps(gelu_network(), ["7", "10"], IMAGE)
    points = images(4)
    found = volume_elements(maps, points.numpy(), progress=lambda done, total, note: seen.append((done, total)))
    for one, other in zip(found, volume_elements(maps, points.float()), strict=True):
        np.testing.assert_array_equal(one.log_volume, other.log_volume)
    assert seen[-1] == (4, 4)
    assert seen == sorted(seen)
    with pytest.raises(UserError, match="the points are int64 numbers"):
        volume_elements(maps, torch.zeros(1, *IMAGE, dtype=torch.int64))


def test_no_points_at_all() -> None:
    found = volume_elements(LayerMaps(gelu_network(), ["10"], IMAGE), images(0))[0]
    assert found.log_volume.shape == found.rank.shape == (0,)


def test_it_works_where_gradients_are_off_and_leaves_the_points_alone() -> None:
    points = images(2)
    expected = volume_elements(LayerMaps(gelu_network().double(), ["10"], IMAGE), points)[0]
    with torch.no_grad():
        equal(volume_elements(LayerMaps(gelu_network().double(), ["10"], IMAGE), points)[0], expected)
    assert not points.requires_grad
    equal(volume_elements(LayerMaps(gelu_network().double(), ["10"], IMAGE), points.requires_grad_())[0], expected)
    assert points.grad is None


def test_a_network_without_numbers_computes_in_the_type_that_is_asked_for() -> None:
    maps = LayerMaps(nn.Sequential(nn.Tanh()).eval(), ["0"], (2,), dtype=torch.float64)
    assert maps.dtype == torch.float64
    points = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    expected = float(torch.log(1 - torch.tanh(points) ** 2).sum())
    assert volume_elements(maps, points)[0].log_volume[0] == pytest.approx(expected, rel=1e-14)
