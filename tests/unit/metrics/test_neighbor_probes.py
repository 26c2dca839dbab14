"""k-NN and 1-NN probes: closed forms, scikit-learn's classifier, and labels that say nothing."""

from __future__ import annotations

from math import exp
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from rra_cli.metrics import neighbor_probes, probe
from rra_cli.metrics.metric import SplitData, Workshop
from rra_cli.metrics.neighbor_probes import KNNProbe, OneNNProbe, knn_accuracy, vote
from rra_cli.neighbors.graph import InputError, NeighborGraph

E1, E2 = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
SIXTY = np.array([0.5, np.sqrt(0.75), 0.0])  # at 60 degrees from the first axis: its cosine is 1/2


def split(rows: object, labels: object) -> SplitData:
    return SplitData(np.asarray(rows, np.float32), np.asarray(labels, np.int64))


def blobs(n: int, seed: int, classes: int = 4, d: int = 6, spread: float = 1.0) -> SplitData:
    """Overlapping classes around fixed centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, d)) * 1.5
    labels = rng.integers(0, classes, n)
    return split(centres[labels] + spread * rng.normal(size=(n, d)), labels)


# Closed forms


def test_duplicates_elect_their_majority_whatever_the_length_of_the_vectors() -> None:
    train = split([E1, 2 * E1, 5 * E1, E2, 3 * E2, 0.1 * E2], [0, 0, 1, 1, 1, 0])
    test = split([7 * E1, 0.5 * E2], [0, 1])
    for temperature in (None, 0.1):
        assert knn_accuracy(train, test, 3, temperature=temperature).value == 1.0
    np.testing.assert_array_equal(
        knn_accuracy(train, split(test.activations, [0, 0]), 3).per_sample, [1.0, 0.0], "the control: other labels"
    )


@pytest.mark.parametrize(("temperature", "winner"), [(0.1, 0), (10.0, 1), (None, 1), (1e-4, 0)])
def test_a_near_neighbour_outvotes_two_far_ones_where_the_temperature_is_low(
    temperature: float | None, winner: int
) -> None:
    """exp(1 / tau) against 2 exp(1/2 / tau): the one wins for tau < 1 / (2 log 2) = 0.72."""
    train = split([E1, SIXTY, SIXTY * 2], [0, 1, 1])
    assert knn_accuracy(train, split([E1], [winner]), 3, temperature=temperature).value == 1.0
    if temperature is not None and temperature > 1e-3:
        assert (exp(1 / temperature) > 2 * exp(0.5 / temperature)) == (winner == 0)


def test_equal_votes_go_to_the_lowest_class() -> None:
    train = split([E1, E1], [5, 3])
    assert knn_accuracy(train, split([E1], [3]), 2, temperature=None).value == 1.0


def test_the_nearest_neighbour_alone_decides_the_1nn_probe() -> None:
    train = split([E1, SIXTY, E2], [7, 8, 9])
    test = split([E1 + 0.1 * E2, SIXTY * 3, E2 * 0.01, -E1], [7, 8, 9, 7])
    found = OneNNProbe().measure(train, test)
    np.testing.assert_array_equal(found.per_sample, [1.0, 1.0, 1.0, 0.0])  # -E1 is nearest to E2
    assert (found.value, found.n_used) == (0.75, 4)
    assert found.std_error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
    assert found.chance == pytest.approx(0.5), (
        "of three equally frequent classes the lowest, which half of the test has"
    )


def test_chance_is_what_the_most_frequent_class_of_the_training_split_gets() -> None:
    train, test = split([E1] * 5, [1, 1, 2, 2, 2]), split([E1] * 4, [2, 1, 1, 1])
    assert knn_accuracy(train, test, 1).chance == 0.25
    assert probe.most_frequent(np.array([4, 3, 3, 4])) == 3


# An independent implementation


@pytest.mark.parametrize("k", [1, 7, 50])
@pytest.mark.parametrize("temperature", [0.1, 0.5, None])
def test_it_is_scikit_learns_classifier_on_unit_rows(k: int, temperature: float | None) -> None:
    train, test = blobs(400, 0), blobs(300, 1)

    def votes(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances**2 / 2) / temperature)

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)

    reference = KNeighborsClassifier(k, weights="uniform" if temperature is None else votes, algorithm="brute")
    expected = reference.fit(unit(train.activations), train.labels).predict(unit(test.activations)) == test.labels
    found = knn_accuracy(train, test, k, temperature=temperature)
    np.testing.assert_array_equal(found.per_sample, expected.astype(float))
    assert 0.4 < found.value < 0.999, "the control: neither trivial nor chance"


def test_the_components_are_those_functions() -> None:
    train, test = blobs(300, 2), blobs(100, 3)
    weighted, uniform = KNNProbe(k=20), KNNProbe(k=20, weights="uniform", tau=5.0)
    assert weighted.measure(train, test).value == knn_accuracy(train, test, 20, temperature=0.1).value
    assert uniform.measure(train, test).value == knn_accuracy(train, test, 20, temperature=None).value
    assert OneNNProbe().measure(train, test).value == knn_accuracy(train, test, 1).value
    assert (KNNProbe().k, KNNProbe().n_train, OneNNProbe().n_train) == (200, 200, 1)


# Negative controls


def test_permuted_labels_give_chance() -> None:
    train, test = blobs(500, 4), blobs(400, 5)
    permuted = SplitData(train.activations, np.random.default_rng(6).permutation(train.labels))
    for metric in (KNNProbe(k=50), OneNNProbe()):
        found = metric.measure(permuted, test)
        assert abs(found.value - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)
        assert metric.measure(train, test).value > 0.6


def test_classes_that_training_lacks_count_as_wrong_and_all_of_them_leave_no_value() -> None:
    train = split([E1, E2], [0, 1])
    assert knn_accuracy(train, split([E1, E2], [0, 9]), 1).value == 0.5
    nothing = knn_accuracy(train, split([E1, E2], [8, 9]), 1)
    assert np.isnan(nothing.value)
    assert nothing.reason == "no class of the test split occurs in the training split"


# Memory and determinism


def test_blocks_and_files_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory map, a budget that is too small for copies in memory, and votes counted 16 rows at a time."""
    train, test = blobs(300, 7, d=40), blobs(100, 8, d=40)
    expected = knn_accuracy(train, test, 10)
    for name, part in (("train", train), ("test", test)):
        np.save(tmp_path / f"{name}.npy", part.activations)
    mapped = [
        SplitData(np.load(tmp_path / f"{name}.npy", mmap_mode="r"), part.labels)
        for name, part in (("train", train), ("test", test))
    ]
    folder = tmp_path / "work"
    folder.mkdir()
    written: list[str] = []
    make = neighbor_probes.files.make_folder
    monkeypatch.setattr(neighbor_probes.files, "make_folder", lambda path: (written.append(path.name), make(path))[1])
    monkeypatch.setattr(probe, "_BLOCK_BYTES", 1)
    found = knn_accuracy(*mapped, 10, workshop=Workshop(memory=10_000, folder=folder))
    np.testing.assert_array_equal(found.per_sample, expected.per_sample)
    assert written == ["unit_rows_train", "unit_rows_test"]
    assert not [path for path in folder.iterdir() if path.name.startswith("unit_rows")]


