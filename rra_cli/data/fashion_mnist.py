"""Fashion-MNIST: articles of clothing (Xiao, Rasul, Vollgraf 2017), 60,000 + 10,000 grey images of 28x28."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rra_cli.data.dataset import Split
from rra_cli.data.idx_files import IdxDataset, packed_files
from rra_cli.data.official_files import OfficialFile

# Equal to torchvision's list (a test compares them).
IMAGES, LABELS = packed_files(
    "FashionMNIST",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)


@dataclass(frozen=True)
class FashionMnist(IdxDataset):
    """Articles of clothing, 28x28 grey, 60,000 + 10,000."""

    name: ClassVar[str] = "fashion_mnist"
    title: ClassVar[str] = "Fashion-MNIST"
    image_files: ClassVar[dict[Split, OfficialFile]] = IMAGES
    label_files: ClassVar[dict[Split, OfficialFile]] = LABELS
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    sizes: ClassVar[dict[Split, int]] = {"train": 60_000, "test": 10_000}
    # Of the 60,000 training images: the values in common use; not computed here, for want of the files.
    mean: ClassVar[tuple[float, ...]] = (0.2860,)
    std: ClassVar[tuple[float, ...]] = (0.3530,)

    @staticmethod
    def fetch(folder: Path) -> None:
        """All four files into `folder`/FashionMNIST/raw, by torchvision (which leaves the packed ones, too)."""
        from rra_cli.data.torchvision_import import import_torchvision

        import_torchvision().datasets.FashionMNIST(str(folder), download=True)
