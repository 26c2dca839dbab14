"""Ranks across layers equal those of a full sort; their information imbalance is that of another implementation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from brute_force import gaussian, table
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from rra_cli.errors import UserError
from rra_cli.neighbors import (
    cross_layer_ranks,
    exact_neighbors,
    information_imbalance,
    neighbor_ranks,
)
from rra_cli.neighbors.tiles import rank_kernels, rank_pass
from rra_cli.neighbors.tiles.products import Float, Int8, Product, TwiceInt8

PRODUCTS: dict[str, Callable[[], Product]] = {
    "int8": Int8,
    "2 x int8": TwiceInt8,
    "float32": lambda: Float(np.float32),
    "float64": lambda: Float(np.float64),
}


def all_ranks(x: NDArray[Any]) -> NDArray[np.int64]:
    """`(n, n)` ranks by sorting all distances, ties by lower id; -1 for self. For values whose ties are exact."""
    distances = table(x, x)
    np.fill_diagonal(distances, -1.0)
    order = np.argsort(distances, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(x))[None, :], axis=1)
    np.fill_diagonal(ranks, -1)
    return ranks


def places(x: NDArray[Any]) -> NDArray[np.int64]:
    """`all_ranks` as places in the complete graph: where rounding decides between distances, as it does there."""
    ranks = np.full((len(x), len(x)), -1)
    np.put_along_axis(ranks, exact_neighbors(x, len(x) - 1).indices.astype(int), np.arange(1, len(x))[None, :], axis=1)
    return ranks


def some_targets(n: int, k: int, seed: int = 0) -> NDArray[np.int64]:
    """`(n, k)` distinct ids, never the sample's own, near and far ones alike."""
    rng = np.random.default_rng(seed)
    return np.array([(i + 1 + rng.permutation(n - 1)[:k]) % n for i in range(n)])


def with_duplicates() -> NDArray[np.float64]:
    return gaussian(40, 6)[np.random.default_rng(1).integers(0, 40, 250)]


# Sums of squares are exact in float64, whatever their order: brute force has the same ties.
EXACT: dict[str, NDArray[Any]] = {
    "small integers": np.random.default_rng(0).integers(0, 3, (200, 5)).astype(np.float32),
    "simplex": np.eye(90),
    "all rows equal": np.full((80, 3), 0.1),
    "two distinct rows": np.repeat([[0.0, 1.0], [1.0, 0.0]], [30, 50], axis=0)[
        np.random.default_rng(2).permutation(80)
    ],
    "integers and duplicates": np.random.default_rng(0).integers(0, 2, (150, 3)) * 1.0,
    "three points on a line": np.array([[0.0], [1.0], [2.0]]),
    "booleans": np.random.default_rng(0).integers(0, 2, (120, 6)) > 0,
}
ROUNDED: dict[str, NDArray[Any]] = {
    "gaussian": gaussian(250, 20).astype(np.float32),
    "duplicates": with_duplicates(),
    "near-duplicates": np.concatenate([gaussian(80, 20), gaussian(80, 20) * (1 + 1e-6)]),
    "common offset": gaussian(200, 10) + 1e4,
    "one far outlier": np.concatenate([gaussian(150, 10), np.full((1, 10), 1e9)]),
    "huge": gaussian(100, 5) * 1e200,
    "tiny": gaussian(60, 5) * 1e-200,
    "tiny cluster beside large values": np.concatenate([gaussian(30, 5) * 1e-150, gaussian(30, 5)]),
    "N = 2": gaussian(2, 3),
}


