"""ImageNet64x64 from made files of the official layout: which images are taken, and everything that can be wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rra_cli.config.compose import load as compose
from rra_cli.data import decoded, npz_rows
from rra_cli.data.imagenet64 import BATCHES, Imagenet64, draw_classes
from rra_cli.data.npz_rows import read_rows
from rra_cli.data.subset import load_measured, training_identity
from rra_cli.errors import UserError

LABELS = (3, 17, 500, 1000)
PIXELS = 12288
PER_FILE = 12  # training images of a file; 120 in all, 30 of each class


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is kept lies with the test."""
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def made(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Random rows whose labels hold every class equally often, shuffled."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, PIXELS), np.uint8), random.permutation(np.resize(LABELS, n)).astype(np.int64)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """All eleven files below data/imagenet64; some packed, the training ones with the mean image."""
    folder = tmp_path / "data" / "imagenet64"
    folder.mkdir(parents=True)
    for number, name in enumerate(BATCHES["train"]):
        data, labels = made(PER_FILE, number)
        save = np.savez_compressed if number % 2 else np.savez
        save(folder / name, data=data, labels=labels, mean=data.mean(axis=0))
    data, labels = made(8, 100)
    np.savez(folder / "val_data.npz", data=data, labels=labels)
    return folder


def everything() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All training rows and labels in the order of the files."""
    parts = [made(PER_FILE, number) for number in range(10)]
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([labels for _, labels in parts])


def rewrite(path: Path, **changes: Any) -> None:
    """The file with other arrays; None leaves one out."""
    with np.load(path) as old:
        arrays = {name: old[name] for name in old.files} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


SMALL: dict[str, Any] = {"n_classes": 3, "per_class": 5}


# What is taken


def test_the_first_images_of_the_chosen_classes_are_taken_in_the_order_of_the_files(files: Path) -> None:
    """Against a plain loop over all rows."""
    dataset = Imagenet64(**SMALL)
    chosen = [int(name.removeprefix("class ")) for name in dataset.class_names]
    rows, labels = everything()
    expected, codes = [], []
    for row, label in zip(rows, labels, strict=True):
        if label in chosen and codes.count(chosen.index(label)) < 5:
            expected.append(row)
            codes.append(chosen.index(label))
    samples = dataset.load("train")
    assert samples.images.shape == (15, 3, 64, 64)
    assert np.array_equal(samples.images.reshape(15, -1), expected)
    assert samples.labels.tolist() == codes
    assert samples.ids.tolist() == list(range(15))
    assert dataset.sizes == {"train": 15, "test": 6}
    assert np.bincount(dataset.load("test").labels).tolist() == [2, 2, 2]


def test_a_row_is_the_red_plane_then_the_green_then_the_blue(files: Path) -> None:
    data = np.zeros((PER_FILE, PIXELS), np.uint8)
    data[:, :4096], data[:, 4096:8192], data[:, 8192:] = 10, 20, 30
    data[:, 1] = 11  # the second pixel of the first line
    rewrite(files / "train_data_batch_1.npz", data=data)
    first = Imagenet64(n_classes=4, per_class=None).load("train").images[0]
    assert first[0, 0, :3].tolist() == [10, 11, 10]
    assert first[:, 40, 40].tolist() == [10, 20, 30]


def test_without_a_limit_all_images_of_a_class_are_taken(files: Path) -> None:
    dataset = Imagenet64(n_classes=4, per_class=None)
    assert dataset.class_names == ("class 3", "class 17", "class 500", "class 1000")
    assert dataset.sizes == {"train": 120, "test": 8}
    rows, labels = everything()
    assert np.array_equal(dataset.load("train").images.reshape(120, -1), rows)
    assert np.array_equal(np.array(LABELS)[dataset.load("train").labels], labels)


def test_classes_are_drawn_by_their_seed_among_those_with_images_enough() -> None:
    train, test = np.full(1001, 1300), np.full(1001, 50)
    train[0] = test[0] = 0
    few = draw_classes(train, test, 50, 0, 1000)
    assert len(set(few)) == 50
    assert few == tuple(sorted(few))
    assert set(few) < set(draw_classes(train, test, 100, 0, 1000))  # nested
    assert few != draw_classes(train, test, 50, 1, 1000)
    train[few[0]] = 999
    without = draw_classes(train, test, 50, 0, 1000)
    assert few[0] not in without
    assert len(set(without) & set(few)) == 49
    test[few[1]] = 0
    assert few[1] not in draw_classes(train, test, 50, 0, None)
    # Every number can be drawn: all thousand are, once.
    assert draw_classes(np.full(1001, 1), np.full(1001, 1), 1000, 0, 1) == tuple(range(1, 1001))


def test_unpacked_archives_may_have_a_folder_each(files: Path) -> None:
    root, whole = files.parent, Imagenet64(**SMALL).load("train")
    for folder, names in (
        ("Imagenet64_train_part1_npz", BATCHES["train"][:5]),
        ("Imagenet64_train_part2_npz", BATCHES["train"][5:]),
        ("Imagenet64_val_npz", BATCHES["test"]),
    ):
        (root / folder).mkdir()
        for name in names:
            (files / name).rename(root / folder / name)
    assert np.array_equal(Imagenet64(**SMALL).load("train").images, whole.images)


def test_what_was_found_is_kept_and_found_again(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "WORTH_SECONDS", 0.0)
    first = Imagenet64(**SMALL).load("train").images
    monkeypatch.setattr("rra_cli.data.imagenet64.read_rows", lambda *args: pytest.fail("it was read again"))
    assert np.array_equal(Imagenet64(**SMALL).load("train").images, first)
    kept = list((files.parent / "decoded").glob("*.npy"))
    assert len(kept) == 1
    # Other files are other images.
    rewrite(files / "train_data_batch_3.npz", data=np.zeros((PER_FILE, PIXELS), np.uint8))
    with pytest.raises(pytest.fail.Exception):
        Imagenet64(**SMALL).load("train")


def test_what_is_kept_is_of_its_split_and_classes(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here both splits, and every two classes, have four images: their number does not tell them apart."""
    monkeypatch.setattr(decoded, "WORTH_SECONDS", 0.0)
    whole = {"train": everything(), "test": made(8, 100)}
    drawn = set()
    for seed in range(4):
        dataset = Imagenet64(n_classes=2, per_class=2, class_seed=seed)
        classes = [int(name.removeprefix("class ")) for name in dataset.class_names]
        drawn.add(tuple(classes))
        for split, (rows, labels) in whole.items():
            taken = np.sort(np.concatenate([np.flatnonzero(labels == number)[:2] for number in classes]))
            assert np.array_equal(dataset.load(split).images.reshape(4, -1), rows[taken])  # type: ignore[arg-type]
    assert len(drawn) > 1


def test_the_limit_is_of_training_images_alone(files: Path) -> None:
    assert Imagenet64(n_classes=4, per_class=1).sizes == {"train": 4, "test": 8}


def test_results_are_keyed_by_the_content_of_the_files(files: Path) -> None:
    before, checksums = training_identity(Imagenet64(**SMALL)), Imagenet64(**SMALL).checksums()
    assert training_identity(Imagenet64(**SMALL)) == before
    assert len(checksums) == 22
    rewrite(files / "train_data_batch_3.npz", mean=np.zeros(PIXELS))  # which is not read
    assert training_identity(Imagenet64(**SMALL)) == before
    rewrite(files / "train_data_batch_3.npz", labels=np.full(PER_FILE, 3))
    assert training_identity(Imagenet64(**SMALL)) != before


def test_blocks_of_rows_are_seams_only(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Imagenet64(**SMALL).load("train").images
    monkeypatch.setattr(npz_rows, "_BLOCK", 5 * PIXELS)
    assert np.array_equal(Imagenet64(**SMALL).load("train").images, whole)


def test_the_experiments_measure_thirty_thousand_images() -> None:
    for name in ("rra", "ms_rra", "rra_samples", "rra_augmentation", "overlap"):
        dataset = compose([f"experiment={name}_imagenet64"]).dataset
        assert isinstance(dataset, Imagenet64)
        assert (dataset.requested_samples("train"), dataset.n_classes, dataset.per_class) == (30_000, 50, 1000)
        assert dataset.balanced


def test_a_balanced_draw_of_it_is_measured(files: Path) -> None:
    measured = load_measured(Imagenet64(**SMALL, n_samples={"train": 9}, balanced=True), "train")
    assert np.bincount(measured.labels).tolist() == [3, 3, 3]


# What can be wrong


def test_missing_files_are_named(files: Path) -> None:
    (files / "train_data_batch_7.npz").unlink()
    (files / "val_data.npz").unlink()
    with pytest.raises(UserError, match=r"missing train_data_batch_7\.npz, val_data\.npz") as caught:
        Imagenet64(**SMALL).load("train")
    assert "image-net.org" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, r"has no labels: it holds data, mean"),
        ({"labels": None, "data": None}, r"has no data and no labels: it holds mean"),
        ({"labels": np.zeros(PER_FILE, np.int64)}, r"must be from 1 to 1000, but image 0 has 0"),
        ({"labels": np.full(PER_FILE, 1001)}, r"must be from 1 to 1000, but image 0 has 1001"),
        ({"labels": np.full(PER_FILE, 3.0)}, r"labels in .* is \(12,\) float64; expected one integer an image"),
        ({"labels": np.array([3] * PER_FILE, object)}, r"Python objects \(a pickle\), which are never loaded"),
        ({"data": np.zeros((PER_FILE, 3072), np.uint8)}, r"\(12, 3072\) uint8; expected \(12, 12288\) uint8"),
        ({"data": np.zeros((PER_FILE, PIXELS), np.float32)}, r"float32; expected \(12, 12288\) uint8"),
        ({"data": np.zeros((PER_FILE - 1, PIXELS), np.uint8)}, r"\(11, 12288\) uint8; expected \(12, 12288\)"),
        ({"data": np.zeros((PIXELS, PER_FILE), np.uint8).T}, r"in C order"),
        ({"data": np.array([None] * PER_FILE, object)}, r"Python objects"),
    ],
)
def test_other_arrays_than_expected_are_refused(files: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(files / "train_data_batch_2.npz", **changes)
    with pytest.raises(UserError, match=message) as caught:
        Imagenet64(n_classes=2, per_class=None).load("train")
    assert "copy the official file there" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["train_data_batch_1.npz", "train_data_batch_2.npz"])  # stored, packed
def test_a_truncated_file_is_refused(files: Path, name: str) -> None:
    path = files / name
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match=r"is no whole \.npz file"):
        Imagenet64(**SMALL).load("train")


@pytest.mark.parametrize("name", ["train_data_batch_1.npz", "train_data_batch_2.npz"])
def test_a_changed_byte_is_noticed(files: Path, name: str) -> None:
    content = bytearray((files / name).read_bytes())
    content[50_000] ^= 1
    (files / name).write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged: .*(CRC|decompressing)"):
        Imagenet64(n_classes=4, per_class=None).load("train")


def test_what_is_no_archive_is_refused(files: Path) -> None:
    (files / "val_data.npz").write_bytes(b"not a zip file")
    with pytest.raises(UserError, match=r"val_data\.npz is no whole \.npz file: .*\(14 bytes\)"):
        Imagenet64(**SMALL).load("test")


def test_an_array_that_breaks_off_is_refused(tmp_path: Path) -> None:
    """A member that is whole by its CRC but shorter than its header says."""
    import zipfile

    array = tmp_path / "whole.npy"
    np.save(array, np.zeros((4, 8), np.uint8))
    for extra, message in ((array.read_bytes()[:-8], "breaks off"), (array.read_bytes() + b"x", "goes on after")):
        with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
            archive.writestr("data.npy", extra)
        with pytest.raises(UserError, match=message):
            read_rows(tmp_path / "short.npz", "data", 4, 8, np.arange(4), np.empty((4, 8), np.uint8))


def test_more_than_there_is_is_refused(files: Path) -> None:
    with pytest.raises(UserError, match="n_classes is 50, but only 0 classes have 1,000 training images"):
        Imagenet64().content_identity()
    with pytest.raises(UserError, match=r"dataset\.n_samples is 16, but the train split .* has only 15"):
        Imagenet64(**SMALL, n_samples={"train": 16}).content_identity()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_classes": 1}, "n_classes is 1; it must be from 2 to 1000"),
        ({"n_classes": 1001}, "n_classes is 1001"),
        ({"per_class": 0}, "per_class is 0; it must be at least 1"),
        ({"class_seed": -1}, "class_seed is -1"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Imagenet64(**fields)
