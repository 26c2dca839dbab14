"""All pairs at once: the bits of listed pairs, whatever is shared; and the order in which they are put."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import assert_exact, beginning_with, gaussian, table, ulps
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors, resume
from rra_cli.neighbors.resume import Snapshots
from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.tiles import dense, order_kernels
from rra_cli.neighbors.tiles.dense import nearest_of_all
from rra_cli.neighbors.tiles.direct import Pairs, distances_of, nearest_of

FEATURES = [1, 16, 17, 33, 64, 112, 128, 129, 300]
ROWS = [1, 3, 127, 130, 259]  # one tile, and parts of the next


def as_rows(x: NDArray[Any]) -> Rows:
    return Rows(x, 1.0, np.zeros(x.shape[1]))


def listed(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """All distances `(n, m)` as those of listed pairs."""
    pairs = Pairs(np.arange(len(x) + 1) * len(y), np.tile(np.arange(len(y), dtype=np.int32), len(x)))
    return distances_of(as_rows(x), as_rows(y), pairs, memory=1 << 30).reshape(len(x), len(y))


def in_order(distances: NDArray[np.float64], own: NDArray[np.int64], k: int) -> Any:
    """The k nearest by (distance, id) without own ones."""
    distances = distances.copy()
    distances[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(distances, ids, 1)


def assert_same(found: Any, expected: Any) -> None:
    for one, two in zip(found, expected, strict=True):
        assert np.array_equal(one, two)


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def rounded_sum(d: NDArray[np.float64], start: float, fused: bool) -> float:
    """start + d0^2 + d1^2 + ..., rounded after every step, and after every square if not fused."""
    total = start
    for value in d:
        total = float(Fraction(value) ** 2 + Fraction(total)) if fused else total + float(value) * float(value)
    return total


def by_lanes(x: NDArray[np.float64], y: NDArray[np.float64], fused: bool) -> float:
    """The order of summation that `lane_kernels.py` states, one number after the other."""
    unit, total = min(128, -(-len(x) // 16) * 16), 0.0
    differences = np.pad(x - y, (0, -len(x) % unit))
    for start in range(0, len(differences), unit):
        part = differences[start : start + unit]
        whole = unit - unit % 32
        lanes = np.array([rounded_sum(part[lane:whole:32], 0.0, fused) for lane in range(32)])
        v0, v1, v2, v3 = lanes.reshape(4, 8)
        eight = (v0 + v1) + (v2 + v3)
        four = eight[:4] + eight[4:]
        two = four[:2] + four[2:]
        found = float(two[0] + two[1])
        if whole < unit:
            a, b, c, d = (rounded_sum(part[whole + lane :: 4], found if lane == 0 else 0.0, fused) for lane in range(4))
            found = (a + c) + (b + d)
        total += found
    return total


@pytest.mark.parametrize("d", FEATURES)
def test_the_order_of_summation_is_the_stated_one(d: int) -> None:
    x, y = gaussian(5, d), gaussian(4, d, seed=1)
    found = listed(x, y)
    either = [
        np.sqrt([[by_lanes(a, b, fused) for b in y] for a in x]) for fused in (True, False)
    ]  # a processor has one or the other
    assert any(np.array_equal(found, expected) for expected in either)


def test_another_order_has_other_bits() -> None:
    """Negative control: what the tests of equal bits would notice."""
    x, y = gaussian(5, 300), gaussian(4, 300, seed=1)
    one_by_one = np.sqrt([[rounded_sum(a - b, 0.0, True) for b in y] for a in x])
    assert not np.array_equal(listed(x, y), one_by_one)
    assert np.allclose(listed(x, y), one_by_one, rtol=1e-13, atol=0)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_bits_of_listed_pairs(d: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the threads, the memory, the columns read at a time and the rows that take part."""
    x: NDArray[Any] = gaussian(ROWS[-1], d).astype(dtype)
    distances, rows = listed(x, x), as_rows(x)
    for n in ROWS[1:]:
        own = np.arange(n)
        for threads, memory, offset in [(1, 1 << 30, 0), (3, 1, 0), (3, 700_000, None), (1, 1, None)]:
            torch.set_num_threads(threads)
            found = nearest_of_all(rows.part(0, n), rows.part(0, n), own, n - 1, memory=memory, offset=offset)
            assert_same(found, in_order(distances[:n, :n], own, n - 1))
    for start, stop in [(0, 1), (5, 140), (128, 256), (258, 259)]:
        own = np.arange(start, stop)
        for offset in (start, None):
            found = nearest_of_all(rows.part(start, stop), rows, own, 20, memory=1 << 20, offset=offset)
            assert_same(found, in_order(distances[start:stop], own, 20))


def test_equals_the_sum_of_squares() -> None:
    for n, m in [(150, 5), (3, 131), (1, 1)]:
        x, y = gaussian(n, 200), gaussian(m, 200, seed=1)
        ids, found = nearest_of_all(as_rows(x), as_rows(y), np.full(n, -1), m, memory=1 << 30)
        true = np.take_along_axis(table(x, y), ids, 1)
        assert (np.abs(found - true) <= ulps(200) * np.spacing(true)).all()


