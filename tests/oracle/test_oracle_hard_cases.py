"""The data sets, by name, that break careless neighbour searches: each against a brute force in extended precision."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force64 import assert_neighbors, has_exact_squares
from first_pass import PASSES, first_pass
from search_data import (
    Array,
    cast,
    copies,
    dominating_column,
    gaussian,
    hadamard,
    heavy_tails,
    lattice,
    low_dimensional,
    near_copies,
    nested_clusters,
    one_feature_per_row,
    pixels,
    rounded_apart,
    sparse,
    tight_clusters,
    unequal_norms,
)

from rra_cli.neighbors import NeighborGraph, exact_neighbors

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
SMALLEST = np.finfo(np.float64).smallest_subnormal


def with_zero_rows(x: Array) -> Array:
    x[1::4] = 0
    return x


def with_constant_columns(x: Array) -> Array:
    x[:, 1::3] = np.resize([0.0, 7e5, -0.1], len(x.T[1::3]))
    return x


def far_and_near(n: int, d: int, small: float, large: float) -> Array:
    """Half of the rows of size `small`, half of size `large`: no single scale holds the squares of both."""
    x = gaussian(n, d)
    x[::2] *= small
    x[1::2] *= large
    return x


def both_ends(n: int, d: int, small: float, large: float) -> Array:
    """Rows that agree in a column of `large` or are far apart; columns of `small` decide among those that agree."""
    x = dominating_column(n, d, size=0.0) * small
    x[:, d // 2] = np.arange(n) % 3 * large
    return x


def with_outlier(x: Array, size: float) -> Array:
    """One more row, of `size`: a scale for all makes the rest as small as can be."""
    return np.concatenate([x, np.full((1, x.shape[1]), size)])


def signs_with_flips(n: int, d: int) -> Array:
    """Rows of +-1 that differ in a few places: every product of two rows is near +-d, the largest it can be."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random(d) < 0.5, -1.0, 1.0) * np.ones((n, 1))
    for row in x:
        row[rng.integers(0, d, rng.integers(1, 9))] *= -1
    return x


