"""Device search equals a float64 brute force by direct difference to the last bit, in every format and any memory.

Everything runs on the CPU; where torch finds a CUDA device it runs there as well.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import gaussian
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.errors import UserError
from rra_cli.neighbors import exact_neighbors, resume
from rra_cli.neighbors.device import memory as device_memory
from rra_cli.neighbors.device import passes as device_passes
from rra_cli.neighbors.device import precision as device_precision
from rra_cli.neighbors.device import rows as device_rows
from rra_cli.neighbors.device import search as device_search
from rra_cli.neighbors.device.direct import direct_distances, sum_of_squares
from rra_cli.neighbors.device.passes import Passes, gaps, hide
from rra_cli.neighbors.device.precision import BFLOAT16, FLOAT32, FLOAT64, PRECISIONS, Precision, Rates
from rra_cli.neighbors.device.rows import DeviceRows, Operand
from rra_cli.neighbors.device.select import merged, nearest_in_order, nearest_of_pairs, smallest
from rra_cli.neighbors.resume import BlockStore
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


def near_duplicates(n: int, d: int, relative: float = 1e-6) -> Array:
    return np.concatenate([gaussian(n // 2, d), gaussian(n // 2, d) * (1 + relative)])


def with_dominating_column() -> Array:
    x = gaussian(300, 10)
    x[:, 0] *= 1e8
    return x


def with_zero_rows_and_constant_columns() -> Array:
    x = gaussian(300, 10)
    x[:, 3], x[:, 7] = 5.0, -1e4
    x[[7, 90, 91]] = 0
    return x


def with_duplicates() -> Array:
    x = gaussian(300, 10)
    x[:80], x[150:170] = x[0], x[199]
    return x


HARD = {
    "gaussian": (gaussian(300, 20), 10),
    "common offset 1e4": (gaussian(300, 20) + 1e4, 10),
    "common offset 1e4 float32": ((gaussian(300, 20) + 1e4).astype(np.float32), 10),
    "many duplicates": (with_duplicates(), 20),
    "all rows equal": (np.full((40, 5), 0.1), 7),
    "near-duplicates": (near_duplicates(300, 20), 10),
    "simplex": (np.eye(150), 20),
    "shifted simplex": (np.eye(150) * 0.3 + 1e4, 20),
    "scale 1e15": (gaussian(300, 10) * 1e15, 10),
    "scale 1e-15": (gaussian(300, 10) * 1e-15, 10),
    "dominating column": (with_dominating_column(), 10),
    "one far outlier": (np.concatenate([gaussian(300, 10), np.full((1, 10), 1e9)]), 10),
    "zero rows, constant columns": (with_zero_rows_and_constant_columns(), 10),
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


# Each pair once.


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


# The certificate.


@pytest.mark.parametrize("precision", FORMATS, ids=lambda p: p.name)
@pytest.mark.parametrize("name", [name for name in HARD if name != "d = 131,072"])
def test_lower_bounds_are_below_the_true_distances(name: str, precision: Precision) -> None:
    """Against exact rational arithmetic, for every pair of some rows."""
    x = HARD[name][0][:12]
    rows = DeviceRows.streamed(rows_of(x), torch.device("cpu"))
    unit = device_rows.common_unit([rows], 5)
    operand = Operand.prepare(rows, precision, unit, 5, keep=False)
    tile = operand.tile(slice(0, len(x)))
    bounds = precision.lower_bounds(tile * -2, operand.lowered, tile, operand.lowered)
    errors = operand.errors[:, None] + operand.errors
    lower = device_passes.lower_distances(bounds, errors, operand).tolist()
    for i in range(len(x)):
        for j in range(len(x)):
            square = sum(
                ((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(x[i], x[j], strict=True)), Fraction(0)
            )
            assert lower[i][j] <= 0 or Fraction(lower[i][j]) ** 2 <= square * Fraction(unit) ** 2


def test_most_rows_are_certified_by_the_first_pass() -> None:
    """Or the search would be a brute force in disguise."""
    for x in (gaussian(1000, 200), gaussian(1000, 8) @ gaussian(8, 200, 1)):
        for precision, least in ((FLOAT64, 1.0), (FLOAT32, 0.99), (BFLOAT16, 0.9)):
            assert device_search.certified_in_sample(passes_of(x, 10, precision)) >= least


def passes_of(x: Array, k: int, precision: Precision = FLOAT64, memory: int = 1 << 28) -> Passes:
    rows = DeviceRows.streamed(rows_of(x), torch.device("cpu"))
    work = device_memory.Workspace(torch.device("cpu"), memory, x.shape[1])
    return Passes(rows, rows, k, np.arange(len(x)), work, precision)


@pytest.mark.parametrize("precision", FORMATS, ids=lambda p: p.name)
def test_a_broken_bound_of_the_products_is_caught(monkeypatch: pytest.MonkeyPatch, precision: Precision) -> None:
    """Negative control: two clusters, in which distances are smaller than the error of products of such rows."""
    x = two_clusters(400, 3, 1e3, 500 * math.sqrt(precision.roundoff))
    expected = brute_force(x, 4)
    assert same(search(x, 4, precision=precision), expected)
    monkeypatch.setattr(Precision, "slack", lambda self, features: 0.0)
    monkeypatch.setattr(device_rows, "norms_and_errors", without_errors(-1.0))
    assert not same(search(x, 4, precision=precision), expected)


def test_a_forgotten_error_of_rounded_inputs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the products are exact, one feature each, but those of other rows."""
    exact = Precision("bfloat16", torch.bfloat16, torch.float32, 2.0**-30)
    x = np.random.default_rng(0).random((2000, 1))
    expected = brute_force(x, 4)
    assert same(search(x, 4, precision=exact), expected)
    monkeypatch.setattr(device_rows, "norms_and_errors", without_errors(0.0))
    assert not same(search(x, 4, precision=exact), expected)


