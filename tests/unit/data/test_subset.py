"""Subsets are sorted, seeded, nested, stratified or balanced; what identifies them is what decides them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.cifar10 import Cifar10
from rra_cli.data.dataset import ImageDataset, Samples, Split
from rra_cli.data.digits import Digits
from rra_cli.data.mnist import Mnist
from rra_cli.data.subset import (
    load_measured,
    load_trained,
    measured_identity,
    measured_ids,
    measured_size,
    trained_ids,
    training_identity,
)
from rra_cli.errors import UserError

# Labels with at least two classes, of very unequal sizes as well.
some_labels = st.lists(st.integers(0, 5), min_size=3, max_size=60).filter(lambda labels: len(set(labels)) > 1)
seeds = st.integers(0, 2**32 - 1)


def unequal_labels() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(4), [500, 300, 150, 50]))


@given(labels=some_labels, seed=seeds, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_smaller_subset_lies_within_a_larger_one_of_the_same_seed(
    labels: list, seed: int, data: st.DataObject
) -> None:
    z = np.array(labels)
    small = data.draw(st.integers(1, len(z)))
    large = data.draw(st.integers(small, len(z)))
    for draw in (
        lambda n: trained_ids(z, n, seed),
        lambda n: measured_ids(z, n, seed, False, "train"),
        lambda n: measured_ids(z, n, seed, False, "test"),
    ):
        assert len(draw(small)) == small
        assert set(draw(small)) <= set(draw(large))
        assert (np.diff(draw(large)) > 0).all()
    largest = len(set(labels)) * min(np.bincount(z)[np.unique(z)])
    small, large = min(small, largest), min(large, largest)
    assert set(measured_ids(z, small, seed, True, "test")) <= set(measured_ids(z, large, seed, True, "test"))


def test_another_seed_gives_another_subset_which_is_not_nested() -> None:
    z = unequal_labels()
    assert not set(measured_ids(z, 100, 0, False, "test")) <= set(measured_ids(z, 200, 1, False, "test"))
    assert not set(trained_ids(z, 100, 0)) <= set(trained_ids(z, 200, 1))


def test_the_same_seed_gives_the_same_subset_for_ever() -> None:
    # The stream of RandomState is frozen (NEP 19); a Generator's may change with numpy's version.
    z = np.arange(20) % 2
    order = np.random.RandomState([3, 2]).permutation(20)
    assert measured_ids(z, 5, 3, False, "test").tolist() == sorted(order[:5].tolist())


def test_what_is_measured_tells_nothing_of_what_is_trained_on() -> None:
    z = np.arange(2000) % 10
    overlap = len(set(trained_ids(z, 500, 0)) & set(measured_ids(z, 500, 0, False, "train")))
    assert abs(overlap - 125) < 5 * np.sqrt(125 * 0.75 * 0.75)  # hypergeometric


@given(labels=some_labels, seed=seeds, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_balanced_draw_has_equally_many_of_each_class_but_one(labels: list, seed: int, data: st.DataObject) -> None:
    z = np.array(labels)
    classes, counts = np.unique(z, return_counts=True)
    n = data.draw(st.integers(1, len(classes) * counts.min()))
    drawn = np.array([(z[measured_ids(z, n, seed, True, "test")] == c).sum() for c in classes])
    assert drawn.sum() == n
    assert set(drawn) <= {n // len(classes), -(-n // len(classes))}


def test_an_unbalanced_draw_is_not_balanced() -> None:
    z = unequal_labels()
    drawn = np.bincount(z[measured_ids(z, 200, 0, False, "test")])
    assert drawn.max() > 2 * drawn.min()


def test_the_classes_of_the_remainder_change_with_the_seed() -> None:
    z = np.arange(100) % 10
    extra = {int(np.bincount(z[measured_ids(z, 11, seed, True, "test")]).argmax()) for seed in range(40)}
    assert len(extra) > 5


def test_the_training_subset_holds_each_class_in_its_share() -> None:
    z = unequal_labels()
    for n in (20, 200, 1000):  # where the shares are whole numbers they are met
        assert np.bincount(z[trained_ids(z, n, 3)]).tolist() == [n // 2, 3 * n // 10, 15 * n // 100, n // 20]
    for n in range(3, 1000, 37):
        share = n * np.array([0.5, 0.3, 0.15, 0.05])
        assert (np.abs(np.bincount(z[trained_ids(z, n, 3)], minlength=4) - share) < 1).all()


def test_every_sample_is_drawn_equally_often() -> None:
    z = np.repeat([0, 1], [30, 10])
    counts = np.zeros((2, 40))
    for seed in range(600):
        counts[0, measured_ids(z, 10, seed, False, "test")] += 1
        counts[1, trained_ids(z, 10, seed)] += 1
    expected = 150  # 600 draws of a quarter; standard deviation 10.6
    assert (np.abs(counts - expected) < 5 * 10.6).all()


def test_none_is_everything() -> None:
    z = unequal_labels()
    assert trained_ids(z, None, 5).tolist() == list(range(1000))
    assert measured_ids(z, None, 5, False, "train").tolist() == list(range(1000))
    assert measured_ids(None, None, 5, False, "test", size=4).tolist() == [0, 1, 2, 3]


def test_errors_say_what_was_expected_found_and_possible() -> None:
    z = unequal_labels()
    with pytest.raises(
        UserError, match=r"needs 51 of each of the 4 classes, but class 3 of the test split has only 50"
    ) as e:
        measured_ids(z, 204, 0, True, "test")
    assert e.value.hint == (
        "set dataset.n_samples to at most 200, the largest balanced number, or dataset.balanced=false"
    )
    assert len(measured_ids(z, 200, 0, True, "test")) == 200  # the number that is named is possible
    with pytest.raises(UserError, match="needs 250 of each"):
        measured_ids(z, None, 0, True, "test")  # the whole split is not balanced
    with pytest.raises(UserError, match="asks for 1,001 samples, but the test split has only 1,000") as e:
        measured_ids(z, 1001, 0, False, "test")
    assert "at most 1000" in str(e.value)
    with pytest.raises(UserError, match=r"dataset.train_size asks for 1,001"):
        trained_ids(z, 1001, 0)
    with pytest.raises(UserError, match="the train split is empty"):
        measured_ids(np.array([], dtype=np.int64), None, 0, False, "train")
    with pytest.raises(UserError, match="the test split is empty"):
        measured_ids(None, None, 0, False, "test", size=0)
    with pytest.raises(UserError, match="the training split is empty"):
        trained_ids(np.array([], dtype=np.int64), None, 0)
    with pytest.raises(UserError, match=r"only one class \(5 samples of class 7\)"):
        measured_ids(np.full(5, 7), None, 0, False, "test")
    with pytest.raises(UserError, match="only one class"):
        trained_ids(np.full(5, 7), None, 0)
    with pytest.raises(UserError, match="no labels to balance by"):
        measured_ids(None, 3, 0, True, "test", size=10)
    with pytest.raises(ValueError, match="must be given"):
        measured_ids(None, 3, 0, False, "test")


@dataclass(frozen=True)
class Numbered(ImageDataset):
    """Sample i of a split is an image full of i."""

    class_names: ClassVar = ("a", "b", "c")
    input_shape: ClassVar = (1, 1, 1)
    sizes: ClassVar[dict[Split, int]] = {"train": 200, "test": 50}
    mean: ClassVar = (0.0,)
    std: ClassVar = (1.0,)

    def load(self, split: Split) -> Samples:
        n = self.sizes[split]
        ids = np.arange(n, dtype=np.int64)
        return Samples(ids.astype(np.uint8).reshape(-1, 1, 1, 1), ids % 3, ids)

    def checksums(self) -> dict[str, str]:
        return {}


Numbered.name = "numbered"  # set afterwards, so that no registry finds it


def test_measured_training_samples_are_trained_on() -> None:
    dataset = Numbered(train_size=60, n_samples={"train": 30, "test": 20}, subset_seed=3)
    trained, measured = load_trained(dataset), load_measured(dataset, "train")
    assert (len(trained), len(measured), len(load_measured(dataset, "test"))) == (60, 30, 20)
    assert set(measured.ids) < set(trained.ids)
    assert (np.diff(measured.ids) > 0).all()
    assert (measured.images.ravel() == measured.ids).all()
    assert (measured.labels == measured.ids % 3).all()
    assert (measured_size(dataset, "train"), measured_size(Numbered(train_size=60), "train")) == (30, 60)


def test_a_draw_of_one_class_is_refused() -> None:
    one_class = [seed for seed in range(60) if len(set(np.random.RandomState([seed, 2]).permutation(50)[:3] % 3)) == 1]
    with pytest.raises(UserError, match=r"measured of the test split \(dataset.n_samples\) holds only one class"):
        load_measured(Numbered(n_samples=3, subset_seed=one_class[0]), "test")
    assert len(load_measured(Numbered(n_samples=3, subset_seed=one_class[0], balanced=True), "test")) == 3


def test_the_subset_seed_identifies_only_what_it_draws() -> None:
    assert training_identity(Cifar10(subset_seed=1)) == training_identity(Cifar10()) == {"name": "cifar10"}
    assert training_identity(Cifar10(train_size=50_000, subset_seed=1)) == {"name": "cifar10"}
    assert training_identity(Cifar10(train_size=5000, subset_seed=1)) == {
        "name": "cifar10",
        "train_size": 5000,
        "subset_seed": 1,
    }
    whole = {"name": "cifar10", "split": "test", "n_samples": 10_000}
    assert measured_identity(Cifar10(), "test") == whole
    assert measured_identity(Cifar10(n_samples={"test": 10_000}, subset_seed=4), "test") == whole
    assert measured_identity(Cifar10(train_size=5000, subset_seed=4), "test") == whole
    assert measured_identity(Cifar10(n_samples=500, subset_seed=4), "test") == whole | {
        "n_samples": 500,
        "subset_seed": 4,
    }
    assert measured_identity(Cifar10(n_samples=500, balanced=True), "test")["balanced"] is True
    assert measured_identity(Cifar10(train_size=5000, subset_seed=4), "train") == {
        "name": "cifar10",
        "train_size": 5000,
        "subset_seed": 4,
        "split": "train",
        "n_samples": 5000,
    }


def test_where_things_lie_and_how_they_come_identifies_nothing() -> None:
    for function in (training_identity, lambda dataset: measured_identity(dataset, "train")):
        assert function(Mnist(root="/elsewhere", download=False, splits=("test",))) == function(Mnist())
        assert function(Mnist()) != function(Digits())


def test_a_whole_split_that_must_be_balanced_is_not_one_that_need_not() -> None:
    # MNIST's classes are unequal: the balanced whole is an error, which a stored unbalanced whole must not hide.
    assert measured_identity(Mnist(balanced=True), "test") != measured_identity(Mnist(), "test")


@given(
    st.sampled_from([None, 60, 199, 200]),
    st.sampled_from([None, 20, 50, 60]),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["train", "test"]),
)
@settings(max_examples=100, deadline=None)
def test_equal_identities_are_equal_samples(
    train_size: int | None, n: int | None, seed: int, balanced: bool, split: Split
) -> None:
    n = n if n is None or split == "train" else min(n, 50)
    dataset = Numbered(train_size=train_size, n_samples={split: n}, subset_seed=seed, balanced=balanced and n == 20)
    if train_size == 200 and n is None:
        assert measured_identity(dataset, split) == measured_identity(Numbered(), split)
    other = Numbered(train_size=train_size, n_samples={split: n}, subset_seed=seed + 1, balanced=dataset.balanced)
    same_identity = measured_identity(dataset, split) == measured_identity(other, split)
    same_samples = load_measured(dataset, split).ids.tolist() == load_measured(other, split).ids.tolist()
    assert same_identity == same_samples


def test_a_users_files_say_how_many_they_are() -> None:
    assert measured_identity(ActivationFiles(), "test", size=40) == {
        "name": "activations",
        "split": "test",
        "n_samples": 40,
    }
    assert measured_identity(ActivationFiles(n_samples=10), "test", size=40)["subset_seed"] == 0
    with pytest.raises(ValueError, match="give it as size"):
        measured_identity(ActivationFiles(), "test")
