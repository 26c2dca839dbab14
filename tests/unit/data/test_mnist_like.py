"""KMNIST, Fashion-MNIST and EMNIST from small files in their formats: what torchvision reads from the same files."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import digits, idx, published, put, zipped

from rra_cli.core.fields import identity_of
from rra_cli.data import emnist
from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.emnist import CLASSES, SIZES, Emnist
from rra_cli.data.fashion_mnist import FashionMnist
from rra_cli.data.idx_files import IdxDataset
from rra_cli.data.kmnist import Kmnist
from rra_cli.data.mnist import Mnist
from rra_cli.data.official_files import OfficialFile
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

datasets = import_torchvision().datasets
LIKE = [Kmnist, FashionMnist]
COUNTS: dict[Split, int] = {"train": 40, "test": 20}
# The names of the files' beginnings.
PART = {"train": "train", "test": "t10k"}


def theirs(cls: type[IdxDataset]) -> Any:
    return {Kmnist: datasets.KMNIST, FashionMnist: datasets.FashionMNIST}[cls]


def small(cls: type[IdxDataset], root: Path, *, short: bool = False) -> IdxDataset:
    """The data set with 40 + 20 images, its checksums those of the files that are written here."""
    folder = f"{theirs(cls).__name__}/raw"
    lists: dict[str, dict[Split, OfficialFile]] = {"images": {}, "labels": {}}
    for seed, split in enumerate(SPLITS):
        images, labels = digits(COUNTS[split], 10, seed)
        for kind, array, n in (("images", images[short:], 3), ("labels", labels, 1)):
            path = f"{folder}/{PART[split]}-{kind}-idx{n}-ubyte"
            put(root / path, idx(array))  # what torchvision reads
            lists[kind][split] = published(root, f"{path}.gz", gzip.compress(idx(array), mtime=0))
    own = type("Small", (cls,), {"image_files": lists["images"], "label_files": lists["labels"], "sizes": COUNTS})
    made: IdxDataset = own(root=str(root), download=False)
    return made


@pytest.mark.parametrize("cls", LIKE)
def test_the_md5_list_is_torchvisions(cls: type[IdxDataset]) -> None:
    ours = [(Path(file.path).name, file.digest) for file in cls.files(cls())]
    assert ours == [tuple(entry) for entry in theirs(cls).resources]
    assert {Path(file.path).parts[0] for file in cls.files(cls())} == {theirs(cls).__name__}
    assert list(cls.class_names) == theirs(cls).classes


@pytest.mark.parametrize("cls", LIKE)
@pytest.mark.parametrize("split", SPLITS)
def test_images_and_labels_are_what_torchvision_reads(cls: type[IdxDataset], split: Split, tmp_path: Path) -> None:
    dataset = small(cls, tmp_path)
    samples = dataset.load(split)
    other = theirs(cls)(str(tmp_path), train=split == "train", download=False)
    assert (samples.images[:, 0] == other.data.numpy()).all()
    assert samples.labels.tolist() == other.targets.tolist()
    assert samples.images.shape == (COUNTS[split], *dataset.input_shape)
    assert samples.ids.tolist() == list(range(COUNTS[split]))


@pytest.mark.parametrize("cls", [Kmnist, FashionMnist, Mnist])
def test_the_published_counts(cls: type[IdxDataset]) -> None:
    assert cls.sizes == {"train": 60_000, "test": 10_000}
    assert (len(cls.class_names), cls.input_shape) == (10, (1, 28, 28))


def test_a_damaged_file_is_refused_and_the_other_split_is_not_touched(tmp_path: Path) -> None:
    dataset = small(Kmnist, tmp_path)
    path = tmp_path / "KMNIST/raw/t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz is damaged .*expected md5 \w+, found \w+"):
        dataset.load("test")
    assert len(dataset.load("train")) == 40
    checksums = dataset.checksums()
    assert len(checksums) == 4
    assert checksums["KMNIST/raw/t10k-images-idx3-ubyte.gz"] == f"md5:{hashlib.md5(content).hexdigest()}"


def test_unpacked_files_alone_are_not_enough(tmp_path: Path) -> None:
    """Only the packed ones have a published checksum."""
    dataset = small(Kmnist, tmp_path)
    for packed in tmp_path.rglob("*.gz"):
        packed.unlink()
    with pytest.raises(UserError, match=r"missing KMNIST/raw/train-images-idx3-ubyte.gz, .*download is false"):
        dataset.load("train")


def test_fewer_images_than_published_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not the idx file that was expected: .*31,376 bytes in all; found .*30,592"):
        small(Kmnist, tmp_path, short=True).load("train")


def test_a_packed_file_that_is_broken_off_is_refused(tmp_path: Path) -> None:
    dataset = small(Kmnist, tmp_path)
    path = dataset.image_files["train"].path
    file = published(tmp_path, path, (tmp_path / path).read_bytes()[:-20])
    broken = type("Broken", (type(dataset),), {"image_files": {**dataset.image_files, "train": file}})
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz cannot be unpacked"):
        broken(root=str(tmp_path), download=False).load("train")


# EMNIST


def small_emnist(root: Path, split: str, seed: int = 0) -> Emnist:
    """One arrangement with a class's worth of images; its archive and, beside it, what torchvision unpacks from it."""
    n_classes = len(CLASSES[split])  # type: ignore[index]
    counts = {"train": 2 * n_classes, "test": n_classes}
    members = {}
    for part in SPLITS:
        images, labels = digits(counts[part], n_classes, seed)
        arrays = {"images-idx3": images, "labels-idx1": labels + (split == "letters")}  # letters count from 1
        for kind, array in arrays.items():
            name = f"emnist-{split}-{part}-{kind}-ubyte"
            members[f"gzip/{name}.gz"] = gzip.compress(idx(array.astype(np.uint8)), mtime=0)
            put(root / "EMNIST/raw" / name, idx(array.astype(np.uint8)))
    archive = published(root, "EMNIST/raw/gzip.zip", zipped(members))
    cls = type("SmallEmnist", (Emnist,), {"archive": archive, "counts": {split: counts}})
    made: Emnist = cls(root=str(root), download=False, split=split)
    return made


