"""Omniglot, Caltech 101 and Tiny ImageNet from small archives in their formats."""

from __future__ import annotations

import inspect
import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import noise, picture, published, put, zipped

from rra_cli.core.fields import identity_of
from rra_cli.core.progress import Progress, silent
from rra_cli.data import caltech101, omniglot, tiny_imagenet
from rra_cli.data import pictures as decoding
from rra_cli.data.caltech101 import Caltech101
from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.official_files import OfficialFile
from rra_cli.data.omniglot import Omniglot
from rra_cli.data.subset import training_identity
from rra_cli.data.tiny_imagenet import TinyImagenet
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

datasets = import_torchvision().datasets


class Quiet:
    """A reporter that shows nothing."""

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        yield silent

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


QUIET = Quiet()


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these tests is remembered elsewhere."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))


# Omniglot

ALPHABETS: dict[Split, dict[str, int]] = {"train": {"Greek": 2, "N_Ko": 1}, "test": {"Angelic": 2}}
FOLDER = {"train": "images_background", "test": "images_evaluation"}


def strokes(seed: int) -> np.ndarray:
    """A drawing: black (False) strokes on white, 105x105, as the published pictures have it."""
    return np.random.default_rng(seed).random((105, 105)) > 0.1


def small_omniglot(root: Path, drawers: int = 3, drop: str = "", **options: Any) -> Omniglot:
    archives: dict[Split, OfficialFile] = {}
    seed = 0
    for split in SPLITS:
        members = {}
        for alphabet, n in ALPHABETS[split].items():
            for character in range(1, n + 1):
                for drawer in range(1, drawers + 1):
                    name = f"{FOLDER[split]}/{alphabet}/character{character:02d}/{character:04d}_{drawer:02d}.png"
                    seed += 1
                    if name != drop:
                        members[name] = picture(strokes(seed))
        archives[split] = published(root, f"omniglot-py/{FOLDER[split]}.zip", zipped(members))
    attributes = {"archives": archives, "alphabets": ALPHABETS, "drawers": drawers}
    made: Omniglot = type("Small", (Omniglot,), attributes)(root=str(root), download=False, **options)
    return made


def test_omniglot_declares_the_published_counts() -> None:
    dataset = Omniglot()
    assert [len(omniglot.ALPHABETS[split]) for split in SPLITS] == [30, 20]
    assert [sum(omniglot.ALPHABETS[split].values()) for split in SPLITS] == [964, 659]
    assert dataset.sizes == {"train": 19_280, "test": 13_180}
    assert len(set(dataset.class_names)) == 1623
    md5 = datasets.Omniglot.zips_md5
    assert {Path(file.path).stem: file.digest for file in omniglot.ARCHIVES.values()} == md5
    assert {Path(file.path).parts[0] for file in omniglot.ARCHIVES.values()} == {datasets.Omniglot.folder}


