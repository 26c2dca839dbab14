"""Graphs of nested subsets from one pass equal separate searches to the last bit, whatever the precision and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import assert_exact, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors import exact_neighbors, exact_subset_graphs, resume
from rra_cli.neighbors.tiles import nested
from rra_cli.neighbors.tiles.choice import Plan
from rra_cli.neighbors.tiles.lists import Lists
from rra_cli.neighbors.tiles.products import Float, Int8, Product, RotatedInt8, TwiceInt8
from rra_cli.neighbors.tiles.sweep import Sweep

PRODUCTS: dict[str, Callable[[], Product]] = {
    "int8": Int8,
    "int8, rotated": RotatedInt8,
    "2 x int8": TwiceInt8,
    "float32": lambda: Float(np.float32),
    "float64": lambda: Float(np.float64),
}
INT8 = Plan((Int8(),))


def assert_separate(
    x: NDArray[Any], k: int | list[int], sizes: list[int], order: NDArray[np.int64] | None = None, **options: Any
) -> None:
    """Every graph has the bytes of a search of that subset by itself."""
    graphs = exact_subset_graphs(x, k, sizes, order=order, **options)
    ids = np.arange(len(x)) if order is None else order
    ks = k if isinstance(k, list) else [k] * len(sizes)
    assert len(graphs) == len(sizes)
    for graph, near, size in zip(graphs, ks, sizes, strict=True):
        alone = exact_neighbors(np.asarray(x)[ids[:size]], near)
        assert graph.indices.dtype == alone.indices.dtype
        assert np.array_equal(graph.indices, alone.indices), size
        assert np.array_equal(graph.distances, alone.distances), size
        assert (graph.n_reference, graph.engine, graph.self_excluded) == (size, "exact", True)


def wide_range() -> NDArray[np.float64]:
    """The first rows alone would be scaled by another power of two than all rows are."""
    x = gaussian(60, 6) * 1e-150
    x[40:] *= 1e160
    return x


def with_duplicates() -> NDArray[np.float64]:
    """Copies of early rows among the late ones, and rows whose first copy comes late."""
    return gaussian(70, 6)[np.random.default_rng(1).integers(0, 70, 400)]


CASES: dict[str, tuple[NDArray[Any], int | list[int], list[int]]] = {
    "gaussian": (gaussian(400, 20).astype(np.float32), 12, [40, 150, 400]),
    "one size": (gaussian(200, 5), 12, [200]),
    "less than all": (gaussian(300, 5), 12, [20, 130]),
    "k of its own for every size": (gaussian(400, 8), [30, 5, 12], [31, 150, 400]),
    "k = size - 1": (gaussian(300, 8), [9, 99, 5], [10, 100, 300]),
    "duplicates": (with_duplicates(), 15, [16, 50, 130, 400]),
    "all rows equal": (np.full((200, 4), 0.1), 5, [10, 90, 200]),
    "equal rows first": (np.concatenate([np.zeros((60, 4)), gaussian(200, 4)]), 5, [6, 40, 61, 260]),
    "simplex": (np.eye(200), 8, [20, 70, 200]),
    "common offset": (gaussian(300, 10) + 1e4, 10, [100, 300]),
    "one far outlier in the last part": (np.concatenate([gaussian(300, 6), np.full((1, 6), 1e9)]), 9, [100, 301]),
    "scales that differ": (wide_range(), 5, [20, 40, 60]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("product", [None, *PRODUCTS])
def test_equals_separate_searches(name: str, product: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if product is not None:
        monkeypatch.setattr(nested, "choose", lambda *_: Plan((PRODUCTS[product](),)))
    x, k, sizes = CASES[name]
    assert_separate(x, k, sizes)
    assert_separate(x, k, sizes, memory=200_000)  # several blocks of rows, many panels and tiles
    assert_separate(x, k, sizes, np.random.default_rng(0).permutation(len(x)), memory=200_000)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_equals_separate_searches_of_any_sizes(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 90))
    sizes = sorted(data.draw(st.sets(st.integers(2, n), min_size=1, max_size=4)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(0, data.draw(st.sampled_from([2, 4, 1000])), (n, data.draw(st.integers(1, 4)))).astype(np.float32)
    ks = [data.draw(st.integers(1, size - 1)) for size in sizes]
    order = rng.permutation(n) if data.draw(st.booleans()) else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nested, "choose", lambda *_: INT8)
        assert_separate(x, ks, sizes, order, memory=data.draw(st.sampled_from([1, 30_000, 1_000_000])))


def test_ids_are_positions_in_the_order() -> None:
    """Closed form: points on a line, in an order of its own; mapped back they are the points beside each."""
    x, order = np.arange(10.0)[:, None], np.array([7, 2, 4, 5, 8])
    small, large = exact_subset_graphs(x, 1, [3, 5], order=order)
    assert order[small.indices[:, 0]].tolist() == [4, 4, 2]  # of 7, 2, 4
    assert order[large.indices[:, 0]].tolist() == [8, 4, 5, 4, 7]  # of 7, 2, 4, 5, 8
    assert large.distances[:, 0].tolist() == [1, 2, 1, 1, 1]


def test_boundaries_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: lists read at the end of the pass name rows outside of the subset, or miss its neighbours."""
    monkeypatch.setattr(nested, "choose", lambda *_: INT8)
    monkeypatch.setattr(Sweep, "_reached", lambda self, steps, at: list(self.cuts) if at + 1 == len(steps) else [])
    x, k, sizes = CASES["gaussian"]
    with pytest.raises((AssertionError, IndexError, ValueError)):
        assert_separate(x, k, sizes)


