"""Mutual, union and fixed-radius graphs against sets, and the expected overlap of random sets against scipy's law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from rra_cli.neighbors import NeighborGraph, exact_neighbors
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.variants import Lists, expected_iou, lists_of, shared

X = np.random.default_rng(0).normal(size=(120, 3))
K = 6


def sets(lists: Lists) -> list[set[int]]:
    return [set(lists.ids[lists.starts[i] : lists.starts[i + 1]].tolist()) for i in range(len(lists))]


def test_the_mutual_graph_and_the_union_are_those_of_sets() -> None:
    graph = exact_neighbors(X, K)
    near = [set(row) for row in graph.indices.tolist()]
    mutual, union = lists_of(graph, "mutual"), lists_of(graph, "union")
    assert sets(mutual) == [{j for j in near[i] if i in near[j]} for i in range(120)]
    assert sets(union) == [near[i] | {j for j in range(120) if i in near[j]} for i in range(120)]
    assert mutual.degrees.sum() + union.degrees.sum() == 2 * 120 * K, "each pair is in one of them, or twice in one"
    assert not mutual.censored.any()
    assert np.isnan(mutual.radius)
    assert all(np.all(np.diff(mutual.ids[a:b]) > 0) for a, b in zip(mutual.starts, mutual.starts[1:], strict=False))


def test_within_the_radius_only_pairs_of_two_censored_samples_may_be_missing() -> None:
    graph = exact_neighbors(X, K)
    apart = np.linalg.norm(X[:, None] - X[None], axis=2)
    for quantile, censored in ((0.0, 0), (0.25, 29), (0.5, 59), (1.0, 119)):
        lists = lists_of(graph, "radius", quantile)
        assert lists.radius in graph.distances[:, -1]
        truth = [set(np.flatnonzero(row <= lists.radius * (1 + 1e-12)).tolist()) - {i} for i, row in enumerate(apart)]
        assert np.count_nonzero(lists.censored) == censored
        for i, (found, true) in enumerate(zip(sets(lists), truth, strict=True)):
            assert found <= true
            missing = true - found
            assert not missing or lists.censored[i]
            assert all(lists.censored[j] for j in missing)
    assert any(not row for row in sets(lists_of(graph, "radius", 0.0))), "the shortest radius leaves some alone"


def test_a_radius_of_ones_own_is_a_distance_and_lists_still_end_at_k() -> None:
    """Every true pair within it that the lists of k can tell; on a lattice of whole numbers the k-th may be tied."""
    graph = exact_neighbors(X, K)
    apart = np.linalg.norm(X[:, None] - X[None], axis=2)
    for radius in (0.2, 0.5, 1.0):
        lists = lists_of(graph, "radius", radius=radius)
        assert lists.radius == radius
        truth = [set(np.flatnonzero(row <= radius).tolist()) - {i} for i, row in enumerate(apart)]
        near = [set(row) & true for row, true in zip(graph.indices.tolist(), truth, strict=True)]
        expected = [near[i] | {j for j in range(120) if i in near[j]} for i in range(120)]
        assert sets(lists) == expected
        np.testing.assert_array_equal(lists.censored, [len(true) >= K for true in truth])
        whole = lists_of(exact_neighbors(X, 119), "radius", radius=radius)
        assert sets(whole) == truth, "the control: with all others stored nothing ends early"
        assert not whole.censored.any()
    line = np.arange(5.0)[:, None]
    assert lists_of(exact_neighbors(line, 1), "radius", radius=1.0).censored.all(), "of two as far one is listed"
    assert not lists_of(exact_neighbors(line, 1), "radius", radius=0.5).degrees.any()


def test_whoever_has_all_others_listed_is_not_censored() -> None:
    graph = exact_neighbors(X[:9], 8)
    lists = lists_of(graph, "radius", 1.0)
    assert not lists.censored.any()
    assert lists.degrees.tolist() == [8] * 9


def test_shared_neighbours_are_those_of_sets() -> None:
    a, b = (
        lists_of(exact_neighbors(x, K), "union") for x in (X, X + 0.5 * np.random.default_rng(1).normal(size=X.shape))
    )
    assert shared(a, b).tolist() == [len(one & other) for one, other in zip(sets(a), sets(b), strict=True)]
    with pytest.raises(InputError, match="different samples"):
        shared(a, lists_of(exact_neighbors(X[:50], K), "union"))


def test_the_expected_iou_of_random_sets_is_that_of_the_hypergeometric_law() -> None:
    a, b, others = np.array([1, 3, 50, 7, 90, 99, 1]), np.array([4, 3, 70, 0, 95, 99, 99]), 99
    expected = []
    for m, k in zip(a, b, strict=True):
        c = np.arange(min(m, k) + 1)
        expected.append((hypergeom(others, m, k).pmf(c) * c / (m + k - c)).sum())
    np.testing.assert_allclose(expected_iou(a, b, others), expected, rtol=1e-10)
    assert np.isnan(expected_iou(np.array([0]), np.array([0]), others)).all()
    large = expected_iou(np.array([20_000]), np.array([30_000]), 100_000)
    assert large == pytest.approx(0.06 / (0.2 + 0.3 - 0.06), rel=1e-3), "the limit of large sets"


def test_what_has_no_lists_of_its_own_is_refused() -> None:
    graph = exact_neighbors(X, 3)
    with pytest.raises(InputError, match="must be one of directed, mutual, union, radius"):
        lists_of(graph, "both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"radius_quantile is 2.0; it must lie in \[0, 1\]"):
        lists_of(graph, "radius", 2.0)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="must be a positive, finite distance, or null for radius_quantile"):
            lists_of(graph, "radius", radius=wrong)
    with pytest.raises(InputError, match="radius belongs to graph=radius, not to graph=mutual"):
        lists_of(graph, "mutual", radius=1.0)
    with pytest.raises(InputError, match=r"radius is 1.0 and radius_quantile is 0.2, but there is one radius"):
        lists_of(graph, "radius", 0.2, 1.0)
    with pytest.raises(InputError, match="are the graph itself"):
        lists_of(graph, "directed")
    reference = NeighborGraph(np.array([[0, 1]]), np.ones((1, 2)), 1.0, 5, self_excluded=False)
    with pytest.raises(InputError, match="of a set against itself"):
        lists_of(reference, "mutual")