@pytest.mark.parametrize("split", CLASSES)
@pytest.mark.parametrize("part", SPLITS)
def test_emnist_is_what_torchvision_reads_set_upright(split: str, part: Split, tmp_path: Path) -> None:
    samples = small_emnist(tmp_path, split).load(part)
    other = datasets.EMNIST(str(tmp_path), split=split, train=part == "train", download=False)
    assert (samples.images[:, 0] == other.data.numpy().transpose(0, 2, 1)).all()
    assert not (samples.images[:, 0] == other.data.numpy()).all()
    names = CLASSES[split]  # type: ignore[index]
    assert [names[label] for label in samples.labels] == [other.classes[target] for target in other.targets]
    assert set(samples.labels) == set(range(len(names)))


def test_emnist_declares_the_published_counts() -> None:
    totals = {split: sum(counts.values()) for split, counts in SIZES.items()}
    # As on NIST's page (https://www.nist.gov/itl/products-and-services/emnist-dataset).
    assert totals == {
        "byclass": 814_255,
        "bymerge": 814_255,
        "balanced": 131_600,
        "letters": 145_600,
        "digits": 280_000,
        "mnist": 70_000,
    }
    classes = {split: len(names) for split, names in CLASSES.items()}
    assert classes == {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}
    for split in ("letters", "balanced", "digits", "mnist"):  # the balanced ones
        assert all(SIZES[split][part] % classes[split] == 0 for part in SPLITS)  # type: ignore[index]
    assert set(CLASSES) == set(datasets.EMNIST.splits)
    assert emnist.ARCHIVE.digest == datasets.EMNIST.md5


def test_the_arrangement_is_part_of_a_result_and_decides_the_bounds() -> None:
    assert identity_of(Emnist())["split"] == "letters"
    assert identity_of(Emnist()) != identity_of(Emnist(split="digits"))
    assert Emnist(split="digits", train_size=240_000).available_samples("train") == 240_000
    with pytest.raises(ValueError, match="train_size is 240,000; it must be from 3 to 124,800"):
        Emnist(train_size=240_000)
    assert dataclasses.replace(Emnist(), split="mnist").mean == (0.173,)


def test_a_damaged_emnist_archive_is_refused(tmp_path: Path) -> None:
    dataset = small_emnist(tmp_path, "digits")
    path = tmp_path / "EMNIST/raw/gzip.zip"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"gzip.zip is damaged or not the official file: expected md5"):
        dataset.load("test")
    path.unlink()
    with pytest.raises(UserError, match=r"EMNIST is not complete in .*missing EMNIST/raw/gzip.zip"):
        dataset.load("test")


# Downloads, from this machine


def test_kmnist_is_downloaded_by_torchvision(tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small(Kmnist, tmp_path / "source")
    for file in source.files():
        put(server.folder / Path(file.path).name, (tmp_path / "source" / file.path).read_bytes())
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [server.url])
    monkeypatch.setattr(datasets.KMNIST, "resources", [(Path(f.path).name, f.digest) for f in source.files()])
    fetched = type(source)(root=str(tmp_path / "root"))
    assert (fetched.load("test").images == source.load("test").images).all()
    assert fetched.checksums() == source.checksums()


def test_emnist_is_downloaded_by_torchvision_and_left_packed(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = small_emnist(tmp_path / "source", "digits")
    put(server.folder / "gzip.zip", (tmp_path / "source" / source.archive.path).read_bytes())
    monkeypatch.setattr(datasets.EMNIST, "url", f"{server.url}gzip.zip")
    monkeypatch.setattr(datasets.EMNIST, "md5", source.archive.digest)
    fetched = type(source)(root=str(tmp_path / "root"), split="digits")
    assert (fetched.load("test").images == source.load("test").images).all()
    assert [path.name for path in (tmp_path / "root").rglob("*.*")] == ["gzip.zip"]


@pytest.mark.parametrize("cls", [Kmnist, FashionMnist, Emnist])
def test_without_a_network_the_message_names_what_is_missing(cls: type[Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing \w+/raw/.*the download failed \(.*no network in tests"):
        cls(root=str(tmp_path / "data")).load("test")
    assert not (tmp_path / "data").exists()
