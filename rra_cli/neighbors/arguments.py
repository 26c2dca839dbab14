"""Arguments of a search: arrays of any kind, and what names the machine or counts something; checked."""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core.resources import free_memory, parse_bytes
from rra_cli.neighbors.graph import InputError

if TYPE_CHECKING:
    import torch


def as_count(value: int, what: str) -> int:
    """A whole number of at least 1. Raises `InputError` otherwise."""
    try:
        count = operator.index(value)
    except TypeError:
        whole = isinstance(value, float | np.floating) and float(value).is_integer()
        hint = f"give {int(value)}, without a point" if whole else "give a number such as 10"
        raise InputError(f"{what} must be a whole number, got {value!r}", hint) from None
    if count < 1 or isinstance(value, bool):
        raise InputError(f"{what} must be a whole number of at least 1, got {value!r}", "give 1 or more")
    return count


def workspace(memory: int | str | None) -> int:
    """Bytes in a number or a text such as "4GB"; a quarter of what is free where None. Raises `InputError`."""
    if memory is None:
        return free_memory() // 4
    try:
        return parse_bytes(memory if isinstance(memory, str | bool | float) else operator.index(memory))
    except (TypeError, ValueError) as error:
        raise InputError(f"memory cannot be read: {error}", 'give bytes, or a text such as "4GB"') from None


def as_array(data: ArrayLike, what: str) -> NDArray[Any]:
    """The array that lists, numpy's arrays and dense torch tensors in main memory hold; nothing is copied needlessly.

    bfloat16 and smaller floats become float32. Raises `InputError` for what has no array, or more than one.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise InputError(
            f"{what} must hold a number everywhere, got a masked array, whose mask would be lost",
            "leave out the masked samples or features, or give its values: array.filled(0) or array.data",
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(data, torch.Tensor):
        return _of_tensor(data, what)
    if isinstance(data, np.ndarray):
        return data
    try:
        return np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{what} must be an array (n_samples, n_features), which this {type(data).__name__} is not: {error}",
            "give all samples the same number of features, and convert them by numpy.asarray",
        ) from None


def _of_tensor(tensor: torch.Tensor, what: str) -> NDArray[Any]:
    import torch

    if tensor.device.type != "cpu":
        raise InputError(f"{what} must be in main memory, got a tensor on {tensor.device}", "give it as tensor.cpu()")
    if tensor.is_nested:
        raise InputError(f"{what} must be a dense tensor, got a nested one", "give all samples the same size")
    if tensor.layout != torch.strided:
        raise InputError(f"{what} must be a dense tensor, got a sparse one", "give it as tensor.to_dense()")
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    return tensor.numpy()


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