def test_pairs_are_visited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All products of four nested subsets are those of the largest: every pair once, but for tiles on the diagonal."""
    monkeypatch.setattr(nested, "choose", lambda *_: INT8)
    seen = np.zeros((400, 400), int)
    original = Sweep._tile

    def counting(self: Sweep, lists: Lists, left: Any, right: Any, both: bool) -> None:
        seen[left.start : left.start + len(left), right.start : right.start + len(right)] += 1
        original(self, lists, left, right, both)

    monkeypatch.setattr(Sweep, "_tile", counting)
    exact_subset_graphs(gaussian(400, 4), 5, [50, 100, 200, 400])
    either = seen + seen.T
    np.fill_diagonal(either, 1)
    assert either.min() == 1
    assert either.max() <= 2
    assert seen[:50, 50:].max() == 0  # no pair of the first subset with a later row from the first one's side


def test_threads_and_memory_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "choose", lambda *_: INT8)
    x = gaussian(400, 30).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    order = np.random.default_rng(0).permutation(400)
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert_separate(np.load(tmp_path / "x.npy", mmap_mode="r"), 9, [64, 300], order, memory=300_000)
    finally:
        torch.set_num_threads(threads)


def test_an_order_reads_only_its_samples() -> None:
    x = gaussian(100, 3)
    x[17] = np.nan
    order = np.delete(np.arange(100), 17)
    (graph,) = exact_subset_graphs(x, 4, [50], order=order)
    assert_exact(graph, x[order[:50]], 4)
    with pytest.raises(UserError, match=r"activations\[order\] must be finite, but 1 of 30 rows .* row 29"):
        exact_subset_graphs(x, 4, [30], order=np.r_[order[:29], 17])


class _Stop(Exception):
    pass


def test_interrupted_pass_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is finished is not searched again: neither tiles nor subsets; a damaged file is made good."""
    monkeypatch.setattr(resume, "EVERY", 0)
    monkeypatch.setattr(resume, "SHARE", np.inf)
    monkeypatch.setattr(nested, "choose", lambda *_: INT8)
    x, sizes, tiles, evaluated = gaussian(400, 6), [100, 200, 400], [0], list[int]()
    tile, evaluate = Sweep._tile, nested.NestedSearch._evaluate

    def counting(self: Sweep, *arguments: Any) -> None:
        tiles[0] += 1
        tile(self, *arguments)

    def noting(self: nested.NestedSearch, s: int, *arguments: Any) -> None:
        evaluated.append(s)
        evaluate(self, s, *arguments)

    monkeypatch.setattr(Sweep, "_tile", counting)
    monkeypatch.setattr(nested.NestedSearch, "_evaluate", noting)
    memory = 8_000_000
    whole = exact_subset_graphs(x, 7, sizes, memory=memory)
    all_tiles, tiles[0] = tiles[0], 0
    assert evaluated == [0, 1, 2]
    evaluated.clear()

    def stop(done: int, total: int, note: str) -> None:
        if done > 0.9 * total:
            raise _Stop

    with pytest.raises(_Stop):
        exact_subset_graphs(x, 7, sizes, memory=memory, work=tmp_path, progress=stop)
    assert evaluated == [0, 1]
    before, tiles[0] = tiles[0], 0
    # The graph of the first subset is lost meanwhile.
    first = next(path for path in tmp_path.glob("rows_*") if path.name.endswith("_000000000_000000100.state"))
    first.write_bytes(b"damaged")
    again = exact_subset_graphs(x, 7, sizes, memory=memory, work=tmp_path)
    assert 0 < tiles[0] < all_tiles
    assert tiles[0] + before <= all_tiles + 10
    assert evaluated == [0, 1, 2]
    assert not list(tmp_path.glob("lists_*"))
    tiles[0] = 0
    third = exact_subset_graphs(x, 7, sizes, memory=memory, work=tmp_path)
    assert tiles[0] == 0
    for graphs in (again, third):
        for one, other in zip(whole, graphs, strict=True):
            assert np.array_equal(one.indices, other.indices)
            assert np.array_equal(one.distances, other.distances)


