"""ImageNet64x64 (Chrabaszcz, Loshchilov, Hutter 2017): some classes of ImageNet at 64x64, from its `.npz` batches.

Written after the authors' scripts (github.com/PatrykChrabaszcz/Imagenet32_Scripts) and tested on small files of that
layout; the published ones, 1,281,167 + 50,000 images for which image-net.org wants an account, were never at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.core.progress import Reporter
from rra_cli.core.spec import canonical_json
from rra_cli.data.dataset import SPLITS, ImageDataset, Samples, Split
from rra_cli.data.decoded import decode_and_keep, decoded_path, find_decoded
from rra_cli.data.image_folder import IMAGENET_MEAN, IMAGENET_STD
from rra_cli.data.npz_rows import Member, members, read_integers, read_rows
from rra_cli.data.official_files import ROOT_VARIABLE, data_root
from rra_cli.data.pictures import check_memory
from rra_cli.errors import UserError

BATCHES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"train_data_batch_{number}.npz" for number in range(1, 11)),
    "test": ("val_data.npz",),
}
# Where archives are unpacked to: beside each other, or each into a folder of its own.
FOLDERS = ("imagenet64", "Imagenet64_train_part1_npz", "Imagenet64_train_part2_npz", "Imagenet64_val_npz", ".")
N_CLASSES = 1000
_SHAPE = (3, 64, 64)
_PIXELS = 3 * 64 * 64  # of a row: 4,096 red ones, then green, then blue
_MOST = 10_000_000  # images of a file: an absurd header is refused
_CACHE = 1  # raised when the same files would be kept differently
_DRAW = 4  # the stream that classes are drawn from


@dataclass(frozen=True)
class Imagenet64(ImageDataset):
    """Some of ImageNet's classes, 64x64 RGB, from the official npz batches: 50 classes of 1,000 images + 50 x 50.

    n_classes: how many, drawn by class_seed among those with per_class training images; per_class: of each the first
    so many in the files, whose order is random (null: all). The test split is the published validation set. Classes
    are named by the numbers 1 to 1000 that the files label them with. Mean and standard deviation are ImageNet's.

    The chosen images are kept in the data folder (`decoded/`), because finding them takes 12 GB of reading.
    """

    name: ClassVar[str] = "imagenet64"
    # Which classes are drawn shows only in the files, and there are no published checksums of them.
    published: ClassVar[bool] = False
    input_shape: ClassVar[tuple[int, int, int]] = _SHAPE
    mean: ClassVar[tuple[float, ...]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, ...]] = IMAGENET_STD

    n_classes: int = identity(50)
    class_seed: int = identity(0)
    per_class: int | None = identity(1000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.n_classes <= N_CLASSES:
            raise ValueError(f"n_classes is {self.n_classes}; it must be from 2 to {N_CLASSES}")
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f"per_class is {self.per_class}; it must be at least 1 (null takes all)")
        if not 0 <= self.class_seed < 2**32:
            raise ValueError(f"class_seed is {self.class_seed}; it must be from 0 to 2**32 - 1")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The numbers of the chosen classes, ascending."""
        return tuple(f"class {number}" for number in self._classes)

    @property
    def sizes(self) -> dict[Split, int]:
        """The labels are read, not the images."""
        return {split: sum(len(rows) for rows in self._rows[split]) for split in SPLITS}

    def content_identity(self) -> dict[str, Any]:
        """The hash of the files' own checksums. `UserError` for missing files, or counts that they do not have."""
        try:
            self.check_counts()
        except ValueError as error:
            raise UserError(f"dataset.{error}", f"dataset.per_class is {self.per_class}") from None
        return {"content": hashlib.sha256(canonical_json(self.checksums()).encode()).hexdigest()}

    def checksums(self) -> dict[str, str]:
        """File and array -> "crc32:..." by the archive's directory, which is compared where the array is read."""
        return {
            f"{path.name}/{array}": f"crc32:{member.crc:08x}"
            for split in SPLITS
            for path, found in self._members[split].items()
            for array, member in found.items()
        }

    def prepare(self, reporter: Reporter) -> None:
        """Finds the images of the measured splits, with a bar for each."""
        todo = [split for split in self.splits if self._found(split) is None]
        check_memory(sum(self.sizes[split] for split in todo), _SHAPE)
        for split in todo:
            total = sum(len(labels) for labels in self._labels[split].values())
            done = 0
            with reporter.task(f"find the {split} images of {self.name}") as progress:

                def watch(n: int) -> None:
                    nonlocal done
                    done += n
                    progress(done, total, "")  # noqa: B023 - called before the next split

                self._read(split, watch)

    def load(self, split: Split) -> Samples:
        """All images of the chosen classes, in the order of the files."""
        images = self._found(split)
        if images is None:
            images = self._read(split)
        parts = [labels[rows] for labels, rows in zip(self._labels[split].values(), self._rows[split], strict=True)]
        codes = np.searchsorted(np.array(self._classes), np.concatenate(parts)).astype(np.int64)
        return Samples(images, codes, np.arange(len(images), dtype=np.int64))

    def _found(self, split: Split) -> NDArray[np.uint8] | None:
        if split in self._images:
            return self._images[split]
        return find_decoded(self._path(split), (self.sizes[split], *_SHAPE))

    def _read(self, split: Split, watch: Callable[[int], None] = lambda n: None) -> NDArray[np.uint8]:
        def make() -> NDArray[np.uint8]:
            images, start = np.empty((self.sizes[split], _PIXELS), np.uint8), 0
            for (path, labels), rows in zip(self._labels[split].items(), self._rows[split], strict=True):
                out = images[start : start + len(rows)]
                read_rows(path, "data", len(labels), _PIXELS, rows, out, watch)
                start += len(rows)
            return images.reshape(-1, *_SHAPE)

        images, kept = decode_and_keep(self._path(split), make)
        if not kept:
            self._images[split] = images
        return images

    def _path(self, split: Split) -> Path:
        chosen = {"classes": list(self._classes), "per_class": self.per_class, "split": split, "version": _CACHE}
        return decoded_path({"imagenet64": chosen, "files": self.checksums()})

    # What this object has already seen and made; the fields, which identify it, stay as they are.

    @cached_property
    def _members(self) -> dict[Split, dict[Path, dict[str, Member]]]:
        """Of every file."""
        paths = find_batches(data_root(self.root))
        return {split: {path: members(path, ("data", "labels")) for path in paths[split]} for split in SPLITS}

    @cached_property
    def _labels(self) -> dict[Split, dict[Path, NDArray[np.int64]]]:
        """Of every image in every file, from 1."""
        return {split: {path: read_labels(path) for path in self._members[split]} for split in SPLITS}

    @cached_property
    def _classes(self) -> tuple[int, ...]:
        labels = {split: np.concatenate(list(self._labels[split].values())) for split in SPLITS}
        counts = {split: np.bincount(labels[split], minlength=N_CLASSES + 1) for split in SPLITS}
        return draw_classes(counts["train"], counts["test"], self.n_classes, self.class_seed, self.per_class)

    @cached_property
    def _rows(self) -> dict[Split, list[NDArray[np.int64]]]:
        """Of every file, the positions of the images that are taken."""
        most = {"train": self.per_class, "test": None}
        return {split: chosen_rows(list(self._labels[split].values()), self._classes, most[split]) for split in SPLITS}

    @cached_property
    def _images(self) -> dict[Split, NDArray[np.uint8]]:
        return {}


