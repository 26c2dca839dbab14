"""Memory that the searches of a thread use again: page faults of fresh memory cost more than small tiles themselves."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

_held = threading.local()


def buffer(use: str, size: int) -> NDArray[np.uint8]:
    """`size` bytes with unknown content, valid until the same thread asks for the same use again.

    What the largest tile took is held until the thread ends: at most 128 MiB a use (`sweep.py`), four of them.
    """
    arrays: dict[str, NDArray[np.uint8]] = _held.__dict__
    if use not in arrays or len(arrays[use]) < size:
        arrays.pop(use, None)  # first, so that both are never held at once
        arrays[use] = np.empty(size, np.uint8)
    return arrays[use][:size]
