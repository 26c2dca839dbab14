"""A user's own pictures: the layouts, what identifies them, and what is read and kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from picture_folders import Recorder, fill, fill_both, folder
from small_files import noise, picture, put

from rra_cli.data import decoded, picture_dataset, picture_folder, pictures
from rra_cli.data.dataset import SPLITS
from rra_cli.data.image_folder import IMAGENET_MEAN, IMAGENET_STD, ImageFolder
from rra_cli.data.picture_folder import EXTENSIONS, folder_hashes, pictures_below
from rra_cli.data.subset import load_measured, load_trained, measured_identity, training_identity
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

torchvision = import_torchvision()


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of these tests is remembered elsewhere."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def two_folders(tmp_path: Path) -> Path:
    return fill_both(tmp_path / "pictures")


# Layouts


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_and_classes_are_torchvisions(two_folders: Path, split: str) -> None:
    dataset = folder(two_folders, resize="squash")
    samples = dataset.load(split)  # type: ignore[arg-type]
    theirs = torchvision.datasets.ImageFolder(str(two_folders / split))
    assert list(dataset.class_names) == theirs.classes == ["Bee", "ant", "cat"]
    assert samples.labels.tolist() == theirs.targets
    assert dataset.sizes[split] == len(theirs)  # type: ignore[index]
    resized = [torchvision.transforms.v2.functional.resize(image, [16, 16]) for image, _ in theirs]
    assert (samples.images == np.stack([np.asarray(image).transpose(2, 0, 1) for image in resized])).all()
    assert samples.ids.tolist() == list(range(len(theirs)))
    assert dataset.input_shape == samples.images.shape[1:] == (3, 16, 16)


def test_the_extensions_are_torchvisions() -> None:
    assert EXTENSIONS == torchvision.datasets.folder.IMG_EXTENSIONS


def test_val_is_the_test_split_where_there_is_no_test(two_folders: Path) -> None:
    before = folder(two_folders).load("test")
    (two_folders / "test").rename(two_folders / "val")
    assert (folder(two_folders).load("test").images == before.images).all()
    fill(two_folders / "test", {"ant": 3, "cat": 3}, seed=5)  # test is preferred, and may lack a class
    assert folder(two_folders).load("test").labels.tolist() == [1, 1, 1, 2, 2, 2]


def test_one_folder_is_split_by_its_seed_and_stratified(tmp_path: Path) -> None:
    root = fill(tmp_path / "one", {"a": 20, "b": 10, "c": 10})
    parts = {seed: {split: folder(root, split_seed=seed).load(split) for split in SPLITS} for seed in (0, 1)}
    whole = torchvision.datasets.ImageFolder(str(root))
    for part in parts.values():
        assert {split: np.bincount(part[split].labels).tolist() for split in SPLITS} == {
            "train": [16, 8, 8],
            "test": [4, 2, 2],
        }
        together = [image.tobytes() for split in SPLITS for image in part[split].images]
        assert len(set(together)) == len(together) == len(whole)  # all pictures differ: a partition
    assert (folder(root).load("test").images == parts[0]["test"].images).all()
    assert not (parts[0]["test"].images == parts[1]["test"].images).all()
    assert folder(root, subset_seed=9).list_pictures("test").names == folder(root).list_pictures("test").names
    assert folder(root, test_fraction=0.5).sizes == {"train": 20, "test": 20}


def test_folders_within_a_class_links_and_hidden_files(two_folders: Path) -> None:
    before = folder(two_folders).sizes["train"]
    put(two_folders / "train/cat/deep/er/x.PNG", picture(noise(8, 8, 0)))
    put(two_folders / "train/cat/._0.png", b"not a picture")
    put(two_folders / "train/cat/.hidden/0.png", b"not a picture")
    put(two_folders / "train/cat/notes.txt", b"")
    put(two_folders / "train/.cache/0.png", b"")
    (two_folders / "train/cat/loop").symlink_to(two_folders / "train/cat")
    elsewhere = put(two_folders.parent / "elsewhere" / "y.png", picture(noise(8, 8, 1))).parent
    (two_folders / "train/cat/linked").symlink_to(elsewhere)
    dataset = folder(two_folders)
    assert dataset.sizes["train"] == before + 2
    assert len(dataset.load("train")) == before + 2


def test_options_change_the_shape_and_the_normalisation(two_folders: Path) -> None:
    grey = folder(two_folders, color="grey", size=9)
    assert grey.load("test").images.shape[1:] == grey.input_shape == (1, 9, 9)
    assert (grey.mean, grey.std) == ((0.5,), (0.5,))
    assert (ImageFolder().mean, ImageFolder().std) == (IMAGENET_MEAN, IMAGENET_STD)
    own = ImageFolder(pixel_mean=(0.1, 0.2, 0.3), pixel_std=(1.0, 2.0, 3.0))
    assert (own.mean, own.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    presets = torchvision.transforms._presets.ImageClassification(crop_size=8)
    assert (tuple(presets.mean), tuple(presets.std)) == (IMAGENET_MEAN, IMAGENET_STD)
    crop, pad = folder(two_folders).load("train").images, folder(two_folders, resize="pad").load("train").images
    assert (crop != pad).any()


# What identifies them


def test_a_result_is_keyed_by_names_and_contents(two_folders: Path, tmp_path: Path) -> None:
    before = training_identity(folder(two_folders))
    assert before["content"].startswith("sha256:")
    two_folders.rename(tmp_path / "moved")
    root = tmp_path / "moved"
    assert training_identity(folder(root)) == before  # where it lies is no part of a result
    picture_path = root / "test/cat/0.png"
    content = picture_path.read_bytes()
    picture_path.write_bytes(picture(noise(20, 30, 77)))
    changed = training_identity(folder(root))
    picture_path.write_bytes(content)
    assert training_identity(folder(root)) == before
    picture_path.rename(root / "test/cat/renamed.png")
    renamed = training_identity(folder(root))
    put(root / "test/cat/0.png", content)
    added = training_identity(folder(root))
    assert len({str(identity) for identity in (before, changed, renamed, added)}) == 4
    assert measured_identity(folder(root), "test")["content"] == added["content"]
    assert training_identity(folder(root, size=17)) != added
    assert folder(root).checksums() == {"pictures": added["content"]}


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    dataset = ImageFolder(root=str(tmp_path / "nowhere"), n_samples=10, train_size=5)
    assert dataset.input_shape == (3, 64, 64)
    with pytest.raises(UserError, match="there is no folder"):
        training_identity(dataset)


def test_hashes_are_remembered_while_nothing_changes(
    two_folders: Path, own_data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folder, "WORTH_SECONDS", 0.0)
    root, names = two_folders / "train", pictures_below(two_folders / "train")
    past = time.time_ns() - 10**10
    for name in names:
        os.utime(root / name, ns=(past, past))
    monkeypatch.setattr(picture_folder, "SETTLED_NS", -(10**12))  # the time of change cannot be set back
    first = folder_hashes(root, names)
    reads: list[str] = []
    real = picture_folder.read_bytes
    monkeypatch.setattr(picture_folder, "read_bytes", lambda path, most: (reads.append(path.name), real(path, most))[1])
    assert folder_hashes(root, names) == first
    assert reads == []
    (root / names[0]).write_bytes((root / names[1]).read_bytes())
    second = folder_hashes(root, names)
    assert reads == [Path(names[0]).name]
    assert second[0] == first[1]
    assert second[1:] == first[1:]
    note = next((own_data_folder / "hashes").iterdir())
    for damaged in (b"{", b"[]", b'{"folder": "/elsewhere", "files": {}}'):
        note.write_bytes(damaged)
        assert folder_hashes(root, names) == second


def test_a_file_that_changed_just_now_is_not_remembered(
    two_folders: Path, own_data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folder, "WORTH_SECONDS", 0.0)
    names = pictures_below(two_folders)
    folder_hashes(two_folders, names)
    assert not (own_data_folder / "hashes").exists()  # all were written a moment ago


# Read once


def test_decoded_once_with_a_bar_and_kept_in_memory(two_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = picture_dataset.decode_all
    monkeypatch.setattr(picture_dataset, "decode_all", lambda *args: (calls.append(len(args[0])), real(*args))[1])
    dataset, reporter = folder(two_folders, train_size=9), Recorder()
    dataset.prepare(reporter)
    assert reporter.tasks == ["decode the train pictures of image_folder", "decode the test pictures of image_folder"]
    assert reporter.last == (5, 5)
    assert len(load_trained(dataset)) == len(load_measured(dataset, "train")) == 9
    assert len(dataset.load("test")) == 5
    assert calls == [12, 5]
    dataset.prepare(reporter)
    assert len(reporter.tasks) == 2


def test_what_is_kept_on_disk_is_that_of_the_same_pictures_and_rendering(
    two_folders: Path, own_data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "WORTH_SECONDS", 0.0)
    first = folder(two_folders).load("test")
    assert len(list((own_data_folder / "decoded").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(picture_dataset, "decode_all", lambda *args: pytest.fail("decoded again"))
        assert (folder(two_folders).load("test").images == first.images).all()
    put(two_folders / "test/cat/0.png", picture(noise(20, 30, 99)))
    assert (folder(two_folders).load("test").images != first.images).any()
    assert folder(two_folders, size=8).load("test").images.shape[-1] == 8
    assert folder(two_folders, resize="pad").load("test").images.shape == first.images.shape
    assert len(list((own_data_folder / "decoded").iterdir())) == 4


def test_both_splits_have_to_fit_into_memory_before_the_first_is_decoded(
    two_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "free_memory", lambda: 3 * 16 * 16 * 17 - 1)
    reporter = Recorder()
    with pytest.raises(UserError, match=r"17 pictures of 16x16 with 3 channels need 13.1 kB of memory") as caught:
        folder(two_folders).prepare(reporter)
    assert caught.value.hint is not None
    assert "dataset.size" in caught.value.hint
    assert reporter.tasks == []
