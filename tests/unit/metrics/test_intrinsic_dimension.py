"""TwoNN: published numbers, closed forms, what is left out and why there may be no value."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hyper_ball import graph_of, graph_of_distances, hyper_ball
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from rra_cli.errors import UserError
from rra_cli.metrics import twonn
from rra_cli.metrics.intrinsic_dimension import Fit, TwoNN, fit_curve
from rra_cli.metrics.metric import LayerData
from rra_cli.neighbors import exact_neighbors


def pareto(n: int, d: float, seed: int) -> np.ndarray:
    """Ratios that follow TwoNN's law exactly and independently: P(mu) = d mu^-(d + 1)."""
    return np.random.default_rng(seed).random(n) ** (-1 / d)


def test_known_answers_of_a_ball() -> None:
    """hyperBall(500, 5, 0), and hyperBall(300, 5, 0) with five constant columns (scikit-dimension's tests)."""
    ball = graph_of(hyper_ball(500, 5, 0), 2)
    assert float(twonn(ball, fit="linear")) == pytest.approx(4.159093274086606, rel=1e-12)
    padded = graph_of(np.c_[hyper_ball(300, 5, 0), np.zeros((300, 5))], 2)
    assert float(twonn(padded, fit="linear")) == pytest.approx(4.3621765, abs=5e-8)
    assert float(twonn(padded, unbiased=True)) == pytest.approx(4.1131389, abs=5e-8)
    assert float(twonn(padded, fit="mle_censored")) == pytest.approx(4.3212420, abs=5e-8)


def test_the_empirical_distribution_starts_at_one() -> None:
    """30 points: 4.522; negative control: F_i = (i - 1) / N, a known bug, gives 4.055."""
    graph = graph_of(hyper_ball(30, 5, 0), 2)
    assert float(twonn(graph, fit="linear")) == pytest.approx(4.522, abs=5e-4)
    x = np.sort(np.log(graph.distances[:, 1] / graph.distances[:, 0]))[:27]
    y = -np.log(1 - np.arange(27) / 30)
    assert x @ y / (x @ x) == pytest.approx(4.055, abs=5e-4)


def test_digits_and_ties() -> None:
    """1,797 digits, some with r1 = r2: 9.05; leaving those out, as Ansuini's code does, 8.96."""
    graph = exact_neighbors(load_digits().data, 2)
    estimate = twonn(graph)
    assert float(estimate) == pytest.approx(9.05, abs=5e-3)
    assert estimate.details["ties"] > 0
    dropped = twonn(graph, drop_ties=True)
    assert float(dropped) == pytest.approx(8.96, abs=5e-3)
    assert dropped.n_used == 1797 - estimate.details["ties"]


@pytest.mark.long
@pytest.mark.skipif("RRA_DATA" not in os.environ, reason="RRA_DATA does not name a folder with MNIST")
def test_mnist() -> None:
    """10,000 test images: 13.56; 13-14 in the DTU lecture, about 13.2 in Ansuini 2019."""
    raw = next(Path(os.environ["RRA_DATA"]).glob("MNIST/raw/t10k-images-idx3-ubyte")).read_bytes()
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(10_000, 784)
    assert float(twonn(exact_neighbors(pixels, 2))) == pytest.approx(13.56, abs=5e-3)


@pytest.mark.parametrize("fit", ["mle", "linear", "mle_censored"])
def test_finds_the_exponent_of_its_own_law(fit: Fit) -> None:
    """Mean over 200 samples of 500 exact draws: d = 7 within three standard errors of that mean and 1 %."""
    values = []
    for seed in range(200):
        mu = pareto(500, 7.0, seed)
        values.append(float(twonn(graph_of_distances(np.ones(500), mu), fit=fit)))
    assert np.mean(values) == pytest.approx(7.0, rel=0.01)


def test_standard_errors_are_those_of_independent_ratios() -> None:
    estimates = [twonn(graph_of_distances(np.ones(400), pareto(400, 5.0, seed)), unbiased=True) for seed in range(400)]
    spread = np.std([float(estimate) for estimate in estimates])
    assert np.mean([estimate.std_error for estimate in estimates]) == pytest.approx(spread, rel=0.12)
    censored = [
        twonn(graph_of_distances(np.ones(400), pareto(400, 5.0, seed)), fit="mle_censored", discard=0.5)
        for seed in range(400)
    ]
    spread = np.std([float(estimate) for estimate in censored])
    assert np.mean([estimate.std_error for estimate in censored]) == pytest.approx(spread, rel=0.12)
    assert np.isnan(twonn(graph_of_distances(np.ones(400), pareto(400, 5.0, 0)), fit="linear").std_error)


def test_trimming_without_censoring_is_biased() -> None:
    """Negative control: the plain formula on the 90 % smallest is about 33 % high; the censored one is not."""
    mu = pareto(100_000, 5.0, 0)
    kept = np.sort(mu)[:90_000]
    assert len(kept) / np.log(kept).sum() == pytest.approx(5.0 * 1.33, rel=0.02)
    censored = twonn(graph_of_distances(np.ones(len(mu)), mu), fit="mle_censored")
    assert float(censored) == pytest.approx(5.0, rel=0.015)


