"""Which precision a search begins with: whatever is fastest, and nothing that the result depends on."""

from __future__ import annotations

import numpy as np
import pytest
from brute_force import assert_exact, gaussian
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.rows import Rows, scan
from rra_cli.neighbors.tiles import choice
from rra_cli.neighbors.tiles.choice import Plan, choose


def as_rows(x: NDArray[np.floating]) -> Rows:
    found = scan(x, 1 << 30)
    return Rows(x, found.scale, found.mean * found.scale, None, found.unit)


def chosen(x: NDArray[np.floating], k: int, y: NDArray[np.floating] | None = None) -> Plan:
    if y is None:
        return choose(as_rows(x), as_rows(x), k, np.arange(len(x)), True, 1 << 28)
    return choose(as_rows(x), as_rows(y), k, np.full(len(x), -1), False, 1 << 28)


def names(plan: Plan) -> list[str]:
    return [product.name for product in plan.products]


@pytest.fixture
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "SMALL_WORK", 0)


def rates(monkeypatch: pytest.MonkeyPatch, integers: float, single: float, double: float) -> None:
    monkeypatch.setattr(choice, "integer_rate", lambda: integers)
    monkeypatch.setattr(choice, "float_rate", {"float32": single, "float64": double}.__getitem__)


def test_small_sets_are_compared_directly() -> None:
    assert names(chosen(gaussian(50, 5), 5)) == []
    assert names(chosen(gaussian(1500, 200), 5)) != []


@pytest.mark.usefixtures("_everything_is_large")
def test_integers_where_they_are_fast_and_suit_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(1500, 64)
    rates(monkeypatch, 1e12, 1e11, 5e10)
    assert names(chosen(x, 10))[-1] == "float64"
    assert names(chosen(x, 10))[0] in ("int8", "2 x int8")
    rates(monkeypatch, 0.0, 1e11, 5e10)  # a processor whose products of integers are not exact
    assert names(chosen(x, 10)) == ["float32", "float64"]


@pytest.mark.usefixtures("_everything_is_large")
def test_a_precision_that_decides_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tight clusters larger than a list: eight bits leave all rows of a cluster undecided."""
    x = gaussian(3, 16)[np.arange(3000) % 3] + 1e-4 * gaussian(3000, 16, seed=1)
    rates(monkeypatch, 1e12, 1e11, 5e10)
    assert "int8" not in names(chosen(x, 10))


@pytest.mark.usefixtures("_everything_is_large")
def test_slow_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    rates(monkeypatch, 1e3, 1.0, 1.0)
    assert names(chosen(gaussian(300, 64), 10)) == []


@pytest.mark.usefixtures("_everything_is_large")
@pytest.mark.parametrize(("n", "m", "k"), [(40, 1, 1), (1, 40, 1), (1, 1, 1), (40, 2, 2), (1, 300, 300), (2, 5000, 7)])
def test_sets_of_one_or_two_rows(monkeypatch: pytest.MonkeyPatch, n: int, m: int, k: int) -> None:
    rates(monkeypatch, 1e15, 1e13, 1e13)
    x, y = gaussian(n, 8), gaussian(m, 8, seed=1)
    assert_exact(exact_neighbors(x, k, reference=y), x, k, y)


@pytest.mark.usefixtures("_everything_is_large")
@pytest.mark.parametrize("fast", [(1e15, 1.0, 1.0), (0.0, 1e15, 1.0), (0.0, 1.0, 1e15), (0.0, 1.0, 1.0)])
@pytest.mark.parametrize("k", [1, 9, 199])
def test_the_result_does_not_depend_on_it(
    monkeypatch: pytest.MonkeyPatch, fast: tuple[float, float, float], k: int
) -> None:
    x = gaussian(200, 12)
    rates(monkeypatch, *fast)
    assert_exact(exact_neighbors(x, k), x, k)