def test_rows_of_zeros_are_no_fault() -> None:
    train, test = split(np.zeros((4, 3)), [0, 1, 1, 1]), split(np.zeros((2, 3)), [1, 0])
    found = knn_accuracy(train, test, 4)
    np.testing.assert_array_equal(found.per_sample, [1.0, 0.0])


def test_votes_of_a_graph_that_is_given() -> None:
    graph = NeighborGraph(np.array([[0, 1, 2]]), np.array([[0.0, 1.0, 1.0]]), 1.0, 3, self_excluded=False)
    assert vote(graph, np.array([0, 1, 1]), 2, temperature=0.1).tolist() == [0]
    assert vote(graph, np.array([0, 1, 1]), 2, temperature=None).tolist() == [1]


# What is refused


def test_faults_are_told() -> None:
    train, test = blobs(20, 0), blobs(10, 1)
    with pytest.raises(InputError, match="k is 21, but there are 20 training samples"):
        knn_accuracy(train, test, 21)
    with pytest.raises(InputError, match="same features, got 6 and 5"):
        knn_accuracy(train, SplitData(test.activations[:, :5], test.labels), 3)
    with pytest.raises(InputError, match=r"test must have activations \(n, features\) and labels"):
        knn_accuracy(train, SplitData(test.activations, test.labels[:4]), 3)
    with pytest.raises(ValueError, match="k is 0; at least 1 neighbour is needed"):
        KNNProbe(k=0)
    with pytest.raises(ValueError, match=r"tau is 0\.0; a positive number"):
        KNNProbe(tau=0.0)
