"""Exact and approximate graphs against a float64 brute force by direct difference."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference_impl import brute_force, distance_matrix, random_rotation, true_recall

from rra_cli.errors import UserError
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
@pytest.mark.parametrize("scale", [1e-15, 1e-6, 1.0, 1e6, 1e15])
def test_any_scale(dtype: type, scale: float) -> None:
    assert_exact((clusters(150, 20) * scale).astype(dtype), 12)


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e19, 1e30])
def test_scales_whose_float32_squares_vanish_or_overflow(scale: float) -> None:
    """float32 holds the values, float64 their squares; control: float32 squares do not."""
    x = (clusters(60, 20) * scale).astype(np.float32)
    with np.errstate(all="ignore"):
        squares = (x * x).sum(axis=1)
    assert not np.isfinite(squares).all() or (squares < 1e-35).all()
    assert_exact(x, 5)


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_duplicates(dtype: type) -> None:
    """40 distinct points, 300 rows: distance 0 to the copies, nearest copies by lower id, self never among them."""
    x = RNG(2).normal(size=(40, 9)).astype(dtype)[RNG(3).integers(40, size=300)]
    graph = assert_exact(x, 15)
    ids, distances = brute_force(x, 15)
    zero = distances == 0
    assert zero.sum() > 1000
    np.testing.assert_array_equal(graph.distances[zero], 0.0)
    np.testing.assert_array_equal(graph.indices[zero], ids[zero])
    assert not (graph.indices == np.arange(300)[:, None]).any()


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


def test_all_identical_rows() -> None:
    x = np.full((30, 5), 0.3, np.float32)
    graph = assert_exact(x, 7, strict=True)
    assert (graph.distances == 0).all()


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


def test_near_duplicates_in_float64_below_float32() -> None:
    """Differences that float32 cannot hold at all survive in float64 input."""
    rng = RNG(6)
    base = rng.normal(size=(40, 8)) + 1000.0
    x = np.concatenate([base, base + 1e-9 * rng.normal(size=base.shape)])
    assert (x.astype(np.float32)[:40] == x.astype(np.float32)[40:]).all()
    graph = assert_exact(x, 3)
    assert (graph.distances[:, 0] > 0).all()


@pytest.mark.parametrize("k", [1, 7, 19])
def test_simplex(k: int) -> None:
    """All distances equal sqrt(2): the k lowest ids but one's own, in order."""
    graph = assert_exact(np.eye(20, dtype=np.float32), k, strict=True)
    for row in range(20):
        assert graph.indices[row].tolist() == [j for j in range(20) if j != row][:k]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_integer_grid_ties(dtype: type) -> None:
    """A 6x6x6 grid, shuffled: nearly all distances tie, and every id must still be the lower one."""
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3), axis=-1).reshape(-1, 3)
    assert_exact(RNG(7).permutation(grid).astype(dtype), 20, strict=True)


@pytest.mark.parametrize("offset", [0, 10_000, 3_000_000])
def test_integer_grid_ties_under_an_offset(offset: int) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(12)] * 2), axis=-1).reshape(-1, 2)
    assert_exact((RNG(8).permutation(grid) + offset).astype(np.float32), 9, strict=True)


def test_zero_rows_and_constant_columns() -> None:
    x = clusters(100, 12).astype(np.float32)
    x[10:30] = 0
    x[:, 4] = 5e3
    x[:, 5] = 0
    assert_exact(x, 30)


def test_one_dominating_column() -> None:
    """Neighbours of points that agree in a column of 1e6 are decided by the others, of size 1."""
    x = clusters(200, 10).astype(np.float32)
    x[:, 3] = RNG(9).integers(3, size=200) * 1e6
    assert_exact(x, 20)


def test_two_points() -> None:
    graph = assert_exact(np.array([[0.0, 3.0], [4.0, 0.0]], np.float32), 1, strict=True)
    np.testing.assert_array_equal(graph.indices, [[1], [0]])
    np.testing.assert_array_equal(graph.distances, [[5.0], [5.0]])


