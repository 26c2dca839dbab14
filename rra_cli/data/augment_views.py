"""Random views: every augmentation of the sources as one component; the sets are the YAML files of `conf/augment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rra_cli.core.fields import identity
from rra_cli.data import augment_draws as draws
from rra_cli.data import augment_ops as ops
from rra_cli.data.augment import Augment, Drawn
from rra_cli.data.augment_policy import auto_augment, choose


@dataclass(frozen=True)
class RandomViews(Augment):
    """Crop, shift, mirror, turn, tilt, AutoAugment, colours, grey, blur and negative, each switched off by null or 0.

    All is drawn per sample. What is on is applied in this order:

    crop_scale: a box of a share of the image between these two, its width / height between crop_ratio's, stretched to
    the image's size. translate: shift by up to so many whole pixels, each way, which is also a crop with that padding.
    flip, vertical_flip: probability of mirroring left and right, top and bottom. rotation: by up to so many degrees,
    each way. perspective: with probability perspective_p the corners move inwards by up to this share of half the
    image. Interpolation is bilinear, what comes in from outside is black.
    auto_augment: the CIFAR-10 policy of Cubuk et al. 2019; the image is rounded to 8 bits for it.
    color: probability that brightness, contrast, saturation and hue change, all four, in a random order: factors
    uniform in 1 ± brightness, 1 ± contrast, 1 ± saturation (not below 0), hue turned by up to ± hue circles.
    grayscale: probability of grey. blur: probability of a Gaussian blur with sigma uniform in `blur_sigma` pixels and
    a window of `blur_kernel`. solarize: probability that values from solarize_threshold up turn negative.
    second_blur, second_solarize: the probabilities in the second view of a pair; null where they are the first's.

    On grey images saturation, hue and grayscale change nothing.
    """

    name: ClassVar[str] = "views"

    crop_scale: tuple[float, float] | None = identity(None)
    crop_ratio: tuple[float, float] = identity((3 / 4, 4 / 3))
    translate: int | None = identity(None)
    flip: float | None = identity(None)
    vertical_flip: float | None = identity(None)
    rotation: float | None = identity(None)
    perspective: float | None = identity(None)
    perspective_p: float = identity(0.5)
    auto_augment: bool = identity(False)
    color: float | None = identity(None)
    brightness: float | None = identity(0.4)
    contrast: float | None = identity(0.4)
    saturation: float | None = identity(0.2)
    hue: float | None = identity(0.1)
    grayscale: float | None = identity(None)
    blur: float | None = identity(None)
    blur_sigma: tuple[float, float] = identity((0.1, 2.0))
    blur_kernel: int = identity(3)
    solarize: float | None = identity(None)
    solarize_threshold: float = identity(0.5)
    second_blur: float | None = identity(None)
    second_solarize: float | None = identity(None)

    def __post_init__(self) -> None:
        for field in ("flip", "vertical_flip", "color", "grayscale", "blur", "solarize"):
            _check(field, getattr(self, field), 1.0, "a probability from 0 to 1 (0 or null switches it off)")
        for field in ("second_blur", "second_solarize"):
            _check(field, getattr(self, field), 1.0, "a probability from 0 to 1 (null: as in the first view)")
        _check("perspective_p", self.perspective_p, 1.0, "a probability from 0 to 1")
        _check("solarize_threshold", self.solarize_threshold, 1.0, "from 0 to 1")
        for field in ("translate", "brightness", "contrast", "saturation"):
            _check(field, getattr(self, field), float("inf"), "0 or more (0 or null switches it off)")
        _check("rotation", self.rotation, 180.0, "from 0 to 180 degrees (0 or null switches it off)")
        _check("perspective", self.perspective, 1.0, "from 0 to 1 (0 or null switches it off)")
        _check("hue", self.hue, 0.5, "from 0 to 0.5 of the circle of hues (0 or null switches it off)")
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(
                f"crop_scale must be [lowest, highest] share of the image with 0 < lowest <= highest <= 1, or null, "
                f"got {self.crop_scale}"
            )
        for field in ("crop_ratio", "blur_sigma"):
            lowest, highest = getattr(self, field)
            if not 0 < lowest <= highest:
                raise ValueError(
                    f"{field} must be [lowest, highest] with 0 < lowest <= highest, got {getattr(self, field)}"
                )
        if self.blur_kernel < 3 or self.blur_kernel % 2 == 0:
            raise ValueError(f"blur_kernel must be an odd number of pixels from 3, got {self.blur_kernel}")

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Drawn:
        """The uniform numbers of every part, whether it is on or off."""
        return draws.draw(shape[0], generator)

    def change(self, images: Tensor, drawn: Drawn, view: int = 0) -> Tensor:
        """Images `(n, c, h, w)` float32 in [0, 1], c = 1 or 3, to the same shape, type and range."""
        if images.ndim != 4 or images.dtype != torch.float32 or images.shape[1] not in (1, 3):
            raise ValueError(f"images must be (n, 1 or 3, h, w) float32, got {tuple(images.shape)} {images.dtype}")
        images = self._moved(images, drawn)
        if self.auto_augment:
            images = auto_augment(images, choose(drawn["auto_augment"]))
        if self.color:
            images = self._jittered(images, drawn)
        if self.grayscale:
            images = ops.grayscale(images, drawn["grayscale"] < self.grayscale)
        return self._filtered(images, drawn, second=view == 1).clamp(0, 1)  # interpolation may round up to 1 + 1e-7

    def _moved(self, images: Tensor, drawn: Drawn) -> Tensor:
        """Where things are."""
        height, width = images.shape[-2:]
        if self.crop_scale:
            box = draws.crop_boxes(drawn["crop"], self.crop_scale, self.crop_ratio, height, width)
            images = ops.resized_crop(images, *box)
        if self.translate:
            images = ops.translate(images, *draws.shifts(self.translate, drawn["translate"]).unbind(dim=1))
        if self.flip:
            images = ops.flip(images, drawn["flip"] < self.flip)
        if self.vertical_flip:
            images = ops.vertical_flip(images, drawn["vertical_flip"] < self.vertical_flip)
        if self.rotation:
            images = ops.rotate(images, draws.around(0.0, self.rotation, drawn["rotation"]))
        if self.perspective and self.perspective_p:
            corners = draws.corners(drawn["corners"], self.perspective, height, width)
            images = ops.on_chosen(images, drawn["perspective"] < self.perspective_p, ops.perspective, corners)
        return images

    def _jittered(self, images: Tensor, drawn: Drawn) -> Tensor:
        """Each chosen sample's four changes of colour, in its own order."""
        chosen, order = drawn["color"] < (self.color or 0.0), draws.orders(drawn["order"])
        changes = (
            (self.brightness, ops.brightness, draws.factors(self.brightness, drawn["brightness"])),
            (self.contrast, ops.contrast, draws.factors(self.contrast, drawn["contrast"])),
            (self.saturation, ops.saturation, draws.factors(self.saturation, drawn["saturation"])),
            (self.hue, ops.hue, draws.around(0.0, self.hue or 0.0, drawn["hue"])),
        )
        images = images.clone()
        for place in range(len(changes)):
            for which, (strength, change, parameter) in enumerate(changes):
                if strength:
                    rows = (chosen & (order[:, place] == which)).nonzero().squeeze(1)
                    there = rows.to(images.device)
                    images[there] = change(images[there], parameter[rows])
        return images

    def _filtered(self, images: Tensor, drawn: Drawn, second: bool) -> Tensor:
        """Blur and negative, which the second view of a pair may have more or less often."""
        blur = self.second_blur if second and self.second_blur is not None else self.blur
        solarize = self.second_solarize if second and self.second_solarize is not None else self.solarize
        if blur:
            sigma = self.blur_sigma[0] + (self.blur_sigma[1] - self.blur_sigma[0]) * drawn["sigma"]

            def blurred(some: Tensor, sigma: Tensor) -> Tensor:
                return ops.gaussian_blur(some, sigma, self.blur_kernel)

            images = ops.on_chosen(images, drawn["blur"] < blur, blurred, sigma)
        if solarize:
            threshold = torch.full_like(drawn["solarize"], self.solarize_threshold)
            images = ops.on_chosen(images, drawn["solarize"] < solarize, ops.solarize, threshold)
        return images


def _check(field: str, value: float | None, highest: float, expected: str) -> None:
    if value is not None and not 0 <= value <= highest:
        raise ValueError(f"{field} must be {expected}, got {value}")
