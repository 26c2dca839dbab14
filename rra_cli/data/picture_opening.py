"""Opening picture files that anybody may have made: which formats, how large, and how many at a time.

A file of a few bytes can ask for gigabytes (a lying header, a bomb that decompresses), and what Pillow does for some
formats is no decoding: it starts Ghostscript for EPS, and reads other files that WMF and FPX name.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

# Decoded by Pillow itself or by its libraries, whatever the file is called.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MOST_BYTES = 2**28  # of a file
MOST_PIXELS = 2**26  # of a picture: 8192 x 8192
LONGEST_SIDE = 2**15  # resizing goes by one side first: a line of pixels would become a huge picture on the way
MEMORY = 2**30  # bytes for all pictures that are being decoded; one alone may take more
_PER_PIXEL = 8  # bytes: four channels, before and after a conversion


class _Budget:
    """Memory shared by threads."""

    def __init__(self, most: int) -> None:
        self._most, self._used, self._changed = most, 0, threading.Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Waits until there is that much, or nobody else has any."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + amount <= self._most)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()


_budget = _Budget(MEMORY)


@contextmanager
def opened(content: bytes, width: int) -> Iterator[Image]:
    """The picture in the bytes of a file, not decoded yet; waits where other threads decode large ones.

    width: that it will be resized to. Raises ValueError where it is too large, and what Pillow raises for what is not
    a picture.
    """
    from PIL import Image

    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content):,} bytes; at most {MOST_BYTES:,} are read")
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"it has too many pixels; at most {MOST_PIXELS:,} are decoded") from None
    with picture:
        across, down = picture.size
        if across * down > MOST_PIXELS or max(across, down) > LONGEST_SIDE:
            raise ValueError(
                f"it has {across} x {down} pixels; at most {MOST_PIXELS:,}, and {LONGEST_SIDE:,} on a side, are decoded"
            )
        with _budget.taken(_PER_PIXEL * (across * down + width * down)):
            yield picture
