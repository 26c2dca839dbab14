"""Laws that every probe obeys, each with a probe that breaks it and is caught.

Probes are found by themselves: every class with its defaults, and every setting of every file of `conf/metrics`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from test_every_metric import every_metric

from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import PLAIN, SplitData, TransferMetric, Workshop
from rra_cli.metrics.probe import accuracy

PROBES = {name: metric for name, metric in every_metric().items() if isinstance(metric, TransferMetric)}
N_TRAIN, N_TEST = 320, 240

Splits = tuple[SplitData, SplitData]


def clusters(seed: int = 0) -> Splits:
    """Three overlapping clusters in five dimensions."""
    rng = np.random.default_rng(seed)
    centres = 2.0 * np.random.default_rng(9).normal(size=(3, 5))

    def drawn(n: int) -> SplitData:
        labels = rng.permutation(np.arange(n) % 3)
        rows = (centres[labels] + rng.normal(size=(n, 5))).astype(np.float32)
        rows.flags.writeable = False
        return SplitData(rows, labels)

    return drawn(N_TRAIN), drawn(N_TEST)


# The laws


def law_an_accuracy_with_its_error(metric: TransferMetric) -> None:
    """In [0, 1], the mean of the values by sample, which are 0 or 1, with the binomial error and a chance level."""
    found = metric.measure(*clusters())
    assert found.per_sample is not None
    assert (found.per_sample.shape, found.per_sample.dtype) == ((N_TEST,), np.float64)
    assert set(found.per_sample) <= {0.0, 1.0}
    assert found.value == pytest.approx(found.per_sample.mean())
    assert found.std_error == pytest.approx(math.sqrt(found.value * (1 - found.value) / N_TEST))
    assert found.chance == pytest.approx(1 / 3)
    assert (found.n_used, found.reason) == (N_TEST, "")


def law_better_than_chance_by_the_labels_alone(metric: TransferMetric) -> None:
    """Permuted labels give chance; right ones much more.

    Of both splits: a cluster is given one class or another as a whole, so its samples are right or wrong together.
    """
    splits, rng = clusters(1), np.random.default_rng(2)
    nothing = [SplitData(part.activations, rng.permutation(part.labels)) for part in splits]
    assert metric.measure(*splits).value > 0.7
    assert abs(metric.measure(*nothing).value - 1 / 3) < 5 * math.sqrt(2 / 9 / N_TEST)


def law_order_of_test_samples(metric: TransferMetric) -> None:
    """A permutation of the test samples permutes what is said of them."""
    train, test = clusters(3)
    order = np.random.default_rng(4).permutation(N_TEST)
    moved = metric.measure(train, SplitData(test.activations[order], test.labels[order]))
    np.testing.assert_array_equal(moved.per_sample, metric.measure(train, test).per_sample[order])


def law_test_labels_only_judge(metric: TransferMetric) -> None:
    """What is predicted does not depend on them: with the predictions as labels everything is right."""
    train, test = clusters(5)
    right = sum(
        metric.measure(train, SplitData(test.activations, np.full(N_TEST, label))).per_sample for label in range(3)
    )
    np.testing.assert_array_equal(right, np.ones(N_TEST))


def law_names_of_classes(metric: TransferMetric) -> None:
    """Classes may be called anything, in the same order."""
    train, test = clusters(6)
    names = np.array([-3, 5, 1000])
    renamed = metric.measure(
        SplitData(train.activations, names[train.labels]), SplitData(test.activations, names[test.labels])
    )
    np.testing.assert_array_equal(renamed.per_sample, metric.measure(train, test).per_sample)


def law_determinism(metric: TransferMetric) -> None:
    """Equal input gives equal bits, whatever numpy's generator has done in between."""
    found = []
    for seed in (4, 5):
        np.random.seed(seed)  # noqa: NPY002 - the global generator is the one that must not matter
        found.append(metric.measure(*clusters()).per_sample)
    np.testing.assert_array_equal(*found)


