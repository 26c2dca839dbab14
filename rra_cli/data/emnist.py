"""EMNIST: handwritten letters and digits of NIST's Special Database 19 (Cohen, Afshar, Tapson, van Schaik 2017)."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from rra_cli.core.fields import identity
from rra_cli.data.dataset import ImageDataset, Samples, Split
from rra_cli.data.idx_files import SIDE, parse_idx
from rra_cli.data.official_files import (
    OfficialFile,
    checksums_of,
    data_root,
    ensure_files,
    open_verified_zip,
    unpacked,
)

# One archive (561 MB) with the files of all six; its md5 is equal to torchvision's (a test compares them).
ARCHIVE = OfficialFile("EMNIST/raw/gzip.zip", "md5", "58c8d27c78d21e728a6bc7b3cc06412e")

EmnistSplit = Literal["letters", "balanced", "digits", "mnist", "bymerge", "byclass"]
_BOTH = string.digits + string.ascii_uppercase
# Lower-case letters that look like their capitals are merged with them; these eleven are not.
_MERGED = tuple(_BOTH + "abdefghnqrt")
CLASSES: dict[EmnistSplit, tuple[str, ...]] = {
    "letters": tuple(string.ascii_lowercase),
    "balanced": _MERGED,
    "digits": tuple(string.digits),
    "mnist": tuple(string.digits),
    "bymerge": _MERGED,
    "byclass": tuple(_BOTH + string.ascii_lowercase),
}
# Of the files on NIST's page, 145,600 letters among them; table II of the paper has fewer letters (103,600).
SIZES: dict[EmnistSplit, dict[Split, int]] = {
    "letters": {"train": 124_800, "test": 20_800},
    "balanced": {"train": 112_800, "test": 18_800},
    "digits": {"train": 240_000, "test": 40_000},
    "mnist": {"train": 60_000, "test": 10_000},
    "bymerge": {"train": 697_932, "test": 116_323},
    "byclass": {"train": 697_932, "test": 116_323},
}
# Mean and standard deviation as published with Lightning Bolts (pl_bolts/transforms/dataset_normalizations.py); not
# computed here, for want of the files.
PIXELS: dict[EmnistSplit, tuple[float, float]] = {
    "letters": (0.172, 0.331),
    "balanced": (0.175, 0.333),
    "digits": (0.173, 0.332),
    "mnist": (0.173, 0.332),
    "bymerge": (0.174, 0.332),
    "byclass": (0.174, 0.332),
}


@dataclass(frozen=True)
class Emnist(ImageDataset):
    """Handwritten letters and digits, 28x28 grey; letters: 124,800 + 20,800 in 26 classes.

    split: which of its six arrangements: letters (26 classes, both cases together), balanced (47), digits, mnist (10),
    bymerge (47, unequal), byclass (62, unequal). The published images lie on their side (rows and columns exchanged),
    and torchvision shows them so; here they stand upright, as in MNIST. Letters are numbered from 0.
    """

    name: ClassVar[str] = "emnist"
    archive: ClassVar[OfficialFile] = ARCHIVE
    counts: ClassVar[dict[EmnistSplit, dict[Split, int]]] = SIZES
    input_shape: ClassVar[tuple[int, int, int]] = (1, SIDE, SIDE)

    split: EmnistSplit = identity("letters")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The characters; a capital stands for both cases where they are merged."""
        return CLASSES[self.split]

    @property
    def sizes(self) -> dict[Split, int]:
        """As published."""
        return self.counts[self.split]

    @property
    def mean(self) -> tuple[float, ...]:
        """Of the training images."""
        return (PIXELS[self.split][0],)

    @property
    def std(self) -> tuple[float, ...]:
        """Of the training images."""
        return (PIXELS[self.split][1],)

    def load(self, split: Split) -> Samples:
        """The whole split; `UserError` where the archive is missing or damaged."""
        root, n = data_root(self.root), self.sizes[split]
        ensure_files("EMNIST", root, [self.archive], download_emnist if self.download else None, [self.archive])
        contents = []
        with open_verified_zip(root, self.archive) as archive:
            for part in ("images-idx3", "labels-idx1"):
                member = f"gzip/emnist-{self.split}-{split}-{part}-ubyte.gz"
                contents.append((unpacked(archive.read(member), root / self.archive.path / member), Path(member)))
        images = parse_idx(contents[0][0], (n, SIDE, SIDE), contents[0][1])
        labels = parse_idx(contents[1][0], (n,), contents[1][1]).astype(np.int64)
        if self.split == "letters":
            labels -= 1  # published from 1 to 26
        upright = np.ascontiguousarray(images.transpose(0, 2, 1))
        return Samples(upright[:, None], labels, np.arange(n, dtype=np.int64))

    def checksums(self) -> dict[str, str]:
        """The md5 of the archive, if it is there."""
        return checksums_of(data_root(self.root), [self.archive])


def download_emnist(folder: Path) -> None:
    """The archive into `folder`/EMNIST/raw, by torchvision; it is read packed, so nothing is unpacked."""
    from rra_cli.data.torchvision_import import import_torchvision

    datasets = import_torchvision().datasets
    target = folder / Path(ARCHIVE.path).parent
    datasets.utils.download_url(datasets.EMNIST.url, str(target), filename="gzip.zip", md5=datasets.EMNIST.md5)
