"""Counts of shared neighbours equal those of Python sets, however the work is cut."""

from __future__ import annotations

import os
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from brute_force import gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_cli.errors import UserError
from rra_cli.neighbors import exact_neighbors, overlap
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.io import load_graph, save_graph
from rra_cli.neighbors.overlap import Overlaps, all_pairs, count_overlaps, cross_pairs, overlap_parts, usable_threads


def layers(n: int, k: int, count: int, n_reference: int | None = None, seed: int = 0) -> list[NeighborGraph]:
    """Lists of random ids; each layer repeats about half of the one before, in another order."""
    rng = np.random.default_rng(seed)
    reference = n if n_reference is None else n_reference
    allowed = [np.setdiff1d(np.arange(reference), [i] if n_reference is None else []) for i in range(n)]
    lists = np.array([rng.permutation(ids)[:k] for ids in allowed])
    graphs = []
    for layer in range(count):
        kept = rng.integers(0, k + 1, n)
        old = rng.permuted(lists, axis=1)
        new = [rng.permutation(np.setdiff1d(allowed[i], old[i, : kept[i]]))[: k - kept[i]] for i in range(n)]
        lists = rng.permuted([[*old[i, : kept[i]], *new[i]] for i in range(n)], axis=1)
        kind = np.int32 if layer % 2 else np.int64
        graphs.append(NeighborGraph(lists.astype(kind), np.ones((n, k)), 1.0, reference, n_reference is None))
    return graphs


def by_sets(graphs: list[NeighborGraph], pairs: np.ndarray, k: int) -> np.ndarray:
    """`(pairs, n)`, the plain definition."""
    sets = [[set(row[:k].tolist()) for row in graph.indices] for graph in graphs]
    return np.array([[len(p & q) for p, q in zip(sets[a], sets[b], strict=True)] for a, b in pairs])


def check(found: Overlaps, graphs: list[NeighborGraph]) -> None:
    """Every count and every histogram against sets."""
    assert found.counts is not None
    for place, k in enumerate(found.ks):
        expected = by_sets(graphs, found.pairs, k)
        assert np.array_equal(found.counts[place], expected)
        histogram = [np.bincount(row, minlength=k + 1) for row in expected]
        assert np.array_equal(found.histograms[place], histogram)


def same(one: Overlaps, other: Overlaps) -> bool:
    pairs = zip(one.histograms, other.histograms, strict=True)
    return one.ks == other.ks and all(np.array_equal(a, b) for a, b in pairs)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_python_sets(data: st.DataObject) -> None:
    """Any sizes, prefixes, pairs, threads and blocks; int32 and int64 ids side by side."""
    n = data.draw(st.integers(2, 40), "n")
    reference = data.draw(st.none() | st.integers(1, 300), "n_reference")
    k = data.draw(st.integers(1, n - 1 if reference is None else reference), "k")
    count = data.draw(st.integers(1, 12), "layers")
    graphs = layers(n, k, count, reference, data.draw(st.integers(0, 999), "seed"))
    place = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(place, place), min_size=1, max_size=20), "pairs")
    ks = data.draw(st.lists(st.integers(1, k), min_size=1, max_size=4), "ks")
    threads = data.draw(st.integers(1, 3), "threads")
    check(count_overlaps(graphs, pairs, ks=ks, per_sample=True, threads=threads), graphs)


@pytest.mark.parametrize("count", [2, 8, 9, 63, 64, 65, 130])
def test_any_number_of_layers(count: int) -> None:
    """All pairs, also where one word holds the layers of an id no more."""
    graphs = layers(7, 20, count, 50)
    found = count_overlaps(graphs, ks=[3, 20], per_sample=True, threads=2)
    assert found.pairs.tolist() == [list(pair) for pair in combinations(range(count), 2)]
    check(found, graphs)


@pytest.mark.parametrize(("n_reference", "k"), [(9000, 4500), (20_000, 5000)])
def test_long_lists(n_reference: int, k: int) -> None:
    """More words than are counted at a time, more neighbours than a byte counts, large parts in common."""
    graphs = layers(3, k, 4, n_reference)
    check(count_overlaps(graphs, ks=[1, 63, 64, 65, 4160, k], per_sample=True, threads=1), graphs)