# name: (rows, data type, k). Made when they are used.
CASES: dict[str, tuple[Callable[[], Array], Any, int]] = {
    "common offset 1e4, float32": (lambda: gaussian(300, 40) + 1e4, "f4", 20),
    "common offset 1e4, float64": (lambda: gaussian(300, 40) + 1e4, "f8", 20),
    "common offset 1e4, float16": (lambda: gaussian(300, 40) * 20 + 1e4, "f2", 20),
    "common offset 1e12, float64": (lambda: gaussian(300, 40) + 1e12, "f8", 20),
    "an offset of its own for every feature": (lambda: gaussian(300, 40) + 1e5 * gaussian(1, 40, 1), "f4", 20),
    "30 copies of each of 20 rows": (lambda: copies(600, 16, distinct=20), "f4", 50),
    "fewer copies than k": (lambda: copies(300, 16, distinct=100), "f8", 50),
    "two distinct rows": (lambda: copies(90, 5, distinct=2), "f8", 60),
    "all rows equal": (lambda: np.full((200, 33), 0.1), "f4", 31),
    "all rows equal and far out": (lambda: np.full((200, 33), 1.1e15), "f8", 199),
    "all rows zero": (lambda: np.zeros((70, 4)), "f4", 5),
    "all rows equal but one": (lambda: np.eye(1, 150 * 8).reshape(150, 8) + 0.7, "f8", 149),
    "near-duplicates at 1e-6, float32": (lambda: near_copies(360, 64), "f4", 15),
    "near-duplicates at 1e-6, float64": (lambda: near_copies(360, 64), "f8", 15),
    "near-duplicates at 1e-6, more than k": (lambda: near_copies(360, 64, group=90), "f4", 15),
    "near-duplicates at 1e-12": (lambda: near_copies(240, 20, relative=1e-12), "f8", 15),
    "near-duplicates of offset rows": (lambda: near_copies(240, 20, relative=1e-3) + 1e4, "f4", 15),
    "float64 that float32 cannot tell apart": (lambda: 1 + 1e-10 * gaussian(300, 30), "f8", 20),
    "simplex": (lambda: np.eye(200), "f4", 20),
    "simplex, k = N - 1": (lambda: np.eye(150), "f2", 149),
    "simplex of 0.3 under an offset": (lambda: np.eye(150) * 0.3 + 1e4, "f8", 20),
    "one-hot rows, repeated": (lambda: np.eye(25)[np.random.default_rng(0).integers(0, 25, 300)], "f4", 40),
    "one-hot rows of several heights": (lambda: np.eye(120) * (1.0 + np.arange(120) % 3)[:, None], "f4", 40),
    "dense simplex (Hadamard)": (lambda: hadamard(7), "f4", 50),
    "dense simplex under an offset": (lambda: hadamard(7) * 0.5 + 4096, "f4", 127),
    "scale 1e15": (lambda: gaussian(200, 30) * 1e15, "f4", 20),
    "scale 1e-15": (lambda: gaussian(200, 30) * 1e-15, "f4", 20),
    "scale 1e37, float32": (lambda: gaussian(200, 30) * 1e37, "f4", 20),
    "scale 1e-37, float32": (lambda: gaussian(200, 30) * 1e-37, "f4", 20),
    "scale 1e200": (lambda: gaussian(200, 30) * 1e200, "f8", 20),
    "scale 1e-200": (lambda: gaussian(200, 30) * 1e-200, "f8", 20),
    "scale 1e306": (lambda: gaussian(200, 30) * 1e306, "f8", 20),
    "scale 1e-306": (lambda: gaussian(200, 30) * 1e-306, "f8", 20),
    "subnormal float32": (lambda: gaussian(200, 30) * 1e-42, "f4", 20),
    "subnormal float64": (lambda: lattice(200, 5, values=9) * SMALLEST, "f8", 20),
    "subnormal float16": (lambda: gaussian(200, 30) * 1e-6, "f2", 20),
    "subnormal beside 1": (lambda: np.concatenate([gaussian(90, 5) * 1e-310, gaussian(90, 5)]), "f8", 20),
    "sizes 1e-150 and 1e150": (lambda: far_and_near(160, 12, 1e-150, 1e150), "f8", 100),
    "sizes 1e-25 and 1e25, float32": (lambda: far_and_near(160, 12, 1e-25, 1e25), "f4", 100),
    "zero rows": (lambda: with_zero_rows(gaussian(240, 30)), "f4", 70),
    "constant columns": (lambda: with_constant_columns(gaussian(240, 30)), "f4", 20),
    "every column constant but one": (lambda: gaussian(240, 1) * np.eye(1, 30, 11) + 5e3, "f4", 20),
    "one dominating column, 1e6": (lambda: dominating_column(300, 40), "f4", 50),
    "one dominating column, 1e12": (lambda: dominating_column(300, 40, size=1e12), "f8", 50),
    "one dominating column, float16 at both ends": (lambda: both_ends(300, 40, 1e-5, 3e4), "f2", 50),
    "one dominating column, float32 at both ends": (lambda: both_ends(300, 40, 1e-42, 1e38), "f4", 50),
    "one outlier, float16 at both ends": (lambda: with_outlier(gaussian(299, 20) * 1e-5, 6e4), "f2", 20),
    "one outlier, float32 at both ends": (lambda: with_outlier(gaussian(299, 20) * 1e-42, 3e38), "f4", 20),
    "one outlier at 1e9": (lambda: with_outlier(gaussian(299, 20), 1e9), "f8", 20),
    "N = 2": (lambda: gaussian(2, 50), "f4", 1),
    "N = 2, equal": (lambda: np.ones((2, 3)), "f4", 1),
    "N = 3, k = 2": (lambda: gaussian(3, 1), "f8", 2),
    "k = N - 1": (lambda: gaussian(310, 100), "f4", 309),
    "k = N - 1 of a lattice": (lambda: lattice(310, 4), "f4", 309),
    "d = 1": (lambda: gaussian(400, 1), "f8", 50),
    "d = 1, ties": (lambda: lattice(400, 1, values=40), "f4", 50),
    "d = 1, equally spaced": (lambda: np.random.default_rng(0).permutation(300)[:, None] * 0.125, "f8", 7),
    "float16 whose differences overflow": (lambda: gaussian(250, 30) * 4e4, "f2", 30),
    "float16 whose squares overflow": (lambda: gaussian(250, 300) * 300, "f2", 30),
    "float16 ties": (lambda: gaussian(250, 2), "f2", 30),
    "minus zero and zero": (lambda: np.where(gaussian(150, 3) > 0, 0.0, -0.0), "f4", 40),
    "minus zero among values": (lambda: lattice(150, 4) * np.where(gaussian(150, 4) > 0, 1.0, -1.0), "f8", 40),
    "Cauchy": (lambda: heavy_tails(400, 30), "f4", 40),
    "Cauchy squared": (lambda: heavy_tails(400, 30) ** 3, "f8", 40),
    "norms of 1e-3 to 1e6": (lambda: unequal_norms(400, 50), "f4", 40),
    "norms of 1e-3 to 1e6, k = N - 1": (lambda: unequal_norms(150, 50), "f4", 149),
    "one feature dominates each row": (lambda: one_feature_per_row(400, 50), "f4", 40),
    "rounding to bytes at its worst": (lambda: rounded_apart(400, 120), "f4", 12),
    "rounding to bytes at its worst, few features": (lambda: rounded_apart(400, 6), "f4", 12),
    "tight clusters": (lambda: tight_clusters(400, 60), "f4", 30),
    "clusters at 1, 1e-3, 1e-6 and 1e-9": (lambda: nested_clusters(500, 25), "f8", 60),
    "two dimensions embedded in 1,000": (lambda: low_dimensional(400, 1000), "f4", 40),
    "sparse activations": (lambda: sparse(400, 300), "f4", 40),
    "images of bytes": (lambda: pixels(400, 784), "f4", 60),
    "signed bytes": (lambda: np.random.default_rng(0).integers(-128, 128, (400, 70)), "i1", 60),
    "unsigned bytes": (lambda: np.random.default_rng(0).integers(0, 256, (400, 3)), "u1", 60),
    "large 64-bit integers": (lambda: gaussian(200, 9) * 2e15, "i8", 20),
    "just above a power of two of rows": (lambda: lattice(1025, 5, values=4), "f4", 33),
}


