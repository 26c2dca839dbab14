"""NNCS, NNLS and overlap on mutual, union and radius graphs: by sets, at chance, and with samples left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hyper_ball import graph_of
from scipy.stats import sem

from rra_cli.core.fields import identity_of
from rra_cli.metrics.class_similarity import NNCS, nncs
from rra_cli.metrics.graph_variants import Kind, pairs_of
from rra_cli.metrics.layer_similarity import NNLS, nnls
from rra_cli.metrics.metric import LayerData
from rra_cli.metrics.neighborhood_overlap import NeighborhoodOverlap
from rra_cli.metrics.permutation import relabelled
from rra_cli.neighbors import NeighborGraph
from rra_cli.neighbors.variants import lists_of

VARIANTS = ("mutual", "union", "radius")
RNG = np.random.default_rng


def two_layers(n: int = 90, k: int = 5) -> list[NeighborGraph]:
    x = RNG(0).normal(size=(n, 4))
    return [graph_of(x, k), graph_of(x + 0.4 * RNG(1).normal(size=x.shape), k)]


def sets(graph: NeighborGraph, variant: str) -> list[set[int]]:
    lists = lists_of(graph, variant)  # type: ignore[arg-type]
    return [set(lists.ids[lists.starts[i] : lists.starts[i + 1]].tolist()) for i in range(len(lists))]


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_are_those_of_sets_and_samples_alone_are_left_out(variant) -> None:
    a, b = two_layers()
    labels = RNG(2).integers(0, 3, 90)
    near, other = sets(a, variant), sets(b, variant)
    alone = [not neighbors for neighbors in near]
    expected = [np.nan if not s else np.mean([labels[j] == labels[i] for j in s]) for i, s in enumerate(near)]
    found = nncs(a, labels, kind=Kind(variant))
    np.testing.assert_allclose(found.per_sample, expected)
    assert found.value == pytest.approx(np.nanmean(expected))
    assert found.n_used == 90 - sum(alone)
    assert int(found.details["list_none"]) == sum(alone)
    assert found.std_error == pytest.approx(sem(expected, nan_policy="omit"))
    classes = [np.array(expected)[(labels == label) & ~np.array(alone)] for label in range(3)]
    np.testing.assert_array_equal(found.details["class_size"], [len(each) for each in classes])
    np.testing.assert_allclose(found.details["class_value"], [each.mean() for each in classes])
    balanced = nncs(a, labels, class_balanced=True, kind=Kind(variant))
    assert balanced.value == pytest.approx(np.mean([each.mean() for each in classes]))
    assert balanced.std_error == pytest.approx(np.linalg.norm([sem(each) for each in classes]) / 3)
    assert int(found.details["list_censored"]) == np.count_nonzero(lists_of(a, variant).censored)
    assert (int(found.details["list_censored"]) > 0) == (variant == "radius")
    assert any(alone) == (variant != "union"), "the control: there are some"
    for ratio, formula in (
        ("iou", lambda s, t: len(s & t) / len(s | t)),
        ("dice", lambda s, t: 2 * len(s & t) / (len(s) + len(t))),
    ):
        pairs = pairs_of([a, b], Kind(variant), ratio)
        by_hand = [formula(s, t) if s and t else np.nan for s, t in zip(near, other, strict=True)]
        np.testing.assert_allclose(pairs[0, 1].per_sample, by_hand)
        assert pairs[0, 1].value == pytest.approx(np.nanmean(by_hand))
        assert pairs[0, 1].std_error == pytest.approx(sem(by_hand, nan_policy="omit"))
        assert pairs[0, 1].n_used == np.count_nonzero(~np.isnan(by_hand))
        assert pairs[1, 0] is pairs[0, 1]
        assert pairs[0, 0].value == 1.0
        assert float(pairs[1, 1].details["list_mean"]) == np.mean([len(t) for t in other])
        assert pairs_of([a, b], Kind(variant), ratio, per_sample=False)[0, 1].per_sample is None


@pytest.mark.parametrize("balanced", [False, True])
def test_chance_is_that_of_the_samples_that_have_neighbours(balanced: bool) -> None:
    """Mutual are 0 and 1 alone, two of three of a class; the fourth sample is the only one of its own."""
    graph = NeighborGraph(np.array([[1], [0], [0], [0]]), np.ones((4, 1)), 1.0, 4)
    found = nncs(graph, np.array([0, 0, 0, 1]), class_balanced=balanced, kind=Kind("mutual"))
    assert (found.value, found.chance, found.n_used) == (1.0, pytest.approx(2 / 3), 2)
    np.testing.assert_array_equal(found.details["class_value"], [1.0, np.nan])
    np.testing.assert_array_equal(found.details["class_size"], [2, 0])
    np.testing.assert_allclose(found.details["class_chance"], [2 / 3, 0.0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_unrelated_layers_and_labels_give_chance(variant) -> None:
    """Independent clouds, averaged over draws, meet the chance level; related layers (the control) do not."""
    values, chances = [], []
    for seed in range(12):
        a, b = (graph_of(RNG([seed, side]).normal(size=(150, 8)), 10) for side in (0, 1))
        labels = RNG(seed).choice(4, 150, p=[0.55, 0.25, 0.15, 0.05])
        iou, dice = (pairs_of([a, b], Kind(variant), ratio)[0, 1] for ratio in ("iou", "dice"))
        own = [nncs(a, labels, class_balanced=balanced, kind=Kind(variant)) for balanced in (False, True)]
        values.append([each.value for each in (iou, dice, *own)])
        chances.append([each.chance for each in (iou, dice, *own)])
    off = np.array(values) - np.array(chances)
    assert (np.abs(off.mean(axis=0)) < 4 * off.std(axis=0, ddof=1) / np.sqrt(12)).all()
    a, b = two_layers(150)
    related = pairs_of([a, b], Kind(variant), "iou")[0, 1]
    assert related.value > related.chance + 10 * related.std_error


def test_where_all_are_everyones_neighbours_all_graphs_are_the_directed_one() -> None:
    a, b = two_layers(12, 11)
    labels = np.arange(12) % 3
    for variant in VARIANTS:
        kind = Kind(variant, 1.0)
        assert nncs(a, labels, kind=kind).value == pytest.approx(nncs(a, labels).value)
        assert nncs(a, labels, kind=kind).chance == pytest.approx(nncs(a, labels).chance)
        for ratio in ("iou", "dice"):
            pair = pairs_of([a, b], kind, ratio)[0, 1]
            assert (pair.value, pair.chance) == (1.0, pytest.approx(1.0))


def test_lists_of_one_length_have_the_chance_level_of_the_directed_graph() -> None:
    """On a ring everybody's k nearest are mutual."""
    ids = (np.arange(40)[:, None] + np.array([1, -1, 2, -2])) % 40
    ring = NeighborGraph(ids, np.tile([1.0, 1.0, 2.0, 2.0], (40, 1)), 1.0, 40)
    other = relabelled(ring, RNG(0).permutation(40))
    pair, directed = pairs_of([ring, other], Kind("mutual"), "iou")[0, 1], nnls(ring, other)
    assert 0.0 < directed.value < 0.5
    for name in ("value", "std_error", "chance"):
        assert getattr(pair, name) == pytest.approx(getattr(directed, name)), name


