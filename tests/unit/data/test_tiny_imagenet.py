"""Tiny ImageNet from small archives in its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_files import noise, picture, published, put, zipped

from rra_cli.data import tiny_imagenet
from rra_cli.data.tiny_imagenet import TinyImagenet
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

datasets = import_torchvision().datasets


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these tests is remembered elsewhere."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))


WNIDS = ("n01443537", "n01629819", "n02124075")


def small_tiny_imagenet(root: Path, *, drop: str = "") -> tuple[TinyImagenet, dict[str, bytes]]:
    base, members, lines = "tiny-imagenet-200", {}, []
    for number, wnid in enumerate(WNIDS):
        for i in range(4):
            pixels = noise(64, 64, 10 * number + i, channels=1 if i == 3 else 3)
            members[f"{base}/train/{wnid}/images/{wnid}_{i}.JPEG"] = picture(pixels, "JPEG")
        members[f"{base}/train/{wnid}/{wnid}_boxes.txt"] = b""
    for i in range(6):
        members[f"{base}/val/images/val_{i}.JPEG"] = picture(noise(64, 64, 100 + i), "JPEG")
        lines.append(f"val_{i}.JPEG\t{WNIDS[-(i % 3) - 1]}\t0\t32\t44\t62\n")
    members[f"{base}/val/val_annotations.txt"] = "".join(lines).encode()
    members[f"{base}/test/images/test_0.JPEG"] = b"unlabelled"
    members.pop(drop, None)
    file = published(root, "tiny-imagenet-200.zip", zipped(members))
    attributes = {"archive": file, "class_names": WNIDS, "sizes": {"train": 12, "test": 6}}
    made: TinyImagenet = type("Small", (TinyImagenet,), attributes)(root=str(root), download=False)
    return made, members


def test_tiny_imagenet_declares_the_published_counts() -> None:
    assert TinyImagenet.sizes == {"train": 100_000, "test": 10_000}
    assert len(set(TinyImagenet.class_names)) == 200
    assert list(TinyImagenet.class_names) == sorted(TinyImagenet.class_names)
    assert tiny_imagenet.ARCHIVE.path == Path(tiny_imagenet.URL).name


def test_tiny_imagenets_training_pictures_are_what_torchvisions_image_folder_reads(tmp_path: Path) -> None:
    dataset, members = small_tiny_imagenet(tmp_path)
    for name, content in members.items():
        put(tmp_path / "unpacked" / name, content)
    theirs = datasets.ImageFolder(str(tmp_path / "unpacked/tiny-imagenet-200/train"))
    samples = dataset.load("train")
    assert samples.labels.tolist() == theirs.targets
    assert (samples.images == np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in theirs])).all()
    assert samples.images.shape == (12, *dataset.input_shape) == (12, 3, 64, 64)


def test_tiny_imagenets_test_split_is_its_validation_set_with_its_annotations(tmp_path: Path) -> None:
    dataset, _members = small_tiny_imagenet(tmp_path)
    samples, names = dataset.load("test"), dataset.list_pictures("test").names
    assert samples.labels.tolist() == [0, 0, 1, 1, 2, 2]
    # As written above: pictures 2 and 5 are of the first class, 1 and 4 of the second, 0 and 3 of the third.
    assert [Path(name).name for name in names] == [f"val_{i}.JPEG" for i in (2, 5, 1, 4, 0, 3)]
    assert set(dataset.checksums()) == {"tiny-imagenet-200.zip"}


def test_a_tiny_imagenet_archive_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    dataset, _ = small_tiny_imagenet(tmp_path, drop="tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG")
    with pytest.raises(UserError, match="holds 11 pictures of the 3 classes in its train split; expected 12"):
        dataset.load("train")
    (tmp_path / "tiny-imagenet-200.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"tiny-imagenet-200.zip is damaged or not the official file"):
        dataset.load("test")
