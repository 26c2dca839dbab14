"""Label overlap: categories as NNCS, quantities against all pairs, exact chance levels."""

from __future__ import annotations

import numpy as np
import pytest
from hyper_ball import graph_of, random_graph

from rra_cli.metrics.class_similarity import nncs
from rra_cli.metrics.label_overlap import LabelOverlap, label_overlap, mean_difference, pairs_within
from rra_cli.neighbors.graph import InputError

RNG = np.random.default_rng


def test_categories_are_nncs() -> None:
    x, labels = RNG(0).normal(size=(80, 3)), RNG(1).integers(0, 4, 80)
    graph = graph_of(x, 6)
    found, known = label_overlap(graph, labels), nncs(graph, labels)
    assert (found.value, found.chance, found.std_error) == (known.value, known.chance, known.std_error)
    assert not found.details


@pytest.mark.parametrize("quantity", ["within", "difference"])
def test_quantities_by_hand(quantity) -> None:
    x = RNG(2).normal(size=(70, 2))
    values = x[:, 0] + 0.1 * RNG(3).normal(size=70)
    graph = graph_of(x, 5)
    apart = np.abs(values[:, None] - values[None])
    others = ~np.eye(70, dtype=bool)
    if quantity == "within":
        near = apart <= 0.3 * values.std()
        expected, chance = np.take_along_axis(near, graph.indices, 1).mean(), near[others].mean()
    else:
        expected = np.take_along_axis(apart, graph.indices, 1).mean() / apart[others].mean()
        chance = 1.0
    estimate = label_overlap(graph, values, quantity=quantity, tolerance=0.3)
    assert float(estimate) == pytest.approx(expected, rel=1e-12)
    assert estimate.chance == pytest.approx(chance, rel=1e-12)
    assert float(estimate) > 2 * chance if quantity == "within" else float(estimate) < 0.5
    # The unit of the attribute does not matter; its order does (control).
    moved = label_overlap(graph, 1000 * values - 7, quantity=quantity, tolerance=0.3)
    assert float(moved) == pytest.approx(float(estimate), rel=1e-9)
    shuffled = label_overlap(graph, RNG(4).permutation(values), quantity=quantity, tolerance=0.3)
    assert abs(float(shuffled) - chance) < 0.3 * chance
    # All others are neighbours: exactly chance.
    everybody = label_overlap(graph_of(x, 69), values, quantity=quantity, tolerance=0.3)
    assert float(everybody) == pytest.approx(chance, rel=1e-12)


def test_all_pairs_in_n_log_n() -> None:
    for values in (RNG(5).normal(size=50), RNG(6).integers(0, 5, 50) / 10, np.array([1.0, 1.0, 2.0])):
        apart = np.abs(values[:, None] - values[None])[~np.eye(len(values), dtype=bool)]
        assert mean_difference(values) == pytest.approx(apart.mean(), rel=1e-12)
        for distance in (0.0, 0.1, 0.2, 1.0, 10.0):  # sums of tenths round
            assert pairs_within(values, distance) == (apart <= distance).mean()


def test_what_has_no_value_or_does_not_fit() -> None:
    graph = random_graph(20, 3, 0)
    for value in (0.5, 0.1, 0.7, -1 / 3):  # the standard deviation of 20 times 0.1 is not 0
        for quantity in ("within", "difference"):
            found = label_overlap(graph, np.full(20, value), quantity=quantity)  # type: ignore[arg-type]
            assert "same for all 20" in found.reason
    with pytest.raises(InputError, match=r"\(20,\)"):
        label_overlap(graph, np.zeros(19))
    with pytest.raises(InputError, match="1 of 20 are not"):
        label_overlap(graph, np.array([np.nan, *np.arange(19.0)]))
    for settings in ({"quantity": "near"}, {"tolerance": 0.0}, {"labelling": ""}):
        with pytest.raises((InputError, ValueError)):
            LabelOverlap(**settings)
