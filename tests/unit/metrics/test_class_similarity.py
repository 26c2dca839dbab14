"""NNCS: hand-counted values, its exact chance level, balance between classes."""

from __future__ import annotations

import numpy as np
import pytest
from hyper_ball import graph_of, hyper_ball, random_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_cli.errors import UserError
from rra_cli.metrics import nncs
from rra_cli.metrics.class_similarity import NNCS, class_neighbors
from rra_cli.metrics.metric import LayerData
from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph

# 0 and 1 are each other's, 2's and 3's nearest: hand-counted.
IDS = np.array([[1, 2], [0, 3], [0, 1], [1, 2]])
GRAPH = NeighborGraph(IDS, np.ones((4, 2)), 1.0, 4)
LABELS = np.array([5, 5, 9, 5])


def test_counted_by_hand() -> None:
    estimate = nncs(GRAPH, LABELS)
    assert estimate.per_sample is not None
    assert estimate.per_sample.tolist() == [0.5, 1.0, 0.0, 0.5]
    assert float(estimate) == 0.5
    assert estimate.chance == pytest.approx(3 / 4 * 2 / 3)
    assert estimate.std_error == pytest.approx(np.std([0.5, 1, 0, 0.5], ddof=1) / 2)
    assert estimate.details["classes"].tolist() == [5, 9]
    assert estimate.details["class_value"].tolist() == pytest.approx([2 / 3, 0.0])
    assert estimate.details["class_chance"].tolist() == pytest.approx([2 / 3, 0.0])
    assert estimate.details["class_size"].tolist() == [3, 1]
    balanced = nncs(GRAPH, LABELS, class_balanced=True)
    assert float(balanced) == pytest.approx(1 / 3)
    assert balanced.chance == pytest.approx(1 / 3)
    assert class_neighbors(GRAPH, LABELS) == pytest.approx(np.array([[4 / 6, 2 / 6], [1, 0]]))
    assert np.array_equal(estimate.details["class_neighbors"], class_neighbors(GRAPH, LABELS))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=40), st.integers(0, 100))
def test_all_others_as_neighbours_give_exactly_chance(labels: list[int], seed: int) -> None:
    graph = random_graph(len(labels), len(labels) - 1, seed)
    for balanced in (False, True):
        estimate = nncs(graph, np.array(labels), class_balanced=balanced)
        assert float(estimate) == pytest.approx(estimate.chance, abs=1e-12)


def test_unrelated_labels_give_chance_and_clusters_do_not() -> None:
    """Negative control of the chance level: within 4 standard errors on a random graph, far above on clusters."""
    labels = np.random.default_rng(0).choice(5, 2000, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    blind = nncs(random_graph(2000, 20, 1), labels)
    assert abs(float(blind) - blind.chance) < 4 * blind.std_error
    clusters = hyper_ball(500, 3, 0) + 10 * np.arange(500)[:, None] % 50
    assert float(nncs(graph_of(clusters, 10), np.arange(500) % 5)) == 1.0


def test_uneven_classes_need_their_own_chance_level() -> None:
    """With 90 % of one class a blind graph already has 0.82: 1 / C = 0.5 would not be its chance level."""
    labels = np.r_[np.zeros(900, int), np.ones(100, int)]
    estimate = nncs(random_graph(1000, 50, 0), labels)
    assert float(estimate) == pytest.approx(0.82, abs=0.01)
    assert estimate.chance == pytest.approx(0.82, abs=0.001)
    balanced = nncs(random_graph(1000, 50, 0), labels, class_balanced=True)
    assert float(balanced) == pytest.approx(0.5, abs=0.01)


def test_names_of_classes_do_not_matter() -> None:
    graph = random_graph(60, 7, 0)
    labels = np.arange(60) % 3
    by_name = nncs(graph, np.array(["zebra", "ant", "cow"])[labels])
    assert float(by_name) == float(nncs(graph, labels))
    assert by_name.details["classes"].tolist() == ["ant", "cow", "zebra"]


def test_one_class_and_classes_of_one() -> None:
    graph = random_graph(10, 3, 0)
    assert (float(nncs(graph, np.zeros(10, int))), nncs(graph, np.zeros(10, int)).chance) == (1.0, 1.0)
    assert (float(nncs(graph, np.arange(10))), nncs(graph, np.arange(10)).chance) == (0.0, 0.0)


def test_errors() -> None:
    with pytest.raises(UserError, match=r"labels must be \(4,\), one for each row of the graph, got shape \(3,\)"):
        nncs(GRAPH, LABELS[:3])
    with pytest.raises(UserError, match="must be integers or strings, got dtype float64"):
        nncs(GRAPH, LABELS * 1.0)
    with pytest.raises(UserError, match="must be integers or strings, got dtype object"):
        nncs(GRAPH, LABELS.astype(object))
    x = hyper_ball(10, 2, 0)
    with pytest.raises(UserError, match="searched against a reference set"):
        class_neighbors(exact_neighbors(x, 3, reference=x), np.zeros(10, int))
    with pytest.raises(UserError, match="nncs needs labels"):
        NNCS().measure(LayerData(GRAPH, None))
    assert float(NNCS(class_balanced=True).measure(LayerData(GRAPH, LABELS))) == pytest.approx(1 / 3)
