"""MNIST: handwritten digits (LeCun, Bottou, Bengio, Haffner 1998), 60,000 + 10,000 grey images of 28x28."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.dataset import SPLITS, ImageDataset, Samples, Split
from rra_cli.data.official_files import OfficialFile, checksums_of, data_root, ensure_files, read_verified
from rra_cli.errors import UserError

# sha256 of the unpacked idx files. torchvision publishes the md5 of the packed ones only; these are of the files
# unpacked from archives with those md5.
IMAGES: dict[Split, OfficialFile] = {
    "train": OfficialFile(
        "MNIST/raw/train-images-idx3-ubyte",
        "sha256",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "test": OfficialFile(
        "MNIST/raw/t10k-images-idx3-ubyte",
        "sha256",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
}
LABELS: dict[Split, OfficialFile] = {
    "train": OfficialFile(
        "MNIST/raw/train-labels-idx1-ubyte",
        "sha256",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "test": OfficialFile(
        "MNIST/raw/t10k-labels-idx1-ubyte",
        "sha256",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
FILES = tuple(files[split] for split in SPLITS for files in (IMAGES, LABELS))


@dataclass(frozen=True)
class Mnist(ImageDataset):
    """Handwritten digits, 28x28 grey, 60,000 + 10,000."""

    name: ClassVar[str] = "mnist"
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    input_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    sizes: ClassVar[dict[Split, int]] = {"train": 60_000, "test": 10_000}
    # Of the 60,000 training images: the values everybody uses.
    mean: ClassVar[tuple[float, ...]] = (0.1307,)
    std: ClassVar[tuple[float, ...]] = (0.3081,)

    def load(self, split: Split) -> Samples:
        """The whole split; `UserError` where a file is missing or damaged."""
        root, needed = data_root(self.root), (IMAGES[split], LABELS[split])
        ensure_files("MNIST", root, needed, download_mnist if self.download else None, FILES)
        n = self.sizes[split]
        images = parse_idx(read_verified(root, IMAGES[split]), (n, 28, 28), root / IMAGES[split].path)
        labels = parse_idx(read_verified(root, LABELS[split]), (n,), root / LABELS[split].path)
        return Samples(images[:, None], labels.astype(np.int64), np.arange(n, dtype=np.int64))

    def checksums(self) -> dict[str, str]:
        """File -> "sha256:..." of the idx files that are there."""
        return checksums_of(data_root(self.root), FILES)


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
            "delete it and run again with dataset.download=true, or copy the official file there, unpacked",
        )
    # A copy: torch does not like arrays that cannot be written to.
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()


def download_mnist(folder: Path) -> None:
    """All four files into `folder`/MNIST/raw, by torchvision."""
    from rra_cli.data.torchvision_import import import_torchvision

    import_torchvision().datasets.MNIST(str(folder), download=True)
