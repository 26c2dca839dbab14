"""The approximate graph is valid, honest about its recall, and the same for the same seed and number of threads."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from brute_force import brute_force, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_cli.errors import UserError
from rra_cli.neighbors import approximate_neighbors, exact_neighbors
from rra_cli.neighbors.nn_descent import PynndescentEngine, _without_self


class Library:
    """Stands in for pynndescent (whose compilation takes half a minute) where only its traps matter."""

    def __init__(self, listed: np.ndarray) -> None:
        self.listed = listed
        self.asked: dict[str, Any] = {}

    def NNDescent(self, **asked: Any) -> Any:
        self.asked = asked
        return self

    @property
    def neighbor_graph(self) -> tuple[np.ndarray, np.ndarray]:
        return self.listed, np.full(self.listed.shape, np.inf)  # distances are not believed


def library(monkeypatch: pytest.MonkeyPatch, listed: np.ndarray) -> Library:
    stand_in = Library(listed)
    monkeypatch.setattr("rra_cli.neighbors.nn_descent._import_pynndescent", lambda n_jobs: stand_in)
    return stand_in


def test_every_trap_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(40, 3)
    x[5] = x[6]  # with duplicates the sample itself need not come first
    ids, distances = brute_force(x, 6)
    listed = np.concatenate([np.arange(40)[:, None], ids], axis=1).astype(np.int32)
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
    library(monkeypatch, np.concatenate([np.arange(100)[:, None], ids[:, :3], ids[:, -3:]], axis=1))
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
    ids, broken = _without_self(listed, k)
    assert ids.shape == (n, k)
    for row in range(n):
        usable = [i for i in listed[row].tolist() if 0 <= i < n and i != row]
        assert broken[row] == (len(usable) < k or len(set(usable[:k])) < k)
        if not broken[row]:
            assert ids[row].tolist() == usable[:k]


def test_errors() -> None:
    x = gaussian(20, 3)
    with pytest.raises(UserError, match="k is 20, but 20 samples have 19 others each"):
        approximate_neighbors(x, 20)
    with pytest.raises(UserError, match="n_jobs must be a whole number of at least 1, got -1"):
        approximate_neighbors(x, 3, n_jobs=-1)
    for field, value in {"seed": -1, "n_jobs": 0, "n_trees": 0, "delta": 1.0, "recall_rows": 0, "k": 0}.items():
        with pytest.raises(ValueError, match=f"{field} is {value}"):
            PynndescentEngine(**{field: value})
    assert not PynndescentEngine().prefix_stable


def test_numba_has_threads_enough_or_says_so() -> None:
    """In fresh processes: what numba may use is fixed when it is first imported."""
    code = "from rra_cli.neighbors.nn_descent import _import_pynndescent as load; load({}); print('loaded')"
    enough = run(code.format(32), {})
    assert enough.stdout.strip() == "loaded", enough.stderr
    few = run(code.format(4), {"NUMBA_NUM_THREADS": "2"})
    assert few.returncode != 0
    assert "n_jobs is 4, but numba was started with 2 threads" in few.stderr
    assert "NUMBA_NUM_THREADS=4 before starting" in few.stderr


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    import os

    variables = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    return subprocess.run([sys.executable, "-c", code], env=variables | environment, capture_output=True, text=True)


def test_importing_is_lazy() -> None:
    code = "import sys, rra_cli.neighbors, rra_cli.metrics; print([m for m in {} if m in sys.modules])"
    found = run(code.format(["torch", "numba", "pynndescent", "sklearn", "scipy", "pandas", "hydra"]), {})
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.long
def test_the_real_library() -> None:
    """About half a minute, nearly all of it numba's compilation."""
    x = gaussian(1500, 20).astype(np.float32)
    graph, again = (approximate_neighbors(x, 10, n_jobs=2) for _ in range(2))
    assert np.array_equal(graph.indices, again.indices)
    assert np.array_equal(graph.distances, again.distances)
    other = approximate_neighbors(x, 10, n_jobs=2, seed=1)
    assert not np.array_equal(graph.indices, other.indices)
    exact = exact_neighbors(x, 10)
    true = np.mean([np.isin(a, b).mean() for a, b in zip(graph.indices, exact.indices, strict=True)])
    assert graph.recall == pytest.approx(true, abs=4 * 0.5 / np.sqrt(3000))
    assert graph.recall > 0.85

    # Recall falls with the intrinsic dimension of the data, and the graph says so.
    wide = approximate_neighbors(gaussian(3000, 1000), 15, n_jobs=2)
    assert wide.recall < 0.8

    # Too small or degenerate for the library: repaired rows are exact.
    for small, k in [(x[:30], 29), (x[:2], 1), (x[:5], 2), (np.zeros((100, 5)), 5)]:
        repaired = approximate_neighbors(small, k, n_jobs=2)
        assert np.array_equal(repaired.distances, exact_neighbors(small, k).distances)
