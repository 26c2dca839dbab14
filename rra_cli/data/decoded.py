"""Decoded pictures, kept beside the data sets: `<data folder>/decoded/<hash>.npy`.

A hit is mapped, not read, so that the jobs of a sweep share one copy in the machine's memory. Files appear whole
(`core/files.py`), two jobs that decode the same write the same, and the folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.resources import free_disk
from rra_cli.core.spec import canonical_json
from rra_cli.data.official_files import data_root
from rra_cli.errors import UserError

# What took less is decoded again the next time rather than kept.
WORTH_SECONDS = 2.0


def decoded_path(identity: Mapping[str, Any]) -> Path:
    """Where the array of these pictures in this rendering lies or would lie."""
    key = hashlib.sha256(canonical_json(identity).encode()).hexdigest()
    return data_root(None) / "decoded" / f"{key}.npy"


def find_decoded(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The kept array, mapped copy-on-write; None where there is none or it is not of that shape."""
    try:
        images: NDArray[np.uint8] = np.load(path, mmap_mode="c", allow_pickle=False)
    except Exception:  # a header may be anything, and its parser fails in a dozen ways
        return None
    return images if images.dtype == np.uint8 and images.shape == shape else None


def decode_and_keep(path: Path, make: Callable[[], NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], bool]:
    """What `make` gives, and whether it was kept: not where it was quick, the folder cannot be written, or the disk
    would be more than half full of it.
    """
    began = time.monotonic()
    images = make()
    if time.monotonic() - began < WORTH_SECONDS or images.nbytes > free_disk(path) // 2:
        return images, False
    with suppress(OSError, UserError):  # a read-only data folder is no fault
        files.write_array(path, images)
        return images, True
    return images, False
