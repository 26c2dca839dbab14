"""One pure function per random change of an image, with one parameter per sample.

Images are `(n, c, h, w)` float32 in [0, 1] with c = 1 or 3; parameters have a row per sample and may lie on the CPU.
For each sample the result is that of the function of the same name in `torchvision.transforms.v2.functional` with that
sample's parameter, without a fill colour (a test compares them), which takes one parameter for a whole batch.

Why not kornia, which has most of them per sample: `benchmarks/augment_cost.py` has its times and its differences.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

# ITU-R BT.601, with the digits that torchvision and Pillow use.
_RED, _GREEN, _BLUE = 0.2989, 0.587, 0.114


def on_chosen(images: Tensor, chosen: Tensor, change: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """The images with `change(images, *parameters)` made to those chosen, `(n,)` bool; the others cost nothing."""
    if bool(chosen.all()):
        return change(images, *parameters)
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == 0:
        return images
    there = rows.to(images.device)
    changed = change(images[there], *(parameter[rows] for parameter in parameters))
    return images.index_copy(0, there, changed)


# Where things are


def resized_crop(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Cut a box out and stretch it to the size of the image, bilinear. All `(n,)` int64, in pixels.

    A box within the image is never shrunk by this, so it makes no difference that torchvision blurs before it shrinks
    (`antialias`).
    """
    rows = _sources(top, height, images.shape[2], images.device)
    columns = _sources(left, width, images.shape[3], images.device)
    grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), dim=-1)
    return _sample(images, grid)


def _sources(start: Tensor, length: Tensor, size: int, device: torch.device) -> Tensor:
    """`(n, size)`: where each pixel of a stretch that is drawn out to `size` comes from; -1 to 1 is the image."""
    start, length = start.to(device)[:, None], length.to(device)[:, None]
    place = (torch.arange(size, device=device) + 0.5) * (length / size) - 0.5
    # Beyond the outermost pixels' centres their own value, not a mean with what lies outside of the box.
    place = torch.minimum(place.clamp(min=0), length - 1) + start
    return (2 * place + 1) / size - 1


