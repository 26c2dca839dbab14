"""One pure function per random change of an image, with one parameter per sample.

Images are `(n, c, h, w)` float32 in [0, 1] with c = 1 or 3; parameters are `(n,)` on the same device. For each sample
the result is that of the function of the same name in `torchvision.transforms.v2.functional` with that sample's
parameter (a test compares them), which takes one parameter for a whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# ITU-R BT.601, with the digits that torchvision and Pillow use.
_RED, _GREEN, _BLUE = 0.2989, 0.587, 0.114


def translate(images: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Shift by whole pixels: dx > 0 to the right, dy > 0 down; what comes in is black (0).

    dx, dy: `(n,)` int64, at most the width and height of the image in absolute value.
    """
    height, width = images.shape[-2:]
    shifted = _shift(images, dy, dim=2, size=height)
    return _shift(shifted, dx, dim=3, size=width)


def _shift(images: Tensor, by: Tensor, dim: int, size: int) -> Tensor:
    source = torch.arange(size, device=images.device) - by[:, None]  # (n, size): where each row comes from
    inside = (source >= 0) & (source < size)
    shape = (-1, 1, size, 1) if dim == 2 else (-1, 1, 1, size)
    index = source.clamp(0, size - 1).view(shape).expand(images.shape)
    return images.gather(dim, index) * inside.view(shape)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror left and right where `chosen` (bool)."""
    return torch.where(_per_image(chosen), images.flip(-1), images)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Counter-clockwise about the centre, bilinear; what comes in is black (0)."""
    height, width = images.shape[-2:]
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    # From output to input, in coordinates from -1 to 1 that differ in scale where the image is not square.
    rows = (cosine, -sine * (height / width), zero, sine * (width / height), cosine, zero)
    matrix = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by the factor."""
    return (images * _per_image(factor)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey: 0 is flat grey, 1 no change."""
    return _blend(images, luminance(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image: 0 is grey, 1 no change. A one-channel image stays as it is."""
    if images.shape[1] == 1:
        return images
    return _blend(images, luminance(images), factor)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` (in [-0.5, 0.5] of a full circle). A one-channel image stays as it is.

    The hexagon of HSV: with h in [0, 6), chroma C and value V, a channel is V - C max(0, min(t, 4 - t, 1)) with
    t = (h + 5, 3, 1) mod 6 for red, green, blue. The same function as torchvision's in fewer passes.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(dim=1)
    lowest, value = torch.aminmax(images, dim=1)
    chroma = value - lowest
    divisor = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    angle = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    angle = angle + 6 * shift.view(-1, 1, 1)
    offsets = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    turned = torch.remainder(angle[:, None] + offsets, 6)
    share = torch.minimum(turned, 4 - turned).clamp_(0, 1)
    return (value[:, None] - chroma[:, None] * share).clamp_(0, 1)


def grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Grey in all three channels where `chosen` (bool). A one-channel image stays as it is."""
    if images.shape[1] == 1:
        return images
    return torch.where(_per_image(chosen), luminance(images), images)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Gaussian blur with a window of `kernel_size` (odd) pixels, reflected at the border. sigma > 0, in pixels."""
    half = kernel_size // 2
    distance = torch.arange(-half, half + 1, device=images.device, dtype=images.dtype)
    weights = torch.softmax(-0.5 * (distance / sigma[:, None]) ** 2, dim=1)  # (n, kernel_size)
    padded = functional.pad(images, (half, half, half, half), mode="reflect")
    return _weighted_windows(_weighted_windows(padded, weights, dim=2), weights, dim=3)


def _weighted_windows(images: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Each image's running weighted sum along one dimension, which gets shorter by the window less one."""
    length = images.shape[dim] - weights.shape[1] + 1
    total = images.narrow(dim, 0, length) * _per_image(weights[:, 0])
    for place in range(1, weights.shape[1]):
        total.addcmul_(images.narrow(dim, place, length), _per_image(weights[:, place]))
    return total


def luminance(images: Tensor) -> Tensor:
    """`(n, 1, h, w)`: the grey value of each pixel."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return _RED * red + _GREEN * green + _BLUE * blue


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    factor = _per_image(factor)
    return (factor * images + (1 - factor) * other).clamp_(0, 1)


def _per_image(parameter: Tensor) -> Tensor:
    return parameter.view(-1, 1, 1, 1)
