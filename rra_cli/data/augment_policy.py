"""AutoAugment's policy for CIFAR-10 (Cubuk et al. 2019, table 7), drawn per sample.

Its changes are defined on 8-bit images. They are torchvision's own, each called once for all samples of a batch that
draw the same change with the same magnitude: there are only a few dozen. As in torchvision's `AutoAugment`, warps take
the nearest pixel, and what comes in is black (the paper's own code fills with grey, 128).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from rra_cli.data.normalise import to_unit
from rra_cli.data.torchvision_import import import_torchvision

# 25 pairs of (change, probability, level); both changes of a pair are made in turn, each with its probability. The
# level goes from 0 to 9 and is None where a change has none.
Part = tuple[str, float, int | None]
CIFAR10: tuple[tuple[Part, Part], ...] = (
    (("invert", 0.1, None), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, None), ("equalize", 0.9, None)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, None), ("equalize", 0.5, None)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, None), ("autocontrast", 0.4, None)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, None)),
    (("equalize", 0.2, None), ("autocontrast", 0.6, None)),
    (("equalize", 0.2, None), ("equalize", 0.6, None)),
    (("color", 0.9, 9), ("equalize", 0.6, None)),
    (("autocontrast", 0.8, None), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, None)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, None), ("solarize", 0.8, 3)),
    (("equalize", 0.8, None), ("invert", 0.1, None)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, None)),
)

# Largest magnitude, at level 9, of the changes that go both ways; level 0 is none. Warps are in degrees, in pixels of
# a side of 331 (translate) and in tangents (shear); the others are factors 1 ± magnitude.
_BOTH_WAYS = {
    "shear_y": 0.3,
    "translate_x": 150 / 331,
    "translate_y": 150 / 331,
    "rotate": 30.0,
    "brightness": 0.9,
    "color": 0.9,
    "contrast": 0.9,
    "sharpness": 0.9,
}


@dataclass(frozen=True)
class Change:
    """One change of 8-bit images: level 0 .. 9 (0 where there is none), sign -1 or 1 (1 where it goes one way)."""

    name: str
    level: int
    sign: int

    def __call__(self, images: Tensor) -> Tensor:
        """Images `(n, c, h, w)` uint8, c = 1 or 3, to the same shape and type."""
        f = import_torchvision().transforms.v2.functional
        height, width = images.shape[-2:]
        if self.name == "translate_x":
            return f.affine(images, 0.0, [int(self._magnitude(width)), 0], 1.0, [0.0, 0.0])
        if self.name == "translate_y":
            return f.affine(images, 0.0, [0, int(self._magnitude(height))], 1.0, [0.0, 0.0])
        if self.name == "shear_y":
            shear = [0.0, math.degrees(math.atan(self._magnitude()))]
            return f.affine(images, 0.0, [0, 0], 1.0, shear, center=[0, 0])
        if self.name == "rotate":
            return f.rotate(images, self._magnitude())
        if self.name == "posterize":
            return f.posterize(images, 8 - round(self.level * 4 / 9))
        if self.name == "solarize":
            return f.solarize(images, 255.0 * float(torch.linspace(1.0, 0.0, 10)[self.level]))
        if self.name in _BOTH_WAYS:
            adjust = "saturation" if self.name == "color" else self.name
            return getattr(f, f"adjust_{adjust}")(images, 1.0 + self._magnitude())
        return getattr(f, self.name)(images)  # invert, autocontrast, equalize

    def _magnitude(self, side: int = 1) -> float:
        # In float32, as in torchvision: some results are rounded at the last bit of a factor.
        return self.sign * float(torch.linspace(0.0, _BOTH_WAYS[self.name] * side, 10)[self.level])


@cache
def changes() -> tuple[tuple[Change, ...], Tensor]:
    """The distinct changes, and which of them `(25, 2, 2)` int64 each pair makes first and second, by its sign."""
    found: dict[Change, int] = {}
    places = torch.tensor(
        [
            [
                [
                    found.setdefault(Change(name, level or 0, sign if name in _BOTH_WAYS else 1), len(found))
                    for sign in (-1, 1)
                ]
                for name, _, level in pair
            ]
            for pair in CIFAR10
        ]
    )
    return tuple(found), places


def choose(uniform: Tensor) -> Tensor:
    """Which of `changes()` every sample undergoes, `(n, 2)` int64, -1 for none, from `(n, 5)` uniform numbers.

    A pair, each as often; then whether each of its changes is made and its sign, -1 as often as 1.
    """
    drawn = (uniform[:, 0] * len(CIFAR10)).floor().long()
    probability = uniform.new_tensor([[part[1] for part in pair] for pair in CIFAR10])
    made = uniform[:, 1:3] < probability[drawn]
    sign = (uniform[:, 3:5] >= 0.5).long()
    which = changes()[1].to(uniform.device)[drawn].gather(2, sign[:, :, None]).squeeze(2)
    return torch.where(made, which, -1)


def auto_augment(images: Tensor, chosen: Tensor) -> Tensor:
    """The changes `chosen`, `(n, 2)`, of images `(n, c, h, w)` float32 in [0, 1], c = 1 or 3; rounds to 8 bits."""
    levels = (images * 255).round().to(torch.uint8)
    for column in chosen.unbind(dim=1):
        for which in column.unique().tolist():
            if which >= 0:
                rows = (column == which).nonzero().squeeze(1).to(images.device)
                levels[rows] = changes()[0][which](levels[rows])
    return to_unit(levels)
