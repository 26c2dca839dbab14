"""Number formats of the first pass on a device: what each guarantees, how fast it is there, which one pays.

For rows x, y and what a format makes of them, x' and y', two things are certain: |d(x, y) - d(x', y')| is at most
|x - x'| + |y - y'|, and a product of d features accumulated with unit roundoff u is off by at most
g |x'||y'|, g = d u / (1 - d u), whatever the order of summation (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1). The format decides how many rows get by with the first pass, never the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

DOUBLE_ROUNDOFF = 2.0**-53


@dataclass(frozen=True)
class Precision:
    """A format of matrix products: the type of their inputs, and the type and unit roundoff of their sums."""

    name: str
    inputs: torch.dtype
    sums: torch.dtype
    roundoff: float

    def slack(self, features: int) -> float:
        """Certified error of a squared distance |x'|^2 + |y'|^2 - 2 x'.y', relative to |x'|^2 + |y'|^2.

        The norms may enter the sums of the product at any place, hence twice g: the magnitudes that are added up are
        at most 2 (|x'|^2 + |y'|^2). Sixteen more roundings than features cover the conversions of the norms, which
        are themselves sums in float64.
        """
        terms = features + 16
        return 2 * relative_error(terms, self.roundoff) + relative_error(terms, DOUBLE_ROUNDOFF)

    def underflow(self, features: int) -> float:
        """Certified error of the same from results too small for the format, where the largest norm is below 1."""
        return 8.0 * (features + 16) * torch.finfo(self.sums).tiny

    def candidates(self, k: int) -> int:
        """How many of the nearest by this format are listed, so that most rows' lists hold the k nearest for certain.

        bfloat16 needs 1.06-1.34 k on the layers of convolutional networks.
        """
        extra = {"float64": max(2, k // 64), "float32": max(4, k // 16)}.get(self.name, max(8, 2 * k // 5))
        return k + extra

    def lower_bounds(
        self, left: torch.Tensor, left_norms: torch.Tensor, right: torch.Tensor, right_norms: torch.Tensor
    ) -> torch.Tensor:
        """Certified lower bounds (apart from underflow) of |x' - y'|^2, `(rows, columns)` in the type of the sums.

        left: rows of -2 x', right: rows of y'. norms: squared, times (1 - slack), in the type of the sums.
        """
        if self.inputs == self.sums:
            return (left_norms[:, None] + right_norms).addmm_(left, right.T)
        if left.is_cuda:
            products = torch.mm(left, right.T, out_dtype=self.sums)
        else:  # the same inputs, exactly
            products = left.to(self.sums) @ right.to(self.sums).T
        return products.add_(left_norms[:, None]).add_(right_norms)


FLOAT64 = Precision("float64", torch.float64, torch.float64, DOUBLE_ROUNDOFF)
FLOAT32 = Precision("float32", torch.float32, torch.float32, 2.0**-24)
# Tensor cores align the addends of a sum and cut off what lies below the last bits of the largest (Fasi, Higham,
# Mikaitis and Pranesh 2021, doi:10.7717/peerj-cs.330; Khattak and Mikaitis 2025, arXiv:2512.07004). NVIDIA does not
# document it, so four times float32's roundoff is assumed, and `keeps_its_bound` tries it on the device.
BFLOAT16 = Precision("bfloat16", torch.bfloat16, torch.float32, 2.0**-22)
PRECISIONS = {precision.name: precision for precision in (BFLOAT16, FLOAT32, FLOAT64)}


def relative_error(terms: int, roundoff: float) -> float:
    """g = n u / (1 - n u), the error of a sum of n terms relative to the sum of their magnitudes.

    Where n u exceeds a half it says nothing: so large a value then that no lower bound is positive.
    """
    return terms * roundoff / (1 - terms * roundoff) if terms * roundoff < 0.5 else 1e6


@contextmanager
def ieee_products() -> Iterator[None]:
    """Float32 products are computed in float32 within: no TF32, no bfloat16, whatever the process has set.

    These are settings of the process, so another thread's products are exact as well meanwhile.
    """
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    reduced = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced


def keeps_its_bound(precision: Precision, device: torch.device) -> bool:
    """Whether products on this device stay within half of the error that the certificate allows for, on hard data.

    Magnitudes over twenty binary orders, all of one sign (where cutting off adds up) and of random signs. Short rows
    show rounded inputs (TF32), long ones a poor accumulation. A format that the device cannot multiply does not.
    """
    generator = torch.Generator().manual_seed(0)
    for features in (16, 128, 2048):
        for signed in (False, True):
            rows = torch.rand(512, features, generator=generator, dtype=torch.float64) + 0.5
            rows *= 2.0 ** torch.randint(-20, 1, rows.shape, generator=generator).double()
            if signed:
                rows *= 1.0 - 2.0 * torch.randint(0, 2, rows.shape, generator=generator)
            rounded = rows.to(precision.inputs).to(device)
            left, right = rounded[:256], rounded[256:]
            zeros = torch.zeros(256, dtype=precision.sums, device=device)
            try:
                with ieee_products():
                    products = precision.lower_bounds(left, zeros, right, zeros).double()
            except RuntimeError:
                return False
            exact = left.double() @ right.double().T
            magnitude = left.double().abs() @ right.double().abs().T
            allowed = relative_error(features, precision.roundoff) / 2 + relative_error(features, DOUBLE_ROUNDOFF)
            if bool(((products - exact).abs() > allowed * magnitude).any()):
                return False
    return True


@cache
def usable(device: torch.device) -> tuple[Precision, ...]:
    """The formats whose products keep their bound on this device; float64 always does (IEEE, tensor cores included)."""
    return tuple(p for p in PRECISIONS.values() if p is FLOAT64 or keeps_its_bound(p, device))


@dataclass(frozen=True)
class Rates:
    """Of a device: seconds per multiply-add of every format by name, and per byte read."""

    product: dict[str, float]
    byte: float

    def per_pair(self, precision: Precision, features: int) -> float:
        """Seconds of the first pass for a pair of rows: the product, and about five passes over its result."""
        return features * self.product[precision.name] + 5 * precision.sums.itemsize * self.byte


@cache
def measured_rates(device: torch.device) -> Rates:
    """Measured once in a process, in a few milliseconds on a fast device."""
    rows, features = 2048, 1024
    product = {}
    for precision in usable(device):
        left = torch.ones(rows, features, dtype=precision.inputs, device=device)
        zeros = torch.zeros(rows, dtype=precision.sums, device=device)
        with ieee_products():
            seconds = _seconds(partial(precision.lower_bounds, left, zeros, left, zeros), device)
        product[precision.name] = seconds / (rows * rows * features)
    strip = torch.zeros(rows, 4 * rows, dtype=torch.float64, device=device)
    return Rates(product, _seconds(lambda: strip.amin(1), device) / (8 * strip.numel()))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of the fastest of three calls after one that does not count."""
    best = float("inf")
    for attempt in range(4):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        if attempt:
            best = min(best, time.perf_counter() - start)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
