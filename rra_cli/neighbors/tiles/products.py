"""The first pass: products of rounded rows, with a bound of what rounding did to every distance.

For rows x, y and what is kept of them, x^ and y^, |d(x, y) - d(x^, y^)| <= |x - x^| + |y - y^| (triangle inequality).
d(x^, y^)^2 = |x^|^2 + |y^|^2 - 2 x^.y^ has an error, relative to the squared norms, that depends on how the product is
summed: none for eight-bit integers, whose products and sums are exact in int32, and at most g = d u / (1 - d u) for
any order of summation in floating point (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 3.5).

Two eight-bit parts a row, x^ = s (q1 + q2 / 254), are about 16 bits (Ozaki et al. 2012 split matrices in this way for
exact products); the product of the two second parts is left out and bounded by their norms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.threads import over_rows, thread_count
from rra_cli.neighbors.tiles.buffers import buffer
from rra_cli.neighbors.tiles.row_kernels import round_rotated_rows, round_rows

if TYPE_CHECKING:
    import torch

# 127^2 times this still fits into an int32.
_INT32_FEATURES = 131_072
# Features are padded with zeros: torch 2.13's product over a single feature is wrong (its strides are ambiguous).
_ALIGN = 16
_JOINED = 4096
# Added to every radius, for each feature: squares of smaller numbers underflow in the single precision of products,
# lists and marks (rows are scaled into -1..1).
FLOOR = 1e-18


@dataclass(frozen=True)
class Panel:
    """Some consecutive rows, rounded. facts: `(rows, 4)`, see `round_rows`. parts: the matrices of the products."""

    start: int
    facts: NDArray[np.float64]
    parts: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.facts)

    def slice(self, start: int, stop: int) -> Panel:
        """Rows start..stop of it."""
        return Panel(self.start + start, self.facts[start:stop], tuple(part[start:stop] for part in self.parts))


class Product(ABC):
    """One precision of the first pass.

    bytes: of a rounded number; of integers, its parts. count: of matrix products for a tile.
    """

    name: str
    bytes: int
    count: int

    @abstractmethod
    def error(self, features: int) -> float:
        """Error of a squared distance of rounded rows, relative to the sum of their squared norms."""

    @abstractmethod
    def round(self, rows: Rows, start: int, stop: int) -> Panel:
        """Rows start..stop, rounded."""

    @abstractmethod
    def tile(self, left: Panel, right: Panel) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Products `(m, n)` of all rows of two panels, and of their second parts crosswise (no rows without)."""


def float64_error(features: int) -> float:
    """That of squared distances whose products are exact: norms and what follows are in float64."""
    return 8 * (features + 16) * 2.0**-53


_NO_CROSS = np.empty((0, 0), np.int32)
_NO_PART = np.empty((0, 0), np.int8)


