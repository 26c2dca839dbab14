"""Decimation, Gride and PCA dimension: published values, closed forms, coverage on known sets."""

from __future__ import annotations

import numpy as np
import pytest
from hyper_ball import graph_of, graph_of_distances, hyper_ball

from rra_cli.metrics import pca_dimension as pca_module
from rra_cli.metrics import principal as principal_module
from rra_cli.metrics.decimation import Decimation, blocks_of, decimation, halvings
from rra_cli.metrics.gride import Gride, fit_ratios, gride, scales_of, score
from rra_cli.metrics.intrinsic_dimension import twonn
from rra_cli.metrics.pca_dimension import PCADimension, components_for, participation_ratio, pca_dimension
from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.graph import InputError

RNG = np.random.default_rng


def ratios(dimension: float, n1: int, n2: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """log mu of Gride's law: mu^-d is Beta(n1, n2 - n1) distributed."""
    return -np.log(rng.beta(n1, n2 - n1, size=n)) / dimension


# Gride


def test_gride_gives_the_published_values() -> None:
    """DADApy's of a ball in 5 dimensions within 10, 300 points: all scales from 1-2 to 32-64."""
    padded = np.concatenate([hyper_ball(300, 5, 0), np.zeros((300, 5))], axis=1)
    details = gride(graph_of(padded, 64)).details
    known = [4.11314, 4.66693, 4.31244, 4.39828, 4.27531, 3.83847]
    np.testing.assert_allclose(details["scale_value"][:6], known, atol=6e-6)
    assert details["scale_rank"][:6].tolist() == [2, 4, 8, 16, 32, 64]
    assert np.isnan(details["scale_value"][6:]).all()
    # The paper's N instead of N - 1 is larger.
    paper = gride(graph_of(padded, 64), unbiased=False).details["scale_value"]
    assert paper[0] == pytest.approx(known[0] * 300 / 299, abs=6e-6)
    assert (paper[:6] > details["scale_value"][:6]).all()


def test_gride_at_the_first_scale_is_twonn() -> None:
    graph = graph_of(RNG(0).normal(size=(200, 4)), 5)
    for unbiased in (False, True):
        found = gride(graph, rank=2, unbiased=unbiased)
        assert float(found) == pytest.approx(float(twonn(graph, unbiased=unbiased)), rel=1e-12)
        assert found.std_error == pytest.approx(float(found) / 200**0.5, rel=1e-12)


@pytest.mark.parametrize(("n1", "n2"), [(1, 2), (4, 8), (16, 32)])
def test_gride_recovers_its_own_law_and_its_error(n1: int, n2: int) -> None:
    """400 samples of it: unbiased within the error of the mean, and the stated error is the scatter of the draws."""
    rng = RNG(1)
    found = np.array([fit_ratios(ratios(7.0, n1, n2, 300, rng), n1, n2) for _ in range(400)])
    scatter = found[:, 0].std()
    assert abs(found[:, 0].mean() - 7.0) < 4 * scatter / 20 + 0.02
    assert found[:, 1].mean() == pytest.approx(scatter, rel=0.12)
    covered = np.mean(np.abs(found[:, 0] - 7.0) < 1.96 * found[:, 1])
    assert 0.92 < covered < 0.98


def test_the_score_is_the_derivative_of_the_log_likelihood() -> None:
    """And its information the second one; by differences of the density as the paper writes it."""
    n1, n2 = 4, 8
    log_mu = np.append(ratios(5.0, n1, n2, 50, RNG(2)), 1e-12)

    def log_likelihood(d: float) -> float:
        return float(np.sum(np.log(d) + (n2 - n1 - 1) * np.log(np.expm1(d * log_mu)) - ((n2 - 1) * d + 1) * log_mu))

    for d in (3.0, 8.0):
        slope, information = score(d, log_mu, n1, n2, unbiased=False)
        assert slope == pytest.approx((log_likelihood(d + 1e-5) - log_likelihood(d - 1e-5)) / 2e-5, rel=1e-5)
        slopes = [score(d + step, log_mu, n1, n2, unbiased=False)[0] for step in (1e-5, -1e-5)]
        assert information == pytest.approx((slopes[1] - slopes[0]) / 2e-5, rel=1e-5)


@pytest.mark.long
def test_gride_sees_noise_at_small_scales_only() -> None:
    """A plane with noise in 8 more dimensions: small ranks see the noise, large ones the plane. Control: no noise."""
    rng = RNG(3)
    plane = rng.uniform(size=(3000, 2))
    noisy = np.hstack([plane, np.zeros((3000, 8))]) + 0.01 * rng.normal(size=(3000, 10))
    curve, clean = (gride(exact_neighbors(x, 256)).details["scale_value"][:8] for x in (noisy, plane))
    assert curve[0] > 4.0
    assert curve[7] < 2.4
    assert (np.abs(clean - 2.0) < 0.25).all()


def test_degenerate_ratios() -> None:
    ones = np.ones(10)
    assert "equally far" in gride(graph_of_distances(ones, ones)).reason
    assert "0 of 10 rows" in gride(graph_of_distances(0 * ones, ones)).reason
    some = gride(graph_of_distances(np.where(np.arange(10) < 3, 0.0, 1.0), ones + np.arange(10)))
    assert some.n_used == 7
    assert scales_of(7) == [2, 4]
    with pytest.raises(InputError, match="power of two"):
        Gride(rank=6)
    with pytest.raises(InputError, match="k = 1"):
        gride(graph_of_distances(ones, 2 * ones).prefix(1))


# Decimation


def test_decimation_is_twonn_of_disjoint_blocks() -> None:
    x = hyper_ball(420, 3, 0)
    estimate = decimation(graph_of(x, 4), x, smallest=100)
    whole = twonn(graph_of(x, 2))
    assert (estimate.value, estimate.std_error, estimate.n_used) == (whole.value, whole.std_error, whole.n_used)
    details = estimate.details
    assert details["scale_samples"][:3].tolist() == [420, 210, 105]
    assert details["scale_blocks"][:3].tolist() == [1, 2, 4]
    assert np.isnan(details["scale_value"][3:]).all()
    for level, count in ((1, 2), (2, 4)):
        values = [float(twonn(graph_of(x[rows], 2))) for rows in blocks_of(420, count, 0)]
        assert details["scale_value"][level] == pytest.approx(np.mean(values), rel=1e-12)
        assert details["scale_sd"][level] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
        assert details["scale_error"][level] == pytest.approx(np.std(values, ddof=1) / count**0.5, rel=1e-12)
    # Fewer samples are farther apart.
    assert (np.diff(details["scale_radius"][:3]) > 0).all()


def test_blocks_are_disjoint_halves_of_one_another() -> None:
    for n in (400, 403):
        for count in (2, 4, 8):
            blocks, larger = blocks_of(n, count, 5), blocks_of(n, count // 2, 5)
            together = np.concatenate(blocks)
            assert len(np.unique(together)) == len(together) == count * (n // count)
            assert all(np.isin(block, np.concatenate(larger)).mean() > 0.98 for block in blocks)
    assert not np.array_equal(blocks_of(400, 2, 5)[0], blocks_of(400, 2, 6)[0])
    assert halvings(1000, 100) == [1, 2, 4, 8]
    assert halvings(50, 100) == [1]


@pytest.mark.long
def test_decimation_of_a_plane_with_noise_falls_and_of_a_ball_stays() -> None:
    """Larger N: smaller scale. The noisy plane's dimension rises with N; a ball of 3 keeps its own."""
    rng = RNG(4)
    plane = np.hstack([rng.uniform(size=(3200, 2)), np.zeros((3200, 4))]) + 0.01 * rng.normal(size=(3200, 6))
    for x, rises in ((plane, True), (hyper_ball(3200, 3, 1), False)):
        found = decimation(exact_neighbors(x, 2), x).details["scale_value"][:6]
        assert (found[0] > found[4] + 0.4) == rises
        if not rises:
            assert np.abs(found - 3.0).max() < 0.35


def test_decimation_without_a_value_and_bad_parameters() -> None:
    same = np.zeros((12, 2))
    assert "duplicate" in decimation(exact_neighbors(same, 2), same).reason
    with pytest.raises(InputError, match="12 samples, the activations 11"):
        decimation(exact_neighbors(same, 2), same[:-1])
    with pytest.raises(InputError, match="smallest"):
        Decimation(smallest=2)


# PCA


def test_pca_dimension_of_a_known_spectrum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Axes of variance 8, 1, 0.6, 0.4: 90 % needs two. Rotated into more dimensions than samples, and fewer."""
    sizes = np.sqrt([8.0, 1.0, 0.6, 0.4])
    points = np.concatenate([np.diag(sizes), -np.diag(sizes)])
    for width in (4, 20):
        turned = points @ np.linalg.qr(RNG(5).normal(size=(width, width)))[0][:4] + 3.0
        assert float(pca_dimension(turned)) == 2.0
        assert float(pca_dimension(turned, share=0.85)) == 2.0
        assert float(pca_dimension(turned, share=0.79)) == 1.0
        assert float(pca_dimension(turned, share=0.99)) == 4.0
        ratio = float(pca_dimension(turned, definition="participation_ratio"))
        assert ratio == pytest.approx(100.0 / (64 + 1 + 0.36 + 0.16), rel=1e-10)
    assert components_for(np.array([8.0, 1.0, 0.6, 0.4]), 0.9) == 2
    assert participation_ratio(np.full(7, 0.3)) == pytest.approx(7.0)
    # Too large to decompose: the randomised basis finds the same.
    monkeypatch.setattr(pca_module, "LARGEST", 12)
    monkeypatch.setattr(principal_module, "LARGEST", 12)
    monkeypatch.setattr(principal_module, "STEP", 6)
    large = np.tile(turned, (3, 1)) + 1e-6 * RNG(6).normal(size=(24, 20))
    assert float(pca_dimension(large, share=0.85)) == 2.0
    spread = RNG(7).normal(size=(40, 30))
    assert "12 directions hold" in pca_dimension(spread).reason
    assert float(pca_dimension(spread, definition="participation_ratio")) > 12


def test_pca_sees_a_curved_line_as_many_dimensions_and_twonn_as_one() -> None:
    t = np.sort(RNG(8).uniform(0, 1, 600))[:, None]
    curve = np.hstack([np.cos(2 * np.pi * f * t) for f in range(1, 8)])
    assert float(pca_dimension(curve)) >= 6
    assert float(twonn(exact_neighbors(curve, 2))) == pytest.approx(1.0, abs=0.15)
    assert "collapsed" in pca_dimension(np.ones((9, 3))).reason
    with pytest.raises(InputError, match="variance, participation_ratio"):
        PCADimension(definition="ratio")
    with pytest.raises(InputError, match="fraction of the variance"):
        PCADimension(share=1.0)
