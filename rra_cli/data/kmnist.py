"""Kuzushiji-MNIST: cursive Japanese characters (Clanuwat et al. 2018), 60,000 + 10,000 grey images of 28x28."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rra_cli.data.dataset import Split
from rra_cli.data.idx_files import IdxDataset, packed_files
from rra_cli.data.official_files import OfficialFile

# Equal to torchvision's list (a test compares them).
IMAGES, LABELS = packed_files(
    "KMNIST",
    (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
)


@dataclass(frozen=True)
class Kmnist(IdxDataset):
    """Cursive Japanese characters, one of each of ten rows of hiragana, 28x28 grey, 60,000 + 10,000."""

    name: ClassVar[str] = "kmnist"
    title: ClassVar[str] = "Kuzushiji-MNIST"
    image_files: ClassVar[dict[Split, OfficialFile]] = IMAGES
    label_files: ClassVar[dict[Split, OfficialFile]] = LABELS
    class_names: ClassVar[tuple[str, ...]] = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    sizes: ClassVar[dict[Split, int]] = {"train": 60_000, "test": 10_000}
    # The values in common use; not computed here, for want of the files.
    mean: ClassVar[tuple[float, ...]] = (0.1918,)
    std: ClassVar[tuple[float, ...]] = (0.3483,)

    @staticmethod
    def fetch(folder: Path) -> None:
        """All four files into `folder`/KMNIST/raw, by torchvision (which leaves the packed ones, too)."""
        from rra_cli.data.torchvision_import import import_torchvision

        import_torchvision().datasets.KMNIST(str(folder), download=True)
