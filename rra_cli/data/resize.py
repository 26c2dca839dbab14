"""Images of one shape to another: what a network trained on 32x32 RGB needs to look at 28x28 grey, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.dataset import Samples

# Images at a time: bounds what lies in memory beside input and output.
_BLOCK = 1024
# ITU-R 601-2 luma in 16-bit fixed point, the weights of Pillow's "L": they add up to 1, so that grey stays as it is.
_RED, _GREEN, _BLUE, _HALF, _SHIFT = 19595, 38470, 7471, 1 << 15, 16


def fit(samples: Samples, input_shape: tuple[int, int, int]) -> Samples:
    """The samples with images of `input_shape` (channels, height, width); the same object where they have it already.

    Bilinear interpolation, antialiased where it makes smaller, by torch on uint8; the aspect ratio is not kept. Grey
    becomes RGB by repetition, RGB becomes grey by ITU-R 601 luma. Labels and ids stay. Equal input gives equal output,
    however many images are given. Raises ValueError for other than 1 or 3 channels or an empty size.
    """
    channels, height, width = input_shape
    if samples.images.shape[1] not in (1, 3) or channels not in (1, 3) or min(height, width) < 1:
        raise ValueError(f"cannot make images of {input_shape} from images of {samples.images.shape[1:]}")
    if samples.images.shape[1:] == input_shape:
        return samples
    images = np.empty((len(samples), *input_shape), np.uint8)
    for start in range(0, len(samples), _BLOCK):
        block = samples.images[start : start + _BLOCK]
        if channels == 1:
            block = to_grey(block)
        # Repeated after the resizing, which then has a third of the work.
        images[start : start + _BLOCK] = _resize(block, height, width)
    return Samples(images, samples.labels, samples.ids)


def to_grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(n, 3, h, w)` to `(n, 1, h, w)`: 0.299 red + 0.587 green + 0.114 blue, rounded; grey images as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel : channel + 1].astype(np.uint32) for channel in range(3))
    return ((_RED * red + _GREEN * green + _BLUE * blue + _HALF) >> _SHIFT).astype(np.uint8)


def _resize(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if images.shape[2:] == (height, width):
        return images
    import torch
    from torch.nn import functional

    tensor = torch.from_numpy(np.ascontiguousarray(images))
    resized: NDArray[np.uint8] = functional.interpolate(
        tensor, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    ).numpy()
    return resized
