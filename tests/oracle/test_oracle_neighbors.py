"""Exact graphs against a float64 brute force by direct difference, and against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from reference_impl import brute_force, distance_matrix, random_rotation, true_recall

from rra_cli.neighbors import NeighborGraph, exact_neighbors

RNG = np.random.default_rng


def assert_exact(x: np.ndarray, k: int, *, reference: np.ndarray | None = None, strict: bool = False) -> NeighborGraph:
    """The graph equals brute force: distances within 1e-6, ids and order equal but for gaps of a few ulp.

    strict: every id equal (data whose float64 distances are exact, so that ties are true ties).
    """
    before = np.array(x, copy=True)
    graph = exact_neighbors(x, k, reference=reference)
    np.testing.assert_array_equal(np.asarray(x), before, err_msg="the input was changed")
    ids, distances = brute_force(x, k, reference)
    n = len(x)
    assert graph.indices.shape == graph.distances.shape == (n, k)
    assert graph.distances.dtype == np.float64
    assert graph.indices.dtype in (np.int32, np.int64)
    assert graph.recall == 1.0
    assert graph.n_reference == (n if reference is None else len(reference))
    assert graph.self_excluded == (reference is None)
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-6, atol=0)
    if strict:
        np.testing.assert_array_equal(graph.indices, ids)
        return graph
    table = distance_matrix(x, x if reference is None else reference)
    rows, columns = np.nonzero(graph.indices != ids)
    for row, column in zip(rows, columns, strict=True):
        ours, theirs = table[row, graph.indices[row, column]], table[row, ids[row, column]]
        assert abs(ours - theirs) <= 1e-13 * theirs, f"row {row}, place {column}: {ours!r} instead of {theirs!r}"
    return graph


def clusters(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = RNG(seed)
    return rng.normal(size=(6, d))[rng.integers(6, size=n)] * 3 + rng.normal(size=(n, d))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "d", "k"), [(2, 3, 1), (3, 1, 2), (50, 7, 5), (200, 33, 20), (130, 257, 129), (400, 2, 1)]
)
def test_equals_brute_force(dtype: type, n: int, d: int, k: int) -> None:
    assert_exact(clusters(n, d).astype(dtype), k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [30.0, 1e4])
def test_common_offset(dtype: type, offset: float) -> None:
    """Control: the float32 expansion |x|^2 + |y|^2 - 2xy, uncentred, gets most nearest neighbours' distances wrong."""
    x = (clusters(300, 20, seed=1) * 0.1 + offset).astype(dtype)
    graph = assert_exact(x, 10)
    small = x.astype(np.float32)
    norms = (small**2).sum(axis=1)
    expansion = np.sqrt(np.maximum(norms[:, None] + norms[None] - 2 * small @ small.T, 0))
    np.fill_diagonal(expansion, np.inf)
    wrong = np.abs(np.sort(expansion, axis=1)[:, :2] / graph.distances[:, :2] - 1) > 1e-6
    assert wrong.mean() > 0.5


def test_ties_between_duplicates_go_to_the_lower_id_at_every_distance() -> None:
    """Copies of a point are equally far from everybody, to the last bit, so the lower id comes first."""
    x = RNG(4).normal(size=(25, 6))[np.tile(np.arange(25), 8)].astype(np.float32)
    graph = exact_neighbors(x, 60)
    table = distance_matrix(x, x)
    for row in range(len(x)):
        ids = graph.indices[row]
        same = ids[1:] % 25 == ids[:-1] % 25
        assert (ids[1:][same] > ids[:-1][same]).all()
        # At the boundary as well: of the last group of copies the lowest ids are the ones that made it.
        last = ids[-1] % 25
        taken = {int(j) for j in ids if j % 25 == last}
        copies = [j for j in range(len(x)) if j % 25 == last and j != row]
        assert taken == set(copies[: len(taken)])
        assert table[row, ids[-1]] >= table[row, ids[0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_near_duplicates(dtype: type) -> None:
    """Pairs at a relative distance of 1e-6: the partner is first and its distance right to 1e-6 of itself.

    Control: centring alone is not enough in float32.
    """
    rng = RNG(5)
    base = rng.normal(size=(120, 30))
    partner = base + 1e-6 * rng.normal(size=base.shape)
    x = np.concatenate([base, partner]).astype(dtype)
    graph = assert_exact(x, 5)
    np.testing.assert_array_equal(graph.indices[:120, 0], np.arange(120, 240))
    small = (x - x.mean(axis=0)).astype(np.float32)
    norms = (small**2).sum(axis=1)
    expansion = np.sqrt(np.maximum(norms[:120] + norms[120:] - 2 * (small[:120] * small[120:]).sum(axis=1), 0))
    assert (np.abs(expansion / graph.distances[:120, 0] - 1) > 0.01).mean() > 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_integer_grid_ties(dtype: type) -> None:
    """A 6x6x6 grid, shuffled: nearly all distances tie, and every id must still be the lower one."""
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3), axis=-1).reshape(-1, 3)
    assert_exact(RNG(7).permutation(grid).astype(dtype), 20, strict=True)


