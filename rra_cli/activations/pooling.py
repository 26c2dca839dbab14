"""Pooling: which number stands for a place of a layer before its samples are compared.

Spatial poolings (`avg2`, `avg_global`, `max4` ...) act on layers of maps `(n, channels, height, width)`, token poolings
on layers `(n, tokens, features)`; on a layer where a pooling has no meaning (a flat one) it changes nothing, so that
one request serves all layers of a network. Works on torch tensors and numpy arrays alike (spatial poolings to the same
last bit); the result is always `(n, features)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rra_cli.activations.windows import Windows
from rra_cli.core.fields import identity

if TYPE_CHECKING:
    import torch

Pool = Literal["none", "avg", "max", "cls", "mean", "last"]
SPATIAL = ("avg", "max")
TOKENS = ("cls", "mean", "last")
WHOLE_MAP = 0
# What a configuration calls them; other windows are `pooling.NAME={pool: avg, scale: 16}`.
NAMES = (
    "none",
    *(f"{pool}{window}" for pool in SPATIAL for window in (2, 4, 8, "_global")),
    *TOKENS,
)
_WINDOW = re.compile(r"(avg|max)(_global|[1-9][0-9]{0,4})")
_BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Pooling:
    """How a layer is pooled.

    pool: `none`; `avg` or `max` over windows that do not overlap, channel by channel; over tokens `cls` (the first),
    `mean`, `last`. scale: side of a window, a power of two, 0 = the whole map; 1 where there is no window. A window
    larger than the map is the map; where the side is no multiple of the window, the last windows are what is left of
    the map, and their mean is that of the places they have. Raises ValueError.
    """

    pool: Pool = identity("none")
    scale: int = identity(1)

    def __post_init__(self) -> None:
        if self.pool not in get_args(Pool):
            raise ValueError(f"there is no pooling {self.pool!r}; known: {', '.join(get_args(Pool))}")
        if self.pool not in SPATIAL:
            if self.scale != 1:
                raise ValueError(f"pooling {self.pool!r} has no window, so its scale is 1, not {self.scale}")
        elif self.scale != WHOLE_MAP and (self.scale < 2 or self.scale & (self.scale - 1)):
            raise ValueError(
                f"pooling {self.pool!r} has scale {self.scale}; expected the side of its windows, a power of two "
                "from 2 on, or 0 for the whole map"
            )

    @classmethod
    def named(cls, name: str) -> Pooling:
        """The pooling of a name such as `none`, `avg2`, `max_global` or `cls`. Raises ValueError for others."""
        match = _WINDOW.fullmatch(name)
        if match:
            return cls(match[1], WHOLE_MAP if match[2] == "_global" else int(match[2]))  # type: ignore[arg-type]
        if name in SPATIAL or name not in get_args(Pool):
            raise ValueError(f"there is no pooling {name!r}; known: {', '.join(NAMES)}")
        return cls(name)  # type: ignore[arg-type]

    @property
    def is_spatial(self) -> bool:
        """Whether it acts on maps."""
        return self.pool in SPATIAL

    @property
    def title(self) -> str:
        """Its name."""
        if not self.is_spatial:
            return self.pool
        return f"{self.pool}_global" if self.scale == WHOLE_MAP else f"{self.pool}{self.scale}"

    def on(self, shape: Sequence[int]) -> Pooling:
        """What it comes to on a layer; spatial poolings that give equal numbers there are told as one.

        shape: of one sample. Where there are no maps, or maps of one place, it is no pooling; where the window covers
        the map, it is that of the whole map.
        """
        if not self.is_spatial:
            return self  # as ever, also where it changes nothing: its results are stored under its own name
        if len(shape) != 3 or max(shape[1:]) <= 1:
            return Pooling()
        return Pooling(self.pool, WHOLE_MAP) if self.scale >= max(shape[1:]) else self


def pooled_shape(shape: Sequence[int], pooling: Pooling) -> tuple[int, ...]:
    """Shape of one sample after pooling, before it is flattened; `shape` is that of one sample before."""
    if _is_tokens(len(shape) + 1, pooling):
        return (shape[1],)
    if _is_maps(len(shape) + 1, pooling):
        sides = (1 if pooling.scale == WHOLE_MAP else math.ceil(side / pooling.scale) for side in shape[1:])
        return (shape[0], *sides)
    return tuple(shape)


class Pooler:
    """One batch of a layer at several poolings; every window is made from the one of half its side, so all cost little.

    values: `(n, ...)`.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values
        self._windows: Windows | None = None

    def at(self, pooling: Pooling) -> torch.Tensor:
        """`(n, features)`: pooled, then flattened in C order, in the layer's dtype. A view where possible."""
        values = self._values
        if _is_tokens(values.ndim, pooling):
            if pooling.pool == "mean":
                half = values.dtype.itemsize < 4
                return values.float().mean(dim=1).to(values.dtype) if half else values.mean(dim=1)
            return values[:, 0] if pooling.pool == "cls" else values[:, -1]
        if _is_maps(values.ndim, pooling):
            if self._windows is None:
                self._windows = Windows(values)
            values = self._windows.at(pooling.pool, pooling.scale)
        return values.reshape(len(values), math.prod(values.shape[1:]))


def pool_tensor(values: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """A layer `(n, ...)` as `(n, features)`: `Pooler` for one pooling."""
    return Pooler(values).at(pooling)


def pool_array(values: NDArray[Any], pooling: Pooling) -> NDArray[Any]:
    """A layer `(n, ...)` as `(n, features)`: pooled, then flattened in C order, in its own dtype.

    A view of a memory map where possible; windows are pooled, and the mean over tokens is summed in float64, block by
    block of rows.
    """
    if _is_tokens(values.ndim, pooling):
        if pooling.pool == "mean":
            return _mean_over_tokens(values)
        return values[:, 0] if pooling.pool == "cls" else values[:, -1]
    if _is_maps(values.ndim, pooling):
        return _over_windows(values, pooling)
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _is_tokens(ndim: int, pooling: Pooling) -> bool:
    return ndim == 3 and pooling.pool in TOKENS


def _is_maps(ndim: int, pooling: Pooling) -> bool:
    return ndim == 4 and pooling.is_spatial


def _over_windows(values: NDArray[Any], pooling: Pooling) -> NDArray[Any]:
    shape = pooled_shape(values.shape[1:], pooling)
    pooled = np.empty((len(values), math.prod(shape)), dtype=values.dtype)
    rows = max(1, _BLOCK_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        block = Windows(np.asarray(values[start : start + rows])).at(pooling.pool, pooling.scale)
        pooled[start : start + rows] = block.reshape(len(block), -1)
    return pooled


def _mean_over_tokens(values: NDArray[Any]) -> NDArray[Any]:
    n, tokens, features = values.shape
    means = np.empty((n, features), dtype=values.dtype)
    rows = max(1, _BLOCK_BYTES // (8 * tokens * features))
    for start in range(0, n, rows):
        means[start : start + rows] = values[start : start + rows].mean(axis=1, dtype=np.float64)
    return means
