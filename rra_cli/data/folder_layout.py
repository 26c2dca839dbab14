"""The layouts of a user's folder of pictures: with folders train and test (or val), or one that is split here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.picture_dataset import labels_of
from rra_cli.data.picture_folder import EXTENSIONS, class_folders, pictures_below
from rra_cli.data.subset import stratified_order
from rra_cli.errors import UserError

_STREAM = 4  # of the seeded split; see `subset.py` for the others
LAYOUTS = (
    "expected train/<class>/*.png with test/<class>/*.png (or val/), or one folder <class>/*.png, which is split by "
    "dataset.test_fraction and dataset.split_seed"
)


@dataclass(frozen=True)
class FolderScan:
    """classes: names, sorted. names: pictures of each split, below the folder, class after class. counts: per class."""

    classes: tuple[str, ...]
    names: dict[Split, list[str]]
    counts: dict[Split, list[int]]


def scan_folder(folder: Path, test_fraction: float, seed: int) -> FolderScan:
    """What is there. `UserError` for no or one class, a class folder without pictures, fewer than 3 in a split, a
    training folder without a test folder, or a class that only the test folder has.
    """
    classes, by_class = _folders(folder) if (folder / "train").is_dir() else _one_folder(folder, test_fraction, seed)
    for split in SPLITS:
        n = sum(map(len, by_class[split]))
        if n < 3:
            raise UserError(
                f"the {split} split of {folder} has {n} picture{'' if n == 1 else 's'}; at least 3 are needed",
                "add pictures, or change dataset.test_fraction where there are no folders train and test",
            )
    return FolderScan(
        tuple(classes),
        {split: [name for names in by_class[split] for name in names] for split in SPLITS},
        {split: [len(names) for names in by_class[split]] for split in SPLITS},
    )


def split_by_class(by_class: list[list[str]], n_test: int, seed: int, stream: int) -> dict[Split, list[list[str]]]:
    """A stratified seeded part of all pictures for testing, the rest for training, both in the order of the list."""
    labels = labels_of([len(names) for names in by_class])
    in_test = np.zeros(len(labels), dtype=bool)
    in_test[stratified_order(labels, seed, stream)[len(labels) - n_test :]] = True
    halves: dict[Split, list[list[str]]] = {"train": [[] for _ in by_class], "test": [[] for _ in by_class]}
    flat = (name for names in by_class for name in names)
    for name, label, tested in zip(flat, labels, in_test, strict=True):
        halves["test" if tested else "train"][label].append(name)
    return halves


def _folders(folder: Path) -> tuple[list[str], dict[Split, list[list[str]]]]:
    tests = [name for name in ("test", "val") if (folder / name).is_dir()]
    if not tests:
        raise UserError(
            f"{folder} has a folder train, but neither test nor val",
            f"add one, or set dataset.root={folder / 'train'}, which is then split by dataset.split_seed",
        )
    classes = _classes(folder / "train")
    unknown = sorted(set(_classes(folder / tests[0])) - set(classes))
    if unknown:
        raise UserError(
            f"{folder / tests[0]} has classes that {folder / 'train'} has not: {', '.join(unknown)}",
            "both need folders of the same names",
        )
    return classes, {"train": _by_class(folder, "train", classes), "test": _by_class(folder, tests[0], classes)}


def _one_folder(folder: Path, test_fraction: float, seed: int) -> tuple[list[str], dict[Split, list[list[str]]]]:
    for name in ("test", "val"):
        if (folder / name).is_dir():
            raise UserError(f"{folder} has a folder {name}, but no folder train", LAYOUTS)
    classes = _classes(folder)
    by_class = _by_class(folder, "", classes)
    return classes, split_by_class(by_class, round(test_fraction * sum(map(len, by_class))), seed, _STREAM)


def _classes(folder: Path) -> list[str]:
    classes = class_folders(folder)
    if not classes:
        raise UserError(f"{folder} has no folders: pictures are read from a folder per class", LAYOUTS)
    if len(classes) == 1:
        raise UserError(
            f"{folder} has only one class, {classes[0]}; at least two are needed", f"check dataset.root; {LAYOUTS}"
        )
    return classes


def _by_class(folder: Path, part: str, classes: list[str]) -> list[list[str]]:
    """Per class its pictures below the folder. A test folder may lack a class, but no class folder be empty."""
    found = []
    for name in classes:
        place = folder / part / name
        pictures = pictures_below(place) if place.is_dir() else []
        if place.is_dir() and not pictures:
            raise UserError(
                f"the class folder {place} has no pictures ({', '.join(EXTENSIONS)})", "fill it, or remove it"
            )
        found.append([(Path(part) / name / picture).as_posix() for picture in pictures])
    return found