def find_batches(root: Path) -> dict[Split, list[Path]]:
    """All files; `UserError` naming those that are missing."""
    found: dict[Split, list[Path]] = {split: [] for split in SPLITS}
    missing = []
    for split, names in BATCHES.items():
        for name in names:
            path = next((root / folder / name for folder in FOLDERS if (root / folder / name).is_file()), None)
            if path is None:
                missing.append(name)
            else:
                found[split].append(path)
    if missing:
        raise UserError(
            f"ImageNet64x64 is not complete in {root / FOLDERS[0]}: missing {', '.join(missing)}",
            "unpack the npz archives of Imagenet64 (train part 1, part 2 and val, from image-net.org, which wants an "
            f"account) there, or name the folder above it by {ROOT_VARIABLE}=FOLDER or dataset.root=FOLDER",
        )
    return found


def read_labels(path: Path) -> NDArray[np.int64]:
    """`(n,)` labels of a file, each from 1 to 1000. `UserError` for others."""
    labels = read_integers(path, "labels", _MOST)
    strange = np.flatnonzero((labels < 1) | (labels > N_CLASSES))
    if len(strange):
        raise UserError(
            f"labels in {path} must be from 1 to {N_CLASSES}, but image {strange[0]:,} has {labels[strange[0]]}",
            "copy the official file there",
        )
    return labels


def draw_classes(
    train: NDArray[np.int64], test: NDArray[np.int64], n: int, seed: int, per_class: int | None
) -> tuple[int, ...]:
    """n classes, ascending: the first in a seeded order of the numbers 1 to 1000 that have images enough.

    train, test: `(1001,)` images by number. The order depends on the seed alone, so more classes hold fewer ones.
    Raises `UserError` where there are not enough.
    """
    order = np.random.RandomState([seed, _DRAW]).permutation(N_CLASSES) + 1
    needed = 1 if per_class is None else per_class
    able = [int(number) for number in order if train[number] >= needed and test[number] >= 1]
    if len(able) < n:
        raise UserError(
            f"dataset.n_classes is {n}, but only {len(able)} classes have {needed:,} training images and a test image",
            "lower dataset.per_class (of the official files all classes have 732) or dataset.n_classes",
        )
    return tuple(sorted(able[:n]))


def chosen_rows(
    labels: list[NDArray[np.int64]], classes: tuple[int, ...], per_class: int | None
) -> list[NDArray[np.int64]]:
    """Of every file the ascending positions of the images of these classes, of each the first per_class in all files.

    labels: of every file, `(n,)`.
    """
    together = np.concatenate(labels)
    taken = np.isin(together, classes)
    if per_class is not None:
        for number in classes:
            taken[np.flatnonzero(together == number)[per_class:]] = False
    ends = np.cumsum([len(part) for part in labels])
    return [np.flatnonzero(part).astype(np.int64) for part in np.split(taken, ends[:-1])]
