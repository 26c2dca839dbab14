"""What the first pass of a device search certifies is so, in every format that keeps its bounds."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from brute_force import gaussian
from device_searching import DEVICES, FORMATS, HARD, brute_force, passes_of, rows_of, same, search, two_clusters

from rra_cli.neighbors.device import passes as device_passes
from rra_cli.neighbors.device import precision as device_precision
from rra_cli.neighbors.device import rows as device_rows
from rra_cli.neighbors.device import search as device_search
from rra_cli.neighbors.device.precision import BFLOAT16, FLOAT32, FLOAT64, Precision, Rates
from rra_cli.neighbors.device.rows import DeviceRows, Operand


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


def without_errors(value: float) -> Any:
    original = device_rows.norms_and_errors

    def broken(x: torch.Tensor, rounded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norms, errors = original(x, rounded)
        return norms, torch.full_like(errors, value)

    return broken


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
