"""The exact search equals a brute force in extended precision on any data: properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from brute_force64 import assert_neighbors, has_exact_squares
from first_pass import PASSES, first_pass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_data import RECIPES, Array, cast, gaussian, lattice

from rra_cli.neighbors import NeighborGraph, exact_neighbors

PASS = st.sampled_from(sorted(PASSES))
MEMORY = st.sampled_from([None, 1, 20_000, 300_000, 5_000_000])


def searched(x: Array, k: int, *, reference: Array | None = None, **options: Any) -> NeighborGraph:
    """The graph of the engine, after comparison with the brute force."""
    graph = exact_neighbors(x, k, reference=reference, **options)
    assert (graph.recall, graph.engine) == (1.0, "exact")
    assert graph.n_reference == len(x if reference is None else reference)
    assert graph.self_excluded == (reference is None)
    assert_neighbors(graph.indices, graph.distances, x, k, reference)
    return graph


@dataclass(frozen=True)
class Case:
    """How a data set is made: small enough to be printed when it fails."""

    recipe: str
    n: int
    d: int
    seed: int
    dtype: str
    repeated: bool
    zeros: bool
    constant: float
    offset: float
    scale: float

    def array(self) -> Array:
        """The rows: a recipe with extra copies, zero rows, constant columns, an offset and a scale."""
        rng = np.random.default_rng(self.seed + 1)
        n, d = self.n, self.d
        x = RECIPES[self.recipe](n, d, self.seed)
        if self.repeated:
            x[rng.integers(0, n, n // 4)] = x[rng.integers(0, n, n // 4)]
        if self.zeros:
            x[rng.integers(0, n, 1 + n // 10)] = 0
            x[:, rng.integers(0, d, 1 + d // 10)] = self.constant
        scale = self.scale if self.dtype in ("f4", "f8") else 1.0
        return cast((x + self.offset) * scale, self.dtype)


def cases(largest: int = 300) -> st.SearchStrategy[Case]:
    """Any recipe, shape, data type, offset and scale."""
    return st.builds(
        Case,
        recipe=st.sampled_from(sorted(RECIPES)),
        n=st.integers(2, largest),
        d=st.integers(1, 200),
        seed=st.integers(0, 2**32 - 1),
        dtype=st.sampled_from(["f2", "f4", "f8", "i1", "u1", "i2", "i4", "i8"]),
        repeated=st.booleans(),
        zeros=st.booleans(),
        constant=st.sampled_from([0.0, 3.0, -1e4]),
        offset=st.sampled_from([0.0, 1.0, -1e4]),
        scale=st.integers(-15, 15).map(lambda p: 10.0**p) | st.sampled_from([2.0**-45, 2.0**45]),
    )


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.data())
def test_equals_brute_force(case: Case, data: st.DataObject) -> None:
    x = case.array()
    with first_pass(data.draw(PASS)):
        searched(x, data.draw(st.integers(1, len(x) - 1)), memory=data.draw(MEMORY))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 300), st.integers(1, 8), st.integers(2, 6), st.integers(0, 2**32 - 1), st.data())
def test_ties_of_whole_numbers_go_to_the_lower_id(n: int, d: int, values: int, seed: int, data: st.DataObject) -> None:
    """Every square is exact, so that every id is determined: no freedom of rounding anywhere."""
    factor = data.draw(st.sampled_from([1.0, 2.0**-40, 2.0**60]))
    x = cast((lattice(n, d, seed, values) + data.draw(st.sampled_from([0, 10_000]))) * factor, "f8")
    assert has_exact_squares(x)
    with first_pass(data.draw(PASS)):
        searched(x, data.draw(st.integers(1, n - 1)), memory=data.draw(MEMORY))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(cases(120), st.data())
def test_a_graph_of_fewer_neighbours_is_a_prefix(case: Case, data: st.DataObject) -> None:
    """Bit for bit, also where the cut falls into a tie."""
    x, n = case.array(), case.n
    k = data.draw(st.integers(1, n - 1))
    with first_pass(data.draw(PASS)):
        small, large = exact_neighbors(x, k), exact_neighbors(x, data.draw(st.integers(k, n - 1)))
    np.testing.assert_array_equal(small.indices, large.prefix(k).indices)
    np.testing.assert_array_equal(small.distances, large.prefix(k).distances)


@pytest.mark.long
@pytest.mark.parametrize("name", PASSES)
def test_squares_that_differ_under_equal_roots(name: str) -> None:
    """Points at squared distances s, s - 1, s - 2, ... near 2^52 from the first: float64 gives some of them one root.
    Ties are ties of distances, so that a shorter list is a prefix of a longer one."""
    base = 2**26
    x = np.array([[0.0, 0.0, 0.0]] + [[base, j % 2, np.sqrt(100 - j)] for j in range(60)])
    x[1:, 2] = [9, 4, 1, 7, 3, 2] * 10
    x[1:, 1] += np.arange(60) // 6
    squares = (x[1:] ** 2).sum(axis=1)
    assert len(np.unique(np.sqrt(squares))) < len(np.unique(squares))
    whole = searched(x, 60)
    for k in range(1, 60):
        with first_pass(name):
            graph = exact_neighbors(x, k)
        np.testing.assert_array_equal(graph.indices, whole.indices[:, :k])
        np.testing.assert_array_equal(graph.distances, whole.distances[:, :k])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(cases(150), st.data())
def test_a_pair_has_one_distance(case: Case, data: st.DataObject) -> None:
    """d(i, j) = d(j, i) to the last bit, whatever place the rows have in the array."""
    x, n = case.array(), case.n
    with first_pass(data.draw(PASS)):
        graph = exact_neighbors(x, n - 1, memory=data.draw(MEMORY))
    table = np.zeros((n, n))
    np.put_along_axis(table, graph.indices.astype(np.int64), graph.distances, 1)
    np.testing.assert_array_equal(table, table.T)
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(n)
    with first_pass(data.draw(PASS)):
        shuffled = exact_neighbors(x[order], min(n - 1, 10))
    expected = np.take_along_axis(table[np.ix_(order, order)], shuffled.indices.astype(np.int64), 1)
    np.testing.assert_array_equal(shuffled.distances, expected)


@pytest.mark.parametrize(
    ("name", "product"), [("int8", "_int_mm"), ("2 x int8", "_int_mm"), ("float32", "mm"), ("float64", "mm")]
)
def test_the_passes_are_what_they_are_called(name: str, product: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of `first_pass`: eight-bit products are made when asked for, and not otherwise."""
    made = []
    multiply = torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda *a, **k: (made.append(1), multiply(*a, **k))[1])
    with first_pass(name):
        searched(gaussian(200, 30), 12)
    assert bool(made) == (product == "_int_mm")


def test_permuted_rows_give_the_permuted_graph() -> None:
    """Where no distances tie. Control: where they do, the lower ids decide and the graph is another one."""
    order = np.random.default_rng(3).permutation(700)
    for x, same in ((gaussian(700, 40).astype(np.float32), True), (lattice(700, 3, values=6), False)):
        plain, shuffled = exact_neighbors(x, 25), exact_neighbors(x[order], 25)
        np.testing.assert_array_equal(shuffled.distances, plain.distances[order])
        assert np.array_equal(order[shuffled.indices], plain.indices[order]) == same


def test_cosine_through_normalisation() -> None:
    """On the unit sphere the order is that of the cosine: d^2 = 2 - 2 cos. Control: not so off the sphere."""
    x = gaussian(200, 12) * np.random.default_rng(1).uniform(0.1, 9, (200, 1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :15]
    graph = searched(unit, 15)
    np.testing.assert_array_equal(graph.indices, nearest)
    np.testing.assert_allclose(
        graph.distances, np.sqrt(2 - 2 * np.take_along_axis(cosine, nearest, 1)), rtol=1e-12, atol=1e-14
    )
    assert not np.array_equal(searched(x, 15).indices, nearest)
