"""What is done to activations before their neighbours are searched: centred, scaled, normalised or whitened.

A transform is fitted to the samples that neighbours come from, and applied to them and to any others that are compared
with them:

    transform = fit("zscore", training_samples)
    graph = exact_neighbors(transform.apply(test_samples), k, reference=transform.apply(training_samples))
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rra_cli.core import files
from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import check_disk, format_bytes
from rra_cli.errors import did_you_mean
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.rows import as_matrix
from rra_cli.neighbors.transforms.moments import fixed_blocks, moments
from rra_cli.neighbors.transforms.transform import Centre, Transform, Unchanged, UnitNorm, Whitening, ZScore
from rra_cli.neighbors.transforms.whitening import whitening_axes

Preprocess = Literal["none", "centre", "zscore", "l2", "whitening"]

SCRATCH = "preprocessed.bin"


def fit(name: Preprocess, reference: ArrayLike, *, memory: int | str | None = None) -> Transform:
    """The transform of that name with the statistics of `reference` `(n, features)`, an array or a memory map.

    name: `none`, `centre`, `zscore`, `l2` or `whitening`. memory: bytes that whitening may take (default: a quarter of
    what is free); the others take a few blocks of 8 MB. The statistics do not depend on memory or threads.

    Raises `InputError` for another name, for samples that are not real, finite and 2-D, and for what whitening cannot
    do; `DegenerateError` (one of them) where whitened samples would have no neighbourhoods.
    """
    if name not in get_args(Preprocess):
        raise InputError(f"there is no preprocessing {name!r}: {did_you_mean(str(name), get_args(Preprocess))}")
    data = as_matrix(reference, "reference")
    features, dtype = int(data.shape[1]), _result_dtype(data.dtype)
    if name == "none":
        return Unchanged(features, data.dtype)
    if name == "l2":
        return UnitNorm(features, dtype)
    found = moments(data)
    if name == "centre":
        return Centre(features, dtype, found)
    if name == "zscore":
        return ZScore(features, dtype, found)
    budget = workspace(memory)
    return Whitening(features, dtype, found, whitening_axes(data, found, budget))


@contextmanager
def preprocessed(
    name: Preprocess,
    activations: NDArray[Any],
    *,
    memory: int | str | None = None,
    work: Path | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[NDArray[Any], Transform]]:
    """The activations `(n, features)` after the transform fitted to them, and the transform, while in the context.

    `none` gives the array itself. Others are copies: in memory up to an eighth of `memory` bytes (default: a quarter of
    what is free), or all of it without a folder; larger ones in a file in the folder `work`, removed on leaving. The
    numbers are the same either way, and equal rows stay equal to the last bit.

    Raises as `fit` does, `InputError` where it fits neither in memory nor is there a folder, `UserError` where the disk
    is too small.
    """
    budget = workspace(memory)
    transform = fit(name, activations, memory=budget)
    if name == "none":
        yield activations, transform
        return
    data = as_matrix(activations)
    shape = (len(data), transform.n_directions)
    size = shape[0] * shape[1] * transform.dtype.itemsize
    if size <= budget // (8 if work else 1):
        rows = np.empty(shape, transform.dtype)
        for start, block in _blocks(transform, data, rows.__getitem__, progress):
            rows[start : start + len(block)] = block
        yield rows, transform
        return
    if work is None:
        raise InputError(
            f"the activations after {name} take {format_bytes(size)}, {format_bytes(budget)} of memory are allowed",
            "allow more memory, or give a folder for them (work)",
        )
    check_disk(work, size, f"a copy of the activations after {name}")
    path = work / SCRATCH
    try:
        _write(path, transform, data, progress)
        yield np.memmap(path, transform.dtype, "r", shape=shape), transform
    finally:
        files.remove(path)


def _write(path: Path, transform: Transform, data: NDArray[Any], progress: Progress) -> None:
    """The transformed rows as a file of plain numbers.

    By writes rather than through a memory map: a full disk is then an error and not a signal that ends the process.
    """
    width = transform.n_directions * transform.dtype.itemsize
    with files.explained(path, len(data) * width), open(path, "w+b", buffering=0) as file:

        def written(row: int) -> NDArray[Any]:
            return np.frombuffer(os.pread(file.fileno(), width, row * width), transform.dtype)

        for _, block in _blocks(transform, data, written, progress):
            rest = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
            while rest:
                rest = rest[file.write(rest) :]


def _blocks(
    transform: Transform, data: NDArray[Any], written: Callable[[int], NDArray[Any]], progress: Progress
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Transformed blocks with their first row. written: gives a row of the blocks before."""
    # A matrix product may round equal rows differently, by their place in the block.
    first = _first_of_equals(data) if isinstance(transform, Whitening) else {}
    for start, stop in fixed_blocks(len(data), max(transform.n_features, transform.n_directions)):
        block = transform.apply(data[start:stop])
        for row in range(start, stop) if first else ():
            earlier = first.get(row)
            if earlier is not None:
                block[row - start] = block[earlier - start] if earlier >= start else written(earlier)
        yield start, block
        progress(stop, len(data), "preprocessing")


def _first_of_equals(data: NDArray[Any]) -> dict[int, int]:
    """Row -> the first row that equals it, for rows that have an earlier equal."""
    rows: dict[bytes, int] = {}
    found: dict[int, int] = {}
    for start, stop in fixed_blocks(*data.shape):
        block = data[start:stop]
        # Adding zero makes -0.0 a 0.0, so that equal rows have equal bytes.
        for row, values in enumerate(np.ascontiguousarray(block + np.zeros((), block.dtype)), start):
            first = rows.setdefault(hashlib.blake2b(values, digest_size=16).digest(), row)
            if first != row:
                found[row] = first
    return found


def _result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    small = dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return np.dtype(np.float32 if small else np.float64)