@pytest.mark.parametrize("offset", [0, 10_000, 3_000_000])
def test_integer_grid_ties_under_an_offset(offset: int) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(12)] * 2), axis=-1).reshape(-1, 2)
    assert_exact((RNG(8).permutation(grid) + offset).astype(np.float32), 9, strict=True)


def test_two_points() -> None:
    graph = assert_exact(np.array([[0.0, 3.0], [4.0, 0.0]], np.float32), 1, strict=True)
    np.testing.assert_array_equal(graph.indices, [[1], [0]])
    np.testing.assert_array_equal(graph.distances, [[5.0], [5.0]])


@pytest.mark.parametrize(("n", "d", "k"), [(3000, 64, 100), (1500, 700, 30)])
def test_equals_scikit_learns_brute_force_over_many_blocks(n: int, d: int, k: int) -> None:
    """float64 by scipy's direct difference, with duplicates; the set at the k-th distance is one of equals."""
    from sklearn.neighbors import NearestNeighbors

    x = clusters(n, d, seed=4).astype(np.float32)
    x[n // 2 : n // 2 + 200] = x[:200]
    graph = exact_neighbors(x, k)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="sqeuclidean")
    rough, _ = search.fit(x.astype(np.float64)).kneighbors()
    np.testing.assert_allclose(graph.distances[:, 5:], np.sqrt(rough[:, 5:]), rtol=1e-6)
    rows = RNG(5).choice(n, 60, replace=False)
    table = distance_matrix(x[rows], x)
    table[np.arange(60), rows] = np.inf
    np.testing.assert_array_equal(graph.indices[rows], np.argsort(table, axis=1, kind="stable")[:, :k])


@pytest.mark.parametrize("k", [1, 10, 60])
def test_reference_set(k: int) -> None:
    """Neighbours come from the reference; a query that is in it finds itself at distance 0."""
    reference = clusters(60, 8, seed=1).astype(np.float32)
    queries = np.concatenate([clusters(35, 8, seed=2).astype(np.float32), reference[:5]])
    graph = assert_exact(queries, k, reference=reference)
    np.testing.assert_array_equal(graph.indices[35:, 0], np.arange(5))
    np.testing.assert_array_equal(graph.distances[35:, 0], 0.0)


def test_rotation_and_shift_keep_the_graph_and_an_anisotropic_scaling_does_not() -> None:
    x = clusters(150, 6)
    plain = exact_neighbors(x, 8)
    moved = exact_neighbors(x @ random_rotation(6, 0) * 4.0 + 2.0, 8)
    np.testing.assert_array_equal(moved.indices, plain.indices)
    np.testing.assert_allclose(moved.distances, 4 * plain.distances, rtol=1e-9)
    stretched = exact_neighbors(x * np.array([50.0, 1, 1, 1, 1, 1]), 8)
    assert (stretched.indices != plain.indices).mean() > 0.3


def test_recall_of_the_reference_itself() -> None:
    """The oracle's own check: brute force has recall 1, shifted ids have little."""
    x = clusters(80, 5)
    ids, _ = brute_force(x, 6)
    assert true_recall(ids, x) == 1.0
    assert true_recall((ids + 1) % 80, x) < 0.5
