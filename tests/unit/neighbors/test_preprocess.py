"""Preprocessing: what each transform leaves unchanged, what it makes of hard columns and rows, and where it is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from rra_cli.errors import UserError
from rra_cli.neighbors import preprocess as module
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.preprocess import SCRATCH, fit, preprocessed
from rra_cli.neighbors.transforms.moments import moments
from rra_cli.neighbors.transforms.whitening import DegenerateError

NAMES = ("none", "centre", "zscore", "l2", "whitening")
FITTED = NAMES[1:]


def points(n: int = 300, d: int = 12, dtype: str = "float64", seed: int = 0) -> NDArray:
    """Correlated features of different scales around different means."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * np.geomspace(0.1, 10, d) + rng.normal(size=d)
    return mixed.astype(dtype)


def nearest(x: NDArray, k: int = 10) -> NDArray:
    return exact_neighbors(x, k, device="cpu").indices


# What each is


def test_none_is_the_array_itself() -> None:
    x = points()
    assert fit("none", x).apply(x) is x
    with preprocessed("none", x) as (rows, transform):
        assert rows is x
        assert (transform.n_features, transform.n_directions, transform.note) == (12, 12, "")


def test_centring_leaves_distances_as_they_are() -> None:
    x = points() + 1e4
    centred = fit("centre", x).apply(x)
    np.testing.assert_allclose(centred.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(pdist(centred), pdist(x), rtol=1e-12)
    np.testing.assert_array_equal(nearest(centred), nearest(x))


def test_scaling_does_not_leave_them() -> None:
    """Negative control: the other transforms change neighbourhoods of these points, each in its own way."""
    x = points()
    others = [nearest(fit(name, x).apply(x)) for name in ("none", "zscore", "l2", "whitening")]
    assert all((a != b).mean() > 0.1 for i, a in enumerate(others) for b in others[:i])


def test_zscore_is_that_of_scikit_learn() -> None:
    x = points()
    np.testing.assert_allclose(fit("zscore", x).apply(x), StandardScaler().fit_transform(x), rtol=1e-9, atol=1e-12)


def test_zscore_does_not_know_the_units_of_features() -> None:
    x, rng = points(), np.random.default_rng(1)
    units, offsets = 10.0 ** rng.uniform(-6, 6, 12) * rng.choice([-1, 1], 12), rng.normal(size=12)
    other = x * units + offsets * units
    assert (nearest(other) != nearest(x)).mean() > 0.1
    np.testing.assert_array_equal(nearest(fit("zscore", other).apply(other)), nearest(fit("zscore", x).apply(x)))


@pytest.mark.parametrize("constant", [0.1, 1e4 / 3, -1e-300, 1e15])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_features_become_zero(constant: float, dtype: str) -> None:
    """Also where their mean is not a number that floating point has."""
    x = points(dtype=dtype)
    x[:, 3] = constant
    transform = fit("zscore", x)
    found = transform.apply(x)
    assert (found[:, 3] == 0).all()
    assert np.isfinite(found).all()
    assert transform.note == "1 of 12 features are constant and become 0"
    # So does another value of a feature that was constant in the reference: there is nothing to measure it by.
    assert transform.apply(x[:2] + 7)[0, 3] == 0


def test_unit_rows_have_the_neighbours_by_cosine() -> None:
    x = points().astype(np.float32)
    expected = NearestNeighbors(n_neighbors=11, algorithm="brute", metric="cosine").fit(x)
    distances, ids = expected.kneighbors(x)
    graph = exact_neighbors(fit("l2", x).apply(x), 10, device="cpu")
    np.testing.assert_array_equal(graph.indices, ids[:, 1:])
    np.testing.assert_allclose(graph.distances**2 / 2, distances[:, 1:], atol=1e-6)


def test_zero_rows_stay_zero_and_are_at_distance_one() -> None:
    x = points()
    x[[3, 9]] = 0
    unit = fit("l2", x).apply(x)
    assert (unit[[3, 9]] == 0).all()
    lengths = squareform(pdist(unit))[3]
    np.testing.assert_allclose(np.delete(lengths, [3, 9]), 1)


def test_unit_rows_do_not_know_the_length_of_a_row() -> None:
    """Exact multiples give the same bits, so that parallel rows are duplicates."""
    x = np.random.default_rng(0).integers(-9, 10, (50, 7)).astype(np.float32)
    x[:, 0] = 1
    transform = fit("l2", x)
    np.testing.assert_array_equal(transform.apply(3 * x), transform.apply(x))
    assert (transform.apply(-x) == -transform.apply(x)).all()


def test_whitened_samples_are_uncorrelated_with_variance_one() -> None:
    x = points(2000)
    white = fit("whitening", x).apply(x)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(12), atol=1e-9)
    assert np.abs(np.cov(fit("zscore", x).apply(x).T, bias=True) - np.eye(12)).max() > 0.1


