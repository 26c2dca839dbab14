"""TwoNN against published numbers, closed forms and scipy."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

import numpy as np
import pytest
from reference_impl import (
    hyper_ball,
    log_ratios,
    random_rotation,
    twonn_censored,
    twonn_linear,
    twonn_mle,
    twonn_trimmed_mle,
)
from scipy import stats

from rra_cli.errors import UserError
from rra_cli.metrics import twonn
from rra_cli.neighbors import NeighborGraph, exact_neighbors

FITS = ("mle", "linear", "mle_censored")


def dimension(x: np.ndarray, fit: str = "mle", **options: object) -> float:
    return float(twonn(exact_neighbors(np.asarray(x), 2), fit=fit, **options))


def graph_of(r1: np.ndarray, r2: np.ndarray) -> NeighborGraph:
    """A graph with these first two distances; TwoNN looks at nothing else."""
    n = len(r1)
    ids = (np.arange(n)[:, None] + [1, 2]) % n
    return NeighborGraph(ids, np.stack([r1, r2], axis=1).astype(np.float64), 1.0, n)


def pareto_graph(n: int, d: float, seed: int) -> tuple[NeighborGraph, np.ndarray]:
    """Ratios drawn from exactly the law that TwoNN assumes, P(mu) = d mu^-(d+1)."""
    rng = np.random.default_rng(seed)
    mu = rng.random(n) ** (-1 / d)
    r1 = rng.random(n) + 0.1
    return graph_of(r1, r1 * mu), np.log(mu)


# Known answers (reference: the sources named in the docstring of each)


def test_hyper_ball_500_linear() -> None:
    """Published to the last digit; control: an ECDF that starts at 0 gives 4.132."""
    x = hyper_ball(500, 5, 0)
    assert dimension(x, "linear") == pytest.approx(4.159093274086606, rel=1e-9)
    assert twonn_linear(log_ratios(x), first=0) == pytest.approx(4.1319, abs=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_hyper_ball_300_padded(fit: str) -> None:
    """linear 4.3621765, MLE with N-1 4.1131389, censored 4.3212420; five zero columns change nothing."""
    x = np.pad(hyper_ball(300, 5, 0), ((0, 0), (0, 5)))
    # The plain MLE follows from the published N-1 form: N / sum = (N-1) / sum * N / (N-1).
    known = {"linear": 4.3621765, "mle": 4.1131389 * 300 / 299, "mle_censored": 4.3212420}
    assert dimension(x, fit) == pytest.approx(known[fit], abs=2e-7)
    assert dimension(x[:, :5], fit) == pytest.approx(dimension(x, fit), rel=1e-9)
    for other in FITS:
        assert other == fit or abs(known[other] - known[fit]) > 0.01


def test_unbiased_mle_of_the_padded_ball() -> None:
    if "unbiased" not in inspect.signature(twonn).parameters:
        pytest.skip("twonn has no option `unbiased`")
    x = np.pad(hyper_ball(300, 5, 0), ((0, 0), (0, 5)))
    assert dimension(x, "mle", unbiased=True) == pytest.approx(4.1131389, abs=1e-7)


def test_off_by_one_of_the_empirical_cdf() -> None:
    """30 points: 4.522; the libraries whose empirical CDF starts at 0 say 4.055."""
    x = hyper_ball(30, 5, 0)
    assert dimension(x, "linear") == pytest.approx(4.522, abs=5e-4)
    assert twonn_linear(log_ratios(x), first=0) == pytest.approx(4.055, abs=5e-4)


def test_digits() -> None:
    """The 1,797 digits: 9.05. Integer pixels, so 18 exact ties r1 = r2, which stay in with log mu = 0 (else 8.96)."""
    from sklearn.datasets import load_digits

    x = load_digits().data
    log_mu = log_ratios(x)
    assert ((log_mu == 0).sum(), len(log_mu)) == (18, 1797)
    for dtype in (np.float32, np.float64):
        # As the pixels are, and as they are fed to networks.
        for scale in (1.0, 1 / 16):
            assert dimension((x * scale).astype(dtype)) == pytest.approx(twonn_mle(log_mu), rel=1e-6)
    assert twonn_mle(log_mu) == pytest.approx(9.05, abs=0.005)
    assert twonn_mle(log_mu[log_mu > 0]) == pytest.approx(8.96, abs=0.005)
    if "drop_ties" in inspect.signature(twonn).parameters:
        assert dimension(x, drop_ties=True) == pytest.approx(8.96, abs=0.005)


def test_under_sampling_of_a_ball_in_20_dimensions() -> None:
    """N = 2,000 gives about 16.3, not 20: a fact of the method that must not be corrected away."""
    values = [dimension(hyper_ball(2000, 20, seed)) for seed in range(3)]
    assert np.mean(values) == pytest.approx(16.3, abs=0.5)


def test_common_offset_of_30() -> None:
    """An offset costs nothing but the rounding of the input; control: the float32 expansion loses most r1."""
    x = (hyper_ball(800, 8, 0) * 0.05 + 30).astype(np.float32)
    truth = twonn_mle(log_ratios(x))
    assert dimension(x) == pytest.approx(truth, rel=1e-5)
    norms = (x * x).sum(axis=1)
    squares = norms[:, None] + norms[None] - 2 * x @ x.T
    np.fill_diagonal(squares, np.inf)
    assert (np.sort(squares, axis=1)[:, 0] <= 0).mean() > 0.5


@pytest.fixture(scope="module")
def mnist_test_pixels() -> np.ndarray:
    root = os.environ.get("RRA_DATA")
    if root is None:
        pytest.skip("RRA_DATA is not set")
    raw = (Path(root) / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    return np.frombuffer(raw, np.uint8, offset=16).reshape(10_000, 784).astype(np.float32) / 255


@pytest.mark.long
def test_mnist_test_pixels(mnist_test_pixels: np.ndarray) -> None:
    """13.56 by both fits at N = 10,000 (lecture: 13-14)."""
    graph = exact_neighbors(mnist_test_pixels, 2)
    assert float(twonn(graph)) == pytest.approx(13.56, abs=0.006)
    assert float(twonn(graph, fit="linear")) == pytest.approx(13.56, abs=0.06)


@pytest.mark.long
@pytest.mark.parametrize(("n", "known"), [(500, 11.7), (1000, 12.3), (2000, 12.5), (5000, 12.9)])
def test_mnist_dimension_grows_with_the_sample(mnist_test_pixels: np.ndarray, n: int, known: float) -> None:
    """Under-sampling on real data: mean of three random subsets, the standard deviation of one being d / sqrt(n)."""
    values = [
        dimension(mnist_test_pixels[np.random.default_rng(seed).choice(10_000, n, replace=False)]) for seed in range(3)
    ]
    assert np.mean(values) == pytest.approx(known, abs=0.1 + 3 * known / np.sqrt(n))
    assert np.mean(values) < 13.56


# The model itself


@pytest.mark.parametrize("d", [0.7, 2.0, 13.5, 60.0])
@pytest.mark.parametrize("fit", FITS)
def test_recovers_the_exponent_of_its_own_law(d: float, fit: str) -> None:
    """On 20,000 ratios from the assumed law every fit is within 4 standard errors (d / sqrt(n), linear: twice that)."""
    graph, log_mu = pareto_graph(20_000, d, seed=1)
    error = d / np.sqrt(20_000) * (2 if fit == "linear" else 1.1)
    assert abs(float(twonn(graph, fit=fit)) - d) < 4 * error
    expected = {"mle": twonn_mle, "linear": twonn_linear, "mle_censored": twonn_censored}[fit](log_mu)
    assert float(twonn(graph, fit=fit)) == pytest.approx(expected, rel=1e-9)


def test_mle_is_scipys_pareto_fit() -> None:
    graph, log_mu = pareto_graph(500, 6.0, seed=2)
    shape, _, _ = stats.pareto.fit(np.exp(log_mu), floc=0, fscale=1)
    assert float(twonn(graph)) == pytest.approx(shape, rel=1e-6)


def test_censored_is_scipys_censored_fit() -> None:
    """The maximum of scipy's likelihood (searched to 1e-3) with the largest tenth right-censored, times (n-1)/n.

    Control: without the censoring scipy says something else.
    """
    graph, log_mu = pareto_graph(400, 6.0, seed=3)
    values = np.sort(log_mu)
    data = stats.CensoredData(uncensored=values[:360], right=np.full(40, values[359]))
    _, scale = stats.expon.fit(data, floc=0)
    assert float(twonn(graph, fit="mle_censored")) == pytest.approx(359 / 360 / scale, rel=1e-3)
    _, uncensored = stats.expon.fit(log_mu, floc=0)
    assert abs(scale / uncensored - 1) > 5e-3


def test_trimming_with_the_plain_mle_is_biased_by_a_third() -> None:
    """Control of the censored fit. Exactly: 1 - q(1 + log 1/q) over 1 - q is the mean that is left, q = 0.1."""
    graph, log_mu = pareto_graph(50_000, 9.0, seed=4)
    wrong = twonn_trimmed_mle(log_mu)
    assert wrong / 9.0 == pytest.approx(0.9 / (1 - 0.1 * (1 + np.log(10))), rel=0.02)
    assert 1.3 < wrong / 9.0 < 1.4
    assert abs(float(twonn(graph, fit="mle_censored")) / 9.0 - 1) < 0.02


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("n", [10, 11, 19, 57, 333])
def test_every_sample_size(fit: str, n: int) -> None:
    """The number that is kept by a discard of 0.1 is floor(0.9 n)."""
    graph, log_mu = pareto_graph(n, 5.0, seed=n)
    expected = {"mle": twonn_mle, "linear": twonn_linear, "mle_censored": twonn_censored}[fit](log_mu)
    assert float(twonn(graph, fit=fit)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [2, 5, 10])
def test_consistent_on_balls(d: int) -> None:
    """Within 4 standard errors (d / sqrt(N)) at N = 2,000, and the three are told apart."""
    value = dimension(hyper_ball(2000, d, 0))
    assert abs(value - d) < 4 * d / np.sqrt(2000)


def test_dimension_is_of_the_manifold_not_of_the_space() -> None:
    """A plane, turned into 50 dimensions, stays a plane; noise in all 50 does not."""
    plane = np.pad(np.random.default_rng(5).random((1500, 2)), ((0, 0), (0, 48))) @ random_rotation(50, 1)
    assert dimension(plane) == pytest.approx(2, abs=4 * 2 / np.sqrt(1500))
    assert dimension(plane + np.random.default_rng(6).normal(size=plane.shape)) > 15


# Invariances


@pytest.mark.parametrize("fit", FITS)
def test_scale_rotation_and_shift_keep_it_and_an_anisotropic_scaling_does_not(fit: str) -> None:
    x = hyper_ball(400, 5, 7)
    value = dimension(x, fit)
    assert dimension(x * 1e-7, fit) == pytest.approx(value, rel=1e-9)
    assert dimension(x * 1e9, fit) == pytest.approx(value, rel=1e-9)
    assert dimension(x @ random_rotation(5, 2), fit) == pytest.approx(value, rel=1e-9)
    assert dimension(x + 100.0, fit) == pytest.approx(value, rel=1e-7)
    assert dimension(np.random.default_rng(8).permutation(x), fit) == pytest.approx(value, rel=1e-9)
    assert abs(dimension(x * [1e3, 1, 1, 1, 1e-3], fit) - value) > 0.5


@pytest.mark.parametrize("k", [2, 3, 40])
def test_only_the_first_two_neighbours_count(k: int) -> None:
    x = hyper_ball(200, 4, 9)
    assert float(twonn(exact_neighbors(x, k))) == dimension(x)


# Duplicates, ties, degenerate data


@pytest.mark.parametrize("fit", FITS)
def test_duplicates_are_dropped_and_the_rows_stay_aligned(fit: str) -> None:
    """Rows with r1 = 0 leave: N counts the kept rows, and per-sample values are NaN exactly there."""
    x = hyper_ball(300, 4, 10)
    x[[50, 51, 200]] = x[[7, 7, 120]]
    dropped = np.zeros(300, bool)
    dropped[[7, 50, 51, 120, 200]] = True
    estimate = twonn(exact_neighbors(x, 2), fit=fit)
    log_mu = log_ratios(x)
    assert len(log_mu) == 295
    expected = {"mle": twonn_mle, "linear": twonn_linear, "mle_censored": twonn_censored}[fit](log_mu)
    assert float(estimate) == pytest.approx(expected, rel=1e-9)
    assert estimate.n_used == 295
    if estimate.per_sample is not None:
        assert estimate.per_sample.shape == (300,)
        np.testing.assert_array_equal(np.isnan(estimate.per_sample), dropped)


def test_per_sample_values_exist_and_belong_to_their_rows() -> None:
    """Permuting the samples permutes them."""
    x = hyper_ball(150, 4, 11)
    order = np.random.default_rng(12).permutation(150)
    plain, shuffled = (twonn(exact_neighbors(y, 2)).per_sample for y in (x, x[order]))
    assert plain is not None
    assert shuffled is not None
    np.testing.assert_allclose(shuffled, plain[order], rtol=1e-9)
    assert np.std(plain) > 0


def test_exact_ties_stay_in_with_log_mu_zero() -> None:
    """r1 = r2 in every second row doubles the plain MLE."""
    graph, log_mu = pareto_graph(1000, 4.0, seed=13)
    distances = graph.distances.copy()
    distances[::2, 1] = distances[::2, 0]
    tied = graph_of(distances[:, 0], distances[:, 1])
    assert float(twonn(tied)) == pytest.approx(1000 / log_mu[1::2].sum(), rel=1e-12)
    assert twonn(tied).n_used == 1000


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    ("graph", "word"),
    [
        (graph_of(np.zeros(20), np.zeros(20)), r"(?i)duplicate|identical|constant|collapsed|distance"),
        (graph_of(np.zeros(20), np.ones(20)), r"(?i)duplicate|identical|constant|collapsed|distance"),
        (graph_of(np.ones(20), np.ones(20)), r"(?i)tie|equal|same|distance|r1 = r2"),
    ],
    ids=["constant", "pairs of duplicates", "all distances equal"],
)
def test_degenerate_layers_have_a_reason_instead_of_a_value(fit: str, graph: NeighborGraph, word: str) -> None:
    estimate = twonn(graph, fit=fit)
    assert np.isnan(float(estimate))
    assert re.search(word, estimate.reason), estimate.reason


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("n", [3, 4, 5])
def test_a_handful_of_samples_gives_a_value_or_a_reason(fit: str, n: int) -> None:
    estimate = twonn(pareto_graph(n, 3.0, seed=16)[0], fit=fit)
    assert float(estimate) > 0 if np.isfinite(float(estimate)) else estimate.reason


@pytest.mark.parametrize("fit", FITS)
def test_ties_in_all_that_a_fit_looks_at(fit: str) -> None:
    """95 of 100 rows with r1 = r2: what `linear` and `mle_censored` keep is all 0, while `mle` still has five rows."""
    r2 = np.ones(100)
    r2[:5] = [1.5, 2.0, 2.5, 3.0, 3.5]
    estimate = twonn(graph_of(np.ones(100), r2), fit=fit)
    if fit == "mle":
        assert float(estimate) == pytest.approx(100 / np.log(r2).sum(), rel=1e-12)
    else:
        assert np.isnan(float(estimate))
        assert estimate.reason


def test_a_single_uncensored_ratio_is_no_estimate() -> None:
    """(n - 1) / ... with n = 1 is 0, which is no dimension."""
    estimate = twonn(pareto_graph(100, 3.0, seed=17)[0], fit="mle_censored", discard=0.99)
    assert np.isnan(float(estimate))
    assert estimate.reason


def test_a_value_has_no_reason_and_a_chance_level_is_not_invented() -> None:
    estimate = twonn(pareto_graph(100, 3.0, seed=14)[0])
    assert estimate.reason == ""
    assert np.isnan(estimate.chance)


def test_standard_error_is_the_spread_over_samples() -> None:
    """Of the exact law: the standard deviation over 400 draws is the mean standard error; control: it halves at 4 N."""
    draws = [twonn(pareto_graph(200, 5.0, seed=100 + i)[0]) for i in range(400)]
    spread = np.std([float(e) for e in draws], ddof=1)
    assert np.mean([e.std_error for e in draws]) == pytest.approx(spread, rel=0.15)
    larger = twonn(pareto_graph(800, 5.0, seed=15)[0]).std_error
    assert larger == pytest.approx(spread / 2, rel=0.2)


def test_graph_of_one_neighbour_and_unknown_fit_are_refused() -> None:
    x = hyper_ball(20, 3, 0)
    with pytest.raises((UserError, ValueError), match="2"):
        twonn(exact_neighbors(x, 1))
    with pytest.raises((UserError, ValueError), match=r"linear|mle"):
        twonn(exact_neighbors(x, 2), fit="linaer")