def test_a_wrong_offset_is_noticed() -> None:
    """Negative control: pairs are compared once and written twice, so a wrong row there shows."""
    x = gaussian(300, 5)
    rows, own = as_rows(x), np.arange(7, 207)
    right = nearest_of_all(rows.part(7, 207), rows, own, 9, memory=1 << 20, offset=7)
    wrong = nearest_of_all(rows.part(7, 207), rows, own, 9, memory=1 << 20, offset=8)
    assert not np.allclose(right[1], wrong[1])


@pytest.mark.parametrize("scale", [1e-150, 1e-160, 1e-200, 1e-300])
def test_squares_that_underflow(scale: float) -> None:
    x = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0], [9.0, 0.0]]) * 2.0 ** np.floor(np.log2(scale))
    own = np.arange(4)
    assert_same(
        nearest_of_all(as_rows(x), as_rows(x), own, 3, memory=1 << 20, offset=0), in_order(listed(x, x), own, 3)
    )
    with np.errstate(under="ignore"):
        assert scale > 1e-165 or np.sqrt(((x[1] - x[0]) ** 2).sum()) != listed(x, x)[0, 1]  # what plain squares give


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_memory_map_equals_array(tmp_path: Path, dtype: type) -> None:
    x: NDArray[Any] = (gaussian(140, 700) * 50 + 100).clip(0, 255).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for memory in (1, 4_000_000):
        found = nearest_of_all(as_rows(mapped), as_rows(mapped), np.arange(140), 50, memory=memory, offset=0)
        assert_same(found, in_order(listed(x, x), np.arange(140), 50))


class Stop(Exception):
    """Interrupts a search."""


def test_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "EVERY", 0)
    monkeypatch.setattr(resume, "SHARE", np.inf)
    x, own, calls = gaussian(140, 900), np.arange(140), list[int]()
    add = dense.add_all_squares

    def counted(*given: Any) -> None:
        calls.append(given[-2])
        add(*given)

    def interrupted(done: int, total: int, note: str) -> None:
        if done == 512:
            raise Stop

    monkeypatch.setattr(dense, "add_all_squares", counted)
    expected = nearest_of_all(as_rows(x), as_rows(x), own, 70, memory=1, offset=0)
    whole, snapshots = len(calls), Snapshots(tmp_path, "sums")
    with pytest.raises(Stop):
        nearest_of_all(as_rows(x), as_rows(x), own, 70, memory=1, offset=0, progress=interrupted, snapshots=snapshots)
    calls.clear()
    found = nearest_of_all(as_rows(x), as_rows(x), own, 70, memory=1, offset=0, snapshots=snapshots)
    assert_same(found, expected)
    assert len(calls) == whole - whole * 3 // 8  # of the eight units of columns three were kept
    # What another number of rows has kept is not taken up.
    part = as_rows(x[:130])
    found = nearest_of_all(part, part, own[:130], 70, memory=1, offset=0, snapshots=snapshots)
    assert_same(found, in_order(listed(x[:130], x[:130]), own[:130], 70))


@pytest.mark.parametrize("memory", [1, 300_000, 1 << 30])
@pytest.mark.parametrize("k", [1, 150, 299])
def test_a_search_that_compares_all_pairs(memory: int, k: int) -> None:
    x = gaussian(300, 40)
    with beginning_with("directly"):
        graph = exact_neighbors(x, k, memory=memory)
        assert_exact(graph, x, k)
        assert_exact(
            exact_neighbors(x, k, reference=gaussian(310, 40, seed=1), memory=memory), x, k, gaussian(310, 40, 1)
        )
    with beginning_with("2 x int8"):
        assert_same((graph.indices, graph.distances), (lambda g: (g.indices, g.distances))(exact_neighbors(x, k)))


@st.composite
def many_distances(draw: st.DrawFn) -> NDArray[np.float64]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 6)), draw(st.integers(2, 400))
    match draw(st.sampled_from(["apart", "ties", "equal", "outlier", "tails", "two", "tiny"])):
        case "apart":
            return rng.random(shape) + 5
        case "ties":
            return rng.integers(0, 9, shape).astype(float)
        case "equal":
            return np.full(shape, 1 / 3)
        case "outlier":  # all others in one bucket
            return np.where(rng.random(shape) < 0.01, 1e9, 1 + 1e-9 * rng.random(shape))
        case "tails":
            return np.abs(rng.standard_cauchy(shape)) ** 3
        case "two":
            return 1 + 2.0**-52 * rng.integers(0, 3, shape)
    return rng.integers(0, 50, shape) * 5e-324


@settings(max_examples=150, deadline=None)
@given(many_distances(), st.data())
def test_order_is_that_of_a_stable_sort(distances: NDArray[np.float64], data: st.DataObject) -> None:
    n, m = distances.shape
    own = np.array(data.draw(st.lists(st.integers(-1, m - 1), min_size=n, max_size=n)))
    k = data.draw(st.integers(1, m - 1))
    ids, lengths = np.empty((n, k), np.int64), np.empty((n, k))
    order_kernels.take_nearest_of_all(distances, own, ids, lengths, 0, n)
    assert_same((ids, lengths), in_order(distances, own, k))
    pairs = Pairs(np.arange(n + 1) * m, np.tile(np.arange(m, dtype=np.int32) * 3, n))
    ids, lengths = nearest_of(pairs, distances.ravel(), k)
    assert_same((ids // 3, lengths), in_order(distances, np.full(n, -1), k))