class Int8(Product):
    """Eight bits a number, a scale for each row."""

    name, bytes, count = "int8", 1, 1

    def error(self, features: int) -> float:
        return float64_error(features)

    def round(self, rows: Rows, start: int, stop: int) -> Panel:
        import torch

        width = -(-rows.features // _ALIGN) * _ALIGN
        parts = [np.zeros((stop - start, width), np.int8) for _ in range(self.bytes)]
        facts, centre = np.empty((stop - start, 4)), rows.unit_centre

        def work(a: int, b: int) -> None:
            for at, end, block in rows.native_blocks(start + a, start + b):
                i, j = at - start, end - start
                self._round(block, rows.unit, centre, [part[i:j] for part in parts], facts[i:j])

        over_rows(work, stop - start)
        facts[:, 2] += FLOOR * np.sqrt(rows.features)
        return Panel(start, facts, tuple(torch.from_numpy(part) for part in parts))

    def _round(
        self,
        block: NDArray[Any],
        scale: float,
        centre: NDArray[np.float64],
        parts: list[NDArray[np.int8]],
        facts: NDArray[np.float64],
    ) -> None:
        """Rounds some rows into the parts, and writes their facts."""
        round_rows(block, scale, centre, parts[0], parts[1] if len(parts) > 1 else _NO_PART, facts)

    def tile(self, left: Panel, right: Panel) -> tuple[NDArray[Any], NDArray[np.int32]]:
        return self._sum_of_products("first", [(left.parts[0], right.parts[0])]), _NO_CROSS

    def _sum_of_products(self, use: str, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> NDArray[Any]:
        """The exact sum of products a b', `(m, n)`: int32 where it fits, else float64."""
        import torch

        m, n, features = len(pairs[0][0]), len(pairs[0][1]), pairs[0][0].shape[1]
        out, term = (torch.from_numpy(_tile(each, m, n, np.int32)) for each in (use, "term"))
        step = _INT32_FEATURES // len(pairs)
        if features <= step:
            torch._int_mm(pairs[0][0], pairs[0][1].T, out=out)
            for a, b in pairs[1:]:
                out += torch._int_mm(a, b.T, out=term)
            return out.numpy()
        total = np.zeros((m, n))
        for start in range(0, features, step):
            for a, b in pairs:
                total += torch._int_mm(a[:, start : start + step], b[:, start : start + step].T, out=term).numpy()
        return total


class RotatedInt8(Int8):
    """Eight bits a number of rows that are rotated before, where a few large numbers would set the scale."""

    name = "int8, rotated"

    def _round(
        self,
        block: NDArray[Any],
        scale: float,
        centre: NDArray[np.float64],
        parts: list[NDArray[np.int8]],
        facts: NDArray[np.float64],
    ) -> None:
        round_rotated_rows(block, scale, centre, _signs(len(centre)), parts[0], facts)


@lru_cache(maxsize=2)
def _signs(features: int) -> NDArray[np.float32]:
    """The same for all rows, and for every search."""
    return np.random.default_rng(0).choice(np.array([-1, 1], np.float32), features)


class TwiceInt8(Int8):
    """Two eight-bit parts a number: about 16 bits."""

    name, bytes, count = "2 x int8", 2, 3

    def tile(self, left: Panel, right: Panel) -> tuple[NDArray[Any], NDArray[np.int32]]:
        import torch

        (a1, a2), (b1, b2) = left.parts, right.parts
        crosswise = [(a1, b2), (a2, b1)]
        if a1.shape[1] <= _JOINED:  # one product of both is faster than two that are added
            crosswise = [(torch.cat([a1, a2], dim=1), torch.cat([b2, b1], dim=1))]
        return self._sum_of_products("first", [(a1, b1)]), self._sum_of_products("cross", crosswise)


class Float(Product):
    """Floating-point numbers as they are."""

    count = 1

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self.name, self.bytes = self._dtype.name, self._dtype.itemsize

    def error(self, features: int) -> float:
        terms, unit = features + 16, float(np.finfo(self._dtype).eps) / 2
        if terms * unit >= 0.5:  # the bound says nothing: no pair is decided
            return 1e6
        return 1.01 * terms * unit / (1 - terms * unit) + 8 * terms * 2.0**-53

    def round(self, rows: Rows, start: int, stop: int) -> Panel:
        import torch

        kept = np.empty((stop - start, rows.features), self._dtype)
        facts = np.ones((stop - start, 4))

        def work(a: int, b: int) -> None:
            for at, end, block in rows.native_blocks(start + a, start + b):
                i, j = at - start, end - start
                exact = block.astype(np.float64) * rows.unit - rows.unit_centre
                kept[i:j] = exact
                back = kept[i:j].astype(np.float64)
                left = np.sqrt(np.einsum("ij,ij->i", exact - back, exact - back))
                facts[i:j, 1] = np.einsum("ij,ij->i", back, back)
                facts[i:j, 2] = left * (1 + 1e-9) + 1e-15 * np.sqrt(np.einsum("ij,ij->i", exact, exact))

        over_rows(work, stop - start)
        facts[:, 2] += FLOOR * np.sqrt(rows.features)
        facts[:, 3] = 0.0
        return Panel(start, facts, (torch.from_numpy(kept),))

    def tile(self, left: Panel, right: Panel) -> tuple[NDArray[Any], NDArray[np.int32]]:
        import torch

        from rra_cli.neighbors.device.precision import ieee_products

        out = torch.from_numpy(_tile("first", len(left), len(right), self._dtype))
        with ieee_products():  # a process may have set products to round to bfloat16
            torch.mm(left.parts[0], right.parts[0].T, out=out)
        return out.numpy(), _NO_CROSS


def _tile(use: str, m: int, n: int, dtype: Any) -> NDArray[Any]:
    """An `(m, n)` array, which the next tile of this use takes over."""
    return buffer(use, m * n * np.dtype(dtype).itemsize).view(dtype).reshape(m, n)


def integer_rate() -> float:
    """Multiply-adds a second of eight-bit products in this thread's threads, measured once; 0 if they are not exact."""
    return _integer_rate(thread_count())


@lru_cache(maxsize=4)
def _integer_rate(threads: int) -> float:
    import torch

    a = torch.full((1024, 1024), 127, dtype=torch.int8)
    a[::2] = -127
    try:
        exact = (a.float() @ a.float().T).to(torch.int32)  # these sums are exact in single precision
        if not torch.equal(torch._int_mm(a, a.T), exact):
            return 0.0  # some processors saturate sums of products
    except RuntimeError:
        return 0.0
    wide = a.repeat(1, 4)  # as large as the products of a search: smaller ones are slower
    return _rate(lambda: torch._int_mm(wide, wide.T), wide)


def float_rate(name: str) -> float:
    """Multiply-adds a second of float32 or float64 products in this thread's threads, measured once."""
    return _float_rate(name, thread_count())


@lru_cache(maxsize=8)
def _float_rate(name: str, threads: int) -> float:
    import torch

    a = torch.ones((768, 768), dtype=getattr(torch, name))
    return _rate(lambda: a @ a.T, a)


def _rate(product: Any, a: torch.Tensor) -> float:
    seconds = []
    for _ in range(3):
        begin = perf_counter()
        product()
        seconds.append(perf_counter() - begin)
    return len(a) ** 2 * a.shape[1] / min(seconds)