def two_clusters(n: int, d: int, offset: float, width: float) -> Array:
    """Gaussian clusters at plus and minus `offset` of the first feature."""
    x = width * gaussian(n, d)
    x[:, 0] += np.repeat([-offset, offset], n // 2)
    return x


def without_errors(value: float) -> Any:
    original = device_rows.norms_and_errors

    def broken(x: torch.Tensor, rounded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norms, errors = original(x, rounded)
        return norms, torch.full_like(errors, value)

    return broken


# Formats.


@pytest.mark.parametrize("device", DEVICES)
def test_the_formats_of_this_device_keep_their_bounds(device: str) -> None:
    assert FLOAT64 in device_precision.usable(torch.device(device))
    assert device_precision.keeps_its_bound(FLOAT32, torch.device(device))
    if device == "cpu":
        assert device_precision.keeps_its_bound(BFLOAT16, torch.device(device))


class Rounding(Precision):
    """Says float32 and multiplies bfloat16, as a GPU does with TF32 or worse switched on."""

    def lower_bounds(self, left: torch.Tensor, a: torch.Tensor, right: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return super().lower_bounds(left.bfloat16().float(), a, right.bfloat16().float(), b)


class Truncating(Precision):
    """Cuts sums to 13 bits now and then, as some 8-bit tensor cores do."""

    def lower_bounds(self, left: torch.Tensor, a: torch.Tensor, right: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        total = super().lower_bounds(left[:, :8], a, right[:, :8], b)
        for at in range(8, left.shape[1], 8):
            total += super().lower_bounds(left[:, at : at + 8], a, right[:, at : at + 8], b)
            total = (total.view(torch.int32) & ~0x3FF).view(torch.float32)
        return total


@pytest.mark.parametrize("broken", [Rounding, Truncating])
def test_a_format_that_does_not_keep_its_bound_is_found_out(broken: type[Precision]) -> None:
    """Negative control."""
    assert not device_precision.keeps_its_bound(
        broken("broken", torch.float32, torch.float32, 2.0**-24), torch.device("cpu")
    )


def test_a_format_that_the_device_lacks_is_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(self: Precision, *parts: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(Precision, "lower_bounds", lacking)
    assert not device_precision.keeps_its_bound(BFLOAT16, torch.device("cpu"))


def test_float32_products_are_ieee_within_and_restored_after() -> None:
    cuda: Any = torch.backends.cuda.matmul
    before = cuda.fp32_precision
    cuda.fp32_precision = "tf32"
    try:
        with device_precision.ieee_products():
            assert cuda.fp32_precision == "ieee"
            assert not cuda.allow_bf16_reduced_precision_reduction
        assert cuda.fp32_precision == "tf32"
        assert cuda.allow_bf16_reduced_precision_reduction
    finally:
        cuda.fp32_precision = before


# A fast double-precision unit; one 64 times slower, as on consumer cards; tensor cores on top.
DATA_CENTER = Rates({"float64": 1.0, "float32": 1.0, "bfloat16": 1 / 15}, 0.02)
CONSUMER = Rates({"float64": 64.0, "float32": 1.0, "bfloat16": 1 / 4}, 0.02)


@pytest.mark.parametrize(
    ("rates", "formats", "offset", "expected"),
    [
        (DATA_CENTER, FORMATS, 0, BFLOAT16),
        (DATA_CENTER, [FLOAT32, FLOAT64], 0, FLOAT64),
        (DATA_CENTER, FORMATS, 150, FLOAT64),
        (CONSUMER, FORMATS, 0, BFLOAT16),
        (CONSUMER, FORMATS, 150, FLOAT32),
        (CONSUMER, FORMATS, 1e6, FLOAT64),
        (CONSUMER, [FLOAT64], 0, FLOAT64),
    ],
)
def test_the_format_follows_from_rates_and_from_what_it_certifies(
    rates: Rates, formats: list[Precision], offset: float, expected: Precision
) -> None:
    """Clusters far apart: distances in them are too small for bfloat16's certificate, at last for float32's."""
    passes = passes_of(two_clusters(1000, 20, offset, 1.0), 10)
    device_search.pick(passes, rates, formats)
    assert passes.precision is expected


def test_rates_are_measured() -> None:
    rates = device_precision.measured_rates(torch.device("cpu"))
    assert set(rates.product) == {p.name for p in device_precision.usable(torch.device("cpu"))}
    assert all(seconds > 0 for seconds in (*rates.product.values(), rates.byte))
    assert rates.per_pair(FLOAT64, 2000) > rates.per_pair(FLOAT64, 1000)


# Memory.


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


# Progress and resume.


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


# Parts.


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


# On a GPU.


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
