"""NNCS and NNLS against Python sets, exact fractions and permutations."""

from __future__ import annotations

import inspect
from fractions import Fraction

import numpy as np
import pytest
from reference_impl import neighborhood_overlap, nncs_chance, nncs_sets, nnls_chance, nnls_sets

from rra_cli.errors import UserError
from rra_cli.metrics import nncs, nnls
from rra_cli.neighbors import NeighborGraph, exact_neighbors

RNG = np.random.default_rng


def random_graph(n: int, k: int, seed: int) -> NeighborGraph:
    """Every list is a uniform k-subset of the others: the null model of the chance levels."""
    rng = RNG(seed)
    ids = np.array([rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)])
    return NeighborGraph(ids, np.sort(rng.random((n, k)), axis=1), 1.0, n)


def clustered(n: int, classes: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = RNG(seed)
    labels = rng.choice(classes, size=n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    return rng.normal(size=(classes, 6))[labels] * 2 + spread * rng.normal(size=(n, 6)), labels


# NNCS


@pytest.mark.parametrize(("n", "k", "classes"), [(20, 1, 2), (100, 7, 3), (200, 30, 10), (60, 59, 4)])
def test_nncs_is_the_mean_fraction_of_own_class(n: int, k: int, classes: int) -> None:
    x, labels = clustered(n, classes, seed=n)
    graph = exact_neighbors(x, k)
    estimate = nncs(graph, labels)
    value, per_sample = nncs_sets(graph.indices, labels)
    assert float(estimate) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(estimate.per_sample, per_sample, rtol=1e-12)
    assert estimate.chance == pytest.approx(float(nncs_chance(labels)), rel=1e-12)
    assert estimate.n_used == n
    assert estimate.reason == ""


@pytest.mark.parametrize("counts", [(30, 30), (5, 20, 35), (1, 59), (10,) * 6, (1,) * 60])
def test_nncs_of_everybody_is_exactly_chance(counts: tuple[int, ...]) -> None:
    """k = N-1; control: k = 1 on separated classes is not."""
    labels = np.repeat(np.arange(len(counts)), counts)
    x = RNG(0).normal(size=(60, 3)) + labels[:, None] * 100
    estimate = nncs(exact_neighbors(x, 59), labels)
    assert float(estimate) == pytest.approx(float(nncs_chance(labels)), rel=1e-12, abs=1e-15)
    assert float(estimate) == pytest.approx(estimate.chance, rel=1e-12, abs=1e-15)
    if min(counts) > 1:
        assert float(nncs(exact_neighbors(x, 1), labels)) == 1.0


def test_nncs_chance_is_the_mean_over_permuted_labels() -> None:
    """Control: sum of p_c squared, the usual approximation, is off by more than the error of the mean."""
    x, labels = clustered(30, 3, seed=1)
    graph = exact_neighbors(x, 4)
    rng = RNG(2)
    draws = np.array([float(nncs(graph, rng.permutation(labels))) for _ in range(4000)])
    error = draws.std() / np.sqrt(len(draws))
    chance = nncs(graph, labels).chance
    assert abs(draws.mean() - chance) < 4 * error
    naive = ((np.bincount(labels) / 30) ** 2).sum()
    assert abs(draws.mean() - naive) > 8 * error


def test_nncs_knows_classes_only_by_equality() -> None:
    """Renaming classes changes nothing; control: joining two does."""
    x, labels = clustered(150, 4, seed=3, spread=3.0)
    graph = exact_neighbors(x, 9)
    plain = nncs(graph, labels)
    renamed = nncs(graph, np.array([1_000_000, -3, 17, 0])[labels])
    assert float(renamed) == float(plain)
    assert renamed.chance == pytest.approx(plain.chance, rel=1e-12)
    np.testing.assert_array_equal(renamed.per_sample, plain.per_sample)
    joined = np.where(labels == 0, 3, labels)
    assert float(nncs(graph, joined)) > float(plain)


def test_nncs_extremes() -> None:
    """Far apart 1; every neighbour of another class 0; one class only 1, which is then chance."""
    x = np.repeat([0.0, 100.0], 20)[:, None] + RNG(4).random((40, 1))
    assert float(nncs(exact_neighbors(x, 19), np.repeat([0, 1], 20))) == 1.0
    pairs = np.repeat(np.arange(20.0) * 100, 2)[:, None] + np.tile([0.0, 1.0], 20)[:, None]
    assert float(nncs(exact_neighbors(pairs, 1), np.tile([0, 1], 20))) == 0.0
    estimate = nncs(exact_neighbors(x, 5), np.zeros(40, np.int64))
    assert float(estimate) == estimate.chance == 1.0


def test_nncs_falls_as_classes_mix() -> None:
    values = []
    for spread in (0.1, 1.0, 5.0, 1e4):
        x, labels = clustered(300, 3, seed=5, spread=spread)
        values.append(float(nncs(exact_neighbors(x, 10), labels)))
    assert values == sorted(values, reverse=True)
    _, labels = clustered(300, 3, seed=5)
    assert values[-1] == pytest.approx(float(nncs_chance(labels)), abs=0.06)


def test_nncs_depends_on_the_set_of_neighbours_not_on_their_order() -> None:
    x, labels = clustered(80, 3, seed=6)
    graph = exact_neighbors(x, 6)
    ids = RNG(7).permuted(graph.indices, axis=1)
    shuffled = NeighborGraph(ids, graph.distances, 1.0, 80)
    assert float(nncs(shuffled, labels)) == pytest.approx(float(nncs(graph, labels)), rel=1e-12)


def test_class_balanced_nncs_weighs_every_class_alike() -> None:
    """Mean over classes of the class's own mean; equal class sizes make no difference."""
    if "class_balanced" not in inspect.signature(nncs).parameters:
        pytest.skip("nncs has no option `class_balanced`")
    x, labels = clustered(200, 4, seed=8, spread=3.0)
    graph = exact_neighbors(x, 8)
    _, per_sample = nncs_sets(graph.indices, labels)
    counts = np.bincount(labels)
    by_class = [np.mean(np.array(per_sample)[labels == c]) for c in range(4)]
    estimate = nncs(graph, labels, class_balanced=True)
    assert float(estimate) == pytest.approx(np.mean(by_class), rel=1e-12)
    assert estimate.chance == pytest.approx(np.mean((counts - 1) / 199), rel=1e-12)
    assert abs(float(estimate) - float(nncs(graph, labels))) > 1e-3
    equal = np.tile(np.arange(4), 50)
    assert float(nncs(graph, equal, class_balanced=True)) == pytest.approx(float(nncs(graph, equal)), rel=1e-12)


def test_nncs_standard_error_is_of_the_right_size() -> None:
    """About the standard deviation of the per-sample values over sqrt(n)."""
    x, labels = clustered(300, 3, seed=9)
    estimate = nncs(exact_neighbors(x, 10), labels)
    naive = np.std(estimate.per_sample) / np.sqrt(300)
    assert naive / 2 < estimate.std_error < 3 * naive


def test_labels_must_belong_to_the_graph() -> None:
    x, labels = clustered(30, 3, seed=10)
    graph = exact_neighbors(x, 3)
    for bad in (labels[:-1], np.append(labels, 0), labels[:, None]):
        with pytest.raises((UserError, ValueError), match="30"):
            nncs(graph, bad)
    other = exact_neighbors(x, 3, reference=x[:20])
    with pytest.raises((UserError, ValueError), match=r"."):
        nncs(other, labels)


# NNLS


@pytest.mark.parametrize(("n", "k"), [(10, 1), (50, 2), (120, 15), (40, 39), (200, 100)])
def test_nnls_is_intersection_over_union_by_sets(n: int, k: int) -> None:
    rng = RNG(n)
    x = rng.normal(size=(n, 5))
    a, b = exact_neighbors(x, k), exact_neighbors(x + rng.normal(size=x.shape), k)
    estimate = nnls(a, b)
    value, per_sample = nnls_sets(a.indices, b.indices)
    assert float(estimate) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(estimate.per_sample, per_sample, rtol=1e-12)
    assert estimate.chance == pytest.approx(float(nnls_chance(n, k)), rel=1e-10)
    assert estimate.n_used == n


def test_nnls_is_symmetric_and_one_with_itself() -> None:
    a, b = random_graph(80, 9, 0), random_graph(80, 9, 1)
    assert float(nnls(a, b)) == float(nnls(b, a))
    np.testing.assert_array_equal(nnls(a, b).per_sample, nnls(b, a).per_sample)
    assert float(nnls(a, a)) == 1.0
    assert float(nnls(a, b)) < 1.0


def test_nnls_knows_sets_not_order_and_not_integer_width() -> None:
    a, b = random_graph(60, 8, 2), random_graph(60, 8, 3)
    shuffled = NeighborGraph(RNG(4).permuted(a.indices, axis=1).astype(np.int32), a.distances, 1.0, 60)
    assert float(nnls(shuffled, b)) == float(nnls(a, b))
    assert float(nnls(shuffled, a)) == 1.0


def test_nnls_is_not_the_neighbourhood_overlap() -> None:
    """Control: |intersection| / k is larger wherever lists differ, and 2 J / (1 + J) only sample by sample."""
    x = RNG(5).normal(size=(150, 4))
    a, b = exact_neighbors(x, 10), exact_neighbors(x + RNG(6).normal(size=x.shape), 10)
    overlap = neighborhood_overlap(a.indices, b.indices)
    estimate = nnls(a, b)
    assert overlap > float(estimate) + 0.05
    per_sample = np.asarray(estimate.per_sample)
    assert np.mean(2 * per_sample / (1 + per_sample)) == pytest.approx(overlap, rel=1e-12)
    value = float(estimate)
    assert abs(2 * value / (1 + value) - overlap) > 1e-3


def test_nnls_of_disjoint_lists_is_zero() -> None:
    n = 21
    a = NeighborGraph((np.arange(n)[:, None] + np.arange(1, 6)) % n, np.tile(np.arange(5.0), (n, 1)), 1.0, n)
    b = NeighborGraph((np.arange(n)[:, None] + np.arange(6, 11)) % n, np.tile(np.arange(5.0), (n, 1)), 1.0, n)
    assert float(nnls(a, b)) == 0.0


def test_nnls_survives_isometry_and_not_a_new_geometry() -> None:
    x = RNG(7).normal(size=(120, 5))
    a = exact_neighbors(x, 8)
    assert float(nnls(a, exact_neighbors(x[:, ::-1] * -3 + 1, 8))) == 1.0
    assert float(nnls(a, exact_neighbors(x * [100, 1, 1, 1, 1], 8))) < 0.5


@pytest.mark.parametrize(("n", "k"), [(6, 2), (12, 5), (30, 3), (25, 24), (25, 20)])
def test_nnls_chance_is_the_mean_over_random_lists(n: int, k: int) -> None:
    values = [float(nnls(random_graph(n, k, 2 * i), random_graph(n, k, 2 * i + 1))) for i in range(150)]
    chance = nnls(random_graph(n, k, 0), random_graph(n, k, 1)).chance
    assert chance == pytest.approx(float(nnls_chance(n, k)), rel=1e-10)
    assert abs(np.mean(values) - chance) <= 4 * np.std(values) / np.sqrt(len(values)) + 1e-12


@pytest.mark.parametrize(("k", "low"), [(2, 0.33), (10, 0.05)])
def test_large_k_limit_of_the_chance_level_fails_at_small_k(k: int, low: float) -> None:
    """a / (2 - a), a = k / (N-1), must be raised by 33 % at k = 2 and 5 % at k = 10; at k = 150 it is right."""
    n = 10_001
    limit = (k / (n - 1)) / (2 - k / (n - 1))
    assert float(nnls_chance(n, k)) / limit - 1 == pytest.approx(low, abs=0.005)
    graph = NeighborGraph((np.arange(n)[:, None] + np.arange(1, k + 1)) % n, np.ones((n, k)), 1.0, n)
    assert nnls(graph, graph).chance == pytest.approx(float(nnls_chance(n, k)), rel=1e-9)


def test_chance_level_at_full_size_is_fast_and_exact() -> None:
    """N = 15,000, k = 150: as the exact fraction, which differs from the limit by little, but not by rounding."""
    n, k = 15_000, 150
    exact = nnls_chance(n, k)
    assert isinstance(exact, Fraction)
    graph = NeighborGraph((np.arange(n)[:, None] + np.arange(1, k + 1)) % n, np.ones((n, k)), 1.0, n)
    chance = nnls(graph, graph).chance
    assert chance == pytest.approx(float(exact), rel=1e-9)
    limit = (k / (n - 1)) / (2 - k / (n - 1))
    assert 1e-4 < chance / limit - 1 < 0.02


def test_graphs_that_do_not_belong_together_are_refused() -> None:
    """Another k, another number of samples; the message names both."""
    with pytest.raises((UserError, ValueError), match=r"(?s)5.*6|6.*5"):
        nnls(random_graph(30, 5, 0), random_graph(30, 6, 0))
    with pytest.raises((UserError, ValueError), match=r"(?s)30.*31|31.*30"):
        nnls(random_graph(30, 5, 0), random_graph(31, 5, 0))


def test_nnls_standard_error_is_of_the_right_size() -> None:
    x = RNG(8).normal(size=(300, 4))
    estimate = nnls(exact_neighbors(x, 10), exact_neighbors(x + RNG(9).normal(size=x.shape), 10))
    naive = np.std(estimate.per_sample) / np.sqrt(300)
    assert naive / 2 < estimate.std_error < 3 * naive
