"""Operations and sets of augmentation as kornia and torchvision do them, for `augment_cost.py`."""

from __future__ import annotations

from collections.abc import Callable

import kornia
import numpy as np
import torch
from kornia import augmentation as K

from rra_cli.data import augment_draws as draws
from rra_cli.data import augment_ops as ops
from rra_cli.data.torchvision_import import import_torchvision

v2 = import_torchvision().transforms.v2
F = v2.functional
Images = torch.Tensor
Change = Callable[[Images], Images]


def one_by_one(images: Images, change: Callable[..., Images], *parameters: torch.Tensor) -> Images:
    """torchvision's way: a call per image, parameters as Python numbers."""
    rows = zip(*(parameter.tolist() for parameter in parameters), strict=True) if parameters else [()] * len(images)
    return torch.stack([change(image, *row) for image, row in zip(images, rows, strict=True)])


def operations(n: int, shape: tuple[int, int, int], device: str) -> dict[str, tuple[Change, ...]]:
    """name -> ours, kornia's and torchvision's function of n images, with the same parameters, one per image."""
    height, width = shape[1:]
    u = draws.draw(n, torch.Generator().manual_seed(1))
    half, factor = u["flip"] < 0.5, draws.factors(0.4, u["brightness"])
    box = draws.crop_boxes(u["crop"], (0.08, 1.0), (3 / 4, 4 / 3), height, width)
    dx, dy = draws.shifts(4, u["translate"]).unbind(dim=1)
    degrees, hue = draws.around(0, 15, u["rotation"]), draws.around(0, 0.1, u["hue"])
    there, sigma, threshold = draws.corners(u["corners"], 0.5, height, width), 0.1 + 1.9 * u["sigma"], u["solarize"]
    here = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    on = {name: value.to(device) for name, value in {"half": half, "factor": factor, "degrees": degrees}.items()}
    half4 = on["half"].view(-1, 1, 1, 1)

    def kornia_crop(x: Images) -> Images:
        top, left, tall, wide = (each.float() for each in box)
        right, bottom = left + wide - 1, top + tall - 1
        corner = torch.stack((left, top, right, top, right, bottom, left, bottom), dim=1).view(-1, 4, 2)
        return kornia.geometry.transform.crop_by_indices(x, corner.to(device), (height, width), align_corners=False)

    def kornia_perspective(x: Images) -> Images:
        start = torch.tensor(here, dtype=torch.float32, device=device).expand(n, 4, 2)
        matrix = kornia.geometry.transform.get_perspective_transform(start, there.float().to(device))
        return kornia.geometry.transform.warp_perspective(x, matrix, (height, width), align_corners=False)

    def kornia_shift(x: Images) -> Images:
        shift = torch.stack((dx, dy), dim=1).float().to(device)
        return kornia.geometry.transform.translate(x, shift, align_corners=False)

    crop_to = [height, width]
    enhance, gray = kornia.enhance, kornia.color.rgb_to_grayscale
    table: dict[str, tuple[Change, ...]] = {
        "resized_crop": (
            lambda x: ops.resized_crop(x, *box),
            kornia_crop,
            lambda x: one_by_one(x, lambda i, *b: F.resized_crop(i, *b, crop_to), *box),
        ),
        "translate": (
            lambda x: ops.translate(x, dx, dy),
            kornia_shift,
            lambda x: one_by_one(x, lambda i, a, b: F.affine(i, 0.0, [a, b], 1.0, [0.0, 0.0]), dx, dy),
        ),
        "flip": (
            lambda x: ops.flip(x, half),
            lambda x: torch.where(half4, kornia.geometry.transform.hflip(x), x),
            lambda x: one_by_one(x, lambda i, chosen: F.horizontal_flip(i) if chosen else i, half),
        ),
        "rotate": (
            lambda x: ops.rotate(x, degrees),
            lambda x: kornia.geometry.transform.rotate(x, on["degrees"], align_corners=False),
            lambda x: one_by_one(x, lambda i, a: F.rotate(i, a, interpolation=v2.InterpolationMode.BILINEAR), degrees),
        ),
        "perspective": (
            lambda x: ops.perspective(x, there),
            kornia_perspective,
            lambda x: one_by_one(x, lambda i, corners: F.perspective(i, here, corners), there),
        ),
        "brightness": (
            lambda x: ops.brightness(x, factor),
            lambda x: enhance.adjust_brightness_accumulative(x, on["factor"]),
            lambda x: one_by_one(x, F.adjust_brightness, factor),
        ),
        "contrast": (
            lambda x: ops.contrast(x, factor),
            lambda x: enhance.adjust_contrast_with_mean_subtraction(x, on["factor"]),
            lambda x: one_by_one(x, F.adjust_contrast, factor),
        ),
        "blur": (
            lambda x: ops.gaussian_blur(x, sigma, 3),
            lambda x: kornia.filters.gaussian_blur2d(x, 3, sigma[:, None].expand(-1, 2).to(device)),
            lambda x: one_by_one(x, lambda i, s: F.gaussian_blur(i, [3, 3], [s, s]), sigma),
        ),
        "solarize": (
            lambda x: ops.solarize(x, threshold),
            lambda x: enhance.solarize(x, threshold.to(device)),
            lambda x: one_by_one(x, F.solarize, threshold),
        ),
    }
    if shape[0] == 3:
        table |= {
            "saturation": (
                lambda x: ops.saturation(x, factor),
                lambda x: enhance.adjust_saturation_with_gray_subtraction(x, on["factor"]),
                lambda x: one_by_one(x, F.adjust_saturation, factor),
            ),
            "hue": (
                lambda x: ops.hue(x, hue),
                lambda x: enhance.adjust_hue(x, (2 * np.pi * hue).to(device)),
                lambda x: one_by_one(x, F.adjust_hue, hue),
            ),
            "grayscale": (
                lambda x: ops.grayscale(x, half),
                lambda x: torch.where(half4, gray(x), x),
                lambda x: one_by_one(x, lambda i, chosen: F.rgb_to_grayscale(i, 3) if chosen else i, half),
            ),
        }
    return table


