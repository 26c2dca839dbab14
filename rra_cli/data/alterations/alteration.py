"""The bases of all alterations of the measured samples, and the one that alters nothing.

An alteration is a function of the image, of which sample it is, and of its own fields, the seed among them; of nothing
else. So every network, checkpoint and layer sees the same altered images, in whatever batches they come, and what was
captured of them is keyed by the alteration's fields. Training is never altered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.component import Component
from rra_cli.data.dataset import Split

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Seen:
    """Which samples: their split and `(n,)` int64 ids, the positions in the full split."""

    split: Split
    ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Alteration(Component, ABC):
    """A change of the measured samples, drawn by the sample's id: its images (`ImageAlteration`) or its labels."""

    @property
    @abstractmethod
    def strength(self) -> float:
        """What curves are drawn against: 0 alters nothing. NaN where no one number says it."""

    @property
    @abstractmethod
    def is_none(self) -> bool:
        """Whether it leaves everything as it is."""


@dataclass(frozen=True)
class ImageAlteration(Alteration, ABC):
    """A change of images."""

    @abstractmethod
    def change(self, images: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Images `(n, c, h, w)` float32 in [0, 1] to the same shape, type, range and device; row i is `seen.ids[i]`.

        A sample does not see the others of its batch.
        """


@dataclass(frozen=True)
class LabelAlteration(Alteration, ABC):
    """A change of labels; the images, and all that is made of them, stay."""

    @abstractmethod
    def relabel(self, labels: NDArray[np.int64], seen: Seen) -> NDArray[np.int64]:
        """Labels `(n,)` of all measured samples of a split to other ones."""


@dataclass(frozen=True)
class NoAlteration(Alteration):
    """The measured samples as they are."""

    name: ClassVar[str] = "none"

    @property
    def strength(self) -> float:
        """0."""
        return 0.0

    @property
    def is_none(self) -> bool:
        """True."""
        return True


def title(alteration: Alteration) -> str:
    """What a person calls it: its kind and, where there is one, its strength."""
    name, strength = alteration.name, alteration.strength
    return name if alteration.is_none or np.isnan(strength) else f"{name} {strength:g}"


def alters_images(alteration: Alteration) -> bool:
    """Whether images come out otherwise than they went in."""
    return isinstance(alteration, ImageAlteration) and not alteration.is_none


def alters_labels(alteration: Alteration) -> bool:
    """Whether labels do."""
    return isinstance(alteration, LabelAlteration) and not alteration.is_none
