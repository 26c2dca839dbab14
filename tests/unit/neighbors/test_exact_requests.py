"""Exact search: the same bits from any memory and threads, one clear message for what cannot be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import PLANS, assert_exact, beginning_with, gaussian
from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.exact import ExactEngine


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


def test_a_reference_excludes_nobody() -> None:
    x = gaussian(30, 4)
    graph = exact_neighbors(x, 30, reference=x)
    assert np.array_equal(graph.indices[:, 0], np.arange(30))
    assert not graph.self_excluded


@pytest.mark.long
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


@pytest.mark.parametrize("shape", [(10, 0), (0, 3)])
def test_empty_activations_have_a_hint(shape: tuple[int, int]) -> None:
    with pytest.raises(UserError) as caught:
        exact_neighbors(np.empty(shape), 1)
    assert "look for what left none of them" in str(caught.value.hint)


def test_reference_errors() -> None:
    x = gaussian(10, 2)
    with pytest.raises(UserError, match="k is 11, but the reference has 10 rows") as caught:
        exact_neighbors(x, 11, reference=x)
    assert caught.value.hint
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
