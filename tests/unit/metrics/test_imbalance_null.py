"""Information imbalance of permuted samples: by its definition, by Mantel's moments, and what p-values are worth."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rra_cli.metrics import imbalance_null, sample_tiles
from rra_cli.metrics.imbalance import imbalance_pairs
from rra_cli.metrics.imbalance_null import permuted_imbalances, rank_sums
from rra_cli.metrics.metric import Workshop
from rra_cli.metrics.permutation import null_summary, permutation, relabelled
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.ranks import cross_layer_ranks

N, M = 90, 6


def related(n: int = N) -> list[NDArray[np.floating]]:
    """A layer, what a network may make of it, one of many ties and duplicates, and a wide one far from the origin."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 5))
    found = [x, np.tanh(x @ rng.normal(size=(5, 3))), rng.integers(0, 2, size=(n, 5)), rng.normal(size=(n, 200)) + 100]
    return [layer.astype(np.float32) for layer in found]


@pytest.fixture(scope="module")
def expected() -> dict[tuple[int, int], NDArray[np.float64]]:
    """The values of the samples in their order, and of permuted graphs, by the exact ranks of the search's engine."""
    layers, found = related(), dict[tuple[int, int], NDArray[np.float64]]()
    graphs = [exact_neighbors(layer, 1) for layer in layers]
    moved = [[graph, *(relabelled(graph, permutation(N, 0, m)) for m in range(M))] for graph in graphs]
    for b, layer in enumerate(layers):
        ranks = cross_layer_ranks([each for of_layer in moved for each in of_layer], layer)
        values = 2 / N * ranks[:, :, 0].mean(axis=1).reshape(len(layers), 1 + M)
        found |= {(a, b): values[a] for a in range(len(layers)) if a != b}
    return found


