"""A user's own pictures: everything that can be wrong with them, and with what is asked of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from picture_folders import Recorder, fill, fill_both, folder
from PIL import Image
from small_files import noise, picture, put

from rra_cli.config.compose import load as compose
from rra_cli.data.image_folder import ImageFolder
from rra_cli.data.subset import training_identity
from rra_cli.errors import ConfigError, UserError


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of these tests is remembered elsewhere."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def two_folders(tmp_path: Path) -> Path:
    return fill_both(tmp_path / "pictures")


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