@pytest.mark.parametrize(("k", "sizes"), [(4, [200, 400]), ([4, 3], [200, 400]), (3, [300, 400]), (3, [400])])
def test_an_interrupted_pass_is_not_gone_on_with_other_sizes_or_k(
    k: int | list[int], sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same folder. Lists that were cut to the 3 nearest may still hold 4 or more, but not the 4 nearest."""
    monkeypatch.setattr(resume, "EVERY", 0)
    monkeypatch.setattr(resume, "SHARE", np.inf)
    monkeypatch.setattr(nested, "choose", lambda *_: INT8)
    x, memory = gaussian(400, 40), 8_000_000
    x[::50] *= 5  # so that rounding leaves more than k of them

    def stop(done: int, total: int, note: str) -> None:
        if done > 0.9 * total:
            raise _Stop

    with pytest.raises(_Stop):
        exact_subset_graphs(x, 3, [200, 400], memory=memory, work=tmp_path, progress=stop)
    kept = {path.name.partition("_")[0] for path in tmp_path.iterdir()}
    assert kept == {"lists", "rows"}, "the control: there is something that could be taken"
    assert_separate(x, k, sizes, memory=memory, work=tmp_path)


def test_progress_counts_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    exact_subset_graphs(gaussian(300, 3), 4, [90, 300], progress=lambda done, total, _: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (300, 300)


@pytest.mark.parametrize(
    ("k", "sizes", "order", "message"),
    [
        (5, [5, 10], None, "k is 5, but the subset of 5 samples has 4 others for each"),
        ([2, 10], [5, 10], None, "k is 10, but the subset of 10 samples has 9 others for each"),
        ([2], [5, 10], None, "one number or one for each of the 2 sizes, got 1"),
        (0, [5], None, "k must be a whole number of at least 1, got 0"),
        (2, [], None, r"sizes must be at least one and ascend, got \[\]"),
        (2, [10, 5], None, r"ascend, got \[10, 5\]"),
        (2, [5, 5], None, r"ascend, got \[5, 5\]"),
        (2, [5.5], None, "a subset's size must be a whole number, got 5.5"),
        (2, [5, 21], None, "the largest subset has 21 samples, but there are 20"),
        (2, [5, 10], [1, 2, 3, 4, 5, 6], "the largest subset has 10 samples, but there are 6"),
        (2, [3], [1, 2, 2], "order names a sample twice: 3 ids, 2 of them different"),
        (2, [3], [1, 2, 20], r"order must hold ids in 0..19, got 1..20"),
        (2, [3], [-1, 2, 3], r"order must hold ids in 0..19, got -1..3"),
        (2, [3], [1.0, 2.0, 3.0], "order must be a list of sample ids, got shape .* of float64"),
        (2, [3], [[1, 2, 3]], "order must be a list of sample ids, got shape"),
    ],
)
def test_errors(k: Any, sizes: Any, order: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        exact_subset_graphs(gaussian(20, 2), k, sizes, order=order)


def test_absent_device() -> None:
    with pytest.raises(UserError, match=r"torch finds . CUDA devices here"):
        exact_subset_graphs(gaussian(20, 2), 2, [10], device="cuda:99")
