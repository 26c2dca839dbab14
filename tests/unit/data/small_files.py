"""Small files in each data set's own format."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rra_cli.data.official_files import OfficialFile


def idx(array: NDArray[np.uint8]) -> bytes:
    """The array as MNIST's format has it."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def digits(n: int, n_classes: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Random images `(n, 28, 28)` and labels `(n,)` that hold every class."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    return images, random.permutation(np.arange(n) % n_classes).astype(np.uint8)


def picture(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """A picture file of grey `(h, w)` or RGB `(h, w, 3)` pixels."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def noise(height: int, width: int, seed: int, channels: int = 3) -> NDArray[np.uint8]:
    """Random pixels as a picture has them."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def put(path: Path, content: bytes) -> Path:
    """Writes a file, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """A zip archive with these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return stream.getvalue()


def published(root: Path, path: str, content: bytes) -> OfficialFile:
    """Writes a file below the root, and gives what its publisher would say of it."""
    put(root / path, content)
    return OfficialFile(path, "md5", hashlib.md5(content).hexdigest())
