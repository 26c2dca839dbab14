"""Caltech 101 from small archives in its format, packed and unpacked."""

from __future__ import annotations

import inspect
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import noise, picture, published, put, zipped

from rra_cli.core.fields import identity_of
from rra_cli.data import caltech101
from rra_cli.data.caltech101 import Caltech101
from rra_cli.data.dataset import SPLITS
from rra_cli.data.subset import training_identity
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

datasets = import_torchvision().datasets


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these tests is remembered elsewhere."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))


CLASSES = ("Faces", "ant", "watch")


def caltech_pictures() -> dict[str, bytes]:
    found = {}
    for number, (name, n) in enumerate({"Faces": 6, "ant": 4, "watch": 5}.items()):
        for i in range(1, n + 1):
            pixels = noise(30 + i, 50 - i, 10 * number + i, channels=1 if i == 2 else 3)
            found[f"{name}/image_{i:04d}.jpg"] = picture(pixels, "JPEG")
    found["BACKGROUND_Google/image_0001.jpg"] = picture(noise(9, 9, 0), "JPEG")
    return found


def small_caltech(
    root: Path, *, unpacked: bool, pictures: dict[str, bytes] | None = None, **options: Any
) -> Caltech101:
    pictures = caltech_pictures() if pictures is None else pictures
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in {**pictures, "BACKGROUND_Google/tmp": b"x", "ant/._image_0001.jpg": b"x"}.items():
            member = tarfile.TarInfo(f"101_ObjectCategories/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    packed = zipped({"caltech-101/Annotations.tar": b"", "caltech-101/101_ObjectCategories.tar.gz": stream.getvalue()})
    file = published(root, "caltech101/caltech-101.zip", packed)
    if unpacked:
        (root / file.path).unlink()
        for name, content in pictures.items():
            put(root / "caltech101/101_ObjectCategories" / name, content)
    attributes = {"archive": file, "class_names": CLASSES, "sizes": {"train": 12, "test": 3}}
    made: Caltech101 = type("Small", (Caltech101,), attributes)(root=str(root), download=False, size=16, **options)
    return made


def test_caltech101_declares_the_published_counts() -> None:
    assert sum(Caltech101.sizes.values()) == 8_677
    assert len(set(Caltech101.class_names)) == 101
    assert list(Caltech101.class_names) == sorted(Caltech101.class_names)
    assert caltech101.ARCHIVE.digest in inspect.getsource(datasets.Caltech101.download)
    assert "mzrjq-6wc02/files/caltech-101.zip" in inspect.getsource(datasets.Caltech101.download)


@pytest.mark.parametrize("unpacked", [True, False])
def test_caltech101_is_what_torchvision_reads(unpacked: bool, tmp_path: Path) -> None:
    dataset = small_caltech(tmp_path, unpacked=unpacked, resize="squash")
    small_caltech(tmp_path / "theirs", unpacked=True)
    theirs = datasets.Caltech101(str(tmp_path / "theirs"), download=False)
    resize = import_torchvision().transforms.v2.functional.resize
    expected = {
        (label, np.asarray(resize(image.convert("RGB"), [16, 16])).transpose(2, 0, 1).tobytes())
        for image, label in theirs
    }
    ours = {
        (label, image.tobytes())
        for split in SPLITS
        for image, label in zip(dataset.load(split).images, dataset.load(split).labels, strict=True)
    }
    assert ours == expected
    assert len(ours) == 15
    assert theirs.categories == list(CLASSES)
    assert [np.bincount(dataset.load(split).labels).tolist() for split in SPLITS] == [[5, 3, 4], [1, 1, 1]]


def test_caltech101_is_the_same_packed_and_unpacked_but_for_the_key(tmp_path: Path) -> None:
    packed, unpacked = small_caltech(tmp_path / "a", unpacked=False), small_caltech(tmp_path / "b", unpacked=True)
    for split in SPLITS:
        one, other = packed.load(split), unpacked.load(split)
        assert (one.images == other.images).all()
        assert (one.labels == other.labels).all()
    assert "content" not in training_identity(packed)
    assert training_identity(unpacked)["content"].startswith("sha256:")
    put(tmp_path / "b/caltech101/101_ObjectCategories/ant/image_0001.jpg", picture(noise(9, 9, 3), "JPEG"))
    changed = small_caltech(tmp_path / "c", unpacked=True)
    assert training_identity(changed) == training_identity(unpacked)  # equal pictures elsewhere
    again = type(unpacked)(root=str(tmp_path / "b"), download=False, size=16)
    assert training_identity(again) != training_identity(unpacked)
    assert set(unpacked.checksums()) == {"caltech101/101_ObjectCategories"}
    assert set(packed.checksums()) == {"caltech101/caltech-101.zip"}


def test_caltech101s_split_is_drawn_by_its_seed_alone(tmp_path: Path) -> None:
    names = [
        small_caltech(tmp_path, unpacked=False, **options).list_pictures("test").names
        for options in ({}, {"subset_seed": 3}, {"split_seed": 1})
    ]
    assert names[0] == names[1] != names[2]
    assert identity_of(Caltech101()) != identity_of(Caltech101(split_seed=1))


@pytest.mark.parametrize("unpacked", [True, False])
def test_a_caltech101_that_is_not_whole_is_refused(unpacked: bool, tmp_path: Path) -> None:
    pictures = caltech_pictures()
    del pictures["watch/image_0003.jpg"]
    dataset = small_caltech(tmp_path / "one", unpacked=unpacked, pictures=pictures)
    with pytest.raises(UserError, match=r"holds 14 pictures of the 3 classes; expected 15\n"):
        dataset.load("train")
    without = {name: content for name, content in pictures.items() if not name.startswith("ant/")}
    with pytest.raises(UserError, match="holds 10 pictures of the 3 classes; expected 15; none of ant"):
        small_caltech(tmp_path / "two", unpacked=unpacked, pictures=without).load("train")


def test_no_caltech101_at_all_says_what_is_missing(tmp_path: Path) -> None:
    dataset = Caltech101(root=str(tmp_path), download=False)
    assert training_identity(dataset)["name"] == "caltech101"  # a plan needs no data
    with pytest.raises(UserError, match=r"Caltech 101 is not complete in .*missing caltech101/caltech-101.zip"):
        dataset.load("train")


@pytest.mark.parametrize("unpacked", [True, False])
def test_a_caltech101_picture_that_cannot_be_read_is_named(unpacked: bool, tmp_path: Path) -> None:
    pictures = caltech_pictures() | {"watch/image_0003.jpg": b"no picture"}
    dataset = small_caltech(tmp_path, unpacked=unpacked, pictures=pictures)
    bad = next(
        s for s in SPLITS if any(name.endswith("watch/image_0003.jpg") for name in dataset.list_pictures(s).names)
    )
    with pytest.raises(UserError, match=r"watch/image_0003.jpg \(not a picture of a format that is read\)"):
        dataset.load(bad)


@pytest.mark.parametrize(
    ("options", "message"), [({"size": 0}, "size is 0"), ({"split_seed": 2**32}, "split_seed is 4294967296")]
)
def test_impossible_options_of_caltech101_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Caltech101(**options)
