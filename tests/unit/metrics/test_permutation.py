"""Permuted data: what stays of it, that its mean is the chance level, and that p-values are exact."""

from __future__ import annotations

import numpy as np
import pytest

from rra_cli.metrics.class_similarity import nncs
from rra_cli.metrics.intrinsic_dimension import twonn
from rra_cli.metrics.layer_similarity import nnls
from rra_cli.metrics.neighborhood_overlap import neighborhood_overlap
from rra_cli.metrics.permutation import null_summary, permutation, relabelled
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph

N, K, M = 120, 6, 300


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return exact_neighbors(np.random.default_rng(0).normal(size=(N, 3)), K)


def test_a_permutation_is_one_and_its_place_decides_it() -> None:
    order = permutation(N, 0, 3, 1)
    np.testing.assert_array_equal(np.sort(order), np.arange(N))
    np.testing.assert_array_equal(order, permutation(N, 0, 3, 1))
    assert not np.array_equal(order, permutation(N, 0, 1, 3))
    assert not np.array_equal(order, permutation(N, 1, 3, 1))


def test_under_other_ids_a_graph_is_that_of_the_reordered_samples() -> None:
    x = np.random.default_rng(1).normal(size=(40, 3))
    order = permutation(40, 0, 0)
    moved = np.empty_like(x)
    moved[order] = x
    expected = exact_neighbors(moved, 5)
    found = relabelled(exact_neighbors(x, 5), order)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances)


def test_what_concerns_the_graph_alone_stays(graph: NeighborGraph) -> None:
    moved = relabelled(graph, permutation(N, 0, 0))
    assert twonn(moved).value == pytest.approx(twonn(graph).value)
    assert nnls(moved, graph).value < 0.1, "and its samples are others"


def test_permuted_labels_give_the_chance_level(graph: NeighborGraph) -> None:
    labels = np.repeat([0, 1, 2], [60, 40, 20])
    null = np.array([nncs(graph, labels[permutation(N, 0, number)]).value for number in range(M)])
    mean, sd, _ = null_summary(0.5, null)
    assert mean == pytest.approx(nncs(graph, labels).chance, abs=4 * sd / M**0.5)
    assert sd < 0.03


@pytest.mark.parametrize("weights", ["nnls", "top", "average", "rank_biased"])
def test_permuted_samples_give_the_chance_level(graph: NeighborGraph, weights: str) -> None:
    def value(other: NeighborGraph) -> tuple[float, float]:
        found = nnls(graph, other) if weights == "nnls" else neighborhood_overlap(graph, other, weights=weights)  # type: ignore[arg-type]
        return found.value, found.chance

    null = np.array([value(relabelled(graph, permutation(N, 0, number)))[0] for number in range(M)])
    mean, sd, _ = null_summary(1.0, null)
    assert mean == pytest.approx(value(graph)[1], abs=4 * sd / M**0.5)


def test_the_p_value_counts_what_is_as_far_from_the_middle() -> None:
    null = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    assert null_summary(20.0, null) == (4.0, pytest.approx(np.sqrt(7.5)), 0.1)
    assert null_summary(-20.0, null)[2] == 0.1, "two-sided"
    assert null_summary(4.0, null)[2] == 1.0
    # With 8 again the middle of all ten is 4.4: 0 is as far as 4.4, the two 8 are 3.6 away.
    assert null_summary(8.0, null)[2] == (2 + 1) / 10
    # The middle is that of all five, 4, from which 7 is as far as 1. From that of the null values alone, 3.25, it would
    # be farther than 1.
    assert null_summary(7.0, np.array([0.0, 1.0, 2.0, 10.0]))[2] == (3 + 1) / 5
    assert null_summary(1.0, np.ones(9))[2] == 1.0, "equal values say nothing"


def test_equal_values_that_were_summed_in_another_order_are_equal() -> None:
    assert null_summary(0.1 + 0.2, np.array([0.3, 0.3, 0.0, 0.3]))[2] == 1.0


def test_p_values_of_a_true_null_hypothesis_are_uniform() -> None:
    rng = np.random.default_rng(2)
    found = np.array([null_summary(drawn[0], drawn[1:])[2] for drawn in rng.gamma(2.0, size=(4000, 20))])
    for level in (0.05, 0.1, 0.5):
        assert np.mean(found <= level + 1e-12) == pytest.approx(level, abs=4 * (level * (1 - level) / 4000) ** 0.5)


def test_without_values_there_is_no_summary() -> None:
    assert np.isnan(null_summary(float("nan"), np.arange(5.0))).all()
    assert np.isnan(null_summary(1.0, np.array([np.nan, 1.0]))).all()
    assert null_summary(3.0, np.array([np.nan, 1.0, 2.0]))[0] == 1.5
