"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32 in ten classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from rra_cli.data.cifar_files import download_cifar, read_batch
from rra_cli.data.dataset import SPLITS, ImageDataset, Samples, Split
from rra_cli.data.official_files import OfficialFile, checksums_of, data_root, ensure_files

# Equal to torchvision's list (a test compares them).
BATCHES: dict[Split, tuple[OfficialFile, ...]] = {
    "train": (
        OfficialFile("cifar-10-batches-py/data_batch_1", "md5", "c99cafc152244af753f735de768cd75f"),
        OfficialFile("cifar-10-batches-py/data_batch_2", "md5", "d4bba439e000b95fd0a9bffe97cbabec"),
        OfficialFile("cifar-10-batches-py/data_batch_3", "md5", "54ebc095f3ab1f0389bbae665268c751"),
        OfficialFile("cifar-10-batches-py/data_batch_4", "md5", "634d18415352ddfa80567beed471001a"),
        OfficialFile("cifar-10-batches-py/data_batch_5", "md5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ),
    "test": (OfficialFile("cifar-10-batches-py/test_batch", "md5", "40351d587109b95175f43aff81a1287e"),),
}
# Not read (the class names are below), but torchvision and other programs want it beside the batches.
META = OfficialFile("cifar-10-batches-py/batches.meta", "md5", "5ff9c542aee3614f3951f8cda6e48888")
FILES = tuple(file for split in SPLITS for file in BATCHES[split])


@dataclass(frozen=True)
class Cifar10(ImageDataset):
    """Ten classes of small photographs, 32x32 RGB, 50,000 + 10,000."""

    name: ClassVar[str] = "cifar10"
    class_names: ClassVar[tuple[str, ...]] = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    input_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    sizes: ClassVar[dict[Split, int]] = {"train": 50_000, "test": 10_000}
    # Over all pixels of the 50,000 training images.
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, ...]] = (0.2470, 0.2435, 0.2616)

    def load(self, split: Split) -> Samples:
        """The whole split; `UserError` where a file is missing or damaged."""
        root, batches = data_root(self.root), BATCHES[split]
        ensure_files("CIFAR-10", root, batches, download_cifar10 if self.download else None, (*FILES, META))
        images, labels = zip(*(read_batch(root, batch, "labels") for batch in batches), strict=True)
        return Samples(np.concatenate(images), np.concatenate(labels), np.arange(self.sizes[split], dtype=np.int64))

    def checksums(self) -> dict[str, str]:
        """File -> "md5:..." of the batches that are there."""
        return checksums_of(data_root(self.root), FILES)


def download_cifar10(folder: Path) -> None:
    """All files into `folder`/cifar-10-batches-py, by torchvision."""
    download_cifar("CIFAR10", folder)
