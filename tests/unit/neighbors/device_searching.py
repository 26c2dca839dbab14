"""A search on a device, what it has to equal to the last bit, and the data that are hard for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import gaussian
from hard_rows import with_dominating_column, with_duplicates, with_zero_rows_and_constant_columns
from numpy.typing import NDArray

from rra_cli.neighbors.device import memory as device_memory
from rra_cli.neighbors.device import search as device_search
from rra_cli.neighbors.device.passes import Passes
from rra_cli.neighbors.device.precision import FLOAT64, PRECISIONS, Precision
from rra_cli.neighbors.device.rows import DeviceRows
from rra_cli.neighbors.rows import Rows

Array = NDArray[Any]
Found = tuple[NDArray[np.int64], NDArray[np.float64]]
WITHOUT_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device on this machine")
DEVICES = ["cpu", pytest.param("cuda", marks=WITHOUT_CUDA)]
FORMATS = list(PRECISIONS.values())


def rows_of(x: Array, scale: float = 1.0, centre: NDArray[np.float64] | None = None, ids: Any = None) -> Rows:
    plain = x.astype(np.float64)
    return Rows(x, scale, (plain * scale).mean(axis=0) if centre is None else centre, ids)


def search(
    x: Array, k: int, device: str = "cpu", memory: int = 1 << 28, reference: Array | None = None, **how: Any
) -> Found:
    references = rows_of(x if reference is None else reference)
    queries = references if reference is None else rows_of(x, 1.0, references.centre)
    own = np.arange(len(x)) if reference is None else None
    return device_search.device_search(
        queries, references, k, own=own, device=torch.device(device), memory=memory, **how
    )


def folded_distances(x: Array, y: Array) -> NDArray[np.float64]:
    """Direct differences; squares added as the upper half to the lower one of a row filled up to a power of two."""
    found = np.empty((len(x), len(y)))
    width = 1 << math.ceil(math.log2(y.shape[1]))
    for i, row in enumerate(x.astype(np.float64)):
        squares = np.zeros((len(y), width))
        squares[:, : y.shape[1]] = (row - y.astype(np.float64)) ** 2
        while squares.shape[1] > 1:
            squares = np.add(*np.split(squares, 2, axis=1))
        found[i] = np.sqrt(squares[:, 0])
    return found


def brute_force(x: Array, k: int, reference: Array | None = None) -> Found:
    distances = folded_distances(x, x if reference is None else reference)
    if reference is None:
        np.fill_diagonal(distances, np.inf)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(distances, ids, 1)


def same(one: Found, other: Found) -> bool:
    return np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def near_duplicates(n: int, d: int, relative: float = 1e-6) -> Array:
    return np.concatenate([gaussian(n // 2, d), gaussian(n // 2, d) * (1 + relative)])


HARD = {
    "gaussian": (gaussian(300, 20), 10),
    "common offset 1e4": (gaussian(300, 20) + 1e4, 10),
    "common offset 1e4 float32": ((gaussian(300, 20) + 1e4).astype(np.float32), 10),
    "many duplicates": (with_duplicates(300), 20),
    "all rows equal": (np.full((40, 5), 0.1), 7),
    "near-duplicates": (near_duplicates(300, 20), 10),
    "simplex": (np.eye(150), 20),
    "shifted simplex": (np.eye(150) * 0.3 + 1e4, 20),
    "scale 1e15": (gaussian(300, 10) * 1e15, 10),
    "scale 1e-15": (gaussian(300, 10) * 1e-15, 10),
    "dominating column": (with_dominating_column(300), 10),
    "one far outlier": (np.concatenate([gaussian(300, 10), np.full((1, 10), 1e9)]), 10),
    "zero rows, constant columns": (with_zero_rows_and_constant_columns(300), 10),
    "tiny cluster beside large values": (np.concatenate([gaussian(100, 5) * 1e-150, np.ones((1, 5))]), 10),
    "N = 2": (gaussian(2, 5), 1),
    "k = N - 1": (gaussian(200, 20), 199),
    "k just below": (gaussian(200, 20), 190),
    "d = 1": (gaussian(300, 1), 30),
    "d = 131,072": (gaussian(12, 131_072).astype(np.float32), 3),
    "grid with rounded ties": (np.stack(np.meshgrid(*[np.arange(6) * 0.1] * 3), -1).reshape(-1, 3), 25),
    "negative integers": (np.random.default_rng(0).integers(-128, 128, (200, 3), dtype=np.int8), 20),
    "pixels": (np.random.default_rng(0).integers(0, 256, (200, 3), dtype=np.uint8), 20),
    "uint16": (np.random.default_rng(0).integers(0, 65536, (200, 3), dtype=np.uint16), 20),
    "int64": (np.random.default_rng(0).integers(-(2**50), 2**50, (200, 3)), 20),
    "big-endian": (gaussian(200, 5).astype(">f4"), 10),
    "transposed": (gaussian(5, 200).T, 10),
    "half precision": (gaussian(300, 20).astype(np.float16), 10),
}


def passes_of(x: Array, k: int, precision: Precision = FLOAT64, memory: int = 1 << 28) -> Passes:
    rows = DeviceRows.streamed(rows_of(x), torch.device("cpu"))
    work = device_memory.Workspace(torch.device("cpu"), memory, x.shape[1])
    return Passes(rows, rows, k, np.arange(len(x)), work, precision)


def two_clusters(n: int, d: int, offset: float, width: float) -> Array:
    """Gaussian clusters at plus and minus `offset` of the first feature."""
    x = width * gaussian(n, d)
    x[:, 0] += np.repeat([-offset, offset], n // 2)
    return x
