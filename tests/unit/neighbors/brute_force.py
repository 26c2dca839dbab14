"""Neighbours by comparing every pair: direct differences in float64, no expansion, ties by lower id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rra_cli.neighbors import NeighborGraph
from rra_cli.neighbors.tiles import lists, search, sweep
from rra_cli.neighbors.tiles.choice import Plan
from rra_cli.neighbors.tiles.products import Float, Int8, Product, RotatedInt8, TwiceInt8

_RELATIVE = 1e-12


def brute_force(
    x: NDArray[Any], k: int, reference: NDArray[Any] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids and distances `(n, k)`; without a reference every row is compared with all others."""
    distances = table(x, x if reference is None else reference)
    if reference is None:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


def table(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """All distances `(n, m)`."""
    y = np.asarray(y).astype(np.float64)
    return np.array([np.sqrt(((y - row) ** 2).sum(axis=1)) for row in np.asarray(x).astype(np.float64)])


def ulps(d: int) -> int:
    """Units in the last place by which two float64 sums over d features, in different orders, give other distances.

    A difference, its square and the sum carry a relative error of at most (d + 2) u each time, u half a unit; the root
    halves it and adds u: d / 2 + 2 units a distance. Ties of whole numbers have no such freedom: their sums are exact.
    """
    return d + 4


def assert_lists(
    ids: NDArray[np.integer],
    distances: NDArray[np.float64],
    x: NDArray[Any],
    k: int,
    reference: NDArray[Any] | None = None,
) -> None:
    """The lists `(n, k)` equal a brute force; ids may differ only where the true distances agree within `ulps`."""
    y = x if reference is None else reference
    true_ids, true = brute_force(x, k, reference)
    assert ids.shape == distances.shape == true.shape
    assert np.allclose(distances, true, rtol=_RELATIVE, atol=0)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert ((np.diff(distances, axis=1) > 0) | (np.diff(ids, axis=1) > 0)).all(), "a tie went to the higher id"
    assert (np.diff(np.sort(ids, axis=1), axis=1) > 0).all(), "a neighbour is listed twice"
    assert reference is not None or not (ids == np.arange(len(x))[:, None]).any(), "a row is its own neighbour"
    for row in np.flatnonzero((ids != true_ids).any(axis=1)):
        theirs = table(x[row : row + 1], y[ids[row]])[0]
        freedom = ulps(x.shape[1]) * np.spacing(true[row])
        assert (np.abs(theirs - true[row]) <= freedom).all(), f"row {row} lists a neighbour that is not as near"


def assert_exact(
    graph: NeighborGraph, x: NDArray[Any], k: int, reference: NDArray[Any] | None = None, scale: float = 1.0
) -> None:
    """The graph equals a brute force over `x * scale`, whose distances are `scale` times the graph's."""
    assert_lists(graph.indices, graph.distances * scale, x * scale, k, None if reference is None else reference * scale)
    assert graph.recall == 1.0
    assert graph.engine == "exact"
    assert graph.self_excluded == (reference is None)
    assert graph.n_reference == len(x if reference is None else reference)


def gaussian(n: int, d: int, seed: int = 0) -> NDArray[np.float64]:
    """Standard normal rows."""
    return np.random.default_rng(seed).normal(size=(n, d))


# What a search may begin with; small sets are otherwise compared directly and never see a tile.
PLANS: dict[str, tuple[Callable[[], Product], ...]] = {
    "directly": (),
    "int8": (Int8,),
    "int8, rotated": (RotatedInt8,),
    "2 x int8": (TwiceInt8,),
    "float32": (partial(Float, np.float32),),
    "float64": (partial(Float, np.float64),),
    "int8, 2 x int8, float64": (Int8, TwiceInt8, partial(Float, np.float64)),
}


@contextmanager
def beginning_with(
    plan: str, *, panel: int | None = None, tile: int | None = None, spare: int | None = None
) -> Iterator[None]:
    """Searches inside begin with that plan. panel, tile: rows of them. spare: places of a list beyond k."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "choose", lambda *_, **__: Plan(tuple(make() for make in PLANS[plan])))
        if panel is not None:
            patch.setattr(sweep.Sweep, "panel_rows", panel)
        if tile is not None:
            patch.setattr(sweep.Sweep, "tile_rows", tile)
        if spare is not None:
            patch.setattr(lists, "list_capacity", lambda k, available: min(available, max(8, k + spare)))
        yield
