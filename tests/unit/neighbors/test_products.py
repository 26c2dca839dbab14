"""The certificate is a theorem: no pair, however awkward, lies outside of the interval that rounding leaves it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from brute_force import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rra_cli.neighbors.rows import Rows, scan
from rra_cli.neighbors.tiles.products import Float, Int8, Panel, Product, RotatedInt8, TwiceInt8

PRODUCTS: dict[str, Product] = {
    p.name: p for p in (Int8(), RotatedInt8(), TwiceInt8(), Float(np.float32), Float(np.float64))
}


def as_rows(x: NDArray[Any]) -> Rows:
    found = scan(x, 1 << 30)
    return Rows(x, found.scale, found.mean * found.scale, None, found.unit)


def in_units(x: NDArray[Any]) -> NDArray[np.longdouble]:
    """The rows as they are rounded: centred and scaled, in extended precision."""
    rows = as_rows(x)
    wide: Any = x.astype(np.longdouble) * rows.unit - rows.unit_centre
    return wide


def what_is_kept(product: Product, panel: Panel) -> NDArray[np.longdouble]:
    """The numbers that the parts of a panel stand for."""
    parts = [part.numpy().astype(np.longdouble) for part in panel.parts]
    if isinstance(product, Float):
        return parts[0]
    scale = panel.facts[:, :1].astype(np.longdouble)
    return scale * (parts[0] + parts[1] / 254 if len(parts) > 1 else parts[0])


def lengths(x: NDArray[np.longdouble], y: NDArray[np.longdouble]) -> NDArray[np.longdouble]:
    return np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=2))


def squares(product: Product, panel: Panel) -> NDArray[np.float64]:
    """Squared distances of what is kept, from the tile of products."""
    tile, cross = product.tile(panel, panel)
    g = tile.astype(np.float64) + (cross / 254.0 if len(cross) else 0.0)
    if isinstance(product, Float):
        # One product, with the scale that goes with it: -2 s s' G = -2 x.y.
        assert (panel.facts[:, 0] == 1).all()
    s, norm = panel.facts[:, 0], panel.facts[:, 1]
    return norm[:, None] + norm - 2 * s[:, None] * s * g


def assert_certificate(product: Product, x: NDArray[Any]) -> None:
    """|d - d^| <= e + e' for what is kept, and d within sqrt(S -+ slack) -+ (e + e')."""
    panel = product.round(as_rows(x), 0, len(x))
    exact, features = in_units(x), x.shape[1]
    kept = what_is_kept(product, panel)[:, :features]
    radius, second, norm = panel.facts[:, 2], panel.facts[:, 3], panel.facts[:, 1]
    if not isinstance(product, RotatedInt8):  # which keeps the rows in other coordinates, their distances the same
        assert (np.sqrt(((exact - kept) ** 2).sum(axis=1)) <= radius).all()
    true, reach = lengths(exact, exact), radius[:, None] + radius
    assert (np.abs(true - lengths(kept, kept)) <= reach).all()
    slack = product.error(features) * (norm[:, None] + norm) + 2 * second[:, None] * second
    found = squares(product, panel)
    assert (true <= np.sqrt(np.maximum(found + slack, 0)) + reach).all()
    assert (true >= np.sqrt(np.maximum(found - slack, 0)) - reach).all()


def dominated(n: int, d: int) -> NDArray[np.float64]:
    x = gaussian(n, d)
    x[:, d // 2] *= 1e8
    return x


CASES: dict[str, NDArray[Any]] = {
    "gaussian": gaussian(40, 33),
    "heavy tails": np.random.default_rng(0).standard_cauchy((40, 50)),
    "norms from 1e-8 to 1e8": gaussian(40, 20) * 10.0 ** np.linspace(-8, 8, 40)[:, None],
    "norms from 1e-160 to 1e160": gaussian(40, 20) * 10.0 ** np.linspace(-160, 160, 40)[:, None],
    "dominating column": dominated(40, 20),
    "constant": np.full((10, 7), 0.1),
    "zero rows": np.concatenate([np.zeros((5, 17)), gaussian(10, 17)]),
    "one feature": gaussian(40, 1),
    "seventeen features": gaussian(40, 17),
    "offset": gaussian(40, 20) + 1e6,
    "offset float32": (gaussian(40, 20) + 1e4).astype(np.float32),
    "halves": np.random.default_rng(0).integers(-60, 60, (40, 20)) + 0.5,
    "one large feature a row": np.eye(40) * 1e4 + gaussian(40, 40),
    "bytes": np.random.default_rng(0).integers(0, 256, (40, 20), dtype=np.uint8),
    "float16": gaussian(40, 20).astype(np.float16),
    "more features than fit into 32 bits": np.sign(gaussian(3, 133_200)) * 3.0,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("product", PRODUCTS)
def test_certificate(name: str, product: str) -> None:
    assert_certificate(PRODUCTS[product], CASES[name])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 20),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 12.0),
    st.sampled_from([0.0, 1.0, 1e6]),
    st.sampled_from(sorted(PRODUCTS)),
)
def test_certificate_of_any_rows(n: int, d: int, seed: int, spread: float, offset: float, product: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * 10 ** rng.uniform(-spread, 0, (n, 1)) * 10 ** rng.uniform(-spread, 0, (1, d))
    assert_certificate(PRODUCTS[product], x + offset)


@pytest.mark.parametrize("product", [PRODUCTS["int8"], PRODUCTS["2 x int8"]])
def test_half_a_radius_is_too_little(product: Product) -> None:
    """Negative control: rows that round to opposite sides need nearly all of the two radii."""
    step = 1.0 if product.name == "int8" else 1 / 254
    halfway = np.random.default_rng(0).integers(-60, 60, (1, 40)) + step / 2
    x = np.concatenate([halfway + 0.499 * step, halfway - 0.499 * step, halfway + 0.001 * step, halfway - 0.001 * step])
    x[:, 0] = 127.0
    x = np.concatenate([x, -x]) / 128
    panel = product.round(as_rows(x), 0, len(x))
    exact, kept = in_units(x), what_is_kept(product, panel)[:, : x.shape[1]]
    gap, reach = np.abs(lengths(exact, exact) - lengths(kept, kept)), panel.facts[:, 2][:, None] + panel.facts[:, 2]
    assert (gap <= reach).all()
    assert (gap > reach / 2).any()


@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 100, 4095, 4097])
@pytest.mark.parametrize("product", [PRODUCTS["int8"], PRODUCTS["2 x int8"]])
def test_integer_products_are_exact(d: int, product: Product) -> None:
    """Also for one feature, one row, one column."""
    panel = product.round(as_rows(gaussian(9, d)), 0, 9)
    parts = [part.numpy().astype(np.int64) for part in panel.parts]
    for rows in (9, 1):
        tile, cross = product.tile(panel, panel.slice(0, rows))
        assert np.array_equal(tile, parts[0] @ parts[0][:rows].T)
        if len(parts) > 1:
            assert np.array_equal(cross, parts[0] @ parts[1][:rows].T + parts[1] @ parts[0][:rows].T)


def test_sums_beyond_32_bits() -> None:
    """127^2 times 133,200 does not fit; every digit is there all the same."""
    x = np.ones((2, 133_200))
    x[1] = -1
    for product in (Int8(), TwiceInt8()):
        panel = product.round(as_rows(x), 0, 2)
        tile, cross = product.tile(panel, panel)
        assert np.array_equal(tile, 127**2 * 133_200 * np.array([[1, -1], [-1, 1]]))
        assert tile.max() > np.iinfo(np.int32).max
        assert not cross.any()


def test_rows_are_padded_so_that_no_product_is_over_one_feature() -> None:
    """torch's own eight-bit product over one feature takes its strides for those of another layout and is wrong."""
    panel = Int8().round(as_rows(gaussian(5, 1)), 0, 5)
    assert panel.parts[0].shape[1] % 16 == 0
    assert not panel.parts[0][:, 1:].any()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 16, 1000])