def kornia_set(name: str) -> torch.nn.Module:
    """The set as kornia users write it."""
    crop = K.RandomResizedCrop((32, 32), scale=(0.08, 1.0), align_corners=False)
    jitter = K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    sets = {
        "simclr_cifar": [crop, K.RandomHorizontalFlip(p=0.5), jitter],
        "simclr_lightly": [crop, K.RandomHorizontalFlip(p=0.5), jitter, K.RandomGrayscale(p=0.2)],
        "rra": [
            K.RandomTranslate((-0.125, 0.125), (-0.125, 0.125), p=1.0),
            K.RandomHorizontalFlip(p=0.5),
            K.RandomRotation(15.0, align_corners=False, p=1.0),
            K.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
            K.RandomGrayscale(p=0.2),
            K.RandomGaussianBlur(3, (0.1, 2.0), p=1.0),
        ],
        "rmqm_mnist": [K.RandomRotation(15.0, align_corners=False, p=1.0), K.RandomPerspective(0.5, p=0.8)],
        "rmqm_mnist_one_view": [K.RandomPerspective(0.5, p=0.5)],
    }
    return K.AugmentationSequential(*sets[name])


def torchvision_set(name: str) -> Callable[[Images], Images]:
    bilinear = v2.InterpolationMode.BILINEAR
    first = [v2.RandomResizedCrop(32), v2.RandomHorizontalFlip()]
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    sets = {
        "simclr_cifar": [*first, jitter],
        "simclr_lightly": [*first, jitter, v2.RandomGrayscale(0.2)],
        "rra": [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(15, interpolation=bilinear),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.GaussianBlur(3, (0.1, 2.0)),
        ],
        "rmqm_mnist": [v2.RandomRotation(15, interpolation=bilinear), v2.RandomPerspective(0.5, p=0.8)],
        "rmqm_mnist_one_view": [v2.RandomPerspective(0.5, p=0.5)],
    }
    return v2.Compose(sets[name])