@pytest.mark.parametrize("split", SPLITS)
def test_omniglot_is_what_torchvision_reads(split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = small_omniglot(tmp_path, size=105, polarity="as_drawn")
    samples = dataset.load(split)
    for part in SPLITS:
        with zipfile.ZipFile(tmp_path / dataset.archives[part].path) as archive:
            archive.extractall(tmp_path / "omniglot-py")
    monkeypatch.setattr(datasets.Omniglot, "zips_md5", {FOLDER[part]: dataset.archives[part].digest for part in SPLITS})
    theirs = datasets.Omniglot(str(tmp_path), background=split == "train", download=False)
    # Its order is that of the file system, and its labels follow it: compare by the names.
    expected = {(theirs._characters[label], np.asarray(image).tobytes()) for image, label in theirs}
    ours = {
        (dataset.class_names[label], image.tobytes())
        for image, label in zip(samples.images, samples.labels, strict=True)
    }
    assert ours == expected
    assert len(ours) == len(samples) == dataset.sizes[split]


def test_omniglots_splits_share_no_class(tmp_path: Path) -> None:
    dataset = small_omniglot(tmp_path)
    assert dataset.class_names == ("Greek/character01", "Greek/character02", "N_Ko/character01", "Angelic/character01",
                                   "Angelic/character02")  # fmt: skip
    assert dataset.load("train").labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.load("test").labels.tolist() == [3, 3, 3, 4, 4, 4]


def test_omniglots_polarity_and_size(tmp_path: Path) -> None:
    white, black = small_omniglot(tmp_path), small_omniglot(tmp_path, polarity="as_drawn")
    images, drawn = white.load("train").images, black.load("train").images
    assert images.shape[1:] == white.input_shape == (1, 28, 28)
    assert (images == 255 - drawn).all()
    assert images.mean() < 60 < 200 < drawn.mean()  # a tenth of the pixels are strokes
    assert identity_of(white) != identity_of(black)
    with pytest.raises(ValueError, match="size is 106; it must be from 1 to 105"):
        Omniglot(size=106)


def test_an_omniglot_archive_without_a_drawing_is_refused(tmp_path: Path) -> None:
    dataset = small_omniglot(tmp_path, drop="images_background/N_Ko/character01/0001_02.png")
    with pytest.raises(UserError, match=r"images_background.zip holds 8 drawings, 8 of them of the 3 expected .* 9"):
        dataset.load("train")
    assert len(dataset.load("test")) == 6


def test_a_missing_or_damaged_omniglot_archive_is_named(tmp_path: Path) -> None:
    dataset = small_omniglot(tmp_path)
    assert set(dataset.checksums()) == {f"omniglot-py/{folder}.zip" for folder in FOLDER.values()}
    path = tmp_path / "omniglot-py/images_evaluation.zip"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"images_evaluation.zip is damaged or not the official file: expected md5"):
        dataset.load("test")
    path.unlink()
    with pytest.raises(UserError, match=r"Omniglot is not complete in .*missing omniglot-py/images_evaluation.zip"):
        dataset.load("test")


def test_only_the_measured_split_has_to_be_there(tmp_path: Path) -> None:
    dataset = small_omniglot(tmp_path, splits=("test",))
    (tmp_path / dataset.archives["train"].path).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "free_memory", lambda: 6 * 28 * 28)
        dataset.prepare(QUIET)
    assert len(dataset.load("test")) == 6


def test_a_drawing_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    dataset = small_omniglot(tmp_path)
    with zipfile.ZipFile(tmp_path / dataset.archives["test"].path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "images_evaluation/Angelic/character02/0002_01.png"
    members[name] = members[name][:50]
    file = published(tmp_path, dataset.archives["test"].path, zipped(members))
    cls = type("Broken", (type(dataset),), {"archives": {**dataset.archives, "test": file}})
    with pytest.raises(UserError, match="1 of 6 pictures cannot be read") as caught:
        cls(root=str(tmp_path), download=False).load("test")
    assert f"{tmp_path / file.path}:{name} (" in caught.value.message


# Caltech 101

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


# Tiny ImageNet

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


# Downloads


@pytest.mark.parametrize("cls", [Omniglot, Caltech101, TinyImagenet])
def test_without_a_network_the_message_names_the_missing_archive(cls: type, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing .*\.zip; the download failed \(.*no network in tests"):
        cls(root=str(tmp_path / "data")).load("train")
    assert not (tmp_path / "data").exists()


def test_an_archive_is_downloaded_and_left_packed(tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_omniglot(tmp_path / "source")
    for file in source.archives.values():
        put(server.folder / Path(file.path).name, (tmp_path / "source" / file.path).read_bytes())
    monkeypatch.setattr(datasets.Omniglot, "download_url_prefix", server.url.rstrip("/"))
    monkeypatch.setattr(
        datasets.Omniglot, "zips_md5", {FOLDER[split]: source.archives[split].digest for split in SPLITS}
    )
    fetched = type(source)(root=str(tmp_path / "root"))
    assert len(fetched.load("test")) == 6
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["omniglot-py", "images_evaluation.zip"]
