"""Overlap, persistence, hubness and information imbalance: by sets, by hand, and at chance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hyper_ball import graph_of, random_graph

from rra_cli.metrics.hubness import hubness, occurrences, shown_counts, skewness
from rra_cli.metrics.imbalance import imbalance_pairs
from rra_cli.metrics.layer_similarity import nnls
from rra_cli.metrics.neighborhood_overlap import neighborhood_overlap, overlap_pairs, prefix_weights
from rra_cli.metrics.persistence import alive, persistence_pairs, run_starts, runs
from rra_cli.neighbors import NeighborGraph
from rra_cli.neighbors.graph import InputError

RNG = np.random.default_rng


def ring(n: int, lists: list[list[int]]) -> NeighborGraph:
    """Sample i has the neighbours i + offset, in that order."""
    ids = (np.arange(n)[:, None] + np.array(lists)) % n
    return NeighborGraph(ids, np.tile(np.arange(1.0, ids.shape[1] + 1), (n, 1)), 1.0, n)


def three_graphs(k: int = 7) -> list[NeighborGraph]:
    x = RNG(0).normal(size=(60, 4))
    y = x + 0.5 * RNG(1).normal(size=x.shape)
    return [graph_of(z, k) for z in (x, y, y + 0.5 * RNG(2).normal(size=x.shape))]


# Overlap


@pytest.mark.parametrize("weights", ["top", "average", "rank_biased"])
def test_overlap_is_that_of_sets(weights) -> None:
    a, b, _ = three_graphs()
    by_depth = [
        [len(set(one[:depth]) & set(other[:depth])) / depth for depth in range(1, 8)]
        for one, other in zip(a.indices.tolist(), b.indices.tolist(), strict=True)
    ]
    # RBO_EXT as Webber et al. write it: X_k / k p^k + (1 - p) / p sum_d X_d / d p^d
    p = 0.8
    formula = {
        "top": lambda shares: shares[-1],
        "average": np.mean,
        "rank_biased": lambda s: s[-1] * p**7 + (1 - p) / p * sum(x * p**d for d, x in enumerate(s, 1)),
    }
    expected = [formula[weights](shares) for shares in by_depth]
    estimate = neighborhood_overlap(a, b, weights=weights, p=p)
    np.testing.assert_allclose(estimate.per_sample, expected, rtol=1e-12)
    assert float(estimate) == pytest.approx(np.mean(expected), rel=1e-12)
    assert estimate.std_error == pytest.approx(np.std(expected, ddof=1) / 60**0.5, rel=1e-12)


def test_a_swap_at_the_end_of_the_lists_costs_less_than_at_the_top() -> None:
    """chi cannot see either; average and rank-biased overlap can, and the second weighs the top more."""
    whole = ring(20, [[1, 2, 3, 4, 5, 6]])
    top, end = ring(20, [[2, 1, 3, 4, 5, 6]]), ring(20, [[1, 2, 3, 4, 6, 5]])
    assert float(neighborhood_overlap(whole, top)) == float(neighborhood_overlap(whole, end)) == 1.0
    lost = {}
    for weights in ("average", "rank_biased"):
        lost[weights] = [1 - float(neighborhood_overlap(whole, g, weights=weights, p=0.5)) for g in (top, end)]
        assert lost[weights][0] > lost[weights][1] > 0
    # By hand: only the prefix of 1 (all lost), or of 5 (one of five lost), differs.
    np.testing.assert_allclose(lost["average"], [1 / 6, 1 / 30])
    np.testing.assert_allclose(lost["rank_biased"], [0.5, 0.5**5 / 5])


@pytest.mark.parametrize("weights", ["top", "average", "rank_biased"])
def test_overlap_at_chance(weights) -> None:
    assert prefix_weights(9, weights, 0.7).sum() == pytest.approx(1.0)
    found = [
        neighborhood_overlap(random_graph(40, 9, s), random_graph(40, 9, s + 500), weights=weights) for s in range(60)
    ]
    values = np.array([float(estimate) for estimate in found])
    assert abs(values.mean() - found[0].chance) < 4 * values.std() / 60**0.5
    if weights == "top":
        assert found[0].chance == pytest.approx(9 / 39)


def test_overlap_and_nnls_say_the_same_sample_by_sample() -> None:
    """J = c / (2k - c), chi = c / k: chi = 2 J / (1 + J). Collapsed layers have no value."""
    a, b, c = three_graphs()
    jaccard = nnls(a, b).per_sample
    np.testing.assert_allclose(neighborhood_overlap(a, b).per_sample, 2 * jaccard / (1 + jaccard))
    flat = NeighborGraph(a.indices, np.zeros_like(a.distances), 1.0, 60)
    found = overlap_pairs([a, flat, b, c], weights="average")
    assert len(found) == 16
    assert "collapsed" in found[0, 1].reason
    assert float(found[0, 3]) == float(neighborhood_overlap(a, c, weights="average", threads=1))
    with pytest.raises(InputError, match="top, average, rank_biased"):
        neighborhood_overlap(a, b, weights="bottom")
    with pytest.raises(InputError, match="between 0 and 1"):
        neighborhood_overlap(a, b, weights="rank_biased", p=1.0)


# Persistence


def test_persistence_is_that_of_sets() -> None:
    graphs = [*three_graphs(), graph_of(RNG(3).normal(size=(60, 4)), 7), three_graphs()[0]]
    found = persistence_pairs(graphs)
    for a in range(5):
        for b in range(a, 5):
            between = [[set(row) for row in graph.indices.tolist()] for graph in graphs[a : b + 1]]
            expected = [len(set.intersection(*lists)) / 7 for lists in zip(*between, strict=True)]
            np.testing.assert_allclose(found[a, b].per_sample, expected)
            assert found[b, a] is found[a, b]
            assert float(found[a, b]) <= float(neighborhood_overlap(graphs[a], graphs[b])) + 1e-12
    # The first layer comes back as the last: overlap 1, but the neighbours were apart in between.
    assert float(neighborhood_overlap(graphs[0], graphs[4])) == 1.0
    assert float(found[0, 4]) < 0.5


def test_runs_begin_and_end_where_neighbours_come_and_go() -> None:
    """By hand: neighbour 1 in all layers, 2 in the first, 3 in the second and third, 4 in the third."""
    graphs = [ring(9, [[1, 2]]), ring(9, [[1, 3]]), ring(9, [[3, 1]])]
    graphs[2] = ring(9, [[3, 4]])
    found = persistence_pairs(graphs, count="runs")
    table = np.array([[float(found[a, b]) for b in range(3)] for a in range(3)])
    # 1: layers 0-1; 2: layer 0; 3: layers 1-2; 4: layer 2. Each is half of the two neighbours.
    expected = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    np.testing.assert_allclose(table, expected)
    graphs = [*three_graphs(), *three_graphs()[::-1]]
    upper = runs(alive(graphs)).mean(axis=2)
    assert (upper >= 0).all()
    lengths = np.arange(6) - np.arange(6)[:, None] + 1
    assert (upper * np.triu(lengths)).sum() == pytest.approx(6 * 7)  # every neighbour of every layer is in one run
    starts = run_starts([graph.indices for graph in graphs], 60)
    assert all((part <= place).all() for place, part in enumerate(starts))


def test_persistence_at_chance_falls_with_every_layer() -> None:
    draws = [persistence_pairs([random_graph(30, 12, 100 * s + layer) for layer in range(3)]) for s in range(40)]
    for a, b in ((0, 1), (0, 2), (1, 1)):
        values = np.array([float(found[a, b]) for found in draws])
        assert abs(values.mean() - draws[0][a, b].chance) <= 4 * values.std() / 40**0.5 + 1e-12
    assert draws[0][0, 2].chance == pytest.approx((12 / 29) ** 2)


def test_a_collapsed_layer_breaks_what_lies_across_it() -> None:
    a, b, c = three_graphs()
    flat = NeighborGraph(b.indices, np.zeros_like(b.distances), 1.0, 60)
    found = persistence_pairs([a, flat, c])
    assert {pair for pair, estimate in found.items() if not estimate.reason} == {(0, 0), (2, 2)}
    with pytest.raises(InputError, match="alive, runs"):
        persistence_pairs([a, b], count="dead")


# Hubness


def test_occurrences_and_skewness_by_hand() -> None:
    """A star: everybody's neighbour is 0, whose own is 1: occurrences n - 1, 1, 0, 0, ..."""
    n = 10
    ids = np.zeros((n, 1), np.int64)
    ids[0] = 1
    star = NeighborGraph(ids, np.ones((n, 1)), 1.0, n)
    np.testing.assert_array_equal(occurrences(star), [9, 1] + [0] * 8)
    counts = np.array([9.0, 1.0] + [0.0] * 8)
    z = counts - counts.mean()
    estimate = hubness(star)
    assert float(estimate) == pytest.approx((z**3).mean() / (z**2).mean() ** 1.5)
    np.testing.assert_array_equal(estimate.per_sample, counts)
    shown = dict(zip(estimate.details["occurrence_counts"], estimate.details["occurrence_share"], strict=True))
    assert (shown[0], shown[1], shown[2], shown[9]) == (1.0, 0.2, 0.1, 0.1)
    # A ring: everybody occurs k times, so there is no skewness.
    assert "occur 2 times" in hubness(ring(9, [[1, 2]])).reason


