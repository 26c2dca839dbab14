"""MNIST: handwritten digits (LeCun, Bottou, Bengio, Haffner 1998), 60,000 + 10,000 grey images of 28x28."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.idx_files import IdxDataset
from rra_cli.data.official_files import OfficialFile

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
class Mnist(IdxDataset):
    """Handwritten digits, 28x28 grey, 60,000 + 10,000."""

    name: ClassVar[str] = "mnist"
    title: ClassVar[str] = "MNIST"
    image_files: ClassVar[dict[Split, OfficialFile]] = IMAGES
    label_files: ClassVar[dict[Split, OfficialFile]] = LABELS
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    sizes: ClassVar[dict[Split, int]] = {"train": 60_000, "test": 10_000}
    # Of the 60,000 training images: the values everybody uses.
    mean: ClassVar[tuple[float, ...]] = (0.1307,)
    std: ClassVar[tuple[float, ...]] = (0.3081,)

    @staticmethod
    def fetch(folder: Path) -> None:
        """All four files into `folder`/MNIST/raw, by torchvision."""
        download_mnist(folder)


def download_mnist(folder: Path) -> None:
    """All four files into `folder`/MNIST/raw, by torchvision."""
    from rra_cli.data.torchvision_import import import_torchvision

    import_torchvision().datasets.MNIST(str(folder), download=True)
