"""What all probes have in common: predictions of a test split become an accuracy that can be defended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.metric import SplitData
from rra_cli.neighbors.graph import InputError

_BLOCK_BYTES = 32 << 20


def accuracy(
    predicted: NDArray[np.int64],
    train_labels: NDArray[np.int64],
    test_labels: NDArray[np.int64],
    *,
    details: Mapping[str, Any] = MappingProxyType({}),
) -> Estimate:
    """The fraction of test samples whose predicted label is their own, in [0, 1].

    predicted, test_labels: `(n,)`; train_labels: `(m,)`. per_sample: `(n,)` 1 where it is right, else 0. std_error:
    sqrt(p (1 - p) / n), of n independent draws (binomial); it does not hold the scatter of the probe's own training.
    chance: of the answer that looks at nothing, the most frequent class of the training split (of several the lowest).
    A test label that the training split lacks counts as wrong. Without a value where that holds for all of them.
    """
    if not np.isin(test_labels, train_labels).any():
        return undefined("no class of the test split occurs in the training split")
    right = (predicted == test_labels).astype(np.float64)
    n, value = len(right), float(right.mean())
    return Estimate(
        value,
        per_sample=right,
        std_error=sqrt(value * (1.0 - value) / n),
        chance=float((test_labels == most_frequent(train_labels)).mean()),
        n_used=n,
        details=details,
    )


def most_frequent(labels: NDArray[np.int64]) -> int:
    """The most frequent label; of several the lowest."""
    classes, counts = np.unique(labels, return_counts=True)
    return int(classes[counts.argmax()])


def checked(train: SplitData, test: SplitData) -> None:
    """Raises `InputError` unless both splits have samples, a label for each, and the same features."""
    for name, split in (("train", train), ("test", test)):
        shape = np.shape(split.activations)
        if len(shape) != 2 or shape[0] < 1 or shape[1] < 1 or np.shape(split.labels) != shape[:1]:
            raise InputError(
                f"{name} must have activations (n, features) and labels (n,), got {shape} and {np.shape(split.labels)}"
            )
    if train.activations.shape[1] != test.activations.shape[1]:
        raise InputError(
            f"train and test must have the same features, got {train.activations.shape[1]} and "
            f"{test.activations.shape[1]}"
        )


def coded(labels: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The classes, ascending `(C,)`, and of every sample the position of its own `(n,)`."""
    classes, codes = np.unique(np.asarray(labels, np.int64), return_inverse=True)
    return classes, codes.astype(np.int64)


def row_blocks(n: int, row_bytes: int) -> Iterator[slice]:
    """Consecutive rows of about 32 MB at most, the same division on every machine, as sums depend on it.

    By multiples of 16 rows: every block of a float32 array then begins at a multiple of 64 bytes, as the array does.
    Where it begins may change the last bits of a product.
    """
    step = 16 * max(1, _BLOCK_BYTES // max(1, 16 * row_bytes))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))