def law_an_empty_value_has_its_reason(metric: TransferMetric) -> None:
    """Nothing degenerate raises; NaN never comes without a reason nor a reason without NaN."""
    train, test = clusters(7)
    strange = {
        "constant": (np.ones((N_TRAIN, 5), np.float32), np.ones((N_TEST, 5), np.float32)),
        "zero": (np.zeros((N_TRAIN, 5), np.float32), np.zeros((N_TEST, 5), np.float32)),
        "one feature": (train.activations[:, :1], test.activations[:, :1]),
        "half": (train.activations.astype(np.float16), test.activations.astype(np.float16)),
    }
    for name, (a, b) in strange.items():
        for labels in (train.labels, train.labels * 0, train.labels + 50):
            found = metric.measure(SplitData(a, labels), SplitData(b, test.labels))
            assert math.isnan(found.value) == bool(found.reason), name
    elsewhere = metric.measure(SplitData(train.activations, train.labels + 50), test)
    assert elsewhere.reason == "no class of the test split occurs in the training split"


LAWS = [
    law_an_accuracy_with_its_error,
    law_better_than_chance_by_the_labels_alone,
    law_order_of_test_samples,
    law_test_labels_only_judge,
    law_names_of_classes,
    law_determinism,
    law_an_empty_value_has_its_reason,
]
Law = Callable[[TransferMetric], None]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_obeys_the_laws(name: str, law: Law) -> None:
    law(PROBES[name])


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_says_what_its_numbers_mean(name: str) -> None:
    metric = PROBES[name]
    assert (metric.scope, metric.low, metric.high, metric.unit) == ("transfer", 0.0, 1.0, "accuracy")
    assert metric.higher_is
    assert metric.inputs == {"activations", "labels"}
    assert metric.n_train >= 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric.name = "x"  # type: ignore[misc]


def test_there_are_probes() -> None:
    assert {"linear_probe", "logistic_probe", "knn_probe", "one_nn_probe"} <= {m.name for m in PROBES.values()}


# Probes that break a law; without a name they are no components.


class Broken(TransferMetric):
    """Nearest class mean."""

    def measure(self, train: SplitData, test: SplitData, workshop: Workshop = PLAIN) -> Estimate:
        return accuracy(self.predict(train, test), train.labels, test.labels)

    def predict(self, train: SplitData, test: SplitData) -> np.ndarray:
        classes = np.unique(train.labels)
        means = np.stack([train.activations[train.labels == label].mean(axis=0) for label in classes])
        return classes[((test.activations[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)]


class WithoutError(Broken):
    def measure(self, train: SplitData, test: SplitData, workshop: Workshop = PLAIN) -> Estimate:
        return dataclasses.replace(super().measure(train, test), std_error=0.5)


class Peeks(Broken):
    def predict(self, train: SplitData, test: SplitData) -> np.ndarray:
        return test.labels


class FirstSampleIsSpecial(Broken):
    def predict(self, train: SplitData, test: SplitData) -> np.ndarray:
        return np.r_[(test.labels[0] + 1) % 3, super().predict(train, test)[1:]]


class NamesMatter(Broken):
    def predict(self, train: SplitData, test: SplitData) -> np.ndarray:
        return np.where(train.labels.max() > 10, train.labels[0], super().predict(train, test))


class Drawn(Broken):
    def predict(self, train: SplitData, test: SplitData) -> np.ndarray:
        return np.random.randint(0, 3, len(test.labels))  # noqa: NPY002


class Raises(Broken):
    def predict(self, train: SplitData, test: SplitData) -> np.ndarray:
        assert train.activations.std() > 0
        return super().predict(train, test)


BREAKERS = [WithoutError, Drawn, FirstSampleIsSpecial, Peeks, NamesMatter, Drawn, Raises]


@pytest.mark.parametrize(("law", "breaker"), list(zip(LAWS, BREAKERS, strict=True)))
def test_a_probe_that_breaks_a_law_is_seen(law: Law, breaker: type[TransferMetric]) -> None:
    with pytest.raises(AssertionError):
        law(breaker())


def test_the_laws_themselves_can_be_obeyed() -> None:
    for law in LAWS:
        law(Broken())