@pytest.mark.parametrize("n", [3, 64, 151])
def test_k_is_everybody_else(n: int) -> None:
    graph = assert_exact(clusters(n, 5).astype(np.float32), n - 1)
    for row in range(n):
        assert sorted(graph.indices[row].tolist()) == [j for j in range(n) if j != row]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_feature(dtype: type) -> None:
    """d = 1: the neighbours lie beside the sample in the sorted order."""
    x = RNG(10).permutation(np.cumsum(RNG(11).random(300) + 0.01)).astype(dtype)[:, None]
    assert_exact(x, 6)


def test_many_features() -> None:
    assert_exact(clusters(24, 131_072).astype(np.float32), 5)


@pytest.mark.parametrize("d", [1, 2, 5])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_small_integer_data_is_exact_in_every_id(d: int, data: st.DataObject) -> None:
    """Small integers make ties, duplicates and zero rows by themselves, and exact float64 distances."""
    n = data.draw(st.integers(2, 25))
    k = data.draw(st.integers(1, n - 1))
    x = data.draw(hnp.arrays(np.float32, (n, d), elements=st.integers(-3, 3).map(float)))
    factor = data.draw(st.sampled_from([2.0**-40, 1.0, 2.0**40]))
    assert_exact((x * factor).astype(np.float32), k, strict=True)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    x=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12),
        elements=st.floats(-1e6, 1e6, width=32, allow_nan=False),
    )
)
def test_any_float32_data(x: np.ndarray) -> None:
    assert_exact(x, len(x) - 1)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_float64_scales_whose_squares_vanish_or_overflow(scale: float) -> None:
    with np.errstate(all="ignore"):
        assert (scale * scale) in (0.0, np.inf)
    assert_exact(clusters(60, 20) * scale, 5)


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


@pytest.mark.parametrize("memory", [1, 100_000, 3_000_000])
def test_any_memory_budget_gives_the_same_graph(memory: int) -> None:
    x = np.concatenate([clusters(200, 40), clusters(50, 40)]).astype(np.float32)
    plain, small = exact_neighbors(x, 12), exact_neighbors(x, 12, memory=memory)
    np.testing.assert_array_equal(small.indices, plain.indices)
    np.testing.assert_array_equal(small.distances, plain.distances)


# A reference set


@pytest.mark.parametrize("k", [1, 10, 60])
def test_reference_set(k: int) -> None:
    """Neighbours come from the reference; a query that is in it finds itself at distance 0."""
    reference = clusters(60, 8, seed=1).astype(np.float32)
    queries = np.concatenate([clusters(35, 8, seed=2).astype(np.float32), reference[:5]])
    graph = assert_exact(queries, k, reference=reference)
    np.testing.assert_array_equal(graph.indices[35:, 0], np.arange(5))
    np.testing.assert_array_equal(graph.distances[35:, 0], 0.0)


def test_the_set_as_its_own_reference_keeps_self() -> None:
    """Control of the self removal: given as a reference, the same array is just another set."""
    x = clusters(50, 4).astype(np.float32)
    graph = assert_exact(x, 4, reference=x.copy())
    np.testing.assert_array_equal(graph.indices[:, 0], np.arange(50))


def test_reference_far_from_the_queries() -> None:
    """Centring on one of the two sets only must not cost accuracy on the other."""
    reference = (clusters(80, 6, seed=1) * 1e-2).astype(np.float32)
    assert_exact((clusters(40, 6, seed=2) * 1e-2 + 1e3).astype(np.float32), 9, reference=reference)


def test_reference_with_another_number_of_features_is_refused() -> None:
    with pytest.raises(UserError, match=r"(?s)7.*8|8.*7"):
        exact_neighbors(np.zeros((5, 7), np.float32), 2, reference=np.zeros((6, 8), np.float32))


# Storage and invariances


