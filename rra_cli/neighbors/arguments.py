"""Arguments of a search that name the machine or count something, checked."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from rra_cli.neighbors.graph import InputError

if TYPE_CHECKING:
    import torch


def as_count(value: int, what: str) -> int:
    """A whole number of at least 1. Raises `InputError` otherwise."""
    try:
        count = operator.index(value)
    except TypeError:
        raise InputError(f"{what} must be a whole number, got {value!r}") from None
    if count < 1 or isinstance(value, bool):
        raise InputError(f"{what} must be a whole number of at least 1, got {value!r}")
    return count


def resolve_device(device: str) -> torch.device:
    """The torch device of that name. Raises `InputError` where it is unknown or absent from this machine."""
    import torch

    try:
        target = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"device must be cpu, cuda or cuda:<number>, got {device!r}") from None
    if target.type not in ("cpu", "cuda"):
        raise InputError(f"device must be cpu or cuda (float64 is needed), got {device!r}", "use device=cpu")
    if target.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (target.index or 0) >= count:
            raise InputError(f"device is {device!r}, but torch finds {count} CUDA devices here", "use device=cpu")
    return target
