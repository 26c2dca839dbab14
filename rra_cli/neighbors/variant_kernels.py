"""Compiled: common ids of sorted lists of any length, and what two random sets of given sizes have in common."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def shared_of_rows(
    starts_a: NDArray[np.int64], ids_a: NDArray[np.int32], starts_b: NDArray[np.int64], ids_b: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Of every row the number of ids in both of its ascending lists."""
    n = len(starts_a) - 1
    found = np.zeros(n, np.int64)
    for row in range(n):
        i, j = starts_a[row], starts_b[row]
        end_i, end_j = starts_a[row + 1], starts_b[row + 1]
        while i < end_i and j < end_j:
            if ids_a[i] == ids_b[j]:
                found[row] += 1
                i += 1
                j += 1
            elif ids_a[i] < ids_b[j]:
                i += 1
            else:
                j += 1
    return found


@njit(nogil=True, cache=True)
def expected_iou_of_sizes(a: NDArray[np.int64], b: NDArray[np.int64], others: int) -> NDArray[np.float64]:
    """Mean c / (a + b - c), c ~ Hypergeometric(others, a, b), from its mode outwards until nothing is added."""
    found = np.empty(len(a))
    for at in range(len(a)):
        m, k = a[at], b[at]
        if m + k == 0:
            found[at] = np.nan
            continue
        low, high = max(0, m + k - others), min(m, k)
        mode = min(high, max(low, (m + 1) * (k + 1) // (others + 2)))
        total, value = 1.0, mode / (m + k - mode)
        weight = 1.0
        for c in range(mode, high):
            weight *= (m - c) * (k - c) / ((c + 1.0) * (others - m - k + c + 1.0))
            total += weight
            value += weight * (c + 1) / (m + k - c - 1)
            if weight < 1e-18:
                break
        weight = 1.0
        for c in range(mode, low, -1):
            weight *= c * (others - m - k + float(c)) / ((m - c + 1.0) * (k - c + 1.0))
            total += weight
            value += weight * (c - 1) / (m + k - c + 1)
            if weight < 1e-18:
                break
        found[at] = value / total
    return found
