"""Direct differences: the same bits whatever the memory, threads and order of the pairs, and right at any offset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import gaussian, table, ulps
from numpy.typing import NDArray

from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.tiles import direct
from rra_cli.neighbors.tiles.direct import Pairs, distances_of, nearest_of

FEATURES = [1, 2, 15, 17, 128, 129, 300]


def as_rows(x: NDArray[Any]) -> Rows:
    return Rows(x, 1.0, np.zeros(x.shape[1]))


def all_pairs(n: int, m: int) -> Pairs:
    return Pairs(np.arange(n + 1) * m, np.tile(np.arange(m, dtype=np.int32), n))


def measured(x: NDArray[Any], y: NDArray[Any] | None = None, **options: Any) -> NDArray[np.float64]:
    """All distances `(n, m)`, of x to itself with both sides of a pair listed where there is no y."""
    other = x if y is None else y
    options = {"memory": 1 << 30, "offset": 0 if y is None else None} | options
    found = distances_of(as_rows(x), as_rows(other), all_pairs(len(x), len(other)), **options)
    return found.reshape(len(x), len(other))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("d", FEATURES)
def test_equals_the_sum_of_squares(d: int) -> None:
    x, y = gaussian(30, d), gaussian(25, d, seed=1)
    for found, true in [(measured(x), table(x, x)), (measured(x, y), table(x, y))]:
        assert (np.abs(found - true) <= ulps(d) * np.spacing(true)).all()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_same_bits_whatever_memory_cache_and_threads(d: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    x: NDArray[Any] = gaussian(40, d).astype(dtype)
    expected = measured(x)
    for count, memory, cache in [(1, 1, 1 << 23), (1, 1 << 30, 1), (3, 90_000, 1 << 23), (60, 1 << 30, 70_000)]:
        torch.set_num_threads(count)
        monkeypatch.setattr(direct, "_CACHE", cache)
        for options in ({}, {"offset": None}):
            assert np.array_equal(measured(x, memory=memory, **options), expected)


@pytest.mark.parametrize("d", FEATURES)
def test_symmetric_to_the_last_bit_mirrored_or_not(d: int) -> None:
    x = gaussian(30, d)
    for offset in (0, None):
        found = measured(x, offset=offset)
        assert np.array_equal(found, found.T)


def test_same_bits_for_any_choice_of_pairs() -> None:
    """Few pairs of few rows, pairs that only one side lists, and queries that are rows 7..27 of the references."""
    x, rng = gaussian(60, 150), np.random.default_rng(0)
    whole = measured(x)
    for share in (0.02, 0.3, 0.9):
        chosen = rng.random((20, 60)) < share
        starts = np.r_[0, np.cumsum(chosen.sum(axis=1))]
        pairs = Pairs(starts, np.nonzero(chosen)[1].astype(np.int32))
        queries = as_rows(x).part(7, 27)
        for offset in (7, None):
            found = distances_of(queries, as_rows(x), pairs, memory=1 << 20, offset=offset)
            assert np.array_equal(found, whole[7:27][chosen])


def test_a_wrong_offset_is_noticed() -> None:
    """Negative control: mirrored pairs are taken from the other row's list, so a wrong row there shows."""
    x = gaussian(40, 5)
    pairs = all_pairs(20, 40)
    right = distances_of(as_rows(x).part(7, 27), as_rows(x), pairs, memory=1 << 20, offset=7)
    wrong = distances_of(as_rows(x).part(7, 27), as_rows(x), pairs, memory=1 << 20, offset=8)
    assert not np.allclose(right, wrong)


def test_a_common_offset_costs_nothing() -> None:
    """3-4-5 triangle at 1e9: exact by difference, while the float64 expansion is off by more than a unit."""
    x = np.array([[0.0, 0.0], [3.0, 4.0]]) + 1e9
    assert measured(x)[0, 1] == 5.0
    y = x + 1 / 3
    assert measured(y)[0, 1] == pytest.approx(5.0, rel=1e-6)
    assert abs((y[0] @ y[0] + y[1] @ y[1] - 2 * y[0] @ y[1]) - 25) > 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_memory_map_equals_array(tmp_path: Path, dtype: type) -> None:
    x: NDArray[Any] = (gaussian(40, 700) * 50 + 100).clip(0, 255).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for memory in (1, 400_000, 1 << 30):
        assert np.array_equal(measured(mapped, memory=memory), measured(x))


@pytest.mark.parametrize("scale", [1e-150, 1e-160, 1e-200, 1e-300])
def test_squares_that_underflow(scale: float) -> None:
    x = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [1.0, 0.0]])
    power = 2.0 ** np.floor(np.log2(scale))
    assert np.array_equal(measured(x * power) / power, measured(x))
    with np.errstate(under="ignore"):
        assert scale > 1e-165 or np.sqrt(((x[1] * power) ** 2).sum()) != 5 * power  # what plain squares make of it


def test_ties_go_to_the_lower_id() -> None:
    pairs = Pairs(np.array([0, 5, 8]), np.array([1, 3, 4, 7, 9, 0, 2, 5], np.int32))
    ids, lengths = nearest_of(pairs, np.array([2.0, 1.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0]), 3)
    assert ids.tolist() == [[9, 3, 7], [0, 2, 5]]
    assert lengths.tolist() == [[0.5, 1.0, 1.0], [0.0, 0.0, 0.0]]
