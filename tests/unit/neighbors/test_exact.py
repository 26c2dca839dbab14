"""Exact search equals a float64 brute force by direct difference, whatever the data, its type and the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import PLANS, assert_exact, beginning_with, brute_force, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.exact import ExactEngine, exact_rows


@st.composite
def data_sets(draw: st.DrawFn) -> NDArray[Any]:
    """Gaussian, integer-valued (many ties) or clustered rows with offset, scale, duplicates and data types mixed."""
    n, d, seed = draw(st.integers(2, 60)), draw(st.integers(1, 12)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    match draw(st.sampled_from(["gaussian", "integers", "clusters", "duplicates"])):
        case "integers":
            x = rng.integers(0, 3, (n, d)).astype(float)
        case "clusters":
            x = x * 1e-6 + rng.normal(size=(3, d))[rng.integers(0, 3, n)]
        case "duplicates":
            x = x[rng.integers(0, max(1, n // 3), n)]
    x += draw(st.sampled_from([0.0, 1.0, 1e4]))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    if dtype != np.float16:
        x *= draw(st.sampled_from([1.0, 1e-15, 1e15]))
    return x.astype(dtype)


PLAN = st.sampled_from(sorted(PLANS))
MEMORY = st.sampled_from([1, 10_000, 100_000, None])


@st.composite
def cuts(draw: st.DrawFn) -> dict[str, int | None]:
    """Rows of a panel and of a tile, and how many places a list has beyond k: few, so that lists overflow."""
    return {
        "panel": draw(st.sampled_from([None, 8, 24])),
        "tile": draw(st.sampled_from([None, 8, 16])),
        "spare": draw(st.sampled_from([None, 2, 9])),
    }


@settings(max_examples=150, deadline=None)
@given(data_sets(), PLAN, cuts(), MEMORY, st.data())
def test_equals_brute_force(
    x: NDArray[Any], plan: str, cut: dict[str, int | None], memory: int | None, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(x) - 1))
    with beginning_with(plan, **cut):
        assert_exact(exact_neighbors(x, k, memory=memory), x, k)


@settings(max_examples=60, deadline=None)
@given(data_sets(), st.integers(1, 20), PLAN, cuts(), MEMORY, st.data())
def test_equals_brute_force_against_a_reference(
    x: NDArray[Any], n: int, plan: str, cut: dict[str, int | None], memory: int | None, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(x)))
    queries = np.concatenate([x[: n // 2], x[: n - n // 2] * x.dtype.type(1.5)])
    with beginning_with(plan, **cut):
        assert_exact(exact_neighbors(queries, k, reference=x, memory=memory), queries, k, x)


@settings(max_examples=60, deadline=None)
@given(data_sets(), PLAN, cuts(), MEMORY, st.data())
def test_shards_make_up_the_graph_to_the_last_bit(
    x: NDArray[Any], plan: str, cut: dict[str, int | None], memory: int | None, data: st.DataObject
) -> None:
    k, start = data.draw(st.integers(1, len(x) - 1)), data.draw(st.integers(0, len(x) - 1))
    stop = data.draw(st.integers(start + 1, len(x)))
    whole = exact_neighbors(x, k)
    with beginning_with(plan, **cut):
        ids, distances = exact_rows(x, k, start, stop, memory=memory)
    assert np.array_equal(ids, whole.indices[start:stop])
    assert np.array_equal(distances, whole.distances[start:stop])


def with_dominating_column() -> NDArray[np.float64]:
    x = gaussian(200, 10)
    x[:, 0] *= 1e8
    return x


def with_zero_rows_and_constant_columns() -> NDArray[np.float64]:
    x = gaussian(200, 10)
    x[:, 3], x[:, 7] = 5.0, -1e4
    x[[7, 90, 91]] = 0
    return x


def with_duplicates() -> NDArray[np.float64]:
    x = gaussian(200, 10)
    x[:80], x[150:170] = x[0], x[199]
    return x


HARD: dict[str, tuple[NDArray[Any], int]] = {
    "common offset": (gaussian(300, 20) + 1e4, 10),
    "common offset float32": ((gaussian(300, 20) + 1e4).astype(np.float32), 10),
    "more duplicates than k": (with_duplicates(), 30),
    "all rows equal": (np.full((40, 5), 0.1), 7),
    "two distinct rows": (np.repeat([[0.0, 1.0], [1.0, 0.1]], 20, axis=0), 25),
    "near-duplicates": (np.concatenate([gaussian(150, 20), gaussian(150, 20) * (1 + 1e-6)]), 10),
    "simplex": (np.eye(150), 20),
    "shifted simplex": (np.eye(150) * 0.3 + 1e4, 20),
    "scale 1e15": (gaussian(200, 10) * 1e15, 10),
    "scale 1e-15": (gaussian(200, 10) * 1e-15, 10),
    "dominating column": (with_dominating_column(), 10),
    "one far outlier": (np.concatenate([gaussian(200, 10), np.full((1, 10), 1e9)]), 10),
    "zero rows, constant columns": (with_zero_rows_and_constant_columns(), 10),
    "tiny cluster beside large values": (np.concatenate([gaussian(100, 5) * 1e-150, np.ones((1, 5))]), 10),
    "N = 2": (gaussian(2, 5), 1),
    "k = N - 1": (gaussian(200, 20), 199),
    "k beyond what is always direct": (gaussian(400, 20), 300),
    "d = 1": (gaussian(200, 1), 30),
    "grid with rounded ties": (np.stack(np.meshgrid(*[np.arange(5) * 0.1] * 3), -1).reshape(-1, 3), 30),
    "plus and minus zero": (np.where(gaussian(60, 2) > 0, 0.0, -0.0), 8),
    "negative integers": (np.random.default_rng(0).integers(-128, 128, (200, 3), dtype=np.int8), 20),
    "pixels": (np.random.default_rng(0).integers(0, 256, (200, 3), dtype=np.uint8), 20),
    "booleans": (np.random.default_rng(0).integers(0, 2, (100, 6)) > 0, 20),
    "big-endian": (gaussian(100, 5).astype(">f4"), 10),
    "transposed": (gaussian(5, 100).T, 10),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("plan", PLANS)
def test_hard_cases(name: str, plan: str) -> None:
    x, k = HARD[name]
    plain = x.astype(np.float64)  # numpy itself cannot subtract booleans
    with beginning_with(plan):
        assert_exact(exact_neighbors(x, k), plain, k)
    with beginning_with(plan, panel=64, tile=32):
        assert_exact(exact_neighbors(x, k, memory=300_000), plain, k)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("size", [1e-19, 1e-22, 1e-30, 1e-160, 1e-300])
def test_small_values_between_large_ones(plan: str, size: float) -> None:
    """Their squares, or those of what rounding leaves out, underflow in single or in double precision."""
    x = gaussian(300, 1) * size
    x[[0, 299]] = [[1.0], [-1.0]]
    with beginning_with(plan, panel=64, tile=32):
        graph = exact_neighbors(x, 3)
    inner = x[1:-1] / 2.0 ** np.floor(np.log2(size))  # a brute force in float64 needs squares that it can hold
    ids, _ = brute_force(inner, 3)
    assert np.array_equal(graph.indices[1:-1], ids + 1)


@pytest.mark.parametrize("plan", PLANS)
def test_spread_far_below_the_offset(plan: str) -> None:
    """At 1e15 float64 still tells eighths apart; certificates that say nothing there must pass the rows on."""
    x = np.random.default_rng(0).integers(0, 100, (200, 4)) / 4 + 1e15
    with beginning_with(plan):
        assert_exact(exact_neighbors(x, 9), x, 9)


def test_float32_rows_beside_a_reference_beyond_their_range() -> None:
    """The reference is scaled down so that its squares fit; float32 queries would vanish at that scale."""
    queries = np.array([[1e38], [2.5e38]], np.float32)
    reference = np.array([[2e38], [3e38], [1e300]])
    expected = np.sort(np.abs(queries.astype(np.float64) - reference.T), axis=1)[:, :2]
    assert np.allclose(exact_neighbors(queries, 2, reference=reference).distances, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1e307, 1e-307])
def test_values_whose_squares_leave_float64(scale: float) -> None:
    """A power of two changes no digit: the graph of x * 2^p is that of x. Squares of these overflow or vanish."""
    x = gaussian(100, 5)
    x /= np.abs(x).max() * 2
    power = 2.0 ** np.floor(np.log2(scale))
    assert_exact(exact_neighbors(x * power, 10), x * power, 10, scale=1 / power)


def test_a_distance_beyond_float64_is_an_error() -> None:
    x = np.array([[-1.7e308], [1.7e308], [0.0]])
    with pytest.raises(UserError, match="too large for float64"):
        exact_neighbors(x, 2)


def test_float32_expansion_without_centring_is_wrong() -> None:
    """Negative control: what a plain float32 expansion into norms makes of a common offset."""
    x = (gaussian(300, 20) + 1e4).astype(np.float32)
    norms = (x * x).sum(axis=1)
    squares = norms[:, None] + norms - 2 * x @ x.T
    np.fill_diagonal(squares, np.inf)
    wrong = np.argsort(squares, axis=1, kind="stable")[:, :10]
    assert (wrong != brute_force(x, 10)[0]).mean() > 0.5
    assert_exact(exact_neighbors(x, 10), x, 10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_map_equals_array(tmp_path: Path, dtype: type) -> None:
    x: NDArray[Any] = gaussian(300, 8).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    mapped = exact_neighbors(np.load(tmp_path / "x.npy", mmap_mode="r"), 12)
    whole = exact_neighbors(x, 12)
    assert np.array_equal(mapped.indices, whole.indices)
    assert np.array_equal(mapped.distances, whole.distances)


@pytest.mark.parametrize("plan", PLANS)
def test_threads_memory_and_precision_do_not_change_a_bit(plan: str) -> None:
    x = gaussian(120, 300).astype(np.float32)
    graph = exact_neighbors(x, 30)
    threads = torch.get_num_threads()
    try:
        for count, memory in [(1, None), (2, None), (3, 2_000_000), (150, 1)]:
            torch.set_num_threads(count)
            with beginning_with(plan):
                other = exact_neighbors(x, 30, memory=memory)
            assert np.array_equal(graph.indices, other.indices)
            assert np.array_equal(graph.distances, other.distances)
    finally:
        torch.set_num_threads(threads)


def test_a_smaller_k_is_a_prefix() -> None:
    x = HARD["booleans"][0]
    large = exact_neighbors(x, 50)
    for k in (1, 7, 49):
        small = exact_neighbors(x, k)
        assert np.array_equal(small.indices, large.prefix(k).indices)
        assert np.array_equal(small.distances, large.prefix(k).distances)


def test_a_reference_excludes_nobody() -> None:
    x = gaussian(30, 4)
    graph = exact_neighbors(x, 30, reference=x)
    assert np.array_equal(graph.indices[:, 0], np.arange(30))
    assert not graph.self_excluded


def test_rotation_and_shift_keep_the_graph() -> None:
    x = gaussian(200, 6)
    rotation = np.linalg.qr(gaussian(6, 6, seed=1))[0]
    graph, moved = exact_neighbors(x, 10), exact_neighbors(x @ rotation + 3.0, 10)
    stretched = exact_neighbors(x * [5.0, 1, 1, 1, 1, 1], 10)
    assert np.array_equal(graph.indices, moved.indices)
    assert not np.array_equal(graph.indices, stretched.indices)


def test_memory_is_never_quadratic() -> None:
    """A budget of 2 MB, where N x N float64 would be 128 MB."""
    import tracemalloc

    x = gaussian(4000, 3)
    exact_neighbors(x[:100], 5)
    tracemalloc.start()
    exact_neighbors(x, 5, memory=2_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


NAN, TWO_BAD = gaussian(20, 3), gaussian(20, 3)
NAN[4, 1] = np.nan
TWO_BAD[[6, 9], 0] = np.inf


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        (gaussian(10, 2), 0, "k must be a whole number of at least 1, got 0"),
        (gaussian(10, 2), -3, "k must be a whole number of at least 1, got -3"),
        (gaussian(10, 2), 2.5, "k must be a whole number, got 2.5"),
        (gaussian(10, 2), True, "k must be a whole number of at least 1, got True"),
        (gaussian(10, 2), 10, "k is 10, but 10 samples have 9 others each"),
        (gaussian(1, 2), 1, "k is 1, but 1 samples have 0 others each"),
        (gaussian(10, 2)[0], 1, r"two-dimensional \(n_samples, n_features\), got shape \(2,\)"),
        (gaussian(10, 2).reshape(5, 2, 2), 1, r"got shape \(5, 2, 2\)"),
        (np.empty((10, 0)), 1, r"at least one row and one feature, got shape \(10, 0\)"),
        (np.empty((0, 3)), 1, r"at least one row and one feature, got shape \(0, 3\)"),
        (NAN, 2, r"1 of 20 rows hold NaN or infinity \(the first is row 4\)"),
        (TWO_BAD, 2, r"2 of 20 rows hold NaN or infinity \(the first is row 6\)"),
        (gaussian(10, 2) + 1j, 2, "real numbers .* got dtype complex128"),
        (gaussian(10, 2).astype(object), 2, "got dtype object"),
        (gaussian(10, 2).astype(str), 2, "got dtype <U"),
        (gaussian(10, 2).astype(np.longdouble), 2, "got dtype float128"),
    ],
)
def test_errors(x: NDArray[Any], k: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        exact_neighbors(x, k)
    with pytest.raises(ValueError, match=message):
        exact_neighbors(x, k)


def test_reference_errors() -> None:
    x = gaussian(10, 2)
    with pytest.raises(UserError, match="k is 11, but the reference has 10 rows"):
        exact_neighbors(x, 11, reference=x)
    with pytest.raises(UserError, match="must have the same features, got 2 and 3"):
        exact_neighbors(x, 2, reference=gaussian(10, 3))
    with pytest.raises(UserError, match="reference must be finite, but 1 of 20 rows"):
        exact_neighbors(gaussian(4, 3), 2, reference=NAN)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:99", "torch finds . CUDA devices here"),
        ("mps", "device must be cpu or cuda"),
        ("gpu", "device must be cpu, cuda or cuda:<number>, got 'gpu'"),
    ],
)
def test_absent_devices(device: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        exact_neighbors(gaussian(10, 2), 2, device=device)


@pytest.mark.parametrize("plan", PLANS)
def test_progress_counts_rows_to_the_end(plan: str) -> None:
    """Never back, even where a second precision begins again with the rows that the first left undecided."""
    seen: list[tuple[int, int]] = []
    with beginning_with(plan, panel=16, tile=16, spare=3):
        exact_neighbors(gaussian(100, 3), 4, memory=100_000, progress=lambda done, total, _: seen.append((done, total)))
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == (100, 100)


def test_no_row_is_decided_by_the_first_pass() -> None:
    """Groups of more near-copies than a list holds: every list overflows, and all rows go on to the next precision."""
    x = np.repeat(gaussian(2, 8), 60, axis=0) + 1e-9 * gaussian(120, 8, seed=1)
    with beginning_with("int8", spare=4):
        assert_exact(exact_neighbors(x, 5), x, 5)


def test_short_searches_keep_no_blocks(tmp_path: Path) -> None:
    exact_neighbors(gaussian(50, 3), 4, work=tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_engine() -> None:
    x = gaussian(50, 3)
    engine = ExactEngine(k=5)
    assert engine.prefix_stable
    assert_exact(engine.search(x, 5), x, 5)
    with pytest.raises(ValueError, match="k is 0; at least 1"):
        ExactEngine(k=0)
