"""Lists of candidates hold the true neighbours or say that they overflowed, however the tiles are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from brute_force import PLANS, assert_exact, beginning_with, brute_force, gaussian, table
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.rows import Rows, scan
from rra_cli.neighbors.tiles import lists as candidate_lists
from rra_cli.neighbors.tiles import mark_kernels as compiled
from rra_cli.neighbors.tiles.lists import Lists
from rra_cli.neighbors.tiles.products import Float, Int8, Product, RotatedInt8, TwiceInt8
from rra_cli.neighbors.tiles.sweep import Sweep

mark_kernels: Any = compiled  # mypy does not follow arguments that are handed on as a whole
PRODUCTS: dict[str, Product] = {
    p.name: p for p in (Int8(), RotatedInt8(), TwiceInt8(), Float(np.float32), Float(np.float64))
}
ANY = st.sampled_from(sorted(PRODUCTS))


def as_rows(x: NDArray[Any]) -> Rows:
    found = scan(x, 1 << 30)
    return Rows(x, found.scale, found.mean * found.scale, None, found.unit)


def swept(
    product: Product, rows: Rows, k: int, start: int, stop: int, within: bool, memory: int = 1 << 30
) -> tuple[Lists, Sweep]:
    """Lists of rows start..stop among all rows."""
    own = np.arange(start, stop)
    lists = Lists.empty(stop - start, k, len(rows), product.error(rows.features))
    sweep = Sweep(product, rows.part(start, stop), rows, own, start if within else None, memory)
    sweep.run(lists)
    return lists, sweep


def assert_complete(lists: Lists, x: NDArray[Any], k: int, start: int) -> None:
    """Every list that is not given up holds the k nearest, none twice, and its bound is one."""
    ids, distances = brute_force(x, k)
    rows = as_rows(x)
    for i in np.flatnonzero(~lists.full):
        listed = lists.ids[i, : lists.count[i]]
        assert len(set(listed.tolist())) == len(listed)
        assert start + i not in listed
        assert set(ids[start + i].tolist()) <= set(listed.tolist())
        assert lists.bound[i] >= distances[start + i, -1] * rows.unit / rows.scale * (1 - 1e-12)


@st.composite
def data_sets(draw: st.DrawFn) -> NDArray[Any]:
    n, d = draw(st.integers(12, 90)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(n, d))
    match draw(st.sampled_from(["gaussian", "norms", "tails", "clusters", "halves"])):
        case "norms":
            x *= 10.0 ** rng.uniform(-9, 3, (n, 1))
        case "tails":
            x = rng.standard_cauchy((n, d))
        case "clusters":
            x = x * 1e-4 + rng.normal(size=(3, d))[rng.integers(0, 3, n)]
        case "halves":
            x = rng.integers(-60, 60, (1, d)) + 0.5 + rng.choice([-0.49, 0.49], (n, d)) * rng.random((n, d))
            x[:, 0] = rng.choice([-127.0, 127.0], n)
    return np.unique(x, axis=0)[rng.permutation(len(np.unique(x, axis=0)))]


@settings(max_examples=120, deadline=None)
@given(data_sets(), ANY, st.booleans(), st.data())
def test_lists_hold_the_true_neighbours(x: NDArray[Any], name: str, within: bool, data: st.DataObject) -> None:
    """Any product, panels and tiles of any size, all rows or some of them, lists that overflow."""
    n = len(x)
    k, start = data.draw(st.integers(1, n - 1)), data.draw(st.integers(0, n - 1))
    stop, spare = data.draw(st.integers(start + 1, n)), data.draw(st.sampled_from([None, 3, 12]))
    panel, tile = data.draw(st.sampled_from([8, 16, 128])), data.draw(st.sampled_from([8, 24, 64]))
    with beginning_with("directly", panel=panel, tile=tile, spare=spare):
        lists, _ = swept(PRODUCTS[name], as_rows(x), k, start, stop, within)
    assert_complete(lists, x, k, start)
    assert spare is not None or not lists.full.any()


@pytest.mark.parametrize("product", PRODUCTS)
def test_more_neighbours_than_columns_of_a_tile(product: str) -> None:
    x = gaussian(200, 6)
    with beginning_with("directly", panel=64, tile=16):
        lists, _ = swept(PRODUCTS[product], as_rows(x), 150, 0, 200, True)
    assert not lists.full.any()
    assert_complete(lists, x, 150, 0)


def test_an_overflow_is_reported_and_the_rows_are_searched_again() -> None:
    """Rows within a step of rounding of each other, more than a list holds."""
    x = np.concatenate([np.full((1, 5), 10.0) + 1e-5 * gaussian(700, 5), gaussian(100, 5)])
    lists, _ = swept(PRODUCTS["int8"], as_rows(x), 3, 0, 800, True)
    assert lists.full[:700].all()
    assert not lists.full[700:].any()
    pairs, chosen = lists.pairs()
    assert np.array_equal(chosen, np.arange(700, 800))
    assert len(pairs) == 100
    with beginning_with("int8"):
        assert_exact(exact_neighbors(x, 3), x, 3)


@pytest.mark.parametrize("product", PRODUCTS)
def test_packed_lists_come_back(product: str) -> None:
    x = gaussian(150, 5)
    lists, _ = swept(PRODUCTS[product], as_rows(x), 4, 0, 150, True)
    packed = [array.copy() for array in lists.packed()]
    other = Lists.empty(150, 4, 150, lists.error)
    other.restore(packed)
    for one, two in zip(other.packed(), packed, strict=True):
        assert np.array_equal(one, two)
    mine, theirs = lists.pairs()[0], other.pairs()[0]
    assert np.array_equal(mine.starts, theirs.starts)
    assert np.array_equal(mine.ids, theirs.ids)
    assert len(packed[0]) < lists.ids.size  # no empty places


@settings(max_examples=80, deadline=None)
@given(data_sets(), ANY, st.floats(0.0, 1.5))
def test_marks_pass_every_pair_that_the_interval_passes(x: NDArray[Any], name: str, share: float) -> None:
    """Marks are made in single precision; the same test in double precision never passes a pair that they do not."""
    product, rows = PRODUCTS[name], as_rows(x)
    panel = product.round(rows, 0, len(x))
    products, cross = product.tile(panel, panel)
    facts, error = panel.facts, product.error(rows.features)
    n = len(x)
    g = products.astype(np.float64) + (cross / 254.0 if len(cross) else 0.0)
    s, norm, radius, second = facts.T
    squares = norm[:, None] + norm - 2 * s[:, None] * s * g
    slack = error * (norm[:, None] + norm) + 2 * second[:, None] * second
    low = np.sqrt(np.maximum(squares - slack, 0)) - (radius[:, None] + radius)
    typical = np.quantile(low, 0.2, axis=1).clip(0)
    for bound in (typical * share, np.diag(low[:, ::-1]), np.full(n, 1e18)):
        bounds = bound.clip(0).astype(np.float32)
        marks = np.empty((n, -(-n // 8) * 8), np.uint8)
        columns = mark_kernels.column_terms(facts, bounds, error)
        row_terms = mark_kernels.row_terms(facts, bounds, error)
        mark_kernels.mark(products, cross, row_terms, *columns, marks, 0, n)
        passed = low <= bounds.astype(np.float64)[:, None]
        assert (marks[:, :n][passed] & 1).all()
        assert (marks[:, :n][passed.T] & 2).all()


def test_marks_leave_pairs_out() -> None:
    """Control: they do not pass everything."""
    x = gaussian(100, 5)
    panel = PRODUCTS["2 x int8"].round(as_rows(x), 0, 100)
    products, cross = PRODUCTS["2 x int8"].tile(panel, panel)
    bounds = np.full(100, np.quantile(table(x, x), 0.1) * as_rows(x).unit, np.float32)
    marks, error = np.empty((100, 104), np.uint8), PRODUCTS["2 x int8"].error(5)
    columns = mark_kernels.column_terms(panel.facts, bounds, error)
    mark_kernels.mark(products, cross, mark_kernels.row_terms(panel.facts, bounds, error), *columns, marks, 0, 100)
    assert 0.08 < (marks[:, :100] & 1).mean() < 0.15
    assert np.array_equal(marks[:, :100] & 1, (marks[:, :100] & 2).T >> 1)


def rounding_deceives(n_far: int = 448) -> NDArray[np.float64]:
    """The nearest row of row 0 seems farther than many others: it lies 1.77 away and rounds to 3.46; 64 rows lie 1.96
    away and round to row 0 itself. Before those come enough rows farther off to fill the list. Mirrored, so that the
    mean is zero and row scales are a power of two."""
    rng = np.random.default_rng(0)
    first = rng.integers(-20, 20, (1, 17)).astype(float)
    first[0, 0] = 127

    def moved(n: int, by: float) -> NDArray[np.float64]:
        x = np.repeat(first, n, axis=0)
        x[:, 1:] += by * rng.choice([-1, 1], (n, 16))
        return x

    nearest = np.repeat(first, 20, axis=0)
    for row in nearest:
        row[rng.choice(np.arange(1, 17), 12, replace=False)] += 0.51
    x = np.concatenate([first, moved(63, 25), moved(n_far, 12), moved(64, 0.49), nearest])
    return np.concatenate([x, -x])


def test_lists_of_columns_know_the_radii_of_rows() -> None:
    """A list that overflows in a tile that serves both sides names rows of a panel that was not yet a right one."""
    x = rounding_deceives()
    for panel in (64, 128, 4096):
        with beginning_with("int8", panel=panel):
            assert_exact(exact_neighbors(x, 1), x, 1)


def halved_radii(self: Int8, rows: Rows, start: int, stop: int) -> Any:
    panel = ROUND(self, rows, start, stop)
    panel.facts[:, 2] *= 0.5
    return panel


ROUND = Int8.round


def test_half_the_radius_loses_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    x = rounding_deceives()
    monkeypatch.setattr(Int8, "round", halved_radii)
    with beginning_with("int8"), pytest.raises(AssertionError):
        assert_exact(exact_neighbors(x, 1), x, 1)


def pairs_at_their_bounds_lost() -> int:
    """How many pairs, of those whose interval begins just at the bound, have no mark."""
    product, x = PRODUCTS["2 x int8"], gaussian(100, 30)
    panel = product.round(as_rows(x), 0, len(x))
    products, cross = product.tile(panel, panel)
    s, norm, radius, second = panel.facts.T
    error = product.error(30)
    squares = norm[:, None] + norm - 2 * s[:, None] * s * (products + cross / 254.0)
    slack = error * (norm[:, None] + norm) + 2 * second[:, None] * second
    low = np.sqrt(np.maximum(squares - slack, 0)) - (radius[:, None] + radius)
    lost, marks = 0, np.empty((100, 104), np.uint8)
    for column in range(100):
        bounds = np.nextafter(low[:, column].clip(0).astype(np.float32), np.float32(np.inf))
        columns = mark_kernels.column_terms(panel.facts, bounds, error)
        mark_kernels.mark(products, cross, mark_kernels.row_terms(panel.facts, bounds, error), *columns, marks, 0, 100)
        lost += int((marks[:, column] & 1 == 0).sum())
    return lost


def test_the_slack_for_single_precision_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without it the rounding of marks loses pairs that belong on lists."""
    assert pairs_at_their_bounds_lost() == 0
    monkeypatch.setattr(mark_kernels, "SINGLE", 0.0)
    assert pairs_at_their_bounds_lost() > 0


@pytest.mark.parametrize("plan", ["int8", "2 x int8"])
def test_threads_do_not_change_the_lists(plan: str) -> None:
    """Integer products have no rounding; those of floating point may differ with the threads of the library."""
    x, before = gaussian(300, 7), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3, 40):
            torch.set_num_threads(threads)
            for make in PLANS[plan]:
                lists, _ = swept(make(), as_rows(x), 5, 20, 280, True, memory=200_000)
                found.append([make().name, *(array.tobytes() for array in lists.packed())])
    finally:
        torch.set_num_threads(before)
    for one in found:
        assert one in found[: len(PLANS[plan])]


def test_capacity() -> None:
    assert candidate_lists.list_capacity(5, 10) == 10
    assert 5 < candidate_lists.list_capacity(5, 10**6) < 1000