def test_memory_map_equals_array(tmp_path: Path) -> None:
    x = clusters(180, 40).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = exact_neighbors(np.load(tmp_path / "x.npy", mmap_mode="r"), 11)
    plain = exact_neighbors(x, 11)
    np.testing.assert_array_equal(mapped.indices, plain.indices)
    np.testing.assert_array_equal(mapped.distances, plain.distances)


def test_storage_order_does_not_matter() -> None:
    x = clusters(120, 16).astype(np.float32)
    plain = exact_neighbors(x, 9)
    wide = np.zeros((240, 32), np.float32)
    wide[::2, ::2] = x
    for view in (np.asfortranarray(x), wide[::2, ::2], x[::-1][::-1]):
        graph = exact_neighbors(view, 9)
        np.testing.assert_array_equal(graph.indices, plain.indices)
        np.testing.assert_allclose(graph.distances, plain.distances, rtol=1e-12)


def test_rows_can_be_permuted() -> None:
    x = clusters(140, 10).astype(np.float32)
    order = RNG(12).permutation(140)
    plain, shuffled = exact_neighbors(x, 8), exact_neighbors(x[order], 8)
    np.testing.assert_array_equal(order[shuffled.indices], plain.indices[order])


def test_rotation_and_shift_keep_the_graph_and_an_anisotropic_scaling_does_not() -> None:
    x = clusters(150, 6)
    plain = exact_neighbors(x, 8)
    moved = exact_neighbors(x @ random_rotation(6, 0) * 4.0 + 2.0, 8)
    np.testing.assert_array_equal(moved.indices, plain.indices)
    np.testing.assert_allclose(moved.distances, 4 * plain.distances, rtol=1e-9)
    stretched = exact_neighbors(x * np.array([50.0, 1, 1, 1, 1, 1]), 8)
    assert (stretched.indices != plain.indices).mean() > 0.3


def test_smaller_k_is_a_prefix() -> None:
    x = np.concatenate([clusters(100, 5), clusters(100, 5)]).astype(np.float32)
    large = exact_neighbors(x, 50)
    for k in (1, 2, 13, 49):
        small, prefix = exact_neighbors(x, k), large.prefix(k)
        np.testing.assert_array_equal(small.indices, prefix.indices)
        np.testing.assert_array_equal(small.distances, prefix.distances)


def test_one_thread_equals_two() -> None:
    import torch

    x = clusters(300, 64).astype(np.float32)
    threads = torch.get_num_threads()
    try:
        graphs = []
        for count in (1, 2):
            torch.set_num_threads(count)
            graphs.append(exact_neighbors(x, 15))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(graphs[0].indices, graphs[1].indices)
    np.testing.assert_array_equal(graphs[0].distances, graphs[1].distances)


# Errors


@pytest.mark.parametrize("k", [10, 11, 500])
def test_k_must_be_below_n(k: int) -> None:
    with pytest.raises(UserError) as caught:
        exact_neighbors(clusters(10, 3).astype(np.float32), k)
    assert str(k) in str(caught.value)
    assert "9" in str(caught.value) or "10" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(k: int) -> None:
    with pytest.raises(UserError, match=str(k)):
        exact_neighbors(clusters(10, 3).astype(np.float32), k)


