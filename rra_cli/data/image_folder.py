"""A user's own pictures, of any size, in a folder per class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from rra_cli.core.fields import identity
from rra_cli.data.dataset import SPLITS, Split
from rra_cli.data.folder_layout import LAYOUTS, FolderScan, scan_folder
from rra_cli.data.picture_dataset import PictureDataset, labels_of
from rra_cli.data.picture_folder import content_hash, folder_hashes, folder_reader
from rra_cli.data.pictures import PictureList, Rendering, Resize
from rra_cli.errors import UserError

# Of ImageNet's photographs, as torchvision's presets state them (torchvision/transforms/_presets.py).
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageFolder(PictureDataset):
    """Your own pictures, a folder per class, of any size, resized; with folders train and test (or val), or split here.

    root: that folder. With `train` in it, the test split is `test`, or else `val`; without, all pictures are split by
    `split_seed`, stratified by class, `test_fraction` of them for testing. size: height and width in pixels. resize:
    squash (aspect ratio not kept), crop (the largest centred square) or pad (all of it, on black). color: rgb or grey.
    pixel_mean, pixel_std: of pixels in [0, 1], a number per channel; null: ImageNet's for rgb, 0.5 and 0.5 for grey
    (fixed numbers, not computed from the pictures).
    """

    name: ClassVar[str] = "image_folder"
    published: ClassVar[bool] = False

    size: int = identity(64)
    resize: Resize = identity("crop")
    color: Literal["rgb", "grey"] = identity("rgb")
    test_fraction: float = identity(0.2)
    split_seed: int = identity(0)
    pixel_mean: tuple[float, ...] | None = identity(None)
    pixel_std: tuple[float, ...] | None = identity(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.size <= 2048:
            raise ValueError(f"size is {self.size}; it must be from 1 to 2048 pixels")
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"test_fraction is {self.test_fraction}; it must be between 0 and 1")
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(f"split_seed is {self.split_seed}; it must be from 0 to 2**32 - 1")
        for field in ("pixel_mean", "pixel_std"):
            values = getattr(self, field)
            if values is not None and len(values) != self.input_shape[0]:
                raise ValueError(f"{field} has {len(values)} numbers; color={self.color} needs {self.input_shape[0]}")
        if self.pixel_std is not None and min(self.pixel_std) <= 0:
            raise ValueError(f"pixel_std must be above 0, got {list(self.pixel_std)}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """From the options alone."""
        return (3 if self.color == "rgb" else 1, self.size, self.size)

    @property
    def mean(self) -> tuple[float, ...]:
        """`pixel_mean`, or its default."""
        return self.pixel_mean or (IMAGENET_MEAN if self.color == "rgb" else (0.5,))

    @property
    def std(self) -> tuple[float, ...]:
        """`pixel_std`, or its default."""
        return self.pixel_std or (IMAGENET_STD if self.color == "rgb" else (0.5,))

    @property
    def rendering(self) -> Rendering:
        """From the options alone."""
        return Rendering(self.input_shape, self.resize)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the class folders, sorted."""
        return self._scan.classes

    @property
    def sizes(self) -> dict[Split, int]:
        """The pictures are counted, not opened."""
        return {split: len(names) for split, names in self._scan.names.items()}

    def content_identity(self) -> dict[str, Any]:
        """The hash of all relative paths and contents. `UserError` for unusable folders, or counts they do not have."""
        sizes = self.sizes
        try:
            self.check_counts()
        except ValueError as error:
            counts = ", ".join(f"{size:,} {split}" for split, size in sizes.items())
            raise UserError(f"dataset.{error}", f"{self.folder} has {counts} pictures") from None
        return {"content": self._content}

    def checksums(self) -> dict[str, str]:
        """One for all pictures together."""
        return {"pictures": self._content}

    def list_pictures(self, split: Split) -> PictureList:
        """Class after class."""
        names, digests = self._scan.names[split], self._hashes[split]
        return PictureList(
            tuple(str(self.folder / name) for name in names),
            labels_of(self._scan.counts[split]),
            content_hash(names, digests),
            partial(folder_reader, self.folder, names, digests),
        )

    @property
    def folder(self) -> Path:
        """`root`; `UserError` where it is not set or no folder."""
        if self.root is None:
            raise UserError(
                "dataset.root is not set: dataset=image_folder reads your own pictures, a folder per class",
                f"add dataset.root=FOLDER; {LAYOUTS}",
            )
        folder = Path(self.root).expanduser()
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder} (dataset.root)", LAYOUTS)
        return folder

    # Looked at once: a run goes on with the pictures that it found.

    @cached_property
    def _content(self) -> str:
        names = [f"{split}:{name}" for split in SPLITS for name in self._scan.names[split]]
        return content_hash(names, [digest for split in SPLITS for digest in self._hashes[split]])

    @cached_property
    def _scan(self) -> FolderScan:
        return scan_folder(self.folder, self.test_fraction, self.split_seed)

    @cached_property
    def _hashes(self) -> dict[Split, tuple[str, ...]]:
        """sha256 of each picture, in the order of the list."""
        names = self._scan.names
        digests = iter(folder_hashes(self.folder, [name for split in SPLITS for name in names[split]]))
        return {split: tuple(next(digests) for _ in names[split]) for split in SPLITS}