def translate(images: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Shift by whole pixels: dx > 0 to the right, dy > 0 down; what comes in is black (0). dx, dy: `(n,)` int64.

    A crop from an image with a black margin of p pixels is the same: the box (top, left) is a shift by (p - left,
    p - top).
    """
    height, width = images.shape[-2:]
    most = int(torch.stack((dx, dy)).abs().max())
    padded = functional.pad(images, (most, most, most, most))
    # Views of every place at which a window of the image's size can lie: (n, c, 2 most + 1, 2 most + 1, h, w).
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    top, left = ((most - shift).to(images.device) for shift in (dy, dx))
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror left and right where `chosen` (bool)."""
    return torch.where(_per_image(chosen, images), images.flip(-1), images)


def vertical_flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror top and bottom where `chosen` (bool)."""
    return torch.where(_per_image(chosen, images), images.flip(-2), images)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Counter-clockwise about the centre, bilinear; what comes in is black (0)."""
    height, width = images.shape[-2:]
    angle = torch.deg2rad(degrees.to(images.device))
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    # From output to input, in coordinates from -1 to 1 that differ in scale where the image is not square.
    rows = (cosine, -sine * (height / width), zero, sine * (width / height), cosine, zero)
    matrix = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return _sample(images, grid)


def perspective(images: Tensor, corners: Tensor) -> Tensor:
    """The image as seen from elsewhere, bilinear: its corners come to lie at `corners`; the rest is black (0).

    corners: `(n, 4, 2)`, (x, y) in pixels of the top left, top right, bottom right and bottom left one. Where they are
    not those of a convex quadrilateral, in this order, the image stays as it is.
    """
    height, width = images.shape[-2:]
    matrix = _homography(corners.double(), height, width)
    matrix[:, :2] *= matrix.new_tensor([2 / width, 2 / height])[:, None]  # pixels to a frame from 0 to 2
    a, b, c = matrix.to(images)[..., None, None].unbind(dim=2)  # each (n, 3, 1, 1): x, y and depth
    # In torchvision, too, the matrix is that of the pixels' numbers and is applied to their centres, number + 0.5.
    x = torch.arange(width, device=images.device) + 0.5
    y = torch.arange(height, device=images.device)[:, None] + 0.5
    places = torch.addcmul(a * x + c, b, y)
    depth = places[:, 2:]
    depth = torch.where(depth.abs() < 1e-6, 1e-6, depth)  # 0 at the horizon, which is outside of the quadrilateral
    return _sample(images, (places[:, :2] / depth - 1).permute(0, 2, 3, 1))


def _homography(corners: Tensor, height: int, width: int) -> Tensor:
    """`(n, 3, 3)`: from a place (x, y, 1) among the corners to that in the image, times its depth.

    The map from the unit square to a quadrilateral in closed form (Heckbert 1989, Fundamentals of texture mapping and
    image warping, section 2.2.3) and its inverse by cross products.
    """
    top_left, top_right, bottom_right, bottom_left = corners.unbind(dim=1)
    from_right, from_below = top_right - bottom_right, bottom_left - bottom_right
    excess = top_left - top_right + bottom_right - bottom_left
    whole, g, h = _cross(from_right, from_below), _cross(excess, from_below), _cross(from_right, excess)
    xy = torch.stack(
        (
            (top_right - top_left) * whole[:, None] + top_right * g[:, None],
            (bottom_left - top_left) * whole[:, None] + bottom_left * h[:, None],
            top_left * whole[:, None],
        ),
        dim=-1,
    )
    first, second = xy.unbind(dim=1)
    third = torch.stack((g, h, whole), dim=-1)
    columns = (torch.linalg.cross(second, third), torch.linalg.cross(third, first), torch.linalg.cross(first, second))
    inverse = torch.stack(columns, dim=-1) * corners.new_tensor([width - 1, height - 1, 1])[:, None]
    # A depth of about 1, for float32.
    middle = torch.cat((corners.mean(dim=1), torch.ones_like(corners[:, 0, :1])), dim=1)
    depth = (inverse[:, 2] * middle).sum(dim=1)
    turns = _cross(corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners)  # of the outline at each corner
    convex = (turns > 0).all(dim=1)[:, None, None]
    unchanged = torch.eye(3, dtype=corners.dtype, device=corners.device)
    return torch.where(convex, inverse / torch.where(convex, depth[:, None, None], 1.0), unchanged)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


# What things look like


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by the factor."""
    return (images * _per_image(factor, images)).clamp_(0, 1)


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
    angle = angle + 6 * shift.to(images.device).view(-1, 1, 1)
    offsets = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    turned = torch.remainder(angle[:, None] + offsets, 6)
    share = torch.minimum(turned, 4 - turned).clamp_(0, 1)
    return (value[:, None] - chroma[:, None] * share).clamp_(0, 1)


def grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Grey in all three channels where `chosen` (bool). A one-channel image stays as it is."""
    if images.shape[1] == 1:
        return images
    return torch.where(_per_image(chosen, images), luminance(images), images)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """The negative (1 - value) of all values from the threshold up."""
    return torch.where(images >= _per_image(threshold, images), 1 - images, images)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Gaussian blur with a window of `kernel_size` (odd) pixels, reflected at the border. sigma > 0, in pixels."""
    half = kernel_size // 2
    distance = torch.arange(-half, half + 1, device=images.device, dtype=images.dtype)
    weights = torch.softmax(-0.5 * (distance / sigma.to(images.device)[:, None]) ** 2, dim=1)  # (n, kernel_size)
    padded = functional.pad(images, (half, half, half, half), mode="reflect")
    return _weighted_windows(_weighted_windows(padded, weights, dim=2), weights, dim=3)


def _weighted_windows(images: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Each image's running weighted sum along one dimension, which gets shorter by the window less one."""
    length = images.shape[dim] - weights.shape[1] + 1
    total = images.narrow(dim, 0, length) * _per_image(weights[:, 0], images)
    for place in range(1, weights.shape[1]):
        total.addcmul_(images.narrow(dim, place, length), _per_image(weights[:, place], images))
    return total


def luminance(images: Tensor) -> Tensor:
    """`(n, 1, h, w)`: the grey value of each pixel."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return _RED * red + _GREEN * green + _BLUE * blue


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    factor = _per_image(factor, images)
    return (factor * images + (1 - factor) * other).clamp_(0, 1)


def _per_image(parameter: Tensor, images: Tensor) -> Tensor:
    return parameter.to(images.device).view(-1, 1, 1, 1)
