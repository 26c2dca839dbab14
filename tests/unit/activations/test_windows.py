"""Means and maxima over windows: closed forms, the theorems that scales obey, and another library."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from rra_cli.activations.pooling import NAMES, Pooler, Pooling, pool_array, pool_tensor, pooled_shape
from rra_cli.activations.stream import Request, feature_shapes, stream

SPATIAL = [name for name in NAMES if name[:3] in ("avg", "max")]
SHAPES = [(3, 32, 32), (2, 8, 8), (2, 7, 5), (1, 1, 6), (2, 3, 16)]


def maps(shape: tuple[int, ...], n: int = 5, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def by_hand(values: NDArray[np.floating], pooling: Pooling) -> NDArray[np.float64]:
    """Window after window, in float64."""
    n, channels, height, width = values.shape
    side = pooling.scale or max(height, width)
    rows, columns = range(0, height, side), range(0, width, side)
    found = np.empty((n, channels, len(rows), len(columns)))
    for (i, top), (j, left) in product(enumerate(rows), enumerate(columns)):
        window = values[:, :, top : top + side, left : left + side].astype(np.float64)
        found[:, :, i, j] = window.mean(axis=(2, 3)) if pooling.pool == "avg" else window.max(axis=(2, 3))
    return found.reshape(n, -1)


@pytest.mark.parametrize("name", SPATIAL)
@pytest.mark.parametrize("shape", SHAPES)
def test_windows_are_those_made_by_hand_on_arrays_and_tensors_alike(name: str, shape: tuple[int, ...]) -> None:
    """A window that is larger than the map is the map; the last windows of an uneven map are what is left of it."""
    values, pooling = maps(shape), Pooling.named(name)
    found = pool_array(values, pooling)
    np.testing.assert_allclose(found, by_hand(values, pooling), rtol=0, atol=1e-6)
    assert found.dtype == np.float32
    assert found.shape == (5, np.prod(pooled_shape(shape, pooling)))
    for layout in (torch.contiguous_format, torch.channels_last):
        tensor = pool_tensor(torch.from_numpy(values).to(memory_format=layout), pooling)
        assert tensor.numpy().tobytes() == found.tobytes(), "to the last bit"


@pytest.mark.parametrize("side", [2, 4, 8])
def test_windows_are_those_of_torch(side: int) -> None:
    values = torch.from_numpy(maps((3, 32, 32)))
    for pool, theirs in (("avg", nn.functional.avg_pool2d), ("max", nn.functional.max_pool2d)):
        torch.testing.assert_close(pool_tensor(values, Pooling(pool, side)), theirs(values, side).flatten(1))  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["avg", "max"]), st.floats(-1e6, 1e6, width=32))
def test_a_constant_map_stays_what_it_is(height: int, width: int, pool: str, value: float) -> None:
    values = np.full((2, 3, height, width), value, np.float32)
    for side in (0, 2, 4, 8):
        np.testing.assert_allclose(pool_array(values, Pooling(pool, side)), np.float32(value), rtol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_two_by_two_twice_is_four_by_four_to_the_last_bit(pool: str) -> None:
    values = maps((3, 32, 32))
    twice = pool_array(pool_array(values, Pooling(pool, 2)).reshape(5, 3, 16, 16), Pooling(pool, 2))  # type: ignore[arg-type]
    assert twice.tobytes() == pool_array(values, Pooling(pool, 4)).tobytes()  # type: ignore[arg-type]
    # Negative control: maxima of means are not means of means.
    other = "max" if pool == "avg" else "avg"
    mixed = pool_array(pool_array(values, Pooling(pool, 2)).reshape(5, 3, 16, 16), Pooling(other, 2))  # type: ignore[arg-type]
    assert not np.allclose(mixed, twice)


def test_what_happens_within_a_window_is_not_seen_and_what_happens_across_is() -> None:
    values = maps((2, 8, 8))
    order = np.random.default_rng(1).permutation(16)
    within = values.copy()
    within[:, :, :4, 4:] = within[:, :, :4, 4:].reshape(5, 2, 16)[:, :, order].reshape(5, 2, 4, 4)
    np.testing.assert_array_equal(pool_array(within, Pooling("max", 4)), pool_array(values, Pooling("max", 4)))
    np.testing.assert_allclose(pool_array(within, Pooling("avg", 4)), pool_array(values, Pooling("avg", 4)), atol=1e-6)
    assert not np.array_equal(pool_array(within, Pooling("max", 2)), pool_array(values, Pooling("max", 2)))
    across = np.roll(values, 2, axis=3)
    assert not np.array_equal(pool_array(across, Pooling("max", 4)), pool_array(values, Pooling("max", 4)))
    np.testing.assert_array_equal(pool_array(across, Pooling("max", 0)), pool_array(values, Pooling("max", 0)))


def test_means_of_half_precision_neither_overflow_nor_round_on_the_way() -> None:
    values = np.full((2, 1, 64, 64), 60000, np.float16)  # the sum of two is beyond float16
    assert pool_array(values, Pooling("avg", 0)).dtype == np.float16
    np.testing.assert_array_equal(pool_array(values, Pooling("avg", 0)), np.float16(60000))
    for dtype in (torch.float16, torch.bfloat16):
        found = pool_tensor(torch.full((2, 1, 64, 64), 1.0, dtype=dtype), Pooling("avg", 0))
        assert found.dtype == dtype
        assert (found == 1).all()


def test_nan_is_never_lost_and_a_zero_has_one_sign() -> None:
    values = np.zeros((1, 1, 4, 4), np.float32)
    values[0, 0, 3, 3] = np.nan
    for pool in ("avg", "max"):
        assert np.isnan(pool_array(values, Pooling(pool, 2))[0]).tolist() == [False, False, False, True]  # type: ignore[arg-type]
        assert torch.isnan(pool_tensor(torch.from_numpy(values), Pooling(pool, 0))).all()  # type: ignore[arg-type]
    mixed = np.array([0.0, -0.0, -0.0, 0.0], np.float32).reshape(1, 1, 2, 2)
    assert not np.signbit(pool_array(mixed, Pooling("max", 2))).any()


def test_blocks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    values = maps((3, 8, 8), n=50)
    whole = pool_array(values, Pooling("avg", 4))
    monkeypatch.setattr("rra_cli.activations.pooling._BLOCK_BYTES", 5000)
    assert pool_array(values, Pooling("avg", 4)).tobytes() == whole.tobytes()


def test_one_batch_at_many_scales_is_each_scale_alone() -> None:
    values = torch.from_numpy(maps((3, 16, 16)))
    pooler = Pooler(values)
    for name in (*reversed(NAMES), "avg16", "avg64"):
        pooling = Pooling.named(name)
        assert torch.equal(pooler.at(pooling), pool_tensor(values, pooling)), name


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 7 * 7, 6))


def test_pooling_at_capture_is_pooling_of_the_dump_to_the_last_bit(tmp_path) -> None:
    """Every scale comes from the same forward pass, and the unpooled layer need not be among them."""
    net, inputs = network(), torch.from_numpy(maps((3, 16, 16), n=21))
    poolings = [Pooling.named(name) for name in ("none", *SPATIAL)]
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))

    def captured(folder: str, modules: list[str], chosen: list[Pooling]) -> dict[tuple[str, Pooling], NDArray]:
        requests = [Request(module, module, pooling) for module in modules for pooling in chosen]
        found = stream(net, lambda a, b: inputs[a:b], 21, requests, tmp_path / folder, batch_size=8, device="cpu")
        return {(request.module, request.pooling): np.load(result.path) for request, result in found.items()}

    all_of_them = captured("all", ["1", "2", "4"], poolings)
    assert len(calls) == 3, "one pass of three batches for nine poolings"
    pooled = captured("pooled", ["1", "2", "4"], poolings[1:])
    for (module, pooling), found in all_of_them.items():
        shape = {"1": (4, 14, 14), "2": (4, 7, 7), "4": (6,)}[module]
        expected = pool_array(all_of_them[module, Pooling()].reshape(21, *shape), pooling)
        assert found.tobytes() == expected.tobytes(), (module, pooling)
        if pooling != Pooling():
            assert pooled[module, pooling].tobytes() == found.tobytes()
    shapes = feature_shapes(
        net, [Request("2", "2", Pooling("avg", 4)), Request("4", "4", Pooling("max", 2))], (3, 16, 16)
    )
    assert list(shapes.values()) == [(4, 2, 2), (6,)]


def test_layers_without_maps_are_left_alone() -> None:
    for shape in [(7,), (5, 4), (2, 3, 4, 4)]:
        values = maps(shape)
        for name in SPATIAL:
            np.testing.assert_array_equal(pool_array(values, Pooling.named(name)), values.reshape(5, -1))
            assert pooled_shape(shape, Pooling.named(name)) == shape


def test_what_gives_equal_numbers_on_a_layer_is_told_as_one() -> None:
    """... and only that: where two poolings are told apart, their numbers differ."""
    for shape in [(4, 8, 8), (4, 7, 5), (4, 1, 1), (4, 1, 3), (6,)]:
        values = maps(shape)
        names = [name for name in NAMES if name not in ("cls", "mean", "last")]
        told: dict[Pooling, NDArray[np.float32]] = {}
        for name in [*names, "avg16", "max32"]:
            found = pool_array(values, Pooling.named(name))
            known = told.setdefault(Pooling.named(name).on(shape), found)
            assert known.tobytes() == found.tobytes(), (shape, name)
        for one, other in product(told, repeat=2):
            same = told[one].shape == told[other].shape and np.array_equal(told[one], told[other])
            assert same == (one == other)
    assert Pooling("cls").on((6,)) == Pooling("cls"), "stored under its own name as ever"


def test_names_of_poolings() -> None:
    for name in NAMES:
        assert Pooling.named(name).title == name
    assert Pooling.named("avg_global") == Pooling("avg", 0)
    assert Pooling.named("max16") == Pooling("max", 16)
    for name in ("avg", "avg_2", "av2", "avg2x", "avg0", "max02", "", "mean2", "median"):
        with pytest.raises(ValueError, match=rf"there is no pooling '{name}'; known: none, avg2, avg4, avg8, avg_glo"):
            Pooling.named(name)
    for scale in (1, 3, 6, -2):
        with pytest.raises(
            ValueError, match=rf"pooling 'avg' has scale {scale}; expected the side of its windows, a po"
        ):
            Pooling("avg", scale)
