"""From picture files (PNG, JPEG ...) to one array of uint8: decoding, resizing, and which file cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import format_bytes, free_memory
from rra_cli.data.picture_opening import opened
from rra_cli.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Resize = Literal["squash", "crop", "pad"]
RESIZES: tuple[Resize, ...] = ("squash", "crop", "pad")

_BLOCK = 32  # pictures that a thread takes at a time
_MAX_THREADS = 16
NAMED = 5  # pictures that cannot be read, in a message; a file has all of them


class UnreadableError(UserError):
    """Pictures that cannot be read. faults: name and reason of each, in order; n: how many were opened.

    The message names the first five. listing: a file that names all of them, if there is one.
    """

    def __init__(self, faults: Sequence[tuple[str, str]], n: int, listing: Path | None = None) -> None:
        self.faults, self.n = tuple(faults), n
        named = ", ".join(f"{name} ({reason})" for name, reason in self.faults[:NAMED])
        more = f" and {len(self.faults) - NAMED:,} more" if len(self.faults) > NAMED else ""
        listed = "" if listing is None else f"{listing} names all of them: "
        super().__init__(
            f"{len(self.faults):,} of {n:,} pictures cannot be read: {named}{more}",
            f"{listed}remove or replace them, and run again",
        )


@dataclass(frozen=True)
class PictureList:
    """The pictures of a split, before any of them is read.

    names: what a person calls each. labels: `(n,)` int64. content: identifies the bytes of all of them, in order.
    reader: opens what holds them, and gives a function from position to bytes that several threads may call.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    content: str
    reader: Callable[[], AbstractContextManager[Callable[[int], bytes]]]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Rendering:
    """What a picture becomes: shape (channels 1 or 3, height, width); how it fits; invert: black becomes white.

    squash: both sides change to the wanted size. crop: the largest centred part of the wanted aspect ratio. pad: the
    whole picture, centred on black.
    """

    shape: tuple[int, int, int]
    resize: Resize = "squash"
    invert: bool = False

    def __post_init__(self) -> None:
        if self.shape[0] not in (1, 3) or min(self.shape) < 1:
            raise ValueError(f"a picture becomes (1 or 3, height, width), got {self.shape}")
        if self.resize not in RESIZES:
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, got {self.resize!r}")


def decode(content: bytes, rendering: Rendering) -> NDArray[np.uint8]:
    """One picture file as `(c, h, w)` uint8.

    The first frame, as it is stored (an orientation noted in EXIF is not applied), transparency dropped: what
    torchvision's reader gives. Of 16-bit grey the upper eight bits. Resized by Pillow, bilinear and antialiased. Raises
    whatever Pillow raises for a file that is not a whole picture, and ValueError for pixels of other kinds and for too
    many of them.
    """
    channels, height, width = rendering.shape
    with opened(content, width) as picture:
        converted = _fitted(_converted(picture, "L" if channels == 1 else "RGB"), width, height, rendering.resize)
    pixels = np.asarray(converted, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    return 255 - pixels if rendering.invert else pixels


def decode_all(pictures: PictureList, rendering: Rendering, progress: Progress = silent) -> NDArray[np.uint8]:
    """All pictures, `(n, c, h, w)` uint8, by as many threads as there are cores.

    Raises `UnreadableError` after all were tried, and `UserError` where memory is short.
    """
    check_memory(len(pictures), rendering.shape)
    images = np.empty((len(pictures), *rendering.shape), np.uint8)
    faults: dict[int, str] = {}
    pool = ThreadPoolExecutor(threads())
    try:
        with pictures.reader() as read:

            def block(start: int) -> None:
                for position in range(start, min(start + _BLOCK, len(images))):
                    content = read(position)
                    try:
                        images[position] = decode(content, rendering)
                    except MemoryError:
                        raise
                    except Exception as error:  # a decoder fails in many ways; all of them are about this file
                        faults[position] = _reason(content, error)

            for done, _ in enumerate(pool.map(block, range(0, len(images), _BLOCK)), 1):
                progress(min(done * _BLOCK, len(images)), len(images), "")
    finally:
        pool.shutdown(cancel_futures=True)
    if faults:
        raise UnreadableError([(pictures.names[place], faults[place]) for place in sorted(faults)], len(pictures))
    return images


def check_memory(n: int, shape: tuple[int, int, int]) -> None:
    """`UserError` with the numbers where n decoded pictures do not fit into the free memory."""
    needed, free = n * shape[0] * shape[1] * shape[2], free_memory()
    if needed > free:
        size = "x".join(map(str, shape[1:]))
        raise UserError(
            f"{n:,} pictures of {size} with {shape[0]} channel{'s' if shape[0] > 1 else ''} need "
            f"{format_bytes(needed)} of memory, but {format_bytes(free)} are free",
            "set a smaller dataset.size, use fewer pictures, or a machine with more memory",
        )


def threads() -> int:
    """How many threads decode: the cores that this process may use, 16 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MAX_THREADS)


def _converted(picture: Image, mode: Literal["L", "RGB"]) -> Image:
    """8-bit grey or RGB."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits; older Pillows open them as 32
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels have more than 16 bits; save it with 8 or 16")
        picture = Image.fromarray((values >> 8).astype(np.uint8))
    elif picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    elif picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # Pillow warns of the direct way
    return picture.convert(mode)


def _fitted(picture: Image, width: int, height: int, resize: Resize) -> Image:
    from PIL import Image

    if picture.size == (width, height):
        return picture
    bilinear = Image.Resampling.BILINEAR
    if resize == "squash":
        return picture.resize((width, height), bilinear)
    across, down = picture.width / width, picture.height / height
    if resize == "crop":
        part_width, part_height = width * min(across, down), height * min(across, down)
        left, top = (picture.width - part_width) / 2, (picture.height - part_height) / 2
        return picture.resize((width, height), bilinear, box=(left, top, left + part_width, top + part_height))
    scale = max(across, down)
    inner = (max(1, round(picture.width / scale)), max(1, round(picture.height / scale)))
    whole = Image.new(picture.mode, (width, height))
    whole.paste(picture.resize(inner, bilinear), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return whole


def _reason(content: bytes, error: Exception) -> str:
    if not content:
        return "the file is empty"
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a picture of a format that is read"
    return " ".join(str(error).split()) or type(error).__name__
