"""What can be said of a picture without knowing what it shows: luminance, contrast, dominant hue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Raised when one of the functions gives other values.
VERSION = 1
# Weights of red, green and blue in the luminance of a colour (ITU-R BT.601, on the stored, gamma-coded pixels).
LUMA = (0.299, 0.587, 0.114)
# Sectors of the colour circle, each of 30 degrees: 0 is around red, 4 around green, 8 around blue.
SECTORS = 12
GREY = SECTORS
# A picture whose mean chroma (largest minus smallest of red, green, blue; of 255) is below this has no hue: 4 %.
FAINT = 10.0
_AT_A_TIME = 1 << 22  # pixels


def luminance(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean luminance of each picture `(n, c, h, w)` uint8, `(n,)` in [0, 1]; c = 1 (grey) or 3 (red, green, blue)."""
    return _by_picture(images, lambda luma: luma.mean(axis=1))


def contrast(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Standard deviation of the luminance over the pixels of each picture, `(n,)` in [0, 0.5] (RMS contrast)."""
    return _by_picture(images, lambda luma: luma.std(axis=1))


def dominant_hue(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The sector of the colour circle that most of each picture's colour lies in, `(n,)`: 0..11, or 12 for grey.

    Pixels count by their chroma, so that pale ones, whose hue is noise, count little. A sector is 30 degrees wide and
    centred on a multiple of 30, red at 0 (HSV's hue).
    """
    n, channels = images.shape[:2]
    found = np.full(n, GREY, np.int64)
    if channels != 3:
        return found
    for rows in _blocks(images):
        red, green, blue = (
            images[rows, channel].reshape(-1, images[0, 0].size).astype(np.float64) for channel in range(3)
        )
        top, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
        chroma = top - low
        safe = np.where(chroma > 0, chroma, 1.0)
        hue = np.select(
            [top == red, top == green],
            [((green - blue) / safe) % 6.0, (blue - red) / safe + 2.0],
            (red - green) / safe + 4.0,
        )
        sector = np.floor(hue * (SECTORS / 6.0) + 0.5).astype(np.int64) % SECTORS
        m = len(red)
        weights = np.bincount((np.arange(m)[:, None] * SECTORS + sector).ravel(), chroma.ravel(), m * SECTORS)
        coloured = chroma.mean(axis=1) >= FAINT
        found[rows] = np.where(coloured, weights.reshape(m, SECTORS).argmax(axis=1), GREY)
    return found


def _by_picture(
    images: NDArray[np.uint8], of: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    found = np.empty(len(images))
    weights = np.array(LUMA if images.shape[1] == 3 else (1.0 / images.shape[1],) * images.shape[1]) / 255.0
    for rows in _blocks(images):
        luma = np.tensordot(images[rows].astype(np.float64), weights, axes=(1, 0))
        found[rows] = of(luma.reshape(len(luma), -1))
    return found


def _blocks(images: NDArray[np.uint8]) -> list[slice]:
    step = max(1, _AT_A_TIME // max(1, images[0].size))
    return [slice(start, min(len(images), start + step)) for start in range(0, len(images), step)]
