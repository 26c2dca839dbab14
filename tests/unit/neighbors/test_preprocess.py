"""Preprocessing: what each transform is and leaves unchanged, and what cannot be done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_points import nearest, points
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from rra_cli.errors import UserError
from rra_cli.neighbors import preprocess as module
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.preprocess import fit, preprocessed
from rra_cli.neighbors.transforms.moments import moments
from rra_cli.neighbors.transforms.whitening import DegenerateError


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
