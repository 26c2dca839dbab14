"""Preprocessing of hard columns and rows, by a reference's statistics, in any memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sample_points import FITTED, points
from scipy.spatial.distance import pdist

from rra_cli.neighbors import preprocess as module
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.preprocess import SCRATCH, fit, preprocessed
from rra_cli.neighbors.transforms.moments import moments
from rra_cli.neighbors.transforms.whitening import DegenerateError


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("factor", [1e-15, 1.0, 1e15])
def test_scale_and_offset_cost_no_digits(name: str, factor: float) -> None:
    """Powers of ten and an offset of 10^4 standard deviations: the same neighbours as in the middle of the range."""
    x = points(dtype="float64")
    offset = 0.0 if name == "l2" else 1e4
    expected = fit(name, x).apply(x)
    found = fit(name, (x + offset) * factor).apply((x + offset) * factor)
    found = found / factor if name == "centre" else found
    np.testing.assert_allclose(pdist(found), pdist(expected), rtol=1e-8)


def test_variance_in_one_pass_is_that_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 7 rows, and a common offset that a sum of squares would not survive."""
    x = points() + 1e9
    monkeypatch.setattr("rra_cli.neighbors.transforms.moments._BLOCK", 7 * 12)
    found = moments(x)
    exact = x.astype(np.longdouble)
    np.testing.assert_allclose(found.origin + found.shift, exact.mean(axis=0).astype(float), rtol=1e-15)
    np.testing.assert_allclose(found.variance, exact.var(axis=0).astype(float), rtol=1e-11)
    assert not np.allclose((x**2).mean(axis=0) - x.mean(axis=0) ** 2, found.variance, rtol=1e-3)


def test_dependent_features_are_left_out_of_whitening() -> None:
    x = points(300, 6)
    doubled = np.hstack([x, x @ np.ones((6, 3)), np.full((300, 1), 2.5)])
    transform = fit("whitening", doubled)
    assert transform.n_directions == 6
    assert transform.note == "whitening keeps 6 of 10 directions"
    np.testing.assert_allclose(pdist(transform.apply(doubled)), pdist(fit("whitening", x).apply(x)), rtol=1e-6)


def test_a_dominating_feature_does_not_push_others_out() -> None:
    x = points(300, 6)
    x[:, 0] *= 1e9
    assert fit("whitening", x).n_directions == 6


def test_rounding_of_float16_is_no_direction() -> None:
    base = np.random.default_rng(0).normal(size=(400, 4)) @ np.random.default_rng(1).normal(size=(4, 10))
    assert fit("whitening", base.astype(np.float16)).n_directions == 4
    assert fit("whitening", base.astype(np.float32)).n_directions == 4


def test_fewer_samples_than_features_of_low_rank() -> None:
    """By the Gram matrix: the same distances as those of the few features that generate the others."""
    x = points(60, 5)
    wide = x @ np.random.default_rng(1).normal(size=(5, 200))
    transform = fit("whitening", wide)
    assert transform.n_directions == 5
    np.testing.assert_allclose(pdist(transform.apply(wide)), pdist(fit("whitening", x).apply(x)), rtol=1e-7)
    new = points(10, 5, seed=2)
    both = transform.apply(new @ np.linalg.lstsq(x, wide, rcond=None)[0])
    np.testing.assert_allclose(pdist(both), pdist(fit("whitening", x).apply(new)), rtol=1e-7)


def test_as_many_directions_as_samples_leave_no_neighbourhoods() -> None:
    """They are a regular simplex: sqrt(2 n) from each other, whatever the data was."""
    x = points(20, 50)
    with pytest.raises(DegenerateError, match="20 samples with 19 independent directions are all equally far"):
        fit("whitening", x)
    with pytest.raises(DegenerateError, match="20 samples"):
        fit("whitening", x[:, :19])
    # The theorem behind it, computed by hand.
    u, _, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(pdist(u[:, :19] * np.sqrt(20)), np.sqrt(2 * 20))
    assert fit("whitening", x[:, :18]).n_directions == 18


