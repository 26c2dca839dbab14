"""Data sets against scikit-learn, the official files' published facts and arithmetic; augmentation's law."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rra_cli.config.compose import load as configured  # noqa: E402
from rra_cli.core.component import component  # noqa: E402
from rra_cli.data.dataset import ImageDataset, Samples  # noqa: E402


def dataset(name: str) -> ImageDataset:
    root = os.environ.get("RRA_DATA")
    if name != "digits":
        if root is None:
            pytest.skip("RRA_DATA is not set")
        return component("dataset", name)(root=root, download=False)
    return component("dataset", name)()


@pytest.fixture(scope="module")
def loaded() -> dict[tuple[str, str], Samples]:
    return {}


def load(loaded: dict[tuple[str, str], Samples], name: str, split: str) -> Samples:
    if (name, split) not in loaded:
        loaded[name, split] = dataset(name).load(split)
    return loaded[name, split]


def test_digits_are_scikit_learns(loaded: dict) -> None:
    """Both splits together are the 1,797 digits, each once, with its label; pixels 0..16 up to one common factor."""
    from sklearn.datasets import load_digits

    source = load_digits()
    ours = [load(loaded, "digits", split) for split in ("train", "test")]
    images = np.concatenate([s.images for s in ours])[:, 0].reshape(-1, 64).astype(np.float64)
    labels = np.concatenate([s.labels for s in ours])
    factor = images.max() / 16
    assert len(images) == 1797
    theirs = sorted(zip(map(tuple, source.data), source.target.tolist(), strict=True))
    scaled = np.rint(images / factor)
    assert np.abs(images / factor - scaled).max() < 0.05
    assert sorted(zip(map(tuple, scaled), labels.tolist(), strict=True)) == theirs
    assert len(np.unique(images)) == 17


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_sizes_shapes_and_ids(name: str, split: str, loaded: dict) -> None:
    data, samples = dataset(name), load(loaded, name, split)
    assert len(samples) == data.sizes[split]
    assert samples.images.shape[1:] == data.input_shape
    assert samples.images.dtype == np.uint8
    np.testing.assert_array_equal(samples.ids, np.arange(len(samples)))
    assert set(np.unique(samples.labels)) == set(range(10))
    assert len(data.class_names) == 10


@pytest.mark.parametrize(
    ("name", "split", "counts"),
    [
        ("mnist", "test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("mnist", "train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("cifar10", "train", [5000] * 10),
        ("cifar10", "test", [1000] * 10),
    ],
)
def test_class_counts_are_the_published_ones(name: str, split: str, counts: list[int], loaded: dict) -> None:
    np.testing.assert_array_equal(np.bincount(load(loaded, name, split).labels), counts)


def test_mnist_is_the_official_file(loaded: dict) -> None:
    samples = load(loaded, "mnist", "test")
    raw = (Path(os.environ["RRA_DATA"]) / "MNIST" / "raw" / "t10k-images-idx3-ubyte").read_bytes()
    assert samples.images.tobytes() == raw[16:]
    assert samples.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_cifar10_orientation_and_channels(loaded: dict) -> None:
    """Against torchvision's own reading of the test batch: red first, rows downwards."""
    samples = load(loaded, "cifar10", "test")
    assert samples.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    # torchvision: test image 0 (a cat) begins with the pixel (158, 112, 49).
    assert samples.images[0, :, 0, 0].tolist() == [158, 112, 49]
    # Neighbouring pixels resemble each other in both directions; read as (h, w, c), the same bytes do not.
    x = samples.images[:500].astype(np.float64)
    misread = x.reshape(500, 32, 32, 3).transpose(0, 3, 1, 2)
    for axis in (2, 3):
        assert np.abs(np.diff(x, axis=axis)).mean() < 17
    assert np.abs(np.diff(misread, axis=2)).mean() > 25
    assert dataset("cifar10").class_names[3] == "cat"


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10"])
def test_normalisation_is_that_of_the_training_pixels(name: str, loaded: dict) -> None:
    """Mean and standard deviation over all training pixels; control: CIFAR-10's often copied 0.2023 is not one."""
    data = dataset(name)
    pixels = load(loaded, name, "train").images[:: 1 if name == "digits" else 5] / np.float32(255)
    np.testing.assert_allclose(data.mean, pixels.mean(axis=(0, 2, 3)), atol=4e-3)
    np.testing.assert_allclose(data.std, pixels.std(axis=(0, 2, 3)), atol=4e-3)
    if name == "cifar10":
        assert abs(0.2023 - pixels.std(axis=(0, 2, 3))[0]) > 0.03


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10"])
def test_checksums_name_an_algorithm(name: str) -> None:
    sums = dataset(name).checksums()
    assert sums
    for value in sums.values():
        algorithm, _, digest = value.partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
        int(digest, 16)


# Augmentation


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 24) -> torch.Tensor:
    """One smooth coloured picture, n times."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    return torch.stack([x, y, x * y])[None].expand(n, 3, 32, 32).clone()


def test_no_augmentation_is_the_identity() -> None:
    x = images()
    assert torch.equal(component("augment", "none")()(x, generator(0)), x)


def test_rra_parameters_are_drawn_per_sample() -> None:
    """Equal images come out different; one set of parameters per batch (as torchvision draws) would keep them equal."""
    out = configured(["augment=rra"]).augment(images(), generator(0))
    distinct = {tuple(o.flatten()[::97].tolist()) for o in out}
    assert len(distinct) == 24


def test_rra_is_deterministic_and_keeps_shape_type_and_range() -> None:
    augment, x = configured(["augment=rra"]).augment, images()
    before = x.clone()
    out = augment(x, generator(1))
    assert torch.equal(x, before), "the images were changed in place"
    assert out.shape == x.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(augment(x, generator(1)), out)
    assert not torch.equal(augment(x, generator(2)), out)


def test_rra_keeps_pictures_recognisable() -> None:
    """4 pixels, 15 degrees, a flip and colour: most of the picture's vertical gradient survives."""
    out = configured(["augment=rra"]).augment(images(200), generator(3)).mean(dim=1)
    top, bottom = out[:, 8:12, 8:24].mean(dim=(1, 2)), out[:, 20:24, 8:24].mean(dim=(1, 2))
    assert (bottom > top).float().mean() > 0.9
