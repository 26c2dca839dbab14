"""Noise in the images: added to them, or mixed with them until nothing else is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rra_cli.core.fields import identity
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import ImageAlteration, Seen
from rra_cli.data.alterations.by_level import ByLevel

if TYPE_CHECKING:
    import torch

# Of what is left at level 1 of a mixture: grey, with most values inside of [0, 1].
_CENTRE, _SPREAD = 0.5, 0.25


@dataclass(frozen=True)
class Noise(ByLevel, ImageAlteration):
    """Gaussian noise is added, and values are clipped to [0, 1]: x + level · ε.

    level: standard deviation in units of the pixel range, 0 or more. seed: of ε; the same at all levels.
    """

    name: ClassVar[str] = "noise"
    highest: ClassVar[float] = 1e6
    meaning: ClassVar[str] = "a standard deviation from 0 (pixels go from 0 to 1)"

    level: float = identity(0.1)

    def change(self, images: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Images `(n, c, h, w)` with the noise of their samples."""
        return (images + self.level * _noise(images, seen, self.seed)).clamp(0, 1)


@dataclass(frozen=True)
class NoiseMix(ByLevel, ImageAlteration):
    """Images fade into noise, (1 - level) · x + level · ε, until at level 1 nothing but noise is left.

    ε is Gaussian around grey (mean 0.5, standard deviation 0.25), clipped to [0, 1]. level: from 0 to 1. seed: of ε;
    the same at all levels.
    """

    name: ClassVar[str] = "noise_mix"
    meaning: ClassVar[str] = "the share of noise, from 0 to 1"

    def change(self, images: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Images `(n, c, h, w)` mixed with the noise of their samples."""
        noise = (_CENTRE + _SPREAD * _noise(images, seen, self.seed)).clamp(0, 1)
        return ((1 - self.level) * images + self.level * noise).clamp(0, 1)  # rounding may leave [0, 1]


def _noise(images: torch.Tensor, seen: Seen, seed: int) -> torch.Tensor:
    """Standard normal, of the images' shape and on their device."""
    import torch

    return torch.from_numpy(draws.normal(seen, seed, tuple(images.shape[1:]))).to(images.device)
