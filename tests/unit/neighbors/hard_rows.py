"""Rows that are hard to search: beside a large column, zero, constant or repeated ones."""

from __future__ import annotations

import numpy as np
from brute_force import gaussian
from numpy.typing import NDArray


def with_dominating_column(n: int) -> NDArray[np.float64]:
    x = gaussian(n, 10)
    x[:, 0] *= 1e8
    return x


def with_zero_rows_and_constant_columns(n: int) -> NDArray[np.float64]:
    x = gaussian(n, 10)
    x[:, 3], x[:, 7] = 5.0, -1e4
    x[[7, 90, 91]] = 0
    return x


def with_duplicates(n: int) -> NDArray[np.float64]:
    """80 copies of the first row, 20 of row 199."""
    x = gaussian(n, 10)
    x[:80], x[150:170] = x[0], x[199]
    return x
