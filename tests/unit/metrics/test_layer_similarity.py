"""NNLS: hand-counted values, symmetry, and a chance level that is exact for every k."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hyper_ball import graph_of, hyper_ball, random_graph
from scipy.stats import hypergeom

from rra_cli.errors import UserError
from rra_cli.metrics import nncs, nnls
from rra_cli.metrics.layer_similarity import NNLS, chance_level, nnls_pairs
from rra_cli.metrics.metric import LayerData
from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph


def test_counted_by_hand() -> None:
    """Shared 2, 1, 1, 0 of 2: intersection over union 1, 1/3, 1/3, 0; the shared fraction would be 0.5."""
    a = np.array([[1, 2], [0, 2], [0, 1], [0, 1]])
    b = np.array([[2, 1], [0, 3], [1, 3], [2, 0]])
    b[3] = [2, 1]
    b[2] = [3, 1]
    a4, b4 = (NeighborGraph(ids, np.ones((4, 2)), 1.0, 4) for ids in (a, b))
    estimate = nnls(a4, b4)
    assert estimate.per_sample is not None
    assert estimate.per_sample.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert float(estimate) == pytest.approx(0.5)
    assert estimate.std_error == pytest.approx(np.std([1, 1 / 3, 1 / 3, 1 / 3], ddof=1) / 2)


def test_equal_graphs_symmetry_and_moved_data() -> None:
    x = hyper_ball(200, 5, 0)
    graph, other = graph_of(x, 12), graph_of(hyper_ball(200, 5, 1), 12)
    assert float(nnls(graph, graph)) == 1.0
    assert float(nnls(graph, other)) == float(nnls(other, graph)) < 0.2
    rotated = x @ np.linalg.qr(hyper_ball(5, 5, 2))[0] * 3 + 1
    assert float(nnls(graph, graph_of(rotated, 12))) == 1.0
    assert float(nnls(graph, graph_of(x * [9, 1, 1, 1, 1], 12))) < 0.8


@pytest.mark.parametrize(("k", "others"), [(1, 1), (1, 5), (2, 4), (3, 5), (4, 4), (2, 6)])
def test_chance_by_enumerating_all_lists(k: int, others: int) -> None:
    first = set(range(k))
    ratios = [len(first & set(b)) / len(first | set(b)) for b in itertools.combinations(range(others), k)]
    assert chance_level(k, others) == pytest.approx(np.mean(ratios), rel=1e-13)


@pytest.mark.parametrize(("k", "others"), [(2, 999), (10, 999), (150, 14_999), (5_000, 49_999), (30_000, 49_999)])
def test_chance_by_the_distribution(k: int, others: int) -> None:
    """scipy's hypergeometric distribution is good to about 1e-8 here (factorials in logarithms)."""
    shared = np.arange(k + 1)
    expected = hypergeom(others, k, k).pmf(shared) @ (shared / (2 * k - shared))
    assert chance_level(k, others) == pytest.approx(expected, rel=1e-6)


def test_the_limit_of_large_k_is_not_the_chance_level() -> None:
    """Negative control: a / (2 - a), a = k / (N - 1), must grow by 33 % at k = 2, by 5 % at k = 10."""
    for k, more in [(2, 0.33), (10, 0.05)]:
        a = k / 999
        assert chance_level(k, 999) / (a / (2 - a)) - 1 == pytest.approx(more, abs=0.01)


@pytest.mark.parametrize("k", [2, 10, 50])
def test_unrelated_graphs_give_chance(k: int) -> None:
    estimate = nnls(random_graph(1500, k, 0), random_graph(1500, k, 1))
    assert estimate.chance == chance_level(k, 1499)
    assert abs(float(estimate) - estimate.chance) < 4 * estimate.std_error


def test_chance_against_a_reference() -> None:
    """No self is left out there, so lists are drawn from all of the reference."""
    graph = exact_neighbors(hyper_ball(10, 2, 0), 3, reference=hyper_ball(20, 2, 1))
    assert nnls(graph, graph).chance == chance_level(3, 20)


def test_all_pairs_of_layers() -> None:
    x = hyper_ball(100, 4, 0)
    layers = [LayerData(graph_of(x + noise * hyper_ball(100, 4, 9), 8), None) for noise in (0.0, 0.2, 1.0)]
    found = NNLS().measure(layers)
    assert set(found) == set(itertools.product(range(3), repeat=2))
    for (a, b), estimate in found.items():
        assert float(estimate) == float(nnls(layers[a].graph, layers[b].graph))
        assert (float(estimate) == 1.0) == (a == b)
        assert estimate is found[b, a]
    assert float(found[0, 1]) > float(found[0, 2])
    assert NNLS().measure([]) == {}


def test_values_depend_neither_on_threads_nor_on_what_is_kept() -> None:
    """To the last bit; and they are those of the samples."""
    graphs = [random_graph(300, 20, seed) for seed in range(10)]
    kept = nnls_pairs(graphs, threads=1)
    for threads in (1, 2, 4):
        lean = nnls_pairs(graphs, per_sample=False, threads=threads)
        assert lean.keys() == kept.keys()
        for pair, estimate in lean.items():
            full = kept[pair]
            assert estimate.per_sample is None
            assert full.per_sample is not None
            assert (estimate.value, estimate.std_error) == (full.value, full.std_error)
            assert full.value == pytest.approx(full.per_sample.mean(), rel=1e-13)
            assert full.std_error == pytest.approx(full.per_sample.std(ddof=1) / np.sqrt(300), rel=1e-12)


def test_errors() -> None:
    graph = random_graph(20, 3, 0)
    with pytest.raises(UserError, match="different samples cannot be compared: 20 and 21 rows"):
        nnls(graph, random_graph(21, 3, 0))
    with pytest.raises(ValueError, match="different k cannot be compared: 3 and 4"):
        nnls(graph, random_graph(20, 4, 0))


def test_a_collapsed_layer_has_no_neighbourhoods_to_compare() -> None:
    point = exact_neighbors(np.ones((30, 4)), 3)
    spread = exact_neighbors(np.random.default_rng(0).normal(size=(30, 4)), 3)
    estimates = nnls_pairs([point, spread])
    assert [np.isnan(estimates[pair].value) for pair in ((0, 0), (0, 1), (1, 0), (1, 1))] == [True, True, True, False]
    assert estimates[0, 1].reason == "all 30 samples coincide with their 3 nearest neighbours (a collapsed layer)"
    assert np.isnan(nncs(point, np.arange(30) % 3).value)
    assert not np.isnan(nncs(spread, np.arange(30) % 3).value)
