"""The base of data sets that are points in the plane: made, not read, and fed to a network as they are."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.dataset import SPLITS, ImageDataset, Samples, Split


@dataclass(frozen=True)
class PlanePoints(ImageDataset, ABC):
    """Points `(n, 2, 1, 1)` float32: x and y are two channels of one pixel, neither scaled nor normalised.

    What only pictures have (augmentations, alterations, transfer, luminance) is refused for them. The streams are
    `numpy.random.RandomState`'s, which are frozen for good (NEP 19), so that a seed means the same points everywhere.
    """

    pictures: ClassVar[bool] = False
    input_shape: ClassVar[tuple[int, int, int]] = (2, 1, 1)
    mean: ClassVar[tuple[float, ...]] = (0.0, 0.0)
    std: ClassVar[tuple[float, ...]] = (1.0, 1.0)

    @abstractmethod
    def draw(self, split: Split) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Points `(n, 2)` and their classes `(n,)`; equal for equal fields."""

    @cached_property
    def _drawn(self) -> dict[Split, Samples]:
        return {split: self._samples(split) for split in SPLITS}

    def _samples(self, split: Split) -> Samples:
        points, labels = self.draw(split)
        return Samples(points.astype(np.float32)[:, :, None, None], labels, np.arange(len(points), dtype=np.int64))

    def load(self, split: Split) -> Samples:
        """The whole split."""
        return self._drawn[split]

    def checksums(self) -> dict[str, str]:
        """The sha256 of points and labels of both splits."""
        found = hashlib.sha256()
        for split in SPLITS:
            samples = self.load(split)
            found.update(samples.images.tobytes() + samples.labels.astype(np.uint8).tobytes())
        return {self.name: f"sha256:{found.hexdigest()}"}


def stream(seed: int, split: Split) -> np.random.RandomState:
    """The random numbers of a split."""
    return np.random.RandomState([seed, SPLITS.index(split)])


def check_seed(seed: int) -> None:
    """ValueError unless numpy takes it."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"points_seed is {seed}; it must be from 0 to 2**32 - 1")
