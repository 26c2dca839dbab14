"""Token poolings on torch tensors and numpy arrays, and the layers that they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rra_cli.activations.pooling import Pooling, pool_array, pool_tensor, pooled_shape

TOKENS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("none", [list(range(12)), list(range(12, 24))]),
        ("cls", [[0, 1, 2, 3], [12, 13, 14, 15]]),
        ("last", [[8, 9, 10, 11], [20, 21, 22, 23]]),
        ("mean", [[4, 5, 6, 7], [16, 17, 18, 19]]),
    ],
)
def test_pooling_of_tokens(pool: str, expected: list[list[int]]) -> None:
    pooling = Pooling(pool)
    np.testing.assert_array_equal(pool_array(TOKENS, pooling), expected)
    np.testing.assert_array_equal(pool_tensor(torch.from_numpy(TOKENS), pooling).numpy(), expected)
    assert np.prod(pooled_shape((3, 4), pooling)) == np.shape(expected)[1]


@pytest.mark.parametrize("pool", ["none", "cls", "mean", "last"])
@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4, 4), (2,), (2, 3, 2, 2, 2)])
def test_layers_without_tokens_are_flattened_and_otherwise_left_alone(pool: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = values.reshape(2, -1)
    np.testing.assert_array_equal(pool_array(values, Pooling(pool)), expected)
    np.testing.assert_array_equal(pool_tensor(torch.from_numpy(values), Pooling(pool)).numpy(), expected)
    assert pooled_shape(shape[1:], Pooling(pool)) == shape[1:]


@pytest.mark.parametrize("pool", ["none", "cls", "last"])
def test_no_copy_of_a_memory_map(pool: str, tmp_path: object) -> None:
    np.save(f"{tmp_path}/a.npy", TOKENS)
    mapped = np.load(f"{tmp_path}/a.npy", mmap_mode="r")
    assert np.shares_memory(pool_array(mapped, Pooling(pool)), mapped)
    # Negative control: a mean is new numbers.
    assert not np.shares_memory(pool_array(mapped, Pooling("mean")), mapped)


def test_mean_does_not_overflow_or_round_in_half_precision() -> None:
    values = np.full((2, 300, 2), 60000, dtype=np.float16)  # the sum of two is beyond float16
    assert pool_array(values, Pooling("mean")).dtype == np.float16
    np.testing.assert_array_equal(pool_array(values, Pooling("mean")), np.float16(60000))
    np.testing.assert_array_equal(pool_tensor(torch.from_numpy(values), Pooling("mean")).numpy(), np.float16(60000))


def test_mean_in_blocks_equals_the_mean_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 7, 3)).astype(np.float32)
    monkeypatch.setattr("rra_cli.activations.pooling._BLOCK_BYTES", 1000)
    np.testing.assert_array_equal(
        pool_array(values, Pooling("mean")), values.astype(np.float64).mean(axis=1).astype(np.float32)
    )


def test_unknown_pooling_and_meaningless_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no pooling 'median'; known: none, avg, max, cls, mean, last"):
        Pooling("median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pooling 'cls' has no window, so its scale is 1, not 4"):
        Pooling("cls", 4)
