"""Light from one side: a gradient of luminance is added to the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import ImageAlteration, Seen
from rra_cli.data.alterations.by_level import ByLevel

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Luminance(ByLevel, ImageAlteration):
    """A gradient of luminance is added, from nothing on one side to `level` on the other; clipped to [0, 1].

    direction: degrees to which it grows brighter, 0 to the right, 90 to the top; null draws one for every sample. A
    common one shifts all images alike, so that distances between them change by the clipping alone. level: what the
    brightest pixel gains, from 0 to 1. seed: of the directions.
    """

    name: ClassVar[str] = "luminance"
    meaning: ClassVar[str] = "what the brightest side gains, from 0 to 1"

    direction: float | None = identity(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction is not None and not abs(self.direction) <= 360:
            raise ValueError(f"direction is {self.direction}; expected degrees from -360 to 360, or null to draw them")

    def change(self, images: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Images `(n, c, h, w)` with the gradient added to every channel."""
        import torch

        if self.direction is None:
            degrees = 360 * draws.uniform(seen, self.seed, draws.DIRECTION)
        else:
            degrees = np.full(len(seen), self.direction)
        light = torch.from_numpy(ramps(degrees, *images.shape[-2:])).to(images.device)
        return (images + self.level * light[:, None]).clamp(0, 1)


def ramps(degrees: NDArray[np.float64], height: int, width: int) -> NDArray[np.float32]:
    """Planes `(n, height, width)` that rise from 0 to 1 over the pixels, in these directions `(n,)` (90: up)."""
    angles = np.deg2rad(degrees)[:, None, None]
    across, up = np.arange(width)[None, None, :], np.arange(height)[None, ::-1, None]
    planes = np.cos(angles) * across + np.sin(angles) * up
    low, high = planes.min(axis=(1, 2), keepdims=True), planes.max(axis=(1, 2), keepdims=True)
    return ((planes - low) / np.maximum(high - low, 1e-12)).astype(np.float32)