def check(x: Array, k: int, *, rows: Array | None = None, ulps: float | None = None, **options: Any) -> NeighborGraph:
    """The graph, compared in `rows`: by default as many as the brute force does in half a second."""
    graph = exact_neighbors(x, k, **options)
    if rows is None:
        affordable = max(20, int(2e7 / x.size))
        rows = np.random.default_rng(0).permutation(len(x))[:affordable]
    assert_neighbors(graph.indices, graph.distances, x, k, rows=rows, ulps=ulps)
    return graph


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
def test_hard_case(name: str, device: str) -> None:
    """Directly, and from every first pass with a memory that cuts the search into many blocks: the same bits."""
    make, dtype, k = CASES[name]
    x = cast(make(), dtype)
    whole = check(x, k, device=device)
    for at, first in enumerate(PASSES if device == "cpu" else ["chosen"]):
        memory = (60_000, 1_000_000)[at % 2]
        with first_pass(first) if device == "cpu" else nullcontext():
            graph = exact_neighbors(x, k, device=device, memory=memory)
        np.testing.assert_array_equal(graph.indices, whole.indices, err_msg=first)
        np.testing.assert_array_equal(graph.distances, whole.distances, err_msg=first)


def test_which_cases_leave_no_freedom() -> None:
    """Where squares are exact every id is compared; these must be among them, or ties would go untested."""
    exact = {name for name, (make, dtype, _) in CASES.items() if has_exact_squares(cast(make(), dtype))}
    assert exact >= {
        "all rows zero",
        "simplex",
        "simplex, k = N - 1",
        "one-hot rows, repeated",
        "dense simplex (Hadamard)",
        "dense simplex under an offset",
        "k = N - 1 of a lattice",
        "d = 1, ties",
        "minus zero and zero",
        "minus zero among values",
        "images of bytes",
        "unsigned bytes",
        "just above a power of two of rows",
    }
    assert "scale 1e15" not in exact


@pytest.mark.parametrize("height", [1.0, 0.3, 1e-15, 1e15, 1e200])
def test_simplex_lists_the_lowest_ids(height: float) -> None:
    """All distances sqrt(2) height: the lowest ids but one's own, in order. A sum of two squares has one rounding."""
    graph = exact_neighbors(np.eye(130) * height, 9)
    for row in range(130):
        assert graph.indices[row].tolist() == [j for j in range(11) if j != row][:9]
    np.testing.assert_allclose(graph.distances, np.sqrt(2) * height, rtol=4e-16)
    assert (graph.distances == graph.distances[0, 0]).all()


