"""Candidates refined by 14-bit products: no neighbour is lost, nearly all others are, and no result changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brute_force import beginning_with, brute_force, gaussian, table
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.rows import Rows, scan
from rra_cli.neighbors.tiles import order_kernels, refine, word_kernels
from rra_cli.neighbors.tiles.direct import Pairs


def as_rows(x: NDArray[Any]) -> Rows:
    found = scan(x, 1 << 30)
    return Rows(x, found.scale, found.mean * found.scale, None, found.unit)


def others(n: int, m: int | None = None) -> Pairs:
    """Every row with all others, or with all of m references."""
    if m is not None:
        return Pairs(np.arange(n + 1) * m, np.tile(np.arange(m, dtype=np.int32), n))
    ids = np.array([[j for j in range(n) if j != i] for i in range(n)], np.int32)
    return Pairs(np.arange(n + 1) * (n - 1), ids.ravel())


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refined whether or not it saves time."""
    monkeypatch.setattr(refine, "seconds_of_differences", lambda *_: (1.0, 0.0))


def lists(pairs: Pairs) -> list[set[int]]:
    return [set(pairs.ids[a:b].tolist()) for a, b in zip(pairs.starts, pairs.starts[1:], strict=False)]


@st.composite
def data_sets(draw: st.DrawFn) -> NDArray[Any]:
    n, d = draw(st.integers(12, 60)), draw(st.sampled_from([1, 7, 32, 40]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(n, d))
    match draw(st.sampled_from(["gaussian", "norms", "tails", "clusters", "offset"])):
        case "norms":
            x *= 10.0 ** rng.uniform(-9, 3, (n, 1))
        case "tails":
            x = rng.standard_cauchy((n, d))
        case "clusters":
            x = x * 1e-5 + rng.normal(size=(3, d))[rng.integers(0, 3, n)]
        case "offset":
            x += 1e6
    return np.unique(x, axis=0)[rng.permutation(len(np.unique(x, axis=0)))]


@settings(max_examples=80, deadline=None)
@given(data_sets(), st.data())
def test_the_true_neighbours_are_kept(x: NDArray[Any], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refine, "seconds_of_differences", lambda *_: (1.0, 0.0))
        patch.setattr(refine, "_CACHE", data.draw(st.sampled_from([1, 1 << 23])))
        k, start = data.draw(st.integers(1, len(x) - 1)), data.draw(st.integers(0, len(x) - 2))
        rows, ids = as_rows(x), brute_force(x, k)[0]
        kept = refine.refine(rows, rows, others(len(x)), k, memory=1 << 30, offset=0)
        for near, left in zip(ids, lists(kept), strict=True):
            assert set(near.tolist()) <= left
        apart = refine.refine(rows.part(0, start + 1), rows, others(start + 1, len(x)), k, memory=1 << 30)
        near = np.argsort(table(x[: start + 1], x), axis=1, kind="stable")[:, :k]
        for mine, left in zip(near, lists(apart), strict=True):
            assert set(mine.tolist()) <= left


@pytest.mark.usefixtures("_always")
@pytest.mark.parametrize("d", [20, 500, 1100])
def test_nearly_all_others_are_dropped(d: int) -> None:
    """Control: it does not keep everything."""
    x = gaussian(400, d).astype(np.float32)
    kept = refine.refine(as_rows(x), as_rows(x), others(400), 30, memory=1 << 30, offset=0)
    assert 30 * 400 <= len(kept.ids) < 31.5 * 400


@pytest.mark.usefixtures("_always")
def test_without_radii_neighbours_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: rounding decides here, so the certificate must hold its bound."""
    x = gaussian(300, 32) * 1e-4
    x[:, 0] += np.where(np.arange(300) % 2, 1.0, -1.0)  # sets the scale; steps are as wide as the differences
    ids = brute_force(x, 5)[0]

    def lost() -> int:
        kept = refine.refine(as_rows(x), as_rows(x), others(300), 5, memory=1 << 30, offset=0)
        return sum(not set(near.tolist()) <= left for near, left in zip(ids, lists(kept), strict=True))

    assert lost() == 0
    rounded = refine._rounded

    def certain(*given: Any) -> Any:
        slabs, facts = rounded(*given)
        facts[:, 2] = 0.0
        return slabs, facts

    monkeypatch.setattr(refine, "_rounded", certain)
    assert lost() > 100


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_graph_is_the_same_with_and_without(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = gaussian(700, 130).astype(dtype), gaussian(90, 130, seed=1).astype(dtype)
    graphs = []
    for plain, refined in ((0.0, 1.0), (1.0, 0.0)):
        monkeypatch.setattr(refine, "seconds_of_differences", lambda *_, both=(plain, refined): both)
        with beginning_with("int8"):
            graphs.append((exact_neighbors(x, 20), exact_neighbors(y, 20, reference=x)))
    for one, two in zip(*graphs, strict=True):
        assert np.array_equal(one.indices, two.indices)
        assert np.array_equal(one.distances, two.distances)


def test_too_little_memory_or_gain_leaves_all() -> None:
    x = gaussian(200, 512)
    few, all_others = Pairs(np.arange(201) * 10, others(200).ids[:2000]), others(200)
    assert refine.refine(as_rows(x), as_rows(x), few, 10, memory=1 << 30) is few
    assert refine.refine(as_rows(x), as_rows(x), all_others, 10, memory=100_000, offset=0) is all_others
    assert len(refine.refine(as_rows(x), as_rows(x), all_others, 10, memory=1 << 30, offset=0).ids) < 200 * 15


@pytest.mark.parametrize("width", [32, 480, 512])
def test_products_are_exact_up_to_the_largest_numbers(width: int) -> None:
    """Also where every product has the same sign, and the sums of a lane are just below what 32 bits hold."""
    rng = np.random.default_rng(0)
    x = rng.integers(-8191, 8192, (21, width)).astype(np.int16)
    x[0], x[1], x[2] = 8191, -8191, 8191
    pairs, sums = others(21, 21), np.arange(21 * 21) * 10**10
    word_kernels.add_products(x, x, pairs.starts, pairs.ids, sums, 0, 21)
    exact = x.astype(np.int64) @ x.T.astype(np.int64)
    assert np.array_equal(sums.reshape(21, 21) - np.arange(21 * 21).reshape(21, 21) * 10**10, exact)
    assert exact[0, 1] == -(8191**2) * width


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 2000), st.integers(0, 2**32 - 1), st.sampled_from(["even", "outlier", "ties", "equal"]), st.data()
)
def test_about_the_kth(n: int, seed: int, shape: str, data: st.DataObject) -> None:
    """Never below the k-th smallest, and hardly more values are not above it."""
    rng, k = np.random.default_rng(seed), data.draw(st.integers(1, n))
    values = rng.random(n)
    if shape == "outlier":
        values = np.where(rng.random(n) < 0.02, 1e18, 1 + 1e-3 * values)
    elif shape == "ties":
        values = rng.integers(0, 4, n).astype(float)
    elif shape == "equal":
        values[:] = 1 / 3
    single = values.astype(np.float32)
    found = order_kernels.kth_at_most(single, n, k)
    assert found >= np.sort(single)[k - 1]
    assert found in single
    assert (single < found).sum() <= k + 8 + n // 64
