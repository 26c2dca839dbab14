"""Points in the plane: their laws and classes, that a network is fed them as they are, and what is refused for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rra_cli.config.compose import load
from rra_cli.data.alterations.noise import Noise
from rra_cli.data.augment_views import RandomViews
from rra_cli.data.dataset import Samples
from rra_cli.data.normalise import normalise, normalise_tensor, to_unit
from rra_cli.data.sinusoid import Sinusoid, is_above
from rra_cli.data.xor import Xor
from rra_cli.errors import UserError
from rra_cli.stages.images import Images
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.batches import Resident


def points(samples: Samples) -> np.ndarray:
    return samples.images[:, :, 0, 0].astype(np.float64)


@pytest.mark.parametrize("dataset", [Sinusoid(), Sinusoid(frequency=3.0, phase=1.2)])
def test_the_sinusoid_divides_the_classes(dataset: Sinusoid) -> None:
    for split, n in (("train", 400), ("test", 1000)):
        samples = dataset.load(split)
        assert samples.images.shape == (n, 2, 1, 1)
        assert samples.images.dtype == np.float32
        for (x, y), label in zip(points(samples), samples.labels, strict=True):
            assert label == (y > 0.6 * np.sin(dataset.frequency * x + dataset.phase))


def test_points_of_the_sinusoid_are_uniform_in_the_square() -> None:
    """Mean 0, variance 1/3, no correlation, and as many in each of 100 cells as a multinomial law gives."""
    found = points(Sinusoid(test_points=100_000).load("test"))
    assert np.abs(found).max() <= 1
    assert np.abs(found.mean(axis=0)).max() < 5 / np.sqrt(3 * len(found))
    assert np.abs(np.cov(found.T) - np.eye(2) / 3).max() < 0.01
    counts = np.histogram2d(*found.T, bins=10, range=[[-1, 1], [-1, 1]])[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 99 + 5 * np.sqrt(2 * 99)  # chi-square of 99 degrees of freedom


def test_the_share_above_the_curve_is_its_area() -> None:
    """The mean over x of (1 - 0.6 sin(7x - 1)) / 2: 1/2 - 0.3 (cos(-8) - cos(6)) / 14."""
    share = Sinusoid(test_points=100_000).load("test").labels.mean()
    assert share == pytest.approx(0.5 - 0.3 * (np.cos(-8) - np.cos(6)) / 14, abs=0.01)


def test_seeds_and_splits_are_other_points_and_fields_are_all_that_matters() -> None:
    one, again, other = Sinusoid(), Sinusoid(), Sinusoid(points_seed=1)
    assert one.load("train").images.tobytes() == again.load("train").images.tobytes()
    assert one.checksums() == again.checksums() != other.checksums()
    # Another curve through the same points is another data set.
    curved = Sinusoid(amplitude=0.3)
    assert curved.load("train").images.tobytes() == one.load("train").images.tobytes()
    assert curved.checksums() != one.checksums()
    assert not np.isin(points(one.load("train")), points(other.load("train"))).any()
    assert not np.isin(points(one.load("train")), points(one.load("test"))).any()
    # Of more points the first are the same: a study can grow.
    assert np.array_equal(Sinusoid(train_points=500).load("train").images[:400], one.load("train").images)


def test_xor_is_the_four_corners() -> None:
    samples = Xor().load("train")
    assert points(samples).tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert samples.labels.tolist() == [0, 1, 1, 0]
    assert [x * y < 0 for x, y in points(samples)] == samples.labels.astype(bool).tolist()


def test_noisy_xor_is_normal_around_each_corner() -> None:
    samples = Xor(variance=0.15, per_corner=20_000).load("test")
    assert np.bincount(samples.labels).tolist() == [40_000, 40_000]
    for number, corner in enumerate([(-1, -1), (-1, 1), (1, -1), (1, 1)]):
        cloud, labels = points(samples)[number::4], samples.labels[number::4]
        assert (labels == [0, 1, 1, 0][number]).all()
        assert np.abs(cloud.mean(axis=0) - corner).max() < 5 * np.sqrt(0.15 / len(cloud))
        assert np.abs(np.cov(cloud.T) - 0.15 * np.eye(2)).max() < 0.01
    assert len(Xor(variance=0.15, per_corner=100).load("train")) == 400


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sinusoid(train_points=2), "train_points is 2; it must be from 3"),
        (lambda: Sinusoid(frequency=float("nan")), "frequency is nan; a finite number"),
        (lambda: Sinusoid(points_seed=-1), "points_seed is -1"),
        (lambda: Sinusoid(train_size=401), "train_size is 401; it must be from 3 to 400"),
        (lambda: Xor(variance=-0.1), "variance is -0.1"),
        (lambda: Xor(per_corner=0), "per_corner is 0"),
        (lambda: Xor(per_corner=2), "points of a corner would all be equal; set variance"),
    ],
)
def test_impossible_fields_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


# What a network sees


def test_points_reach_the_network_unchanged() -> None:
    """By every way there is; a picture of the same numbers does not (negative control)."""
    dataset, samples = Sinusoid(), Sinusoid().load("train")
    expected = samples.images.tobytes()
    assert normalise(samples.images, dataset.mean, dataset.std).tobytes() == expected
    tensor = torch.from_numpy(samples.images)
    assert normalise_tensor(tensor, dataset.mean, dataset.std).numpy().tobytes() == expected
    resident = Resident.of(samples, dataset.mean, dataset.std, "cpu")
    fed = resident.standardised(resident.pixels(slice(None)))
    assert fed.contiguous().numpy().tobytes() == expected
    assert Images(dataset).batches("train", 0, 400, "cpu").numpy().tobytes() == expected
    as_bytes = torch.zeros(1, 2, 1, 1, dtype=torch.uint8) + 255
    assert float(to_unit(as_bytes).max()) == 1.0


def test_other_numbers_than_bytes_and_float32_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \(or float32\), got \(1, 2, 1, 1\) float64"):
        Samples(np.zeros((1, 2, 1, 1)), np.zeros(1, np.int64), np.zeros(1, np.int64))


def test_what_only_pictures_have_is_refused() -> None:
    trained = ["dataset=sinusoid", "model=shallow", "optimizer=shallow"]
    with pytest.raises(UserError, match=r"augment=views changes pictures, but dataset=sinusoid has none"):
        lay_out(load([*trained, "augment=flip"]))
    with pytest.raises(UserError, match=r"alter=noise alters pictures, but dataset=sinusoid has none"):
        Images(Sinusoid(), alteration=Noise(0.1))
    with pytest.raises(UserError, match=r"transfer.xor.name is xor, which has no images"):
        lay_out(load([*trained, "metrics=probes", "transfer={xor: {name: xor}}"]))
    with pytest.raises(UserError, match=r"trained on dataset=sinusoid, which has none"):
        lay_out(load([*trained, "metrics=probes", "transfer={digits: {name: digits}}"]))
    with pytest.raises(UserError, match=r"a labelling of pictures, but dataset=sinusoid"):
        lay_out(load([*trained, "metrics=label_overlap", "metrics.label_overlap.labelling=luminance"]))
    # And what is not asked for is not refused.
    assert lay_out(load(trained)).graphs
    assert RandomViews() != load(trained).augment


def test_the_curve_itself_is_below() -> None:
    assert not is_above(np.array([[1 / 7, 0.0]]), 0.6, 7.0, -1.0)[0]
    assert is_above(np.array([[1 / 7, 1e-12]]), 0.6, 7.0, -1.0)[0]