@pytest.mark.parametrize("power", [-900, -300, -60, 60, 300, 900])
def test_a_power_of_two_changes_no_digit(power: int) -> None:
    """The graph of 2^p x is that of x, and its distances 2^p times as large, to the last bit."""
    x = np.concatenate([near_copies(120, 30), gaussian(60, 30) * 100])
    plain = exact_neighbors(x, 25)
    for first in PASSES:
        with first_pass(first):
            scaled = exact_neighbors(x * 2.0**power, 25)
        np.testing.assert_array_equal(scaled.indices, plain.indices)
        np.testing.assert_array_equal(scaled.distances, plain.distances * 2.0**power)


@pytest.mark.parametrize("device", DEVICES)
def test_131_072_features(device: str) -> None:
    """Distances to 64 ulp: roundings of random differences cancel; the bound of the worst case is 1,000 times that."""
    x = np.concatenate([gaussian(12, 131_072), gaussian(3, 131_072)]).astype(np.float32)
    x[12:] *= np.float32(1 + 2**-20)  # near-duplicates of the first three, at 1e-6
    graph = check(x, 7, ulps=64, device=device)
    for first in ["int8", "2 x int8", "float32"] if device == "cpu" else []:
        with first_pass(first):
            np.testing.assert_array_equal(exact_neighbors(x, 7).distances, graph.distances)
    np.testing.assert_array_equal(graph.indices[12:, 0], np.arange(3))
    np.testing.assert_array_equal(graph.indices[:3, 0], np.arange(12, 15))


@pytest.mark.parametrize("first", ["direct", "int8", "2 x int8", "float32"])
@pytest.mark.parametrize("d", [131_072, 140_001])
def test_products_at_the_end_of_32_bits(d: int, first: str) -> None:
    """127^2 d passes 2^31 at d = 133,144: sums of products of bytes must not wrap. Distances are small whole roots."""
    x = signs_with_flips(14, d).astype(np.float32)
    for rows in (x, np.concatenate([x, -x])):
        flips = (rows[:, None] != rows[None]).sum(axis=2)
        with first_pass(first):
            graph = exact_neighbors(rows, 13)
        np.testing.assert_array_equal(
            graph.distances, np.sqrt(4.0 * np.take_along_axis(flips, graph.indices.astype(np.int64), 1))
        )
        np.fill_diagonal(flips, d + 1)
        np.testing.assert_array_equal(graph.indices, np.argsort(flips, axis=1, kind="stable")[:, :13])


@pytest.mark.parametrize("device", DEVICES)
def test_2_000_gaussian_rows_in_512_dimensions(device: str) -> None:
    """All distances lie within a few per cent of each other, nearest and farthest alike. 60 rows are compared."""
    x = gaussian(2000, 512).astype(np.float32)
    graph = check(x, 60, rows=np.random.default_rng(0).choice(2000, 60, replace=False), device=device)
    assert graph.distances.max() < 1.4 * graph.distances.min()
    for first in ["int8", "2 x int8", "float32"] if device == "cpu" else []:
        with first_pass(first):
            np.testing.assert_array_equal(exact_neighbors(x, 60).indices, graph.indices)


@pytest.mark.parametrize("device", DEVICES)
def test_many_rows_with_ties_at_every_cut(device: str) -> None:
    """3,000 rows of a lattice: the last place of nearly every list is contested."""
    x = lattice(3000, 6, values=4).astype(np.float32)
    graph = check(x, 40, rows=np.arange(0, 3000, 17), device=device, memory=2_000_000)
    for first in PASSES if device == "cpu" else []:
        with first_pass(first):
            np.testing.assert_array_equal(exact_neighbors(x, 40, memory=30_000_000).indices, graph.indices)


@pytest.mark.skipif("RRA_DATA" not in os.environ, reason="RRA_DATA does not name a folder with MNIST")
def test_real_images_as_whole_numbers() -> None:
    """1,500 MNIST digits with 100 of them again: squares are whole numbers, so that every id is determined."""
    raw = next(Path(os.environ["RRA_DATA"]).glob("MNIST/raw/t10k-images-idx3-ubyte")).read_bytes()
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(10_000, 784)
    x = np.concatenate([images[:1500], images[:100]])
    assert has_exact_squares(x)
    rows = np.r_[0:10, 700:710, 1500:1510]
    as_bytes, as_float = check(x, 50, rows=rows), check(x.astype(np.float32), 50, rows=rows)
    np.testing.assert_array_equal(as_bytes.indices, as_float.indices)
    np.testing.assert_array_equal(as_float.indices[1500:, 0], np.arange(100))
    scaled = check(x.astype(np.float32) / 255, 50, rows=rows)
    assert (scaled.indices == as_float.indices).mean() > 0.99
