"""A user's own pictures: the layouts, what identifies them, and everything that can be wrong with them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_files import noise, picture, put

from rra_cli.config.compose import load as compose
from rra_cli.core.progress import Progress
from rra_cli.data import decoded, picture_dataset, picture_folder, pictures
from rra_cli.data.dataset import SPLITS
from rra_cli.data.image_folder import IMAGENET_MEAN, IMAGENET_STD, ImageFolder
from rra_cli.data.picture_folder import EXTENSIONS, folder_hashes, pictures_below
from rra_cli.data.subset import load_measured, load_trained, measured_identity, training_identity
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import ConfigError, UserError

torchvision = import_torchvision()


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of these tests is remembered elsewhere."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def fill(folder: Path, per_class: dict[str, int], seed: int = 0) -> Path:
    """Pictures of different sizes and kinds, `<class>/<number>.<extension>`."""
    for number, (name, n) in enumerate(per_class.items()):
        for i in range(n):
            kind = ("PNG", "JPEG", "BMP")[i % 3]
            pixels = noise(20 + i, 30 - i, 100 * seed + 10 * number + i, channels=1 if i == 4 else 3)
            put(folder / name / f"{i}.{kind.lower()}", picture(pixels, kind))
    return folder


@pytest.fixture
def two_folders(tmp_path: Path) -> Path:
    """train and test, three classes."""
    root = tmp_path / "pictures"
    fill(root / "train", {"ant": 5, "Bee": 3, "cat": 4})
    fill(root / "test", {"ant": 2, "Bee": 1, "cat": 2}, seed=1)
    return root


class Recorder:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.last: tuple[int, int] = (0, 0)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.tasks.append(title)

        def progress(done: int, total: int, note: str = "") -> None:
            self.last = (done, total)

        yield progress

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def folder(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(root=str(root), **{"size": 16, **options})


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


# Bad input


def test_a_picture_that_cannot_be_read_is_named(two_folders: Path) -> None:
    broken = two_folders / "train/ant/2.bmp"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(UserError, match="1 of 12 pictures cannot be read") as caught:
        folder(two_folders).load("train")
    assert f"{broken} (" in caught.value.message


def test_unreadable_pictures_of_all_splits_are_told_together_and_listed(
    two_folders: Path, own_data_folder: Path
) -> None:
    """What is named in the message is cut off at five, the file is not."""
    names = ("train/ant/0.png", "train/ant/1.jpeg", "train/ant/2.bmp", "train/cat/0.png", "train/cat/1.jpeg")
    broken = [two_folders / name for name in (*names, "test/cat/0.png", "test/cat/1.jpeg")]
    for path in broken:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"^7 of 17 pictures cannot be read: ") as caught:
        folder(two_folders).prepare(Recorder())
    assert caught.value.message.endswith(f"{broken[4]} (the file is empty) and 2 more")
    (listing,) = (own_data_folder / "unreadable").iterdir()
    assert caught.value.hint == f"{listing} names all of them: remove or replace them, and run again"
    assert listing.read_text() == "".join(f"{path}\tthe file is empty\n" for path in broken)
    for path in broken[:5]:
        path.unlink()
    with pytest.raises(UserError, match=r"^2 of 5 pictures cannot be read") as caught:
        folder(two_folders).prepare(Recorder())
    assert all(str(path) in caught.value.message for path in broken[5:])
    assert caught.value.hint == "remove or replace them, and run again"


def test_a_picture_that_changes_between_plan_and_reading_is_named(two_folders: Path) -> None:
    dataset = folder(two_folders)
    training_identity(dataset)
    put(two_folders / "test/ant/0.png", picture(noise(9, 9, 5)))
    with pytest.raises(UserError, match=r"test/ant/0.png changed while this run was reading"):
        dataset.load("test")
    (two_folders / "test/ant/0.png").unlink()
    with pytest.raises(UserError, match=r"test/ant/0.png cannot be read: No such file"):
        dataset.load("test")


def test_no_root_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"dataset.root is not set") as caught:
        training_identity(ImageFolder())
    assert caught.value.hint is not None
    assert "dataset.root=FOLDER; expected train/<class>/*.png with test/<class>/*.png" in caught.value.hint


def faulty(tmp_path: Path, fault: str) -> Path:
    root = tmp_path / "pictures"
    if fault == "no folder":
        return root
    if fault == "a file":
        return put(root / "a.png", b"")
    if fault == "pictures without classes":
        put(root / "a.png", picture(noise(4, 4, 0)))
    elif fault == "one class":
        fill(root, {"a": 5})
    elif fault == "one class in train":
        fill(root / "train", {"a": 5})
        fill(root / "test", {"a": 5})
    elif fault == "empty class":
        fill(root, {"a": 5, "b": 5})
        (root / "c").mkdir()
    elif fault == "class of other files":
        fill(root, {"a": 5, "b": 5})
        put(root / "c" / "notes.txt", b"")
    elif fault == "train alone":
        fill(root / "train", {"a": 5, "b": 5})
    elif fault == "test alone":
        fill(root / "test", {"a": 5, "b": 5})
    elif fault == "class only in test":
        fill(root / "train", {"a": 5, "b": 5})
        fill(root / "val", {"a": 5, "c": 5})
    elif fault == "too few":
        fill(root, {"a": 5, "b": 5})
    return root


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no folder", r"there is no folder .*pictures \(dataset.root\)"),
        ("a file", r"there is no folder .*a.png"),
        ("pictures without classes", "has no folders: pictures are read from a folder per class"),
        ("one class", "has only one class, a; at least two are needed"),
        ("one class in train", "train has only one class, a"),
        ("empty class", r"the class folder .*/c has no pictures \(.jpg, .jpeg, .png,"),
        ("class of other files", "the class folder .*/c has no pictures"),
        ("train alone", "has a folder train, but neither test nor val"),
        ("test alone", "has a folder test, but no folder train"),
        ("class only in test", "val has classes that .*train has not: c"),
        ("too few", "the test split of .* has 2 pictures; at least 3 are needed"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(tmp_path: Path, fault: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        training_identity(folder(faulty(tmp_path, fault)))
    assert caught.value.hint


def test_more_than_there_is_is_refused_when_the_pictures_are_counted(two_folders: Path) -> None:
    for options, message in (
        ({"train_size": 13}, "dataset.train_size is 13; it must be from 3 to 12"),
        ({"n_samples": {"test": 6}}, "dataset.n_samples is 6, but the test split of image_folder has only 5 samples"),
        ({"train_size": 4, "n_samples": {"train": 5}}, r"has only 4 samples \(train_size\)"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            training_identity(folder(two_folders, **options))
        assert caught.value.hint == f"{two_folders} has 12 train, 5 test pictures"
    assert training_identity(folder(two_folders, train_size=12)) == training_identity(folder(two_folders))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 2049}, "from 1 to 2048"),
        ({"test_fraction": 1.0}, "test_fraction is 1.0; it must be between 0 and 1"),
        ({"split_seed": -1}, "split_seed is -1"),
        ({"pixel_mean": (0.5,)}, "pixel_mean has 1 numbers; color=rgb needs 3"),
        ({"color": "grey", "pixel_std": (0.5, 0.5, 0.5)}, "pixel_std has 3 numbers; color=grey needs 1"),
        ({"pixel_std": (0.5, 0.0, 0.5)}, "pixel_std must be above 0"),
        ({"train_size": 2}, "train_size is 2; it must be at least 3"),
        ({"n_samples": 2}, "n_samples is 2; at least 3"),
    ],
)
def test_impossible_options_are_refused_before_reading(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageFolder(**options)


def test_it_binds_from_the_command_line(two_folders: Path) -> None:
    dataset = compose(
        ["dataset=image_folder", f"dataset.root={two_folders}", "dataset.pixel_mean=[0.1,0.2,0.3]"]
    ).dataset
    assert isinstance(dataset, ImageFolder)
    assert dataset.mean == (0.1, 0.2, 0.3)
    with pytest.raises(ConfigError, match=r"dataset.resize"):
        compose(["dataset=image_folder", "dataset.resize=stretch"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_the_users_fault(two_folders: Path) -> None:
    (two_folders / "train/ant").chmod(0)
    try:
        with pytest.raises(UserError, match=r"train/ant cannot be read: Permission denied"):
            training_identity(folder(two_folders))
    finally:
        (two_folders / "train/ant").chmod(0o755)


def test_a_link_to_nowhere_is_named(two_folders: Path) -> None:
    (two_folders / "train/ant/gone.png").symlink_to(two_folders / "nowhere.png")
    with pytest.raises(UserError, match=r"train/ant/gone.png cannot be read: No such file"):
        training_identity(folder(two_folders))


def test_wide_pictures_of_the_user_need_no_certain_size(two_folders: Path) -> None:
    Image.new("RGB", (1, 1)).save(two_folders / "train/ant/tiny.png")
    Image.new("RGB", (400, 2)).save(two_folders / "train/ant/wide.png")
    for resize in ("squash", "crop", "pad"):
        assert folder(two_folders, resize=resize).load("train").images.shape == (14, 3, 16, 16)