def test_hubness_at_chance_and_in_many_dimensions() -> None:
    """Random lists: the binomial's. Radovanovic et al.: grows with the dimension of independent features."""
    found = [hubness(random_graph(200, 6, s)) for s in range(30)]
    values = np.array([float(estimate) for estimate in found])
    assert abs(values.mean() - found[0].chance) < 4 * values.std() / 30**0.5
    by_dimension = [float(hubness(graph_of(RNG(4).normal(size=(300, d)), 5))) for d in (2, 10, 60)]
    assert all(low < high for low, high in pairwise(by_dimension))
    assert by_dimension[0] < 0.7 < 2.0 < by_dimension[2]


def test_error_of_the_skewness_is_that_of_repeated_draws() -> None:
    rng = RNG(5)
    found = np.array([skewness(rng.gamma(4.0, size=2000)) for _ in range(200)])
    assert found[:, 0].mean() == pytest.approx(1.0, abs=0.05)  # 2 / sqrt(4)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.2)


def test_shown_counts() -> None:
    assert shown_counts(5).tolist() == [0, 1, 2, 3, 4]
    shown = shown_counts(10_000)
    assert shown[:65].tolist() == list(range(65))
    assert (np.diff(shown) > 0).all()
    assert shown[-1] < 10_000 <= shown[-1] * 1.1


