"""Exact search equals a float64 brute force by direct difference, whatever the data and their type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brute_force import PLANS, assert_exact, beginning_with, brute_force, gaussian
from hard_rows import with_dominating_column, with_duplicates, with_zero_rows_and_constant_columns
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.exact import exact_rows


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


HARD: dict[str, tuple[NDArray[Any], int]] = {
    "common offset": (gaussian(300, 20) + 1e4, 10),
    "common offset float32": ((gaussian(300, 20) + 1e4).astype(np.float32), 10),
    "more duplicates than k": (with_duplicates(200), 30),
    "all rows equal": (np.full((40, 5), 0.1), 7),
    "two distinct rows": (np.repeat([[0.0, 1.0], [1.0, 0.1]], 20, axis=0), 25),
    "near-duplicates": (np.concatenate([gaussian(150, 20), gaussian(150, 20) * (1 + 1e-6)]), 10),
    "simplex": (np.eye(150), 20),
    "shifted simplex": (np.eye(150) * 0.3 + 1e4, 20),
    "scale 1e15": (gaussian(200, 10) * 1e15, 10),
    "scale 1e-15": (gaussian(200, 10) * 1e-15, 10),
    "dominating column": (with_dominating_column(200), 10),
    "one far outlier": (np.concatenate([gaussian(200, 10), np.full((1, 10), 1e9)]), 10),
    "zero rows, constant columns": (with_zero_rows_and_constant_columns(200), 10),
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


def test_a_smaller_k_is_a_prefix() -> None:
    x = HARD["booleans"][0]
    large = exact_neighbors(x, 50)
    for k in (1, 7, 49):
        small = exact_neighbors(x, k)
        assert np.array_equal(small.indices, large.prefix(k).indices)
        assert np.array_equal(small.distances, large.prefix(k).distances)
