"""NNCS for many k at once against NNCS for each, and its value where every other sample is a neighbour."""

from __future__ import annotations

import numpy as np
import pytest

from rra_cli.metrics.class_similarity import nncs
from rra_cli.metrics.sample_purity import purity, purity_of_all, same_class_counts
from rra_cli.neighbors import exact_neighbors

KS = [1, 2, 7, 20, 38]


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Four classes of unequal size that overlap."""
    random = np.random.default_rng(0)
    labels = random.choice(4, size=40, p=[0.4, 0.3, 0.2, 0.1])
    return random.normal(size=(40, 3)) + 0.8 * labels[:, None], labels.astype(np.int64)


@pytest.mark.parametrize("balanced", [False, True])
def test_all_k_are_those_of_the_metric_itself(data: tuple[np.ndarray, np.ndarray], balanced: bool) -> None:
    graph = exact_neighbors(data[0], KS[-1])
    counts = same_class_counts(graph.indices, data[1], KS)
    for place, k in enumerate(KS):
        found = purity(counts[:, place], data[1], k, class_balanced=balanced)
        expected = nncs(graph.prefix(k), data[1], class_balanced=balanced)
        for name in ("value", "std_error", "chance", "n_used"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-14), (k, name)


def test_blocks_do_not_matter(data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = exact_neighbors(data[0], KS[-1])
    whole = same_class_counts(graph.indices, data[1], KS)
    monkeypatch.setattr("rra_cli.metrics.sample_purity._AT_A_TIME", 3 * KS[-1])
    assert np.array_equal(same_class_counts(graph.indices, data[1], KS), whole)


@pytest.mark.parametrize("balanced", [False, True])
def test_every_other_sample_gives_what_a_graph_of_all_would(
    data: tuple[np.ndarray, np.ndarray], balanced: bool
) -> None:
    expected = nncs(exact_neighbors(data[0], 39), data[1], class_balanced=balanced)
    found = purity_of_all(data[1], class_balanced=balanced)
    assert found.value == pytest.approx(expected.value, abs=1e-14)
    assert found.value == pytest.approx(found.chance, abs=1e-14)
    assert found.std_error == pytest.approx(expected.std_error, abs=1e-14)
    fewer = nncs(exact_neighbors(data[0], 5), data[1])
    assert fewer.value != pytest.approx(found.chance, abs=0.1), "fewer neighbours do tell the classes"


def test_classes_of_equal_size_leave_no_error() -> None:
    """Every sample has as many of its own class among all others."""
    found = purity_of_all(np.repeat([0, 1, 2, 3, 4], 20))
    assert found.value == pytest.approx(19 / 99, abs=1e-15)
    assert found.std_error == pytest.approx(0.0, abs=1e-15)


def test_no_k_is_no_count() -> None:
    assert same_class_counts(np.zeros((3, 1), np.int32), np.array([0, 1, 0]), []).shape == (3, 0)
