"""Omniglot from small archives in its format."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from omniglot_archives import FOLDER, small_omniglot
from small_files import published, zipped

from rra_cli.core.fields import identity_of
from rra_cli.core.progress import Progress, silent
from rra_cli.data import omniglot
from rra_cli.data import pictures as decoding
from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.omniglot import Omniglot
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
