"""Means and maxima of maps over square windows that do not overlap, on torch tensors and numpy arrays alike.

A window of twice the side is made of four of half the side: sums are added two by two, rows before columns. That is one
order of additions for torch and numpy, for a batch and for a whole file, so all give the same last bit. In float32 or
wider, where windows fill the map, a mean of their means is the mean over their union to the last bit, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


class Windows:
    """Maps `(n, channels, height, width)` at several windows; what was made for a smaller window serves the larger."""

    def __init__(self, maps: torch.Tensor | np.ndarray[Any, Any]) -> None:
        self._maps: Any = maps
        self._library = _numpy() if isinstance(maps, np.ndarray) else _torch()
        self._made: dict[tuple[str, int], Any] = {}

    def at(self, pool: str, side: int) -> Any:
        """`(n, channels, ceil(height / side), ceil(width / side))` in the maps' dtype; side 0: the whole map.

        pool: `avg` or `max`. side: a power of two. The last windows of a row or column are what is left of the map, and
        their mean is over the places that they have. Half precision is summed in float32; NaN anywhere makes NaN.
        """
        height, width = self._maps.shape[2:]
        side = side or _next_power(max(height, width))
        if pool == "max":
            # Which of 0 and -0 is the larger is left open: +0 makes it 0.
            return self._reduced("max", side) + 0
        counts = np.outer(_places(height, side), _places(width, side))
        return self._library.narrowed(self._library.divided(self._reduced("avg", side), counts), self._maps)

    def _reduced(self, pool: str, side: int) -> Any:
        """Maxima, or sums, of every window."""
        if side == 1:
            return self._maps if pool == "max" else self._library.wide(self._maps)
        key = (pool, side)
        if key not in self._made:
            combine = self._library.maximum if pool == "max" else self._library.add
            self._made[key] = _halved(self._reduced(pool, side // 2), combine, self._library.join)
        return self._made[key]


class _Library(NamedTuple):
    """What numpy and torch call differently. divided: by counts `(height, width)`, place by place."""

    add: Callable[[Any, Any], Any]
    maximum: Callable[[Any, Any], Any]
    join: Callable[[list[Any], int], Any]
    wide: Callable[[Any], Any]
    divided: Callable[[Any, np.ndarray[Any, Any]], Any]
    narrowed: Callable[[Any, Any], Any]


def _numpy() -> _Library:
    return _Library(
        add=np.add,
        maximum=np.maximum,
        join=lambda parts, axis: np.concatenate(parts, axis=axis),
        wide=lambda maps: maps.astype(np.float32) if maps.dtype.itemsize < 4 else maps,
        divided=lambda sums, counts: sums / counts.astype(sums.dtype),
        narrowed=lambda means, maps: means.astype(maps.dtype, copy=False),
    )


def _torch() -> _Library:
    import torch

    return _Library(
        add=torch.add,
        maximum=torch.maximum,
        join=lambda parts, axis: torch.cat(parts, dim=axis),
        wide=lambda maps: maps.float() if maps.dtype.itemsize < 4 else maps,
        # By a tensor: a division by a number is a product with its inverse on some devices.
        divided=lambda sums, counts: sums / torch.as_tensor(counts, dtype=sums.dtype, device=sums.device),
        narrowed=lambda means, maps: means.to(maps.dtype),
    )


def _halved(maps: Any, combine: Callable[[Any, Any], Any], join: Callable[[list[Any], int], Any]) -> Any:
    """Two by two along rows, then along columns; the last of an odd number stays as it is."""
    for axis in (2, 3):
        size = maps.shape[axis]
        if size == 1:
            continue
        before = (slice(None),) * axis
        pairs = combine(maps[(*before, slice(0, size - 1, 2))], maps[(*before, slice(1, size, 2))])
        maps = join([pairs, maps[(*before, slice(size - 1, size))]], axis) if size % 2 else pairs
    return maps


def _places(size: int, side: int) -> np.ndarray[Any, Any]:
    """How many places of `size` the windows of `side` hold, one after the other."""
    return np.minimum(side, size - np.arange(0, size, side))


def _next_power(size: int) -> int:
    return 1 << max(0, (size - 1).bit_length())
