"""MNIST and CIFAR-10 as they are: equal to torchvision's own reading, and to published numbers."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rra_cli.data import cifar10, mnist
from rra_cli.data.cifar10 import Cifar10
from rra_cli.data.dataset import Split
from rra_cli.data.mnist import Mnist
from rra_cli.data.official_files import OfficialFile
from rra_cli.data.subset import load_measured
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

datasets = import_torchvision().datasets


def test_the_md5_list_is_torchvisions() -> None:
    ours = [(Path(file.path).name, file.digest) for file in (*cifar10.FILES, cifar10.META)]
    published = datasets.CIFAR10
    theirs = [tuple(entry) for entry in (*published.train_list, *published.test_list)]
    assert ours == [*theirs, (published.meta["filename"], published.meta["md5"])]
    assert all(file.algorithm == "md5" for file in cifar10.FILES)


@pytest.mark.parametrize("split", ["train", "test"])
def test_mnist_is_what_torchvision_reads(real_root: Path, split: Split) -> None:
    samples = Mnist(root=str(real_root), download=False).load(split)
    theirs = datasets.MNIST(str(real_root), train=split == "train", download=False)
    assert (samples.images[:, 0] == theirs.data.numpy()).all()
    assert (samples.labels == theirs.targets.numpy()).all()
    assert samples.images.shape == (Mnist.sizes[split], *Mnist.input_shape)
    assert (samples.ids == np.arange(Mnist.sizes[split])).all()
    assert torch.from_numpy(samples.images).shape == samples.images.shape  # without a warning: it can be written to
    first = {"train": [5, 0, 4, 1, 9, 2, 1, 3], "test": [7, 2, 1, 0, 4, 1, 4, 9]}
    assert samples.labels[:8].tolist() == first[split]


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar10_is_what_torchvision_reads(real_root: Path, split: Split) -> None:
    samples = Cifar10(root=str(real_root), download=False).load(split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2.4.0 to 2.4.4 on old pickles
        theirs = datasets.CIFAR10(str(real_root), train=split == "train", download=False)
    assert (samples.images == theirs.data.transpose(0, 3, 1, 2)).all()
    assert samples.labels.tolist() == theirs.targets
    assert samples.images.shape == (Cifar10.sizes[split], *Cifar10.input_shape)
    assert list(Cifar10.class_names) == theirs.classes
    assert set(np.bincount(samples.labels)) == {Cifar10.sizes[split] // 10}
    first = {"train": [6, 9, 9, 4, 1, 1, 2, 7], "test": [3, 8, 8, 0, 6, 6, 1, 6]}
    assert samples.labels[:8].tolist() == first[split]


@pytest.mark.parametrize("cls", [Mnist, Cifar10])
def test_mean_and_std_are_those_of_the_training_pixels(real_root: Path, cls: type[Mnist | Cifar10]) -> None:
    images = cls(root=str(real_root), download=False).load("train").images
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].ravel(), minlength=256) / images[:, channel].size
        mean = (counts * np.arange(256)).sum() / 255
        std = np.sqrt((counts * (np.arange(256) / 255 - mean) ** 2).sum())
        assert cls.mean[channel] == pytest.approx(mean, abs=6e-5)
        assert cls.std[channel] == pytest.approx(std, abs=6e-5)


def test_the_checksums_are_those_of_the_files(real_root: Path) -> None:
    assert Mnist(root=str(real_root)).checksums() == {
        file.path: f"sha256:{file.digest}" for split in ("train", "test") for file in _mnist_files(split)
    }
    assert Cifar10(root=str(real_root)).checksums() == {file.path: f"md5:{file.digest}" for file in cifar10.FILES}


def test_the_largest_balanced_number_of_mnist_is_ten_times_its_smallest_class(real_root: Path) -> None:
    # The test split has 892 fives.
    with pytest.raises(UserError, match="needs 893 of each of the 10 classes, but class 5") as caught:
        load_measured(Mnist(root=str(real_root), n_samples={"test": 8921}, balanced=True), "test")
    assert "at most 8920" in str(caught.value)
    samples = load_measured(Mnist(root=str(real_root), n_samples={"test": 8920}, balanced=True), "test")
    assert set(np.bincount(samples.labels)) == {892}


def test_mnist_is_downloaded_by_torchvision(
    real_root: Path, tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, from this machine; only the packed files' md5 are not the published ones."""
    folder, url, _ = server
    resources = []
    for file in mnist.FILES:
        packed = folder / f"{Path(file.path).name}.gz"
        packed.write_bytes(gzip.compress((real_root / file.path).read_bytes(), compresslevel=1))
        resources.append((packed.name, hashlib.md5(packed.read_bytes()).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [url])
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    root = tmp_path / "root"
    assert len(Mnist(root=str(root)).load("test")) == 10_000
    assert sorted(path.name for path in root.rglob("*")) == sorted(
        ["MNIST", "raw", *(Path(file.path).name for file in mnist.FILES)]
    )
    assert len(Mnist(root=str(root), download=False).load("train")) == 60_000


@pytest.mark.long
def test_cifar10_is_downloaded_by_torchvision(
    real_root: Path, tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url, _ = server
    packed = folder / "cifar-10-python.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=1) as tar:
        tar.add(real_root / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "url", url + packed.name)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(packed.read_bytes()).hexdigest())
    root = tmp_path / "root"
    assert len(Cifar10(root=str(root)).load("test")) == 10_000
    assert sorted(path.name for path in root.rglob("*")) == sorted(
        ["cifar-10-batches-py", "batches.meta", "test_batch", *(f"data_batch_{i}" for i in range(1, 6))]
    )
    datasets.CIFAR10(str(root), download=False)  # torchvision finds all that it wants there, too


@pytest.mark.parametrize("fault", ["damaged", "broken off", "not there"])
def test_a_download_that_goes_wrong_leaves_nothing(
    fault: str, tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url, handler = server
    packed = folder / "cifar-10-python.tar.gz"
    packed.write_bytes(bytes(100_000))
    monkeypatch.setattr(datasets.CIFAR10, "url", url + ("nowhere.tar.gz" if fault == "not there" else packed.name))
    if fault == "broken off":
        handler.short = 10_000
    expected = "HTTP Error 404" if fault == "not there" else "File not found or corrupted"
    with pytest.raises(UserError, match=rf"CIFAR-10 is not complete in .* the download failed \({expected}"):
        Cifar10(root=str(tmp_path / "root")).load("test")
    assert not (tmp_path / "root").exists()


def _mnist_files(split: Split) -> tuple[OfficialFile, OfficialFile]:
    return mnist.IMAGES[split], mnist.LABELS[split]