@pytest.mark.parametrize(
    ("tile", "panel", "memory"),
    [(1024, 8192, None), (32, 3, None), (32, 64, 30_000), (40, 64, 3_000)],
    ids=["one tile", "tiles", "in bands", "and in groups of permutations"],
)
def test_values_are_those_of_exact_ranks_of_the_permuted_graph(
    tile: int,
    panel: int,
    memory: int | None,
    expected: dict[tuple[int, int], NDArray[np.float64]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ties and duplicates included, to the last rank."""
    monkeypatch.setattr(sample_tiles, "TILE", tile)
    monkeypatch.setattr(sample_tiles, "PANEL", panel)
    layers = related()
    graphs = [exact_neighbors(layer, 2) for layer in layers]
    found = permuted_imbalances(graphs, layers, M, workshop=Workshop(memory=memory))
    assert set(found) == set(expected)
    for pair, values in found.items():
        np.testing.assert_allclose(values, expected[pair], rtol=1e-14)


def mantel(a: NDArray[np.float64], r: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of sum_ij a_ij r_s(i)s(j) over all permutations; zero diagonals, not symmetric.

    Mantel 1967; for matrices that are not symmetric Hubert, Schultz 1976, "Quadratic assignment as a general data
    analysis strategy".
    """
    n = len(a)

    def parts(m: NDArray[np.float64]) -> NDArray[np.float64]:
        rows, columns = m.sum(axis=1), m.sum(axis=0)
        same, turned = (m * m).sum(), (m * m.T).sum()
        shared = [(rows**2).sum() - same, (columns**2).sum() - same, 2 * ((rows * columns).sum() - turned)]
        return np.array([same, turned, *shared, m.sum() ** 2 - same - turned - sum(shared)])

    pairs = n * (n - 1)
    ways = np.array([pairs, pairs, pairs * (n - 2), pairs * (n - 2), 2 * pairs * (n - 2), pairs * (n - 2) * (n - 3)])
    mean = a.sum() * r.sum() / pairs
    return mean, float(np.sqrt((parts(a) * parts(r) / ways).sum() - mean**2))


def rank_matrix(layer: NDArray[np.floating]) -> NDArray[np.float64]:
    distances = np.linalg.norm(layer[:, None].astype(float) - layer[None], axis=2)
    np.fill_diagonal(distances, -1.0)
    return distances.argsort(axis=1, kind="stable").argsort(axis=1).astype(float)


def listed(nearest: NDArray[np.integer]) -> NDArray[np.float64]:
    found = np.zeros((len(nearest),) * 2)
    found[np.arange(len(nearest)), nearest] = 1.0
    return found


def test_mantels_moments_are_those_of_all_permutations() -> None:
    """The control of the oracle, by all 720 permutations of six samples."""
    rng = np.random.default_rng(1)
    ranks, a = rank_matrix(rng.normal(size=(6, 2))), listed(rank_matrix(rng.normal(size=(6, 2))).argsort(axis=1)[:, 1])
    every = [(a * ranks[np.ix_(order, order)]).sum() for order in permutations(range(6))]
    assert mantel(a, ranks) == pytest.approx((np.mean(every), np.std(every)))


def test_mean_and_spread_are_mantels_and_the_mean_is_the_chance_level() -> None:
    m, (one, other, *_) = 4000, related(60)
    nearest = exact_neighbors(one, 1).indices[:, 0]
    sums = rank_sums(nearest[None], other, m)[0, 1:]
    mean, sd = mantel(listed(nearest), rank_matrix(other))
    assert sums.mean() == pytest.approx(mean, abs=4 * sd / m**0.5)
    assert sums.std() == pytest.approx(sd, rel=4 / (2 * m) ** 0.5)
    assert 2 / 60 * mean / 60 == pytest.approx(1.0), "(2 / N) N / 2"


def test_related_layers_have_the_least_p_value_and_those_of_unrelated_ones_are_uniform() -> None:
    rng, n, m, repeats = np.random.default_rng(2), 30, 19, 120
    found: list[float] = []
    for _ in range(repeats):
        layers = [rng.normal(size=(n, 3)), rng.normal(size=(n, 2))]
        values = permuted_imbalances([exact_neighbors(x, 1) for x in layers], layers, m)
        found.append(null_summary(values[0, 1][0], values[0, 1][1:])[2])
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.array(found) <= level + 1e-12)
        assert share == pytest.approx(level, abs=4 * (level * (1 - level) / repeats) ** 0.5)
    layers = related()[:2]
    values = permuted_imbalances([exact_neighbors(x, 1) for x in layers], layers, m)
    assert [null_summary(each[0], each[1:])[2] for each in values.values()] == [1 / (m + 1)] * 2


def test_an_interrupted_call_goes_on_with_what_it_has_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = related()[:3]
    graphs = [exact_neighbors(layer, 1) for layer in layers]
    expected, seen = permuted_imbalances(graphs, layers, M), []

    def counted(nearest: NDArray[np.integer], layer: NDArray[np.floating], *args: int, **options: object) -> object:
        seen.append(layer.shape[1])
        if len(seen) == 3:
            raise KeyboardInterrupt
        return rank_sums(nearest, layer, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(imbalance_null, "rank_sums", counted)
    workshop = Workshop(folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        permuted_imbalances(graphs, layers, M, workshop=workshop)
    assert seen == [5, 3, 5]
    found = permuted_imbalances(graphs, layers, M, workshop=workshop)
    assert seen[3:] == [5], "of the third layer alone"
    assert all(np.array_equal(found[pair], expected[pair]) for pair in expected)
    path = tmp_path / "ranks_0.state"
    path.write_bytes(path.read_bytes()[:-1])
    again = permuted_imbalances(graphs, layers, M, workshop=workshop)
    assert len(seen) == 5, "what is damaged is made again"
    assert np.array_equal(again[1, 0], expected[1, 0])
    assert permuted_imbalances(graphs, layers, 2, workshop=workshop)[1, 0].shape == (3,), "another number of them, too"


def test_a_collapsed_layer_is_in_no_pair() -> None:
    layers = [*related()[:2], np.full((N, 2), 7.1)]
    graphs = [exact_neighbors(layer, 1) for layer in layers]
    assert set(permuted_imbalances(graphs, layers, 2)) == {(0, 1), (1, 0)}
    assert permuted_imbalances([], [], 2) == {}


def test_half_precision_is_read_as_it_is() -> None:
    layers = [layer.astype(np.float16) for layer in related()[:2]]
    graphs = [exact_neighbors(layer, 1) for layer in layers]
    expected = imbalance_pairs(graphs, layers)
    found = permuted_imbalances(graphs, layers, 1)
    assert found[0, 1][0] == pytest.approx(expected[0, 1].value, rel=1e-14)


def test_a_layer_beyond_float32_is_in_no_pair() -> None:
    x = np.random.default_rng(10).normal(size=(12, 3)) + 1.0
    every = [x, 1e200 * x, x**3]
    assert set(permuted_imbalances([exact_neighbors(each, 1) for each in every], every, 2)) == {(0, 2), (2, 0)}