def test_collapsed_layers_and_lonely_samples_have_a_reason() -> None:
    flat, fine = graph_of(np.zeros((12, 3)), 4), graph_of(RNG(0).normal(size=(12, 3)), 4)
    pairs = pairs_of([flat, fine], Kind("mutual"), "iou")
    assert "collapsed" in pairs[0, 1].reason
    assert pairs[1, 1].value == 1.0
    # Mutual are 0 and 1 alone in the one layer, 2 and 3 alone in the other.
    one = NeighborGraph(np.array([[1], [0], [0], [0]]), np.ones((4, 1)), 1.0, 4)
    other = NeighborGraph(np.array([[2], [2], [3], [2]]), np.ones((4, 1)), 1.0, 4)
    assert pairs_of([one, other], Kind("mutual"), "dice")[0, 1].reason == (
        "no sample has a neighbour in the mutual graph in both layers"
    )


def test_the_directed_graph_keeps_its_keys_and_its_values() -> None:
    assert identity_of(NNCS()) == {"name": "nncs", "class_balanced": False}
    assert identity_of(NNLS()) == {"name": "nnls"}
    assert identity_of(NeighborhoodOverlap()) == {"name": "overlap", "weights": "top", "p": 0.9}
    assert identity_of(NNLS(graph="radius", radius_quantile=0.2)) == {
        "name": "nnls", "graph": "radius", "radius_quantile": 0.2,
    }  # fmt: skip
    layers = [LayerData(graph, None) for graph in two_layers()]
    values = {graph: NNLS(graph=graph).measure(layers)[0, 1].value for graph in ("directed", *VARIANTS)}
    assert values["directed"] == nnls(*two_layers()).value
    assert len(set(values.values())) == 4


