"""Direct differences: bit-equal to numpy's own, whatever the chunk, the thread count and the data type."""

from __future__ import annotations

import numpy as np
import pytest
from brute_force import gaussian

from rra_cli.neighbors.direct import direct_distances


@pytest.mark.parametrize("d", [1, 2, 7, 64, 1500])
def test_same_bits_whatever_the_chunk_and_threads(d: int) -> None:
    x = gaussian(40, d).astype(np.float32)
    a, b = np.divmod(np.arange(1600), 40)
    expected = np.sqrt([((x[j].astype(float) - x[i].astype(float)) ** 2).sum() for i, j in zip(a, b, strict=True)])
    for threads, memory in [(1, None), (1, 1), (3, None), (3, 20_000)]:
        assert np.array_equal(direct_distances(x, a, x, b, threads=threads, memory=memory), expected)


def test_symmetric_to_the_last_bit() -> None:
    x = gaussian(30, 33)
    a, b = np.divmod(np.arange(900), 30)
    assert np.array_equal(direct_distances(x, a, x, b), direct_distances(x, b, x, a))


def test_a_common_offset_costs_nothing() -> None:
    """3-4-5 triangle at 1e9: right by difference, while the float64 expansion can only say 0 or 256."""
    x = np.array([[0.0, 0.0], [3.0, 4.0]]) + 1e9 + 1 / 3
    found = direct_distances(x, np.array([0]), x, np.array([1]))[0]
    assert found == pytest.approx(5.0, rel=1e-6)
    assert abs((x[0] @ x[0] + x[1] @ x[1] - 2 * x[0] @ x[1]) - 25) > 1
