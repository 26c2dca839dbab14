"""The idx format of MNIST, and the base of the data sets that come in four files of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.dataset import SPLITS, ImageDataset, Samples, Split
from rra_cli.data.official_files import (
    OfficialFile,
    checksums_of,
    data_root,
    ensure_files,
    read_verified,
    unpacked,
)
from rra_cli.errors import UserError

SIDE = 28  # pixels of the images of MNIST and of all that were made to replace it


@dataclass(frozen=True)
class IdxDataset(ImageDataset, ABC):
    """28x28 grey images of ten classes in the files of MNIST, plain or packed by gzip."""

    title: ClassVar[str]  # what messages call it
    image_files: ClassVar[dict[Split, OfficialFile]]
    label_files: ClassVar[dict[Split, OfficialFile]]

    input_shape: ClassVar[tuple[int, int, int]] = (1, SIDE, SIDE)

    def load(self, split: Split) -> Samples:
        """The whole split; `UserError` where a file is missing or damaged."""
        root, images, labels = data_root(self.root), self.image_files[split], self.label_files[split]
        ensure_files(self.title, root, (images, labels), self.fetch if self.download else None, self.files())
        n = self.sizes[split]
        pixels = _read_idx(root, images, (n, SIDE, SIDE))
        classes = _read_idx(root, labels, (n,))
        return Samples(pixels[:, None], classes.astype(np.int64), np.arange(n, dtype=np.int64))

    def checksums(self) -> dict[str, str]:
        """File -> checksum of the files that are there."""
        return checksums_of(data_root(self.root), self.files())

    def files(self) -> tuple[OfficialFile, ...]:
        """All four."""
        return tuple(files[split] for split in SPLITS for files in (self.image_files, self.label_files))

    @staticmethod
    @abstractmethod
    def fetch(folder: Path) -> None:
        """Downloads all files into a folder, in the layout of the root."""


def packed_files(
    folder: str, md5: tuple[str, str, str, str]
) -> tuple[dict[Split, OfficialFile], dict[Split, OfficialFile]]:
    """The images' and the labels' files as torchvision leaves them: packed, with the md5 that it publishes.

    md5: of train images, train labels, test images, test labels, the order of torchvision's own lists.
    """
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = [OfficialFile(f"{folder}/raw/{name}-ubyte.gz", "md5", md5[i]) for i, name in enumerate(names)]
    return {"train": files[0], "test": files[2]}, {"train": files[1], "test": files[3]}


def parse_idx(content: bytes, shape: tuple[int, ...], path: Path) -> NDArray[np.uint8]:
    """The uint8 array of exactly that shape in an idx file; `UserError` for any other header or length.

    Header: two zero bytes, the type (8: uint8), the number of dimensions, and each dimension as a big-endian int32.
    Unlike torchvision's reader, which lets a file be longer or shorter than its header says.
    """
    start = 4 + 4 * len(shape)
    header = b"\0\0\x08" + bytes([len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    if content[:start] != header or len(content) != start + math.prod(shape):
        raise UserError(
            f"{path} is not the idx file that was expected: header {header.hex()} (uint8, shape {shape}) and "
            f"{start + math.prod(shape):,} bytes in all; found {content[:start].hex()} and {len(content):,} bytes",
            "delete it and run again with dataset.download=true, or copy the official file there",
        )
    # A copy: torch does not like arrays that cannot be written to.
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()


def _read_idx(root: Path, file: OfficialFile, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    content = read_verified(root, file)
    if file.path.endswith(".gz"):
        content = unpacked(content, root / file.path)
    return parse_idx(content, shape, root / file.path)
