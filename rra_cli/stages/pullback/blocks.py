"""Long work on many points in blocks that are kept, and volumes of different points brought to the same directions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.progress import Progress

_BLOCKS = 40  # what is saved at a time: a killed run loses no more than one of so many, or this many points:
_SMALLEST = 8
# The share of points that may have fewer directions than those whose volumes are compared.
_FEWER = 0.05

Block = Callable[[int, int, Progress], NDArray[np.float64]]


def by_blocks(folder: Path, name: str, n: int, block: Block, progress: Progress) -> NDArray[np.float64]:
    """`block(start, stop, progress)` of n points, joined along the last axis.

    Those that an earlier owner of the folder finished are read.
    """
    size, parts = max(_SMALLEST, -(-n // _BLOCKS)), []
    for start in range(0, n, size):
        stop = min(n, start + size)
        path = folder / f"{name}_{start:06d}.npy"
        if not path.exists():

            def watch(done: int, total: int, note: str = "", start: int = start) -> None:
                progress(start + done, n, note)

            files.write_array(path, block(start, stop, watch))
        parts.append(np.load(path, allow_pickle=False))
        progress(stop, n, "")
    return np.concatenate(parts, axis=-1)


def common_directions(used: NDArray[np.float64]) -> int:
    """How many singular values enter all volumes of a layer: as many as 95 % of the points have.

    used: `(n,)` of every point; 0 where it is constant, negative where it is not finite. One value more or less is a
    jump that says nothing of the others, so volumes of different numbers of directions are not compared.
    """
    known = used[used > 0]
    return int(np.quantile(known, _FEWER, method="lower")) if len(known) else 0


def by_rounding(directions: int, n_inputs: int, n_features: int, top: int | None) -> bool:
    """Whether the rounding error of the forward pass decided how many singular values enter, not `top`, n or d.

    Small singular values fall off without a gap in networks on images: another type then gives another number.
    """
    most = min(n_inputs, n_features)
    return 0 < directions < (most if top is None else min(most, top))