def test_whitened_distances_are_mahalanobis_distances() -> None:
    x = points()
    inverse = np.linalg.inv(np.cov(x.T, bias=True))
    expected = cdist(x, x, "mahalanobis", VI=inverse)
    np.testing.assert_allclose(squareform(pdist(fit("whitening", x).apply(x))), expected, rtol=1e-7, atol=1e-7)


def test_whitening_does_not_know_which_invertible_map_was_applied() -> None:
    x, rng = points(), np.random.default_rng(1)
    other = x @ rng.normal(size=(12, 12)) + rng.normal(size=12)
    with_map, without = (squareform(pdist(fit("whitening", rows).apply(rows))) for rows in (other, x))
    np.testing.assert_allclose(with_map, without, rtol=1e-7, atol=1e-9)
    scaled, unscaled = (squareform(pdist(fit("zscore", rows).apply(rows))) for rows in (other, x))
    assert not np.allclose(scaled, unscaled, rtol=0.01)


# Hard cases


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


# The reference set


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


# Where and with what


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


# What cannot be done


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="there is no preprocessing 'whiten': did you mean 'whitening'"):
        fit("whiten", points())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["centre", "zscore", "whitening"])
def test_rows_that_are_not_finite_are_named(name: str) -> None:
    x = points()
    x[17, 2] = np.nan
    with pytest.raises(InputError, match="row 17 of 300 holds NaN or infinity"):
        fit(name, x)


def test_infinite_rows_are_left_for_the_search_to_name() -> None:
    x = points()
    x[17, 2] = np.inf
    with pytest.raises(InputError, match="finite"):
        exact_neighbors(fit("l2", x).apply(x), 3, device="cpu")


def test_another_number_of_features_is_refused() -> None:
    with pytest.raises(InputError, match="fitted to 12 features, the rows have 11"):
        fit("zscore", points()).apply(points()[:, :11])


@pytest.mark.parametrize(("factor", "what"), [(1e160, "too large"), (1e-160, "too little")])
def test_values_whose_squares_leave_float64_are_refused(factor: float, what: str) -> None:
    with pytest.raises(InputError, match=what):
        fit("zscore", points() * factor)


def test_whitening_of_equal_rows_is_refused() -> None:
    with pytest.raises(DegenerateError, match="all of them are equal"):
        fit("whitening", np.ones((50, 4)))


def test_whitening_beyond_an_eigen_decomposition_is_refused() -> None:
    large = np.broadcast_to(np.zeros(1, np.float32), (10_000, 9000))
    with pytest.raises(InputError, match="whitening 10,000 samples of 9,000 features needs one of the two to be at m"):
        module.whitening_axes(large, moments(np.zeros((2, 2))), 1 << 40)


def test_whitening_beyond_the_memory_is_refused() -> None:
    with pytest.raises(InputError, match=r"takes 320 kB of memory, 100 kB are allowed"):
        fit("whitening", points(200, 100), memory=100_000)


def test_a_copy_that_fits_nowhere_is_refused() -> None:
    with (
        pytest.raises(InputError, match=r"after l2 take 28.8 kB, 10.0 kB of memory are allowed"),
        preprocessed("l2", points(), memory=10_000),
    ):
        pass


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rra_cli.core.resources.free_disk", lambda path: 10)
    with (
        pytest.raises(UserError, match=r"a copy of the activations after zscore needs about 28.8 kB, 10 B are free"),
        preprocessed("zscore", points(), memory=1000, work=tmp_path),
    ):
        pass
