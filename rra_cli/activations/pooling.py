"""Pooling: which number stands for a place of a layer before its samples are compared.

Token poolings act on layers `(n, tokens, features)`; on a layer where a pooling has no meaning (a flat one, a spatial
map) it changes nothing, so that one request serves all layers of a network. Works on torch tensors and numpy arrays
alike; the result is always `(n, features)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity

if TYPE_CHECKING:
    import torch

Pool = Literal["none", "avg", "max", "cls", "mean", "last"]
SPATIAL = ("avg", "max")
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Pooling:
    """How a layer is pooled.

    pool: `none`; over tokens `cls` (the first), `mean`, `last`; `avg` and `max` (spatial windows) are names that are
    kept for a later version and are refused. scale: side of a spatial window, 1 = no window, 0 = the whole map; token
    poolings have none, so it is 1. Raises ValueError.
    """

    pool: Pool = identity("none")
    scale: int = identity(1)

    def __post_init__(self) -> None:
        if self.pool not in get_args(Pool):
            raise ValueError(f"there is no pooling {self.pool!r}; known: none, cls, mean, last")
        if self.pool in SPATIAL:
            raise ValueError(
                f"pooling {self.pool!r} (spatial windows) is not part of this version; known: none, cls, mean, last"
            )
        if self.scale != 1:
            raise ValueError(f"pooling {self.pool!r} has no window, so its scale is 1, not {self.scale}")


def pooled_shape(shape: Sequence[int], pooling: Pooling) -> tuple[int, ...]:
    """Shape of one sample after pooling, before it is flattened; `shape` is that of one sample before."""
    if _is_tokens(len(shape) + 1, pooling):
        return (shape[1],)
    return tuple(shape)


def pool_tensor(values: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """A layer `(n, ...)` as `(n, features)`: pooled, then flattened in C order. A view where possible."""
    if _is_tokens(values.ndim, pooling):
        if pooling.pool == "mean":
            return values.float().mean(dim=1).to(values.dtype) if values.dtype.itemsize < 4 else values.mean(dim=1)
        return values[:, 0] if pooling.pool == "cls" else values[:, -1]
    return values.reshape(len(values), math.prod(values.shape[1:]))


def pool_array(values: NDArray[Any], pooling: Pooling) -> NDArray[Any]:
    """A layer `(n, ...)` as `(n, features)`: pooled, then flattened in C order, in its own dtype.

    A view of a memory map where possible; the mean over tokens is summed in float64 and made block by block of rows.
    """
    if _is_tokens(values.ndim, pooling):
        if pooling.pool == "mean":
            return _mean_over_tokens(values)
        return values[:, 0] if pooling.pool == "cls" else values[:, -1]
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _is_tokens(ndim: int, pooling: Pooling) -> bool:
    return ndim == 3 and pooling.pool in ("cls", "mean", "last")


def _mean_over_tokens(values: NDArray[Any]) -> NDArray[Any]:
    n, tokens, features = values.shape
    means = np.empty((n, features), dtype=values.dtype)
    rows = max(1, _BLOCK_BYTES // (8 * tokens * features))
    for start in range(0, n, rows):
        means[start : start + rows] = values[start : start + rows].mean(axis=1, dtype=np.float64)
    return means
