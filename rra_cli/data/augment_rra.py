"""The augmentations of the RRA thesis (Hryniowski 2024), table 4.2, each part of which can be switched off alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rra_cli.core.fields import identity
from rra_cli.data import augment_ops as ops
from rra_cli.data.augment import Augment

# One uniform number per sample and parameter, drawn whether or not its part is on: switching a part off leaves the
# parameters of all others as they are, so that two such runs are paired.
_N_UNIFORM = 16


@dataclass(frozen=True)
class Parameters:
    """What happens to each of n samples; every tensor is `(n,)`, `order` is `(n, 4)`."""

    dx: Tensor  # pixels, int64
    dy: Tensor
    flip: Tensor  # bool
    degrees: Tensor
    color: Tensor  # bool: whether the four of the colour jitter are applied
    order: Tensor  # which of brightness 0, contrast 1, saturation 2, hue 3 comes first, second, ...
    brightness: Tensor  # factors
    contrast: Tensor
    saturation: Tensor
    hue: Tensor  # circles
    grayscale: Tensor  # bool
    blur: Tensor  # bool
    sigma: Tensor  # pixels


@dataclass(frozen=True)
class RraAugment(Augment):
    """Translation, flip, rotation, colour jitter, grey and blur, as in table 4.2 of the RRA thesis.

    Each of translate, flip, rotation, color, grayscale and blur is switched off by 0 or null, as are the four parts of
    the colour jitter. Applied in this order:

    translate: shift by up to so many whole pixels, each way. flip: probability of a left-right mirror image.
    rotation: by up to so many degrees, each way, bilinear. What comes in from outside is black.
    color: probability that a sample's brightness, contrast, saturation and hue change, all four, in a random order:
    factors uniform in 1 ± brightness, 1 ± contrast, 1 ± saturation (not below 0), hue turned by up to ± hue circles.
    grayscale: probability of grey. blur: probability of a Gaussian blur with sigma uniform in `blur_sigma` pixels and
    a window of `blur_kernel`.

    The thesis names neither the interpolation, nor the order, nor the blur's window: bilinear, the order above
    (torchvision's random order within the colour jitter) and SimCLR's rule of a tenth of the image (3 of 32 pixels)
    are chosen here. On grey images saturation, hue and grayscale change nothing.
    """

    name: ClassVar[str] = "rra"

    translate: int | None = identity(4)
    flip: float | None = identity(0.5)
    rotation: float | None = identity(15.0)
    color: float | None = identity(0.8)
    brightness: float | None = identity(0.4)
    contrast: float | None = identity(0.4)
    saturation: float | None = identity(0.2)
    hue: float | None = identity(0.1)
    grayscale: float | None = identity(0.2)
    blur: float | None = identity(1.0)
    blur_sigma: tuple[float, float] = identity((0.1, 2.0))
    blur_kernel: int = identity(3)

    def __post_init__(self) -> None:
        for field in ("flip", "color", "grayscale", "blur"):
            _check(field, getattr(self, field), 1.0, "a probability from 0 to 1")
        for field in ("translate", "brightness", "contrast", "saturation"):
            _check(field, getattr(self, field), float("inf"), "0 or more")
        _check("rotation", self.rotation, 180.0, "from 0 to 180 degrees")
        _check("hue", self.hue, 0.5, "from 0 to 0.5 of the circle of hues")
        if not 0 < self.blur_sigma[0] <= self.blur_sigma[1]:
            raise ValueError(f"blur_sigma must be [lowest, highest] with 0 < lowest <= highest, got {self.blur_sigma}")
        if self.blur_kernel < 3 or self.blur_kernel % 2 == 0:
            raise ValueError(f"blur_kernel must be an odd number of pixels from 3, got {self.blur_kernel}")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images `(n, c, h, w)` float32 in [0, 1], c = 1 or 3, to the same shape, type and range."""
        if images.ndim != 4 or images.dtype != torch.float32 or images.shape[1] not in (1, 3):
            raise ValueError(f"images must be (n, 1 or 3, h, w) float32, got {tuple(images.shape)} {images.dtype}")
        drawn = self.parameters(draw_uniform(len(images), generator).to(images.device))
        if self.translate:
            images = ops.translate(images, drawn.dx, drawn.dy)
        if self.flip:
            images = ops.flip(images, drawn.flip)
        if self.rotation:
            images = ops.rotate(images, drawn.degrees)
        if self.color:
            images = self._jitter(images, drawn)
        if self.grayscale:
            images = ops.grayscale(images, drawn.grayscale)
        if self.blur:
            blurred = ops.gaussian_blur(images, drawn.sigma, self.blur_kernel)
            images = torch.where(drawn.blur.view(-1, 1, 1, 1), blurred, images)
        return images.clamp(0, 1)  # interpolation may round up to 1 + 1e-7

    def parameters(self, uniform: Tensor) -> Parameters:
        """The parameters of n samples from uniform numbers `(n, 16)` in [0, 1)."""
        u = uniform.unbind(dim=1)
        shifts = 2 * (self.translate or 0) + 1
        return Parameters(
            dx=(u[0] * shifts).floor().long() - shifts // 2,
            dy=(u[1] * shifts).floor().long() - shifts // 2,
            flip=u[2] < (self.flip or 0.0),
            degrees=_around(0.0, self.rotation, u[3]),
            color=u[4] < (self.color or 0.0),
            order=uniform[:, 5:9].argsort(dim=1),
            brightness=_around(1.0, self.brightness, u[9]).clamp(min=0),
            contrast=_around(1.0, self.contrast, u[10]).clamp(min=0),
            saturation=_around(1.0, self.saturation, u[11]).clamp(min=0),
            hue=_around(0.0, self.hue, u[12]),
            grayscale=u[13] < (self.grayscale or 0.0),
            blur=u[14] < (self.blur or 0.0),
            sigma=self.blur_sigma[0] + (self.blur_sigma[1] - self.blur_sigma[0]) * u[15],
        )

    def _jitter(self, images: Tensor, drawn: Parameters) -> Tensor:
        """Each chosen sample's changes of colour, in its own order."""
        changes = (
            (self.brightness, ops.brightness, drawn.brightness),
            (self.contrast, ops.contrast, drawn.contrast),
            (self.saturation, ops.saturation, drawn.saturation),
            (self.hue, ops.hue, drawn.hue),
        )
        images = images.clone()
        for place in range(len(changes)):
            for which, (strength, change, factor) in enumerate(changes):
                if strength:
                    rows = (drawn.color & (drawn.order[:, place] == which)).nonzero().squeeze(1)
                    images[rows] = change(images[rows], factor[rows])
        return images


def draw_uniform(n: int, generator: torch.Generator) -> Tensor:
    """`(n, 16)` uniform numbers in [0, 1), on the generator's device."""
    return torch.rand((n, _N_UNIFORM), generator=generator, device=generator.device)


def _around(centre: float, spread: float | None, uniform: Tensor) -> Tensor:
    """Uniform within centre ± spread."""
    return centre + (spread or 0.0) * (2 * uniform - 1)


def _check(field: str, value: float | None, highest: float, expected: str) -> None:
    if value is not None and not 0 <= value <= highest:
        raise ValueError(f"{field} must be {expected} (0 or null switches it off), got {value}")
