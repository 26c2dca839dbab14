"""A device search that runs out of memory, or is interrupted, goes on and ends with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import gaussian
from device_searching import brute_force, rows_of, same, search

from rra_cli.errors import UserError
from rra_cli.neighbors import resume
from rra_cli.neighbors.device import memory as device_memory
from rra_cli.neighbors.device import passes as device_passes
from rra_cli.neighbors.device import search as device_search
from rra_cli.neighbors.device.passes import Passes
from rra_cli.neighbors.device.precision import Precision
from rra_cli.neighbors.device.rows import DeviceRows
from rra_cli.neighbors.resume import BlockStore


def failing(limit: int, original: Any, sizes: list[int]) -> Any:
    """Out of memory wherever a strip has more elements than that."""

    def work(*parts: Any) -> Any:
        elements = len(parts[1]) * len(parts[3])
        sizes.append(elements)
        if elements > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return original(*parts)

    return work


@pytest.mark.parametrize("k", [2, 30, 599])
@pytest.mark.parametrize("limit", [300_000, 20_000, 600])
def test_out_of_memory_halves_the_block_and_goes_on(monkeypatch: pytest.MonkeyPatch, limit: int, k: int) -> None:
    x = gaussian(600, 5)
    sizes: list[int] = []
    monkeypatch.setattr(Precision, "lower_bounds", failing(limit, Precision.lower_bounds, sizes))
    found = search(x, k)
    assert max(sizes) > limit
    assert same(found, brute_force(x, k))


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("name", ["smallest", "merged", "direct_distances", "nearest_in_order"])
def test_out_of_memory_at_any_step_leaves_nothing_half_done(
    monkeypatch: pytest.MonkeyPatch, name: str, every: int
) -> None:
    """A strip that is begun again must not put the same rows into a list twice."""
    x = gaussian(600, 5)
    original, calls = getattr(device_passes, name), 0

    def now_and_then(*parts: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % every == 0 and calls < 8 * every:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(*parts)

    monkeypatch.setattr(device_passes, name, now_and_then)
    assert same(search(x, 2, memory=4_000_000), brute_force(x, 2))
    assert calls > every


def test_gives_up_at_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Precision, "lower_bounds", failing(0, Precision.lower_bounds, sizes := []))
    with pytest.raises(UserError, match="cpu ran out of memory with a single row of 5 features at a time\n") as error:
        search(gaussian(60, 5), 4)
    assert error.value.hint == "end what else uses that device, choose another one (device=cuda:1), or use device=cpu"
    assert sizes[-1] == 1


def test_rows_that_do_not_fit_after_all_are_brought_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(200, 5)

    def full(self: DeviceRows, staging: int) -> DeviceRows:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(DeviceRows, "made_resident", full)
    assert device_search.resident_rows(rows_of(x), torch.device("cpu"), 1 << 28).resident is None
    assert same(search(x, 4), brute_force(x, 4))


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, *parts: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Precision, "lower_bounds", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        search(gaussian(60, 5), 4)
    monkeypatch.setattr(DeviceRows, "made_resident", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        search(gaussian(60, 5), 4)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert device_memory.is_out_of_memory(error) == expected


class Interrupted(Exception):
    pass


def test_goes_on_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "EVERY", 0)
    x, store = gaussian(600, 5), BlockStore(tmp_path, "name")
    steps: list[tuple[int, int]] = []

    def stop_half_way(done: int, total: int, note: str = "") -> None:
        steps.append((done, total))
        if done > 300:
            raise Interrupted

    with pytest.raises(Interrupted):
        search(x, 2, memory=2_000_000, progress=stop_half_way, store=store)
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert {total for _, total in steps} == {600}
    kept = sorted(tmp_path.glob("rows_*.state"))
    assert len(kept) == len(steps)
    kept[1].unlink()  # and a gap between the kept ones
    searched: list[slice] = []
    original = Passes.first

    def watching(self: Passes, rows: slice, once: bool) -> Any:
        searched.append(rows)
        return original(self, rows, once)

    monkeypatch.setattr(Passes, "first", watching)
    assert same(search(x, 2, memory=2_000_000, store=store), brute_force(x, 2))
    assert searched[0].start == steps[0][0]
    assert searched[1].start == steps[-1][0]
    searched.clear()
    assert same(search(x, 2, store=store), brute_force(x, 2))
    assert searched == []


def test_kept_blocks_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above: what lies in the store is what comes back."""
    monkeypatch.setattr(resume, "EVERY", 0)
    store = BlockStore(tmp_path, "name")
    store.save(0, np.zeros((10, 2), np.int64), np.full((10, 2), 5.0))
    assert (search(gaussian(60, 5), 2, store=store)[1][:10] == 5.0).all()
