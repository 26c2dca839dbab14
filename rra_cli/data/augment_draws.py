"""From uniform numbers to the parameters of random changes: one pure function per kind of parameter.

`uniform` numbers lie in [0, 1); every row of them is a sample, and so is every row of what is returned. Distributions
are those of `torchvision.transforms.v2`, which draws them once per call (a test compares both).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TRIES = 10  # of torchvision's RandomResizedCrop

# Uniform numbers per sample. They are drawn whether or not their part is on: switching a part off leaves the
# parameters of all others as they are, so that two such runs are paired. A part that is added gets a table of its own
# at the end: what the others draw, and with it the results of older runs, stay the same.
_TABLES = (
    {
        "translate": 2,
        "flip": 1,
        "rotation": 1,
        "color": 1,
        "order": 4,
        "brightness": 1,
        "contrast": 1,
        "saturation": 1,
        "hue": 1,
        "grayscale": 1,
        "blur": 1,
        "sigma": 1,
    },
    {
        "crop": 2 * _TRIES + 2,
        "vertical_flip": 1,
        "perspective": 1,
        "corners": 8,
        "solarize": 1,
        "auto_augment": 5,
    },
)


def draw(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """The uniform numbers of n samples by part, `(n,)` or `(n, k)` float32, on the generator's device."""
    drawn: dict[str, Tensor] = {}
    for table in _TABLES:
        numbers = torch.rand((n, sum(table.values())), generator=generator, device=generator.device)
        parts = numbers.split(list(table.values()), dim=1)
        drawn.update((name, part.squeeze(1)) for name, part in zip(table, parts, strict=True))
    return drawn


def around(centre: float, spread: float, uniform: Tensor) -> Tensor:
    """Uniform within centre ± spread."""
    return centre + spread * (2 * uniform - 1)


def factors(strength: float | None, uniform: Tensor) -> Tensor:
    """Uniform from 1 - strength, but not below 0, to 1 + strength. None is 0."""
    strength = strength or 0.0
    return around(1.0, strength, uniform) if strength <= 1 else (1 + strength) * uniform


def shifts(most: int, uniform: Tensor) -> Tensor:
    """Whole numbers (int64), each of -most .. most as often."""
    return (uniform * (2 * most + 1)).floor().long() - most


def crop_boxes(
    uniform: Tensor, scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width `(n,)` int64 of random boxes within a picture, from `(n, 22)` uniform numbers.

    The area is uniform in `scale` (shares of the picture's), the logarithm of width / height uniform in that of
    `ratio`; the first of ten tries that fits is taken and put anywhere. Where none fits, it is the largest central
    box of an allowed ratio (torchvision's RandomResizedCrop.make_params).
    """
    tries = uniform[:, : 2 * _TRIES].double().view(-1, _TRIES, 2)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * tries[..., 0])
    lowest, highest = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(lowest + (highest - lowest) * tries[..., 1])
    widths, heights = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first, found = fits.byte().argmax(dim=1, keepdim=True), fits.any(dim=1)

    allowed = min(max(width / height, ratio[0]), ratio[1])  # the picture's own ratio, or the nearest allowed
    central_width = min(width, max(1, round(height * allowed)))
    central_height = min(height, max(1, round(width / allowed)))
    box_width = torch.where(found, widths.gather(1, first).squeeze(1), central_width).long()
    box_height = torch.where(found, heights.gather(1, first).squeeze(1), central_height).long()

    room_down, room_right = height - box_height, width - box_width
    down, right = uniform[:, -2].double(), uniform[:, -1].double()
    top = torch.where(found, (down * (room_down + 1)).floor().long(), room_down // 2)
    left = torch.where(found, (right * (room_right + 1)).floor().long(), room_right // 2)
    return top, left, box_height, box_width


def corners(uniform: Tensor, distortion: float, height: int, width: int) -> Tensor:
    """Where the corners of a picture go to: `(n, 4, 2)` int64 from `(n, 8)` uniform numbers.

    (x, y) of the top left, top right, bottom right and bottom left one, each moved inwards by up to `distortion` times
    half the picture, in whole pixels (torchvision's RandomPerspective.make_params).
    """
    across, down = int(distortion * (width // 2)) + 1, int(distortion * (height // 2)) + 1
    size = torch.tensor([across, down], device=uniform.device)
    right, bottom = width - across, height - down
    nearest = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], device=uniform.device)
    return nearest + (uniform.view(-1, 4, 2) * size).floor().long()


def orders(uniform: Tensor) -> Tensor:
    """`(n, k)` int64: random orders of 0 .. k-1, each as often."""
    return uniform.argsort(dim=1)
