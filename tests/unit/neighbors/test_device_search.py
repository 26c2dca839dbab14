"""Device search equals a float64 brute force by direct difference to the last bit, in every format and any memory.

Everything runs on the CPU; where torch finds a CUDA device it runs there as well.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from brute_force import gaussian
from device_searching import (
    DEVICES,
    FORMATS,
    HARD,
    WITHOUT_CUDA,
    Array,
    brute_force,
    near_duplicates,
    rows_of,
    same,
    search,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.device import precision as device_precision
from rra_cli.neighbors.device import search as device_search
from rra_cli.neighbors.device.precision import Precision
from rra_cli.neighbors.rows import Rows


@st.composite
def data_sets(draw: st.DrawFn) -> Array:
    """Gaussian, integer-valued (many ties) or clustered rows with offset, scale, duplicates and types mixed."""
    n, d, seed = draw(st.integers(2, 60)), draw(st.integers(1, 12)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    match draw(st.sampled_from(["gaussian", "integers", "clusters", "duplicates"])):
        case "integers":
            x = rng.integers(0, 3, (n, d)).astype(float)
        case "clusters":
            x = x * 1e-6 + rng.normal(size=(3, d))[rng.integers(0, 3, n)]
        case "duplicates":
            x = x[rng.integers(0, max(1, n // 3), n)]
    x += draw(st.sampled_from([0.0, 1.0, 1e4]))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    if dtype != np.float16:
        x *= draw(st.sampled_from([1.0, 1e-15, 1e15]))
    return x.astype(dtype)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(x=data_sets(), data=st.data())
def test_equals_brute_force(device: str, x: Array, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(x) - 1))
    memory = data.draw(st.sampled_from([1, 20_000, 300_000, 1 << 28]))
    precision = data.draw(st.sampled_from(FORMATS))
    assert same(search(x, k, device, memory, precision=precision), brute_force(x, k))


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(x=data_sets(), n=st.integers(1, 20), data=st.data())
def test_equals_brute_force_against_a_reference(device: str, x: Array, n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(x)))
    memory = data.draw(st.sampled_from([1, 20_000, 1 << 28]))
    precision = data.draw(st.sampled_from(FORMATS))
    queries = np.concatenate([x[: n // 2], x[: n - n // 2] * x.dtype.type(1.5)])
    assert same(search(queries, k, device, memory, x, precision=precision), brute_force(queries, k, x))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", FORMATS, ids=lambda p: p.name)
@pytest.mark.parametrize("name", HARD)
def test_hard_cases(name: str, precision: Precision, device: str) -> None:
    x, k = HARD[name]
    expected = brute_force(x, k)
    for memory in (1 << 28, 200_000):
        assert same(search(x, k, device, memory, precision=precision), expected)


@pytest.mark.parametrize("name", HARD)
def test_distances_within_1e_12_of_an_independent_sum(name: str) -> None:
    """Whatever the order of additions: exactly rounded sums of the same squares."""
    x, k = HARD[name]
    ids, distances = search(x, k)
    for i in range(0, len(x), 37):
        for j, found in zip(ids[i, :3].tolist(), distances[i], strict=False):
            exact = math.sqrt(math.fsum((x[i].astype(float) - x[j].astype(float)) ** 2))
            assert found == pytest.approx(exact, rel=1e-12, abs=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", FORMATS, ids=lambda p: p.name)
def test_the_size_of_blocks_changes_no_bit(precision: Precision, device: str) -> None:
    x = near_duplicates(700, 33).astype(np.float32)
    first = search(x, 5, device, precision=precision)
    for memory in (5_000_000, 1_000_000, 300_000, 100_000):
        assert same(search(x, 5, device, memory, precision=precision), first)


def test_only_a_range_or_selection_of_the_set() -> None:
    """What a shard asks for, and rows picked by id: the same as those rows of the whole."""
    x = gaussian(300, 8).astype(np.float32)
    expected = brute_force(x, 6)
    references, picked = rows_of(x), np.r_[5:30, 200, 299]
    options = {"device": torch.device("cpu"), "memory": 1 << 24}
    queries = rows_of(x, 1.0, references.centre, picked)
    found = device_search.device_search(queries, references, 6, own=picked, **options)
    assert same(found, (expected[0][picked], expected[1][picked]))

    subset = rows_of(x, 1.0, references.centre, picked)
    for memory in (1 << 24, 1):
        found = device_search.device_search(
            subset, subset, 6, own=np.arange(27), device=torch.device("cpu"), memory=memory
        )
        assert same(found, brute_force(x[picked], 6))


def test_scaled_rows() -> None:
    """A scale that keeps squares within float64 is applied before anything is subtracted."""
    x = gaussian(100, 5) * 2.0**700
    rows = Rows(x, 2.0**-600, (x * 2.0**-600).mean(axis=0))
    found = device_search.device_search(rows, rows, 9, own=np.arange(100), device=torch.device("cpu"), memory=1 << 24)
    assert same(found, brute_force(x * 2.0**-600, 9))


def test_a_memory_map_is_read_without_a_warning(tmp_path: Path) -> None:
    x = gaussian(300, 8).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for memory in (1 << 24, 20_000):
        assert same(search(mapped, 7, memory=memory), brute_force(x, 7))


def test_k_of_zero_and_no_queries() -> None:
    assert search(gaussian(5, 2), 0)[0].shape == (5, 0)
    assert search(np.empty((0, 2)), 3, reference=gaussian(5, 2))[1].shape == (0, 3)


@pytest.mark.parametrize(("reference", "share"), [(None, 0.64), (gaussian(2000, 4), 1.0)])
def test_a_set_against_itself_takes_half_of_the_products(
    monkeypatch: pytest.MonkeyPatch, reference: Array | None, share: float
) -> None:
    x = gaussian(2000, 4)
    elements = 0
    original = Precision.lower_bounds

    def counting(self: Precision, *parts: torch.Tensor) -> torch.Tensor:
        nonlocal elements
        strip = original(self, *parts)
        elements += strip.numel()
        return strip

    monkeypatch.setattr(Precision, "lower_bounds", counting)
    found = search(x, 2, memory=60_000_000, reference=reference)
    assert share * 0.9 <= elements / 2000**2 <= share
    assert same(found, brute_force(x, 2, reference))


@WITHOUT_CUDA
def test_cuda_equals_the_cpu_to_the_last_bit() -> None:
    x = near_duplicates(3000, 200).astype(np.float32)
    expected = search(x, 20)
    for precision in (None, *device_precision.usable(torch.device("cuda"))):
        assert same(search(x, 20, "cuda", precision=precision), expected)


@WITHOUT_CUDA
@pytest.mark.parametrize("name", [name for name in HARD if name != "d = 131,072"])
def test_exact_neighbors_on_cuda(name: str) -> None:
    """Through the public function, duplicates grouped and all; the CPU's distances are summed in another order."""
    x, k = HARD[name]
    found, expected = exact_neighbors(x, k, device="cuda"), exact_neighbors(x, k)
    assert np.allclose(found.distances, expected.distances, rtol=1e-12, atol=0)
    assert np.array_equal(found.indices, brute_force(x, k)[0])


@WITHOUT_CUDA
def test_a_full_gpu_is_survived() -> None:
    device = torch.device("cuda")
    x = gaussian(4000, 64).astype(np.float32)
    expected = search(x, 5, "cuda")
    free, _ = torch.cuda.mem_get_info(device)
    taken = torch.empty(int(free * 0.97) - (100 << 20), dtype=torch.uint8, device=device)
    found = search(x, 5, "cuda")
    del taken
    assert same(found, expected)
