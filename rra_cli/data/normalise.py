"""From stored pixels to what a network is fed, and to layer 0: (pixel / 255 - mean) / std, per channel, in float32.

What is stored as float32 is no picture (`data/points.py`): its values are not divided by 255.

The numpy and the torch version agree bit for bit, on every device: each step is one correctly rounded float32
operation between arrays. (A division by a Python number is not: on CUDA, torch multiplies by the rounded reciprocal.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # layer 0 is made without torch
    import torch


def normalise(images: NDArray[Any], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Layer 0 of images `(n, c, h, w)` uint8 or float32: same shape, float32. mean, std: one number per channel."""
    if images.dtype not in (np.uint8, np.float32):
        raise ValueError(f"images must be uint8 (or float32), got {images.dtype}")
    shape = (1, _channels(images.shape, mean, std), 1, 1)
    unit = images if images.dtype == np.float32 else images.astype(np.float32) / np.float32(255)
    return (unit - np.asarray(mean, np.float32).reshape(shape)) / np.asarray(std, np.float32).reshape(shape)


def normalise_tensor(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """The same of a tensor `(n, c, h, w)`, on its device."""
    return standardise(to_unit(images), mean, std)


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """uint8 to float32 in [0, 1]: what augmentations work on; float32 as it is."""
    if images.is_floating_point() and images.element_size() == 4:
        return images
    if images.is_floating_point() or images.element_size() != 1:
        raise ValueError(f"images must be uint8 (or float32), got {images.dtype}")
    unit = images.float()
    return unit / unit.new_tensor(255.0)


def standardise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """float32 `(n, c, h, w)` in [0, 1] to (x - mean) / std per channel: what a network is fed."""
    shape = (1, _channels(images.shape, mean, std), 1, 1)
    return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)


def _channels(shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> int:
    if len(shape) != 4 or not shape[1] == len(mean) == len(std):
        raise ValueError(f"images {tuple(shape)} do not fit {len(mean)} means and {len(std)} standard deviations")
    return shape[1]
