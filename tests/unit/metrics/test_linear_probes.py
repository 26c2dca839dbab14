"""Linear and logistic probes: Bayes' limit, scikit-learn's optimum, Adam written again, and labels that say nothing."""

from __future__ import annotations

from math import erf, isnan, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from rra_cli.core.reproducibility import derive_seed
from rra_cli.metrics import probe
from rra_cli.metrics.linear_probe import LinearProbe, LogisticProbe
from rra_cli.metrics.metric import SplitData, TransferMetric, Workshop
from rra_cli.metrics.softmax_regression import Recipe, Weights, fit_by_lbfgs, opened, predict, train_by_adam
from rra_cli.training.schedule import one_cycle, one_cycle_momentum

PROBES: list[TransferMetric] = [LinearProbe(batch_size=64), LogisticProbe()]


def gaussians(n: int, seed: int, distance: float, d: int = 5, classes: int = 2) -> SplitData:
    """Classes with unit covariance, centres `distance` apart along an axis."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    rows = rng.normal(size=(n, d))
    rows[:, 0] += distance * labels
    return SplitData(rows.astype(np.float32), labels)


def weights_of(train: SplitData, recipe: Recipe, **settings: object) -> Weights:
    with opened(train.activations, train.activations, standardise=False, **settings) as (features, _):  # type: ignore[arg-type]
        return train_by_adam(features, train.labels, int(train.labels.max()) + 1, recipe)


# Closed forms


@pytest.mark.parametrize("metric", PROBES, ids=lambda metric: metric.name)
def test_separable_classes_are_told_apart(metric: TransferMetric) -> None:
    found = metric.measure(gaussians(300, 0, 30.0), gaussians(200, 1, 30.0))
    assert (found.value, found.std_error, found.n_used) == (1.0, 0.0, 200)


@pytest.mark.parametrize("metric", PROBES, ids=lambda metric: metric.name)
@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_two_gaussians_are_told_apart_as_well_as_can_be(metric: TransferMetric, distance: float) -> None:
    """The best there is is Phi(distance / 2), by a linear rule; no probe is above it but by chance."""
    best = (1 + erf(distance / 2 / sqrt(2))) / 2
    found = metric.measure(gaussians(4000, 2, distance), gaussians(4000, 3, distance))
    assert abs(found.value - best) < 4 * found.std_error + 0.005
    assert found.std_error == pytest.approx(sqrt(found.value * (1 - found.value) / 4000))


@pytest.mark.parametrize("metric", PROBES, ids=lambda metric: metric.name)
def test_permuted_labels_give_chance(metric: TransferMetric) -> None:
    """Of both splits: a cluster is given one class or another, so its samples are right or wrong together."""
    train, test = gaussians(2000, 4, 3.0, classes=4), gaussians(1000, 5, 3.0, classes=4)
    rng = np.random.default_rng(6)
    permuted = [SplitData(part.activations, rng.permutation(part.labels)) for part in (train, test)]
    assert abs(metric.measure(*permuted).value - 0.25) < 4 * sqrt(0.25 * 0.75 / 1000)
    assert metric.measure(train, test).value > 0.8, "the control: labels as they are"


@pytest.mark.parametrize("metric", PROBES, ids=lambda metric: metric.name)
def test_names_of_classes_do_not_matter(metric: TransferMetric) -> None:
    train, test = gaussians(300, 7, 2.0, classes=3), gaussians(200, 8, 2.0, classes=3)
    names = np.array([-4, 10, 77])
    renamed = [SplitData(part.activations, names[part.labels]) for part in (train, test)]
    np.testing.assert_array_equal(metric.measure(train, test).per_sample, metric.measure(*renamed).per_sample)


@pytest.mark.parametrize("metric", PROBES, ids=lambda metric: metric.name)
def test_degenerate_layers_raise_nothing(metric: TransferMetric) -> None:
    labels = np.arange(30) % 3
    good = np.random.default_rng(9).normal(size=(30, 4)).astype(np.float32)
    layers = {
        "constant": np.ones((30, 4), np.float32),
        "one feature": good[:, :1],
        "huge": good * np.float32(1e37),
        "tiny": good * np.float32(1e-37),
        "half precision": good.astype(np.float16),
    }
    for name, rows in layers.items():
        found = metric.measure(SplitData(rows, labels), SplitData(rows, labels))
        assert isnan(found.value) == bool(found.reason), name
    one_class = metric.measure(SplitData(good, labels * 0), SplitData(good, labels))
    assert one_class.value == one_class.chance == pytest.approx(1 / 3)


# Independent implementations


@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_the_logistic_probe_is_scikit_learns_optimum(l2: float) -> None:
    train = gaussians(500, 10, 1.0, d=8, classes=3)
    rows = ((train.activations - train.activations.mean(0)) / train.activations.std(0)).astype(np.float32)
    reference = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=5000).fit(rows.astype(np.float64), train.labels)
    with opened(train.activations, train.activations, standardise=True) as (features, again):
        found = fit_by_lbfgs(features, train.labels, 3, l2=l2, max_iterations=500, tolerance=1e-7)
        np.testing.assert_allclose(found.weight.numpy(), reference.coef_, atol=2e-3)
        # The bias is known but for a common addend.
        bias = found.bias.numpy() - found.bias.numpy().mean()
        np.testing.assert_allclose(bias, reference.intercept_ - reference.intercept_.mean(), atol=2e-3)
        agreement = (predict(again, found) == reference.predict(rows)).mean()
    assert found.converged
    assert agreement > 0.995
    expected = -np.mean(np.log(reference.predict_proba(rows)[np.arange(500), train.labels]))
    assert found.loss == pytest.approx(expected, rel=1e-4)


def test_what_the_component_finds_is_scikit_learns_accuracy() -> None:
    train, test = gaussians(600, 11, 1.5, classes=4), gaussians(500, 12, 1.5, classes=4)
    mean, std = train.activations.mean(0), train.activations.std(0)
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit((train.activations - mean) / std, train.labels)
    expected = reference.score((test.activations - mean) / std, test.labels)
    assert LogisticProbe().measure(train, test).value == pytest.approx(expected, abs=2.1 / 500)


def test_the_linear_probe_is_adam_with_a_one_cycle_rate() -> None:
    """Whole batches, so that the order does not matter: Adam of Kingma and Ba, written again in float64."""
    train = gaussians(40, 13, 1.0, d=3, classes=3)
    recipe = Recipe(epochs=20, batch_size=40, peak_lr=0.08, momentum=(0.85, 0.95), weight_decay=1e-2, seed=5)
    found = weights_of(train, recipe)

    generator = torch.Generator().manual_seed(derive_seed(5, "linear_probe"))
    bound = 3**-0.5
    weight = torch.empty(3, 3).uniform_(-bound, bound, generator=generator).double().numpy()
    bias = torch.empty(3).uniform_(-bound, bound, generator=generator).double().numpy()
    x = np.c_[train.activations.astype(np.float64), np.ones(40)]
    theta = np.c_[weight, bias]
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(20):
        lr = one_cycle(step, 20, 6, 0.08, 0.08 / 25 / 1e4)
        beta = one_cycle_momentum(step, 20, 6, 0.85, 0.95)
        scores = np.exp(x @ theta.T)
        errors = scores / scores.sum(1, keepdims=True) - np.eye(3)[train.labels]
        gradient = errors.T @ x / 40 + 1e-2 * theta
        first = beta * first + (1 - beta) * gradient
        second = 0.999 * second + 0.001 * gradient**2
        # torch corrects the bias by the beta of the step, as if it had always been that.
        theta = theta - lr * (first / (1 - beta ** (step + 1))) / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
    np.testing.assert_allclose(np.c_[found.weight.numpy(), found.bias.numpy()], theta, atol=1e-4)


# Memory and determinism


def test_a_layer_that_is_read_from_its_file_gives_the_bits_of_one_kept_in_memory(tmp_path: Path) -> None:
    train = gaussians(700, 14, 1.0, d=9, classes=3)
    path = tmp_path / "train.npy"
    np.save(path, train.activations)
    mapped = SplitData(np.load(path, mmap_mode="r"), train.labels)
    recipe = Recipe(3, 50, 0.05, (0.85, 0.95), 1e-4, 0)
    kept, read = weights_of(train, recipe), weights_of(mapped, recipe, memory=0)
    assert torch.equal(kept.weight, read.weight)
    assert kept.loss == read.loss


def test_the_seed_decides_and_nothing_else_does() -> None:
    train = gaussians(200, 15, 1.0)
    recipe = Recipe(2, 32, 0.05, (0.85, 0.95), 1e-4, 0)
    found = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        found.append(weights_of(train, recipe))
    assert torch.equal(found[0].weight, found[1].weight)
    other = weights_of(train, Recipe(2, 32, 0.05, (0.85, 0.95), 1e-4, 1))
    assert not torch.equal(found[0].weight, other.weight)


def test_blocks_begin_at_aligned_addresses() -> None:
    for row_bytes in (4, 36, 4 * 784, 4 * 10**6):
        blocks = list(probe.row_blocks(100_000, row_bytes))
        assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
        assert blocks[-1].stop == 100_000
        assert all(block.start % 16 == 0 for block in blocks)
        assert row_bytes * (blocks[0].stop - blocks[0].start) <= max(32 << 20, 16 * row_bytes)


def test_progress_is_told() -> None:
    seen: list[tuple[int, int, str]] = []
    train = gaussians(50, 16, 1.0)
    workshop = Workshop(progress=lambda *told: seen.append(told))
    LinearProbe(epochs=3, batch_size=25).measure(train, train, workshop)
    assert [(done, total) for done, total, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[-1][2].startswith("loss ")


# What is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0; at least 1"),
        ({"batch_size": 0}, "batch_size is 0; at least 1"),
        ({"peak_lr": 0.0}, "peak_lr is 0.0; a positive number"),
        ({"momentum": (0.9, 0.8)}, r"momentum is \[0.9, 0.8\]"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; it cannot be negative"),
        ({"seed": -1}, "seed is -1; it cannot be negative"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearProbe(**settings)  # type: ignore[arg-type]


def test_settings_of_the_logistic_probe_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"l2 is -1\.0; it cannot be negative"):
        LogisticProbe(l2=-1.0)
    with pytest.raises(ValueError, match="max_iterations is 0; at least 1"):
        LogisticProbe(max_iterations=0)


def test_a_batch_larger_than_the_data_is_one_batch() -> None:
    train = gaussians(20, 17, 5.0)
    assert LinearProbe(batch_size=512).measure(train, train).value >= 0.9


def test_the_tiniest_training_set_works() -> None:
    train = gaussians(1, 18, 5.0)
    found = LinearProbe(epochs=1, batch_size=1).measure(train, train)
    assert found.value == 1.0