def test_a_radius_of_ones_own_reaches_every_metric_and_its_key() -> None:
    a, b = two_layers()
    labels = RNG(2).integers(0, 3, 90)
    layers = [LayerData(graph, labels) for graph in (a, b)]
    near, other = ([set(row[far <= 0.9]) for row, far in zip(x.indices, x.distances, strict=True)] for x in (a, b))
    near, other = ([s | {j for j in range(90) if i in g[j]} for i, s in enumerate(g)] for g in (near, other))
    found = NNCS(graph="radius", radius=0.9).measure(layers[0])
    assert found.value == pytest.approx(
        np.mean([np.mean([labels[j] == labels[i] for j in s]) for i, s in enumerate(near) if s])
    )
    assert float(found.details["list_radius"]) == 0.9
    assert int(found.details["list_censored"]) == np.count_nonzero(a.distances[:, -1] <= 0.9) > 0
    assert int(found.details["list_none"]) == sum(not s for s in near) > 0
    both = [(s, t) for s, t in zip(near, other, strict=True) if s and t]
    nnls_value = NNLS(graph="radius", radius=0.9).measure(layers)[0, 1].value
    assert nnls_value == pytest.approx(np.mean([len(s & t) / len(s | t) for s, t in both]))
    overlap = NeighborhoodOverlap(graph="radius", radius=0.9).measure(layers)[0, 1].value
    assert overlap == pytest.approx(np.mean([2 * len(s & t) / (len(s) + len(t)) for s, t in both]))
    nobody = NNCS(graph="radius", radius=1e-9).measure(layers[0])
    assert nobody.reason == "no sample has a neighbour in the radius graph"
    assert int(nobody.details["list_none"]) == 90
    assert NNLS(graph="radius", radius=1e-9).measure(layers)[0, 1].reason == (
        "no sample has a neighbour in the radius graph in both layers"
    )
    assert identity_of(NNLS(graph="radius", radius=0.9)) == {"name": "nnls", "graph": "radius", "radius": 0.9}
    for metric in (NNCS, NNLS, NeighborhoodOverlap):
        with pytest.raises(ValueError, match="there is one radius"):
            metric(graph="radius", radius=0.9, radius_quantile=0.2)
        with pytest.raises(ValueError, match="radius belongs to graph=radius"):
            metric(radius=0.9)


def test_wrong_settings_are_refused() -> None:
    for metric in (NNCS, NNLS, NeighborhoodOverlap):
        with pytest.raises(ValueError, match="graph is 'both'"):
            metric(graph="both")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"radius_quantile is -0\.1"):
            metric(graph="radius", radius_quantile=-0.1)
    with pytest.raises(ValueError, match="needs lists of one length; graph=mutual has weights=top only"):
        NeighborhoodOverlap(weights="average", graph="mutual")
