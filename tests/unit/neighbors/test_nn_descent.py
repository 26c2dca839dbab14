"""The approximate graph is valid, honest about its recall, and the same for the same seed and number of threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from brute_force import brute_force, gaussian
from descent_stand_in import library, with_self
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_cli.errors import UserError
from rra_cli.neighbors import approximate_neighbors, exact_neighbors
from rra_cli.neighbors.descent.kernels import drop_unusable, sort_rows
from rra_cli.neighbors.nn_descent import PynndescentEngine, missed_recall


def test_every_trap_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(40, 3)
    x[5] = x[6]  # with duplicates the sample itself need not come first
    ids, distances = brute_force(x, 6)
    listed = with_self(ids)
    listed[5] = [ids[5][0], 5, *ids[5][1:]]  # self second
    listed[7, 3:] = -1  # missing
    listed[8, 3] = listed[8, 4]  # repeated
    listed[9] = listed[9, ::-1]  # unsorted
    listed[10, 1] = 99  # an id that does not exist
    asked = library(monkeypatch, listed)
    graph = approximate_neighbors(x, 6)
    assert asked.asked["n_neighbors"] == 7
    assert asked.asked["data"].dtype == np.float32
    assert np.array_equal(graph.indices, ids)
    assert np.allclose(graph.distances, distances, rtol=1e-12, atol=0)
    assert (graph.recall, graph.engine) == (1.0, "pynndescent")


def test_recall_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row lists 3 of its 6 nearest and 3 of the farthest: recall 0.5, and those rows stay as they are."""
    x = gaussian(100, 3)
    ids, _ = brute_force(x, 99)
    library(monkeypatch, with_self(np.concatenate([ids[:, :3], ids[:, -3:]], axis=1)))
    graph = approximate_neighbors(x, 6, recall_rows=30)
    assert graph.recall == 0.5
    assert np.array_equal(graph.indices, np.concatenate([ids[:, :3], ids[:, -3:]], axis=1))


def test_float32_is_given_centred_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: at an offset of 1e6 the plain cast to float32 keeps less than two digits of the differences."""
    x = gaussian(50, 3) + 1e6
    stand_in = library(monkeypatch, np.arange(50)[:, None].repeat(5, axis=1))
    approximate_neighbors(x, 4)
    given = stand_in.asked["data"].astype(np.float64)
    ratio = (given[1:] - given[0]) / (x[1:] - x[0])
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-4)
    cast = x.astype(np.float32).astype(np.float64)
    assert not np.allclose((cast[1:] - cast[0]) / (x[1:] - x[0]), 1.0, rtol=1e-2)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_rows_without_self(data: st.DataObject) -> None:
    n, width = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 8))
    listed = np.array(data.draw(st.lists(st.lists(st.integers(-1, n), min_size=width, max_size=width),
                                         min_size=n, max_size=n)))  # fmt: skip
    k = data.draw(st.integers(1, width))
    ids, broken = np.empty((n, k), np.int64), np.empty(n, bool)
    drop_unusable(listed, ids, broken, 0, n)
    for row in range(n):
        usable = [i for i in listed[row].tolist() if 0 <= i < n and i != row]
        assert broken[row] == (len(usable) < k)
        assert ids[row].tolist()[: len(usable)] == usable[:k]
    chosen = ids.copy()
    distances = np.abs(chosen - np.arange(n)[:, None]) // 2 * 1.0  # many ties
    sort_rows(ids, distances, broken, 0, n)
    for row in range(n):
        assert ids[row].tolist() == sorted(chosen[row].tolist(), key=lambda i: (abs(i - row) // 2, i))
        assert broken[row] >= (len(set(chosen[row].tolist())) < k)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", ">f4"])
@pytest.mark.parametrize("features", [3, 130])
def test_distances_are_those_of_the_exact_graph_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, dtype: str, features: int
) -> None:
    """Whatever the input's type and layout; with one row less than whole units of columns, and one more."""
    x = (100 * gaussian(60, features)).astype(dtype)
    exact = exact_neighbors(x, 7)
    library(monkeypatch, with_self(exact.indices))
    for same in (x, np.asfortranarray(x)):
        graph = approximate_neighbors(same, 7)
        assert np.array_equal(graph.indices, exact.indices)
        assert np.array_equal(graph.distances, exact.distances)
        assert graph.recall == 1.0


