"""The bases of all data sets: images, and activations that a user brings as files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.component import Component
from rra_cli.core.fields import identity, location, selection
from rra_cli.core.progress import Reporter

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class Samples:
    """Images of one split as they lie in memory.

    images: `(n, c, h, w)` uint8; float32 where they are no pictures, which a network is fed as they are. labels: `(n,)`
    int64. ids: `(n,)` int64, the sample's position in the full split, so that labels, layers and models stay aligned
    whatever subset is looked at.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float32):
            raise ValueError(
                f"images must be (n, c, h, w) uint8 (or float32), got {self.images.shape} {self.images.dtype}"
            )
        if not len(self.images) == len(self.labels) == len(self.ids):
            raise ValueError(f"{len(self.images)} images, {len(self.labels)} labels and {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: NDArray[np.int64]) -> Samples:
        """The samples at these positions, in this order."""
        return Samples(self.images[positions], self.labels[positions], self.ids[positions])


@dataclass(frozen=True)
class Dataset(Component, ABC):
    """What is measured, and which samples of it.

    splits: which splits are measured. n_samples: how many samples of a split are measured: a number, or one per split
    (`{train: 15000, test: 10000}`); null is the whole split. subset_seed: draws them. balanced: draw equally many of
    every class.
    """

    splits: tuple[Split, ...] = selection(SPLITS)
    n_samples: int | dict[Split, int | None] | None = selection(None)
    subset_seed: int = identity(0)
    balanced: bool = selection(False)

    def __post_init__(self) -> None:
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise ValueError(f"splits must name one or both of {', '.join(SPLITS)}, each once; got {list(self.splits)}")
        counts = self.n_samples.values() if isinstance(self.n_samples, dict) else [self.n_samples]
        for count in counts:
            if count is not None and count < 3:
                raise ValueError(f"n_samples is {count}; at least 3 are needed (null takes the whole split)")
        if not 0 <= self.subset_seed < 2**32:
            raise ValueError(f"subset_seed is {self.subset_seed}; it must be from 0 to 2**32 - 1")

    def requested_samples(self, split: Split) -> int | None:
        """How many samples of the split are to be measured; None is all of them."""
        if isinstance(self.n_samples, dict):
            return self.n_samples.get(split)
        return self.n_samples


@dataclass(frozen=True)
class ImageDataset(Dataset, ABC):
    """An image data set with a train and a test split.

    root: folder that holds it in torchvision's layout (default: RRA_DATA, else the user's cache folder).
    download: fetch it when it is missing. train_size: how many samples of the training split are trained on (and
    measured from), drawn with `subset_seed` and stratified by class; null is all.
    """

    # Whether everybody's copy is the same, so that its sizes are known without looking; False for a user's pictures.
    published: ClassVar[bool] = True
    # Whether they are pictures, of bytes, which augmentations and alterations may change and transfer may resize.
    pictures: ClassVar[bool] = True

    root: str | None = location(None)
    download: bool = location(True)
    train_size: int | None = identity(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.published:
            self.check_counts()
        elif self.train_size is not None and self.train_size < 3:
            raise ValueError(f"train_size is {self.train_size}; it must be at least 3 (null takes all)")

    # Plain class variables where no option changes them; properties elsewhere.

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """What the labels 0, 1, ... are called."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""

    @property
    @abstractmethod
    def sizes(self) -> dict[Split, int]:
        """Samples per split of the whole data set, known without reading the images (for estimates)."""

    @property
    @abstractmethod
    def mean(self) -> tuple[float, ...]:
        """Per channel, of pixels scaled to [0, 1]: layer 0 is (pixel / 255 - mean) / std."""

    @property
    @abstractmethod
    def std(self) -> tuple[float, ...]:
        """Per channel, of pixels scaled to [0, 1]."""

    def check_counts(self) -> None:
        """ValueError where `train_size` or `n_samples` ask for more than there is."""
        if self.train_size is not None and not 3 <= self.train_size <= self.sizes["train"]:
            raise ValueError(
                f"train_size is {self.train_size:,}; it must be from 3 to {self.sizes['train']:,}, the size of the "
                f"training split of {self.name} (null takes all)"
            )
        for split in self.splits:
            requested, available = self.requested_samples(split), self.available_samples(split)
            if requested is not None and requested > available:
                limit = " (train_size)" if available < self.sizes[split] else ""
                raise ValueError(
                    f"n_samples is {requested:,}, but the {split} split of {self.name} has only {available:,} "
                    f"samples{limit}; null takes all, {{train: ..., test: ...}} sets each split"
                )

    def available_samples(self, split: Split) -> int:
        """How many samples of the split can be measured: all, or those that are trained on."""
        if split == "train" and self.train_size is not None:
            return self.train_size
        return self.sizes[split]

    def content_identity(self) -> dict[str, Any]:
        """What identifies files that are not the published ones: a hash of their content; nothing for most data sets.

        Raises `UserError` where such files are not there or not usable.
        """
        return {}

    def prepare(self, reporter: Reporter) -> None:
        """Does what is slow about the first `load` and shows how far it is; nothing for most data sets."""
        return None

    @abstractmethod
    def load(self, split: Split) -> Samples:
        """The whole split, before `train_size` and `n_samples`, its files' checksums verified.

        Raises `UserError` naming the missing or damaged files and where to put them.
        """

    @abstractmethod
    def checksums(self) -> dict[str, str]:
        """File name -> "md5:..." or "sha256:..." of everything that `load` reads."""