@pytest.mark.parametrize("name", FITTED)
def test_equal_rows_stay_equal_wherever_they_lie(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = points(500, 40)
    x[[7, 250, 499]] = x[3]
    monkeypatch.setattr("rra_cli.neighbors.transforms.moments._BLOCK", 40 * 37)
    with preprocessed(name, x) as (rows, _):
        assert len(np.unique(rows[[3, 7, 250, 499]], axis=0)) == 1
        assert len(np.unique(rows, axis=0)) == 497


def test_equal_rows_that_a_product_rounds_differently_are_made_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix product that depends on the place of a row, in memory and in a file."""
    x = points(50, 4)
    x[[7, 33]] = x[3]
    honest = module.Whitening._apply

    def by_place(self: module.Whitening, block: NDArray) -> NDArray:
        return honest(self, block) + 1e-9 * np.arange(len(block))[:, None]

    monkeypatch.setattr(module.Whitening, "_apply", by_place)
    monkeypatch.setattr("rra_cli.neighbors.transforms.moments._BLOCK", 4 * 11)
    assert len(np.unique(fit("whitening", x).apply(x)[[3, 7, 33]], axis=0)) == 3
    for memory in (1 << 20, 4000):
        with preprocessed("whitening", x, memory=memory, work=tmp_path) as (rows, _):
            assert len(np.unique(rows[[3, 7, 33]], axis=0)) == 1


@pytest.mark.parametrize("name", FITTED)
def test_queries_are_transformed_by_the_statistics_of_the_reference(name: str) -> None:
    """A query that is a row of the reference finds it, at distance 0 (whitening: but for the last bits)."""
    reference, queries = points(200), points(200)[50:80]
    transform = fit(name, reference)
    graph = exact_neighbors(transform.apply(queries), 3, reference=transform.apply(reference), device="cpu")
    np.testing.assert_array_equal(graph.indices[:, 0], np.arange(50, 80))
    np.testing.assert_allclose(graph.distances[:, 0], 0, atol=1e-12)
    if name != "l2":  # which has no statistics
        assert not np.allclose(fit(name, queries).apply(queries), transform.apply(queries))


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64"])
def test_results_are_float32_but_for_wide_numbers(name: str, dtype: str) -> None:
    x = (points(200) * 3 + 100).astype(dtype)
    wide = dtype in ("float64", "int64")
    with preprocessed(name, x) as (rows, _):
        assert rows.dtype == (np.float64 if wide else np.float32)
        with preprocessed(name, x.astype(np.float64)) as (exact, _):
            np.testing.assert_allclose(pdist(rows), pdist(exact), rtol=2e-3 if dtype == "float16" else 1e-4)


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_and_threads_change_no_bit(name: str, dtype: str, tmp_path: Path) -> None:
    """Data from a memory map, of several blocks, in a scratch file that is gone afterwards."""
    from threadpoolctl import threadpool_limits

    x = points(4000, 300, dtype)
    np.save(tmp_path / "x.npy", x)
    with preprocessed(name, x) as (rows, _):
        whole = rows.copy()
    work = tmp_path / "work"
    work.mkdir()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with threadpool_limits(2), preprocessed(name, mapped, memory=3_500_000, work=work) as (rows, _):
        assert isinstance(rows, np.memmap)
        assert [path.name for path in work.iterdir()] == [SCRATCH]
        np.testing.assert_array_equal(rows, whole)
    assert list(work.iterdir()) == []


def test_the_scratch_file_is_removed_when_the_search_fails(tmp_path: Path) -> None:
    seen = []

    def search() -> None:
        with preprocessed("zscore", points(), memory=1000, work=tmp_path):
            seen.extend(path.name for path in tmp_path.iterdir())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        search()
    assert seen == [SCRATCH]
    assert list(tmp_path.iterdir()) == []


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """32 MB of float32 are standardised with a few blocks of 8 MB."""
    import tracemalloc

    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(4000, 2000))
    x[:] = np.random.default_rng(0).normal(size=(4000, 2000))
    x.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tracemalloc.start()
    with preprocessed("zscore", mapped, memory=1 << 20, work=tmp_path) as (rows, _):
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_allclose(rows[:, 7].std(), 1, rtol=1e-5)
    assert peak < 40e6