@pytest.mark.parametrize("product", [None, *PRODUCTS])
@pytest.mark.parametrize("name", [*EXACT, *ROUNDED])
def test_equals_a_full_sort(name: str, product: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if product is not None:
        monkeypatch.setattr(rank_pass, "choose", lambda *_: PRODUCTS[product]())
    x = EXACT[name] if name in EXACT else ROUNDED[name]
    ranks = all_ranks(x) if name in EXACT else places(x)
    n, k = len(x), min(3, len(x) - 1)
    layers = [some_targets(n, k, seed) for seed in range(3)]
    wanted = ranks[np.arange(n)[None, :, None], np.stack(layers)]
    for memory in (None, 1):  # the latter: tiles of 64 rows, unsure pairs decided a few at a time
        assert np.array_equal(cross_layer_ranks(layers, x, k, memory=memory), wanted)
    assert np.array_equal(neighbor_ranks(layers[1], x, 1), wanted[1, :, :1])


def test_every_pair_of_samples() -> None:
    """All N - 1 targets of every sample: each list of ranks is 1..N - 1."""
    x = EXACT["small integers"][:70]
    everyone = np.array([(i + 1 + np.arange(69)) % 70 for i in range(70)])
    ranks = neighbor_ranks(everyone, x, 69)
    assert np.array_equal(np.sort(ranks, axis=1), np.tile(np.arange(1, 70), (70, 1)))
    assert np.array_equal(ranks, all_ranks(x)[np.arange(70)[:, None], everyone])


def test_a_layer_ranks_its_own_neighbours_in_order() -> None:
    x = gaussian(300, 12)
    graph = exact_neighbors(x, 9)
    assert np.array_equal(neighbor_ranks(graph, x, 9), np.tile(np.arange(1, 10), (300, 1)))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_a_full_sort_with_ties(data: st.DataObject) -> None:
    n, d = data.draw(st.integers(2, 80)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(0, data.draw(st.sampled_from([1, 2, 4, 1000])), (n, d)).astype(np.float64)
    k = data.draw(st.integers(1, n - 1))
    targets = some_targets(n, k, data.draw(st.integers(0, 99)))
    product = PRODUCTS[data.draw(st.sampled_from(list(PRODUCTS)))]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_pass, "choose", lambda *_: product)
        found = neighbor_ranks(targets, x, k, memory=data.draw(st.sampled_from([1, 50_000, 5_000_000])))
    assert np.array_equal(found, all_ranks(x)[np.arange(n)[:, None], targets])


def test_certificate_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with intervals of no width, pairs that eight bits cannot tell apart are counted wrong."""
    x, targets = gaussian(300, 30), some_targets(300, 1)
    wanted = places(x)[np.arange(300)[:, None], targets]
    monkeypatch.setattr(rank_pass, "choose", lambda *_: Int8())
    assert np.array_equal(neighbor_ranks(targets, x), wanted)
    original = rank_kernels.count_nearer

    def without_width(squares: Any, row_slack: Any, slack: Any, radius: Any, *others: Any) -> None:
        weights, factors, starts, low, high, near, unsure, begin, end = others
        middle = (low + high) / 2
        original(
            squares, 0 * row_slack, 0 * slack, 0 * radius, weights, factors, starts, middle, middle, near, unsure,
            begin, end,
        )  # fmt: skip

    monkeypatch.setattr(rank_kernels, "count_nearer", without_width)
    wrong = neighbor_ranks(targets, x)
    assert (wrong != wanted).mean() > 0.1


def test_threads_memory_and_memory_maps(tmp_path: Path) -> None:
    x = gaussian(400, 300).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    targets = some_targets(400, 4)
    threads, found = torch.get_num_threads(), []
    try:
        for count, memory in [(1, None), (3, None), (2, 200_000)]:
            torch.set_num_threads(count)
            found.append(neighbor_ranks(targets, np.load(tmp_path / "x.npy", mmap_mode="r"), 4, memory=memory))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[0], places(x)[np.arange(400)[:, None], targets])


@pytest.mark.long
def test_memory_is_never_quadratic() -> None:
    """A budget of 2 MB, where N x N float64 would be 128 MB."""
    import tracemalloc

    x, targets = gaussian(4000, 3), some_targets(4000, 1)
    neighbor_ranks(some_targets(100, 1), x[:100])
    tracemalloc.start()
    neighbor_ranks(targets, x, memory=2_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_progress_counts_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    x = gaussian(300, 3)
    neighbor_ranks(some_targets(300, 1), x, memory=1, progress=lambda done, total, _: seen.append((done, total)))
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def imbalance_of(a: NDArray[Any], b: NDArray[Any], k: int) -> float:
    """DADApy's definition coded plainly: (2 / N) times the mean rank in b of the k nearest neighbours in a.

    `_return_imbalance` of https://github.com/sissa-data-science/DADApy (2 * mean of conditional ranks / N).
    """
    ranks = []
    for x in (a, b):
        distances = cdist(x, x)
        np.fill_diagonal(distances, np.inf)
        ranks.append(np.array([rankdata(row, method="ordinal") for row in distances]))
    return float(2.0 * ranks[1][ranks[0] <= k].mean() / len(a))


@pytest.mark.parametrize("k", [1, 5])
def test_information_imbalance_is_dadapys(k: int) -> None:
    x = gaussian(200, 6)
    part, bent = x[:, :3], np.tanh(x) * [3, 2, 1, 1, 1, 1]
    for a, b in [(x, part), (part, x), (x, bent), (bent, part)]:
        value, _ = information_imbalance(neighbor_ranks(exact_neighbors(a, k), b, k), 200)
        assert value == pytest.approx(imbalance_of(a, b, k), rel=1e-12)


def test_information_imbalance_of_equal_contained_and_independent_layers() -> None:
    """2 / N where B is A, 1 where they are independent; x predicts its own part better than that predicts x."""
    n = 1500
    x, other = gaussian(n, 4), gaussian(n, 4, seed=1)

    def delta(a: NDArray[Any], b: NDArray[Any]) -> tuple[float, float]:
        return information_imbalance(neighbor_ranks(exact_neighbors(a, 1), b), n)

    assert delta(x, x * 2 + 1) == (pytest.approx(2 / n), 0.0)
    value, error = delta(x, other)
    assert abs(value - 1) < 4 * error
    assert error == pytest.approx(2 / np.sqrt(12 * n), rel=0.1)  # of the mean of a uniform distribution on 0..2
    assert delta(x, x[:, :2])[0] < 0.5 * delta(x[:, :2], x)[0]


def test_information_imbalance_in_closed_form() -> None:
    value, error = information_imbalance(np.array([[1], [3], [2], [2]]), 5)
    assert value == pytest.approx(2 / 5 * 2)
    assert error == pytest.approx(2 / 5 * np.sqrt(2 / 3) / 2)
    assert information_imbalance(np.array([[1, 2], [3, 4]]), 10)[0] == pytest.approx(0.5)
    assert np.isnan(information_imbalance(np.array([[1]]), 5)[1])


X, OK = gaussian(6, 2), some_targets(6, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neighbor_ranks(OK[:5], X), r"layers\[0\] has 5 samples, but the activations have 6"),
        (lambda: cross_layer_ranks([OK, OK[:, :1]], X, 2), r"k is 2, but layers\[1\] lists 1 neighbours"),
        (lambda: cross_layer_ranks([], X), "at least one graph, got none"),
        (lambda: neighbor_ranks(OK, X, 0), "k must be a whole number of at least 1, got 0"),
        (lambda: neighbor_ranks(OK + 3, X, 2), r"must hold ids in 0..5, got 3..8"),
        (lambda: neighbor_ranks(OK - 1, X, 2), r"must hold ids in 0..5, got -1..4"),
        (lambda: neighbor_ranks(cast(Any, OK * 1.0), X), "must be a graph or ids .* of float64"),
        (lambda: neighbor_ranks(OK[:, 0], X), r"must be a graph or ids \(n, k\), got shape \(6,\)"),
        (lambda: neighbor_ranks(np.zeros((6, 1), int), X), "lists sample 0 as its own neighbour"),
        (lambda: neighbor_ranks(exact_neighbors(X, 2, reference=X), X), "not against a reference"),
        (lambda: neighbor_ranks(OK, X * np.nan), "6 of 6 rows hold NaN"),
        (lambda: information_imbalance(np.array([[6]]), 6), r"lie in 1..5, got 6..6"),
        (lambda: information_imbalance(np.array([[0]]), 6), r"lie in 1..5, got 0..0"),
        (lambda: information_imbalance(np.array([1]), 6), r"whole numbers \(samples, k\), got shape \(1,\)"),
        (lambda: information_imbalance(np.array([[1.5]]), 6), "of float64"),
        (lambda: information_imbalance(np.array([[1]]), 0), "n must be a whole number of at least 1"),
    ],
)
def test_errors(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