# Information imbalance


def brute_imbalance(x: np.ndarray, y: np.ndarray) -> float:
    """Ranks by sorting whole rows of distances."""
    n = len(x)
    tables = [((z[:, None] - z[None]) ** 2).sum(axis=2) for z in (x, y)]
    for table in tables:
        np.fill_diagonal(table, np.inf)
    nearest = tables[0].argmin(axis=1)
    ranks = [1 + int((row < row[j]).sum()) for row, j in zip(tables[1], nearest, strict=True)]
    return 2.0 / n * float(np.mean(ranks))


def test_imbalance_is_that_of_sorted_distances_and_has_a_direction() -> None:
    """A plane knows its own first axis; the axis does not know the plane."""
    x = RNG(6).normal(size=(150, 2)) * [1.0, 0.7]
    layers = [x, x[:, :1], RNG(7).normal(size=(150, 3))]
    found = imbalance_pairs([graph_of(layer, 3) for layer in layers], layers)
    for (a, b), estimate in found.items():
        assert float(estimate) == pytest.approx(brute_imbalance(layers[a], layers[b]), rel=1e-12)
        assert estimate.chance == 1.0
    assert float(found[0, 0]) == pytest.approx(2 / 150)
    assert float(found[0, 1]) < 0.15 < 0.3 < float(found[1, 0])
    assert float(found[0, 2]) == pytest.approx(1.0, abs=4 * found[0, 2].std_error)
    flat = NeighborGraph(graph_of(x, 3).indices, np.zeros((150, 3)), 1.0, 150)
    assert "collapsed" in imbalance_pairs([graph_of(x, 3), flat], [x, np.ones((150, 2))])[0, 1].reason


def test_imbalance_of_pairs_of_duplicates_has_a_value() -> None:
    """Every sample has a twin at distance 0: with one neighbour that is no collapsed layer."""
    twins, other = np.repeat(RNG(8).normal(size=(20, 3)), 2, axis=0), RNG(9).normal(size=(40, 3))
    found = imbalance_pairs([graph_of(twins, 1), graph_of(other, 1)], [twins, other])
    assert float(found[0, 1]) == pytest.approx(brute_imbalance(twins, other), rel=1e-12)
    assert float(found[0, 0]) == pytest.approx(2 / 40)