def test_k_of_a_reference_set() -> None:
    reference = clusters(6, 3).astype(np.float32)
    assert exact_neighbors(clusters(10, 3).astype(np.float32), 6, reference=reference).k == 6
    with pytest.raises(UserError, match="7"):
        exact_neighbors(clusters(10, 3).astype(np.float32), 7, reference=reference)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad: float) -> None:
    """The message says how many."""
    x = clusters(40, 3).astype(np.float32)
    x[[3, 7, 7], [0, 1, 2]] = bad
    with pytest.raises(UserError, match=r"\b(2|3)\b"):
        exact_neighbors(x, 4)
    with pytest.raises(UserError):
        exact_neighbors(clusters(10, 3).astype(np.float32), 4, reference=x)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (np.array([[1, "a"], [2, "b"], [3, "c"]], dtype=object), "object"),
        (np.array([["a", "b"], ["c", "d"], ["e", "f"]]), r"str|<U|text|string"),
        (np.ones((5, 2), complex), "complex"),
        (np.ones(5, np.float32), r"\(5,\)|1"),
        (np.ones((5, 2, 2), np.float32), r"\(5, 2, 2\)|3"),
        (np.ones((0, 3), np.float32), r"0|empty"),
        (np.ones((1, 3), np.float32), "1"),
        (np.ones((5, 0), np.float32), r"0|empty|feature"),
    ],
    ids=["object", "string", "complex", "1-d", "3-d", "no rows", "one row", "no features"],
)
def test_arrays_that_are_not_activations(bad: np.ndarray, named: str) -> None:
    with pytest.raises(UserError, match=named):
        exact_neighbors(bad, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integer_arrays_are_searched_rightly_or_refused(dtype: type) -> None:
    """Never silently wrong, as unsigned differences would be."""
    x = RNG(13).integers(0, 200, size=(50, 6)).astype(dtype)
    try:
        graph = exact_neighbors(x, 5)
    except UserError:
        return
    ids, distances = brute_force(x.astype(np.float64), 5)
    np.testing.assert_array_equal(graph.indices, ids)
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-6)


def test_unknown_device_is_the_users_fault() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UserError, match=r"(?i)cuda"):
        exact_neighbors(clusters(10, 3).astype(np.float32), 2, device="cuda")


# The graph type


def good_graph() -> dict[str, object]:
    return {
        "indices": np.array([[1, 2], [0, 2], [1, 0]]),
        "distances": np.array([[1.0, 2.0], [1.0, 1.0], [1.0, 2.0]]),
        "recall": 1.0,
        "n_reference": 3,
    }


def test_a_good_graph_is_accepted_and_frozen() -> None:
    graph = NeighborGraph(**good_graph())
    assert (graph.k, len(graph)) == (2, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.recall = 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([[0, 2], [0, 2], [1, 0]])},
        {"indices": np.array([[1, -1], [0, 2], [1, 0]])},
        {"indices": np.array([[1, 3], [0, 2], [1, 0]])},
        {"indices": np.array([[1, 1], [0, 2], [1, 0]])},
        {"indices": np.array([[1.0, 2.0], [0, 2], [1, 0]])},
        {"indices": np.array([[1, 2], [0, 2]])},
        {"indices": np.array([1, 0, 1]), "distances": np.array([1.0, 1.0, 1.0])},
        {"distances": np.array([[2.0, 1.0], [1.0, 1.0], [1.0, 2.0]])},
        {"distances": np.array([[1.0, np.inf], [1.0, 1.0], [1.0, 2.0]])},
        {"distances": np.array([[np.nan, 2.0], [1.0, 1.0], [1.0, 2.0]])},
        {"distances": np.array([[-1.0, 2.0], [1.0, 1.0], [1.0, 2.0]])},
        {"distances": np.array([[1.0, 2.0], [1.0, 1.0], [1.0, 2.0]], np.float32)},
        {"recall": 1.5},
        {"recall": float("nan")},
        {"n_reference": 4},
        {"n_reference": 2},
    ],
    ids=lambda change: "-".join(change),
)
def test_a_bad_graph_cannot_exist(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        NeighborGraph(**(good_graph() | change))


def test_prefix_is_the_start_of_the_lists() -> None:
    graph = NeighborGraph(**good_graph())
    np.testing.assert_array_equal(graph.prefix(1).indices, [[1], [0], [1]])
    for k in (0, 3):
        with pytest.raises(ValueError, match=str(k)):
            graph.prefix(k)


def test_recall_of_the_reference_itself() -> None:
    """The oracle's own check: brute force has recall 1, shifted ids have little."""
    x = clusters(80, 5)
    ids, _ = brute_force(x, 6)
    assert true_recall(ids, x) == 1.0
    assert true_recall((ids + 1) % 80, x) < 0.5
