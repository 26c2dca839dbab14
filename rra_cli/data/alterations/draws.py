"""What is drawn for a sample: a stream of its own, by seed, use, split and id, whatever batch it comes in.

The streams are `numpy.random.RandomState`'s, which are frozen for good (NEP 19). The split is part of them: otherwise
the training sample 7 and the test sample 7 would carry the same noise, and a nearest-neighbour probe would find it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rra_cli.data.alterations.alteration import Seen
from rra_cli.data.dataset import SPLITS

# Uses of a seed, each with streams of its own; what comes later is added at the end.
NOISE, DIRECTION, CHOICE, SHUFFLE = range(4)
MOST = 2**32 - 1


def check_seed(seed: int) -> None:
    """ValueError unless it is one of numpy's seeds."""
    if not 0 <= seed <= MOST:
        raise ValueError(f"seed is {seed}; it must be from 0 to 2**32 - 1")


def check_level(level: float, highest: float, meaning: str) -> None:
    """ValueError unless it lies between 0 and `highest`."""
    if not 0 <= level <= highest:
        raise ValueError(f"level is {level:g}; expected {meaning}")


def normal(seen: Seen, seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers `(n, *shape)`."""
    drawn = np.empty((len(seen), *shape), np.float32)
    for row, sample in enumerate(seen.ids):
        drawn[row] = _stream(seed, NOISE, seen, int(sample)).standard_normal(shape)
    return drawn


def uniform(seen: Seen, seed: int, use: int) -> NDArray[np.float64]:
    """One number in [0, 1) for every sample, `(n,)`."""
    return np.array([_stream(seed, use, seen, int(sample)).random_sample() for sample in seen.ids])


def order(seen: Seen, seed: int, use: int, n: int) -> NDArray[np.int64]:
    """A random order of n things that all samples of a split share, `(n,)`."""
    return _stream(seed, use, seen).permutation(n).astype(np.int64)


def _stream(seed: int, use: int, seen: Seen, *sample: int) -> np.random.RandomState:
    return np.random.RandomState([seed, use, SPLITS.index(seen.split), *sample])