def test_a_wrong_count_is_noticed() -> None:
    """Negative control: one neighbour changed in one list moves exactly the pairs of that layer, for that sample."""
    graphs = layers(50, 10, 5, 400)
    ids = graphs[2].indices.copy()
    common = np.intersect1d(graphs[1].indices[7], ids[7])[0]
    ids[7, ids[7] == common] = np.setdiff1d(np.arange(400), np.concatenate([g.indices[7] for g in graphs]))[0]
    changed = [*graphs[:2], NeighborGraph(ids, graphs[2].distances, 1.0, 400, False), *graphs[3:]]
    before, after = (count_overlaps(g, per_sample=True, threads=1) for g in (graphs, changed))
    assert before.counts is not None
    assert after.counts is not None
    pair, sample = np.nonzero(before.counts[0] != after.counts[0])
    assert set(sample) == {7}
    assert [1, 2] in before.pairs[pair].tolist()
    assert all(2 in ends for ends in before.pairs[pair])
    with pytest.raises(AssertionError):
        check(after, graphs)


def test_threads_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, also of means and errors: they rest on integers."""
    graphs = layers(101, 12, 11)
    whole = count_overlaps(graphs, ks=[5, 12], per_sample=True, threads=1)
    table = np.sqrt(np.arange(13))
    for ids, counts in [(1, 1 << 20), (1000, 1 << 20), (1 << 19, 300), (1 << 19, 1 << 20)]:
        monkeypatch.setattr(overlap, "_BLOCK_IDS", ids)
        monkeypatch.setattr(overlap, "_BLOCK_COUNTS", counts)
        for threads in (1, 2, 4):
            cut = count_overlaps(graphs, ks=[5, 12], per_sample=True, threads=threads)
            assert same(whole, cut)
            assert np.array_equal(whole.counts, cut.counts)
            assert np.array_equal(whole.moments(table, 12), cut.moments(table, 12))


def test_parts_make_up_the_whole() -> None:
    graphs = layers(30, 9, 6)
    whole = count_overlaps(graphs, ks=[1, 4, 9], per_sample=True, threads=1)
    for memory in (1, 1000, 5000, 20_000):
        found: dict[tuple[int, int, int], tuple[list[int], list[int]]] = {}
        parts = list(overlap_parts(graphs, ks=[1, 4, 9], per_sample=True, threads=1, memory=memory))
        for part in parts:
            assert part.counts is not None
            for k, histogram, counts in zip(part.ks, part.histograms, part.counts, strict=True):
                for (a, b), row, own in zip(part.pairs.tolist(), histogram, counts, strict=True):
                    found[k, a, b] = (row.tolist(), own.tolist())
        assert len(parts) > 1 or memory == 20_000
        assert len(found) == 3 * 15
        assert whole.counts is not None
        for place, k in enumerate(whole.ks):
            for p, (a, b) in enumerate(whole.pairs.tolist()):
                assert found[k, a, b] == (whole.histograms[place][p].tolist(), whole.counts[place, p].tolist())


def test_one_graph_gives_the_curve_of_all_prefixes() -> None:
    """Every k' <= k from one pass equals the graphs of k' alone."""
    x = gaussian(60, 4)
    graphs = [exact_neighbors(x + noise * gaussian(60, 4, seed=9), 30) for noise in (0.0, 0.3, 1.0)]
    curve = count_overlaps(graphs, ks=range(1, 31), threads=2)
    assert curve.ks == tuple(range(1, 31))
    for k, histogram in zip(curve.ks, curve.histograms, strict=True):
        alone = count_overlaps([graph.prefix(k) for graph in graphs], threads=1)
        assert np.array_equal(histogram, alone.histograms[0])
    overlaps = [curve.moments(np.arange(k + 1) / k, k)[0] for k in curve.ks]
    assert all(near > far for near, _, far in overlaps[4:])


def test_pairs_of_two_models_without_those_within() -> None:
    first, second = layers(20, 6, 3, seed=1), layers(20, 6, 4, seed=2)
    assert cross_pairs(3, 4).tolist() == [[a, 3 + b] for a in range(3) for b in range(4)]
    check(count_overlaps(first + second, cross_pairs(3, 4), per_sample=True), first + second)
    assert all_pairs(1).shape == (0, 2)
    assert all_pairs(3).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_moments_are_those_of_the_samples() -> None:
    """Against the values one by one; the neighbourhood overlap |A and B| / k among them."""
    graphs = layers(40, 7, 4)
    found = count_overlaps(graphs, threads=1)
    for table in (np.arange(8) / 7, np.cos(np.arange(8))):
        values = table[by_sets(graphs, found.pairs, 7)]
        means, errors = found.moments(table, 7)
        np.testing.assert_allclose(means, values.mean(axis=1), rtol=1e-13)
        np.testing.assert_allclose(errors, values.std(axis=1, ddof=1) / np.sqrt(40), rtol=1e-12)
    one = count_overlaps(layers(1, 3, 2, 9), threads=1)
    assert np.isnan(one.moments(np.arange(4), 3)[1]).all()
    with pytest.raises(UserError, match="k = 5 was not counted, only 7"):
        found.moments(np.arange(6), 5)
    none = count_overlaps(graphs, np.empty((0, 2), int))
    assert [len(values) for values in none.moments(np.arange(8), 7)] == [0, 0]


def test_graphs_on_disk_and_other_layouts_in_memory(tmp_path: Path) -> None:
    """Memory maps, prefixes of longer lists, columns first, backwards: read where they lie."""
    graphs = layers(33, 12, 5, 70)
    plain = count_overlaps(graphs, ks=[8], threads=1)
    for place, graph in enumerate(graphs):
        save_graph(graph, tmp_path / str(place))
    mapped = [load_graph(tmp_path / str(place), 8) for place in range(5)]
    assert isinstance(mapped[0].indices, np.memmap)
    assert same(plain, count_overlaps(mapped, threads=2))
    turned = [
        NeighborGraph(array[:, :8], graph.distances[:, :8], 1.0, 70, False)
        for graph, array in ((g, np.asfortranarray(g.indices)) for g in graphs)
    ]
    assert same(plain, count_overlaps(turned, threads=1))
    ids = np.ascontiguousarray(graphs[0].indices[::-1, ::-1])[::-1, ::-1]
    back = NeighborGraph(ids, graphs[0].distances, 1.0, 70, False)
    assert ids.strides[0] < 0
    assert same(plain, count_overlaps([back, *graphs[1:]], ks=[8], threads=1))


def test_as_many_threads_as_torch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without importing it for that; without it, all cores this process may use."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 3))
    assert usable_threads() == 3
    monkeypatch.delitem(sys.modules, "torch")
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)
    assert "torch" not in sys.modules


def test_incomparable_graphs() -> None:
    x = gaussian(30, 3)
    graph = exact_neighbors(x, 5)
    with pytest.raises(UserError, match="different samples cannot be compared: 30 and 20 rows"):
        count_overlaps([graph, exact_neighbors(x[:20], 5)])
    with pytest.raises(UserError, match="different k cannot be compared: 5 and 6") as caught:
        count_overlaps([graph, exact_neighbors(x, 6)])
    assert "graph.prefix(k)" in str(caught.value)
    with pytest.raises(UserError, match="different reference sets"):
        count_overlaps([graph, exact_neighbors(x, 5, reference=x)])


def test_arguments_that_do_not_exist() -> None:
    graphs = layers(20, 5, 2)
    with pytest.raises(UserError, match=r"k must lie in 1\.\.5, got 6"):
        count_overlaps(graphs, ks=[2, 6])
    with pytest.raises(UserError, match="k must be a whole number of at least 1, got 0"):
        count_overlaps(graphs, ks=[0])
    with pytest.raises(UserError, match=r"k must lie in 1\.\.5, got none"):
        count_overlaps(graphs, ks=[])
    with pytest.raises(UserError, match="there are no graphs to compare"):
        count_overlaps([])
    with pytest.raises(UserError, match="threads must be a whole number of at least 1, got 0"):
        count_overlaps(graphs, threads=0)
    with pytest.raises(UserError, match=r"pairs must be places of the 2 graphs, 0\.\.1, got 0\.\.2"):
        count_overlaps(graphs, [[0, 2]])
    for bad in ([0, 1], [[0, 1, 1]], [[0.5, 1.0]]):
        with pytest.raises(UserError, match=r"pairs must be whole numbers \(pairs, 2\), got"):
            count_overlaps(graphs, bad)


@pytest.mark.parametrize("bad", [-1, 400, 2**31 - 1])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_an_id_out_of_range_is_refused_and_never_followed(bad: int, kind: type) -> None:
    """A graph is checked at birth; this one is changed afterwards, as a file under a memory map may be."""
    ids = np.tile(np.arange(10, dtype=kind), (40, 1))
    graphs = [NeighborGraph(ids.copy(), np.ones((40, 10)), 1.0, 400, False) for _ in range(3)]
    graphs[1].indices[17, 3] = bad
    with pytest.raises(UserError, match=r"has an id outside of 0\.\.399 in rows 0\.\.39") as caught:
        count_overlaps(graphs, threads=2)
    assert "build it again" in str(caught.value)
