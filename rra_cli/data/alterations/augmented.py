"""An augmentation of training, as a fixed alteration of what is measured: every sample gets its one augmented copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from rra_cli.core.fields import identity
from rra_cli.core.reproducibility import derive_seed
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import ImageAlteration, Seen
from rra_cli.data.augment import Augment, NoAugment

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Augmented(ImageAlteration):
    """What an augmentation makes of the image, drawn once for every sample.

    augment: one of `rra ls augment` by name, or its settings ({name: views, flip: 0.5}). seed: of its draws.
    """

    name: ClassVar[str] = "augment"
    # Fields that are components themselves: of which group.
    parts: ClassVar[Mapping[str, str]] = MappingProxyType({"augment": "augment"})

    augment: Augment = identity(default_factory=NoAugment)
    seed: int = identity(0)

    def __post_init__(self) -> None:
        draws.check_seed(self.seed)

    @property
    def strength(self) -> float:
        """NaN: its parts have strengths of their own."""
        return 0.0 if self.is_none else float("nan")

    @property
    def is_none(self) -> bool:
        """Where the augmentation is `none`."""
        return isinstance(self.augment, NoAugment)

    def change(self, images: torch.Tensor, seen: Seen) -> torch.Tensor:
        """The first view of images `(n, c, h, w)`."""
        import torch

        shape, rows = (1, *images.shape[1:]), []
        for sample in seen.ids:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "alter", seen.split, int(sample)))
            rows.append(self.augment.draw(shape, generator))
        names = rows[0] if rows else {}
        drawn = {name: torch.cat([row[name] for row in rows]).to(images.device) for name in names}
        return self.augment.change(images, drawn)
