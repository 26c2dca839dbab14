"""Sums, selections and merges of a device search, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from brute_force import gaussian
from device_searching import DEVICES, folded_distances, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rra_cli.neighbors.device.direct import direct_distances, sum_of_squares
from rra_cli.neighbors.device.passes import gaps, hide
from rra_cli.neighbors.device.rows import DeviceRows
from rra_cli.neighbors.device.select import merged, nearest_in_order, nearest_of_pairs, smallest


@pytest.mark.parametrize("d", [1, 2, 3, 7, 64, 100, 1025])
def test_sum_of_squares(d: int) -> None:
    values = torch.from_numpy(gaussian(6, d))
    expected = np.square(values.numpy()).sum(axis=1)
    assert np.allclose(sum_of_squares(values.clone()).numpy(), expected, rtol=1e-15 * 8, atol=0)
    assert torch.equal(sum_of_squares(torch.ones(4, d, dtype=torch.float64)), torch.full((4,), float(d)).double())


@pytest.mark.parametrize("device", DEVICES)
def test_direct_distances_are_the_same_in_any_chunk_and_direction(device: str) -> None:
    x = gaussian(50, 77).astype(np.float32)
    rows = DeviceRows.streamed(rows_of(x), torch.device(device))
    everything = torch.arange(50, device=device).expand(50, -1)
    expected = folded_distances(x, x)
    for part in (rows, rows.made_resident(1000)):
        for workspace in (1, 30_000, 1 << 24):
            found = direct_distances(part, slice(0, 50), part, everything, workspace).cpu().numpy()
            assert np.array_equal(found, expected)
            assert np.array_equal(found, found.T)
            some = torch.tensor([3, 49, 0], device=device)
            assert np.array_equal(
                direct_distances(part, some, part, everything[:3], workspace).cpu().numpy(), expected[[3, 49, 0]]
            )


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(columns=st.integers(1, 3000), share=st.floats(0, 1), values=st.sampled_from([3, 10**6]), flip=st.booleans())
def test_smallest(device: str, columns: int, share: float, values: int, flip: bool) -> None:
    m = max(1, round(columns * share**4))
    plain = np.random.default_rng(columns).integers(0, values, (3, columns)).astype(float)
    strip = torch.from_numpy(plain).to(device)
    found, at = smallest(strip.T.contiguous().T if flip else strip, m)
    assert np.array_equal(np.sort(found.cpu().numpy(), axis=1), np.sort(plain, axis=1)[:, :m])
    assert torch.equal(strip.gather(1, at), found)
    assert (np.diff(np.sort(at.cpu().numpy(), axis=1), axis=1) > 0).all()


def test_merged() -> None:
    one = (torch.tensor([[3.0, 1.0]]), torch.tensor([[30, 10]]))
    other = (torch.tensor([[2.0]]), torch.tensor([[20]]))
    assert merged(None, one, 2) == one
    values, ids = merged(one, other, 2)
    assert sorted(zip(values[0].tolist(), ids[0].tolist(), strict=True)) == [(1.0, 10), (2.0, 20)]
    assert merged(one, other, 5)[0].shape == (1, 3)


def test_ties_go_to_the_lower_id() -> None:
    distances, ids = torch.tensor([[2.0, 1.0, 1.0, 0.5]]), torch.tensor([[4, 5, 6, 9]])
    assert nearest_in_order(distances, ids, 3)[0].tolist() == [[9, 5, 6]]
    rows = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    flat = torch.tensor([2.0, 1.0, 1.0, 0.5, 7.0, 7.0, 7.0])
    found, lengths = nearest_of_pairs(rows, torch.tensor([4, 5, 6, 9, 0, 2, 8]), flat, 2, 3)
    assert found.tolist() == [[9, 5, 6], [0, 2, 8]]
    assert lengths.tolist() == [[0.5, 1.0, 1.0], [7.0, 7.0, 7.0]]


def test_hide_and_gaps() -> None:
    strip = torch.zeros(4, 3)
    hide(strip, torch.tensor([0, 2, 3, -1]))
    assert strip.isinf().nonzero().tolist() == [[0, 0], [1, 2]]
    assert gaps([(2, 4), (4, 6), (9, 12)], 12) == [(0, 2), (6, 9)]
    assert gaps([], 3) == [(0, 3)]