def test_error_of_products_in_floating_point(kind: Any, d: int) -> None:
    """Of positive numbers, whose rounding errors add up: within the bound, and not nothing."""
    product, rng = Float(kind), np.random.default_rng(0)
    kept = rng.random((50, d)).astype(kind)
    panel = Panel(0, np.zeros((50, 4)), (torch.from_numpy(kept),))
    wide = kept.astype(np.longdouble)
    norm = (wide**2).sum(axis=1)
    wrong = np.abs(product.tile(panel, panel)[0] - (wide[:, None] * wide[None]).sum(axis=2)) * 2
    assert (wrong <= product.error(d) * (norm[:, None] + norm)).all()
    assert d == 1 or wrong.max() > 0


def test_without_the_error_of_products_the_interval_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: float32 keeps these rows as they are, so that only the rounding of products is left."""
    x = np.random.default_rng(0).integers(1 << 10, 1 << 11, (1, 600)) + np.eye(40, 600)
    x = np.concatenate([x, -x])
    assert_certificate(PRODUCTS["float32"], x)
    monkeypatch.setattr(Float, "error", lambda self, features: 0.0)
    with pytest.raises(AssertionError):
        assert_certificate(PRODUCTS["float32"], x)


def test_a_bound_that_says_nothing_decides_nothing() -> None:
    """From 2^23 features on, n u / (1 - n u) of float32 is no bound any more (and negative from 2^24 on)."""
    for features in (2**23, 2**24, 2**30):
        assert Float(np.float32).error(features) > 1e5
    assert Float(np.float64).error(2**30) < 1e-5


def test_products_are_float32_whatever_the_process_has_set() -> None:
    """A process may let torch round factors to bfloat16, which no certificate here allows for."""
    x = gaussian(600, 256).astype(np.float32)
    backend: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    product, before = Float(np.float32), backend.fp32_precision
    panel = product.round(as_rows(x), 0, len(x))
    expected = product.tile(panel, panel)[0]
    try:
        backend.fp32_precision = "bf16"
        assert np.array_equal(product.tile(panel, panel)[0], expected)
        assert backend.fp32_precision == "bf16"
    finally:
        backend.fp32_precision = before


@pytest.mark.parametrize("product", PRODUCTS)
def test_small_squares_do_not_underflow_unnoticed(product: str) -> None:
    """Lists keep squares in single precision, where those of rows below 1e-22 vanish: the radius covers it."""
    x = np.array([[1.0], [-1.0], [1e-23], [-2e-23]])
    facts = PRODUCTS[product].round(as_rows(x), 0, 4).facts
    assert (facts[:, 2] ** 2 > 1e6 * np.finfo(np.float32).smallest_subnormal).all()