@given(st.integers(-60, 60), st.integers(0, 1000))
def test_scale_does_not_matter(power: int, seed: int) -> None:
    mu = pareto(50, 3.0, seed)
    r1 = np.random.default_rng(seed).random(50) + 0.1
    plain, scaled = graph_of_distances(r1, r1 * mu), graph_of_distances(r1 * 2.0**power, r1 * mu * 2.0**power)
    for fit in ("mle", "linear", "mle_censored"):
        assert float(twonn(plain, fit=fit)) == float(twonn(scaled, fit=fit))


def test_duplicates_are_left_out_and_rows_stay_aligned() -> None:
    x = hyper_ball(200, 3, 0)
    x[[10, 50]], x[120] = x[7], x[60]
    graph = graph_of(x, 2)
    estimate = twonn(graph)
    zero = graph.distances[:, 0] == 0
    assert set(np.flatnonzero(zero)) == {7, 10, 50, 60, 120}
    assert (estimate.n_used, estimate.details["duplicates"]) == (195, 5)
    assert estimate.per_sample is not None
    assert np.array_equal(np.isnan(estimate.per_sample), zero)
    mu = graph.distances[~zero, 1] / graph.distances[~zero, 0]
    assert np.array_equal(estimate.per_sample[~zero], mu)
    assert float(estimate) == pytest.approx(195 / np.log(mu).sum(), rel=1e-12)
    assert np.array_equal(estimate.details["mu_quantiles"][[0, 100, 200]], np.quantile(mu, [0, 0.5, 1]))


def test_order_of_rows_does_not_matter() -> None:
    x, order = hyper_ball(150, 4, 1), np.random.default_rng(0).permutation(150)
    a, b = twonn(graph_of(x, 2)), twonn(graph_of(x[order], 2))
    assert float(a) == pytest.approx(float(b), rel=1e-12)
    assert a.per_sample is not None
    assert b.per_sample is not None
    assert np.array_equal(a.per_sample[order], b.per_sample)


ONES = np.ones(20)


@pytest.mark.parametrize("fit", ["mle", "linear", "mle_censored"])
@pytest.mark.parametrize(
    ("r1", "r2", "reason"),
    [
        (0 * ONES, 0 * ONES, "all 20 rows have a duplicate"),
        (0 * ONES, ONES, "all 20 rows have a duplicate"),
        (ONES, ONES, "r1 = r2 in all of the (20|18) rows that the fit looks at"),
        (
            np.r_[1, 0 * ONES[1:]],
            np.r_[2, ONES[1:]],
            "the fit has 1 of 1 ratios, at least 2 are needed: 19 of 20 rows have a duplicate",
        ),
    ],
)
def test_a_collapsed_layer_has_no_value_but_a_reason(fit: Fit, r1: np.ndarray, r2: np.ndarray, reason: str) -> None:
    import re

    estimate = TwoNN(fit=fit).measure(LayerData(graph_of_distances(r1, r2), None))
    assert np.isnan(float(estimate))
    assert re.search(reason, estimate.reason)


def test_all_ties_among_what_a_fit_looks_at() -> None:
    graph = graph_of_distances(np.ones(100), np.r_[np.full(5, 2.0), np.ones(95)])
    assert float(twonn(graph)) == pytest.approx(100 / (5 * np.log(2)))
    for fit in ("linear", "mle_censored"):
        assert "r1 = r2 in all of the 90 rows" in twonn(graph, fit=fit).reason
    few = twonn(graph_of_distances(np.ones(50), pareto(50, 3.0, 0)), fit="mle_censored", discard=0.99)
    assert "the fit has 1 of 50 ratios" in few.reason


def test_ratios_beyond_float64() -> None:
    graph = graph_of_distances(np.r_[5e-324, np.ones(19)], np.r_[1.7e308, np.full(19, 2.0)])
    assert np.isfinite(float(twonn(graph)))


def test_fit_curve_is_a_line_where_the_law_holds() -> None:
    x, y = fit_curve(np.sort(np.log(pareto(20_000, 6.0, 0))), 0.1)
    assert len(x) == 18_000
    assert np.abs(y - 6 * x).max() < 0.1


def test_errors() -> None:
    one = graph_of(hyper_ball(10, 2, 0), 1)
    with pytest.raises(UserError, match="the graph has k = 1"):
        twonn(one)
    graph = graph_of(hyper_ball(10, 2, 0), 2)
    with pytest.raises(UserError, match="fit is 'mel'; it must be one of mle, linear, mle_censored"):
        twonn(graph, fit="mel")  # type: ignore[arg-type]
    for discard in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"discard is .* must lie in \[0, 1\)"):
            TwoNN(discard=discard)
    with pytest.raises(ValueError, match="unbiased belongs to fit=mle, not to fit=linear"):
        TwoNN(fit="linear", unbiased=True)