@pytest.mark.parametrize("scale", [1e-200, 1e-15, 1e15, 1e200])
def test_any_size_of_numbers(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    x = gaussian(40, 3) * scale
    ids, distances = brute_force(gaussian(40, 3), 5)
    stand_in = library(monkeypatch, with_self(ids))
    graph = approximate_neighbors(x, 5)
    assert np.array_equal(graph.indices, ids)
    assert np.allclose(graph.distances, distances * scale, rtol=1e-12, atol=0)
    given = stand_in.asked["data"]
    assert 1e-3 < np.abs(given).max() <= 1.0  # far from where float32 ends


def test_threads_and_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(500, 40)
    rough = np.argsort(np.linalg.norm(x[:, None] - x[None], axis=2) + gaussian(500, 500), axis=1)[:, :21]
    stand_in = library(monkeypatch, rough)
    found = []
    for threads, memory in ((1, None), (3, 2_000_000), (4, 1 << 30)):
        monkeypatch.setattr("rra_cli.neighbors.threads.thread_count", lambda threads=threads: threads)
        graph = approximate_neighbors(x, 15, memory=memory)
        found.append((graph.indices, graph.distances, graph.recall, stand_in.asked["data"]))
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert found[0][2] < 1


@pytest.mark.parametrize("case", ["plain", "copies", "offset", "collapsed"])
def test_recall_counts_what_lies_within_the_true_kth_distance(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Against all distances by direct difference; many pairs tie where rows are copies of each other."""
    x = gaussian(300, 4)
    if case == "copies":
        x = x[np.arange(300) % 20]
    elif case == "offset":
        x = x + 1e4
    elif case == "collapsed":
        x = np.zeros((300, 4))
    ids, distances = brute_force(x, 299)
    rng = np.random.default_rng(0)
    listed = np.stack([rng.choice(row[:12], 8, replace=False) for row in ids])
    library(monkeypatch, with_self(listed))
    monkeypatch.setattr("rra_cli.neighbors.descent.recall._MOST_PAIRS", 100)
    graph = approximate_neighbors(x, 8, recall_rows=100)
    sample = np.sort(np.random.default_rng(0).choice(300, 100, replace=False))
    within = graph.distances[sample] <= distances[sample, 7][:, None] * (1 + 1e-12)
    assert graph.recall == within.mean()
    assert (graph.recall == 1) == (case in ("copies", "collapsed"))


def test_a_start_takes_the_place_of_the_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lists with k + 1 ids at least, none missing, and squared distances of what the index sees."""
    x, before = gaussian(200, 6), exact_neighbors(gaussian(200, 6) ** 3, 5)
    stand_in = library(monkeypatch, with_self(brute_force(x, 8)[0]))
    approximate_neighbors(x, 8)
    assert "init_graph" not in stand_in.asked
    approximate_neighbors(x, 8, start=before)
    lists, squares, data = (stand_in.asked[name] for name in ("init_graph", "init_dist", "data"))
    assert np.array_equal(lists[:, :5], before.indices)
    assert (lists.shape[1] >= 9, lists.dtype, squares.dtype) == (True, np.int32, np.float32)
    assert ((lists >= 0) & (lists < 200)).all()
    own = np.arange(200)[:, None]
    assert min(len(set(row.tolist()) - {i}) for i, row in enumerate(lists)) >= 9
    wide = data.astype(np.float64)
    assert np.allclose(squares, ((wide[own] - wide[lists]) ** 2).sum(axis=2), rtol=1e-5)
    # Control: distances rather than their squares would order the lists of two metrics by one heap.
    assert not np.allclose(squares, np.sqrt(((wide[own] - wide[lists]) ** 2).sum(axis=2)), rtol=1e-1)


def test_more_neighbours_may_be_searched_for_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(60, 3)
    ids, _ = brute_force(x, 20)
    stand_in = library(monkeypatch, with_self(ids))
    graph = approximate_neighbors(x, 5, n_neighbors=21)
    assert stand_in.asked["n_neighbors"] == 21
    assert np.array_equal(graph.indices, ids[:, :5])
    approximate_neighbors(x, 5, n_neighbors=3)
    assert stand_in.asked["n_neighbors"] == 6, "never fewer than k and the sample itself"


def test_a_start_of_other_samples_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(40, 3)
    library(monkeypatch, with_self(brute_force(x, 5)[0]))
    with pytest.raises(UserError, match="the same 40 samples against themselves, got one of 30 samples against thems"):
        approximate_neighbors(x, 5, start=exact_neighbors(x[:30], 5))
    against_others = exact_neighbors(x, 5, reference=gaussian(50, 3))
    with pytest.raises(UserError, match="got one of 40 samples against 50 others"):
        approximate_neighbors(x, 5, start=against_others)


def poor(x: np.ndarray) -> np.ndarray:
    """Lists of which each holds 3 of its 6 nearest: recall 0.5."""
    ids, _ = brute_force(x, len(x) - 1)
    return with_self(np.concatenate([ids[:, :3], ids[:, -3:]], axis=1))


def test_where_the_recall_is_missed_the_graph_is_exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    x, told = gaussian(100, 3), []
    stand_in = library(monkeypatch, poor(x))
    engine = PynndescentEngine(min_recall=0.75)
    graph = engine.search(x, 6, work=tmp_path, progress=lambda done, total, note: told.append(note))
    assert (graph.engine, graph.recall) == ("exact", 1.0)
    assert np.array_equal(graph.indices, brute_force(x, 6)[0])
    assert "recall 0.5000 is below 0.75: searched exactly" in told
    assert missed_recall(tmp_path) == 0.5
    # What was interrupted in the exact search does not begin with the approximate one again.
    assert engine.search(x, 6, work=tmp_path).engine == "exact"
    assert stand_in.calls == 1
    # Control: what is reached, or not asked for, is left as it is.
    for enough in (0.5, None):
        assert PynndescentEngine(min_recall=enough).search(x, 6).engine == "pynndescent"


@pytest.mark.parametrize("content", [b"", b"{", b'{"recall": 0.9}', None], ids=["empty", "torn", "other", "one bit"])
def test_a_damaged_note_of_a_missed_recall_is_searched_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    """Never another recall, never a fault; the control is the test above, where the note is sound and used."""
    x = gaussian(100, 3)
    stand_in = library(monkeypatch, poor(x))
    engine = PynndescentEngine(min_recall=0.75)
    engine.search(x, 6, work=tmp_path)
    (note,) = tmp_path.iterdir()
    kept = note.read_bytes()
    note.write_bytes(kept[:-17] + bytes([kept[-17] ^ 1]) + kept[-16:] if content is None else content)
    assert missed_recall(tmp_path) is None
    assert [note.name in record.getMessage() for record in caplog.records] == [True]
    assert engine.search(x, 6, work=tmp_path).engine == "exact"
    assert stand_in.calls == 2
    assert missed_recall(tmp_path) == 0.5
