"""pynndescent itself: loaded late, compiled once, with threads and memory enough; and the graph that it builds."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from brute_force import gaussian
from descent_stand_in import Library

from rra_cli.errors import UserError
from rra_cli.neighbors import approximate_neighbors, exact_neighbors
from rra_cli.neighbors.descent import library as descent_library
from rra_cli.neighbors.nn_descent import PynndescentEngine


def test_a_layer_larger_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rra_cli.neighbors.nn_descent.free_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"in memory as float32: 4\.00 kB, but 1\.00 kB are free") as caught:
        approximate_neighbors(gaussian(100, 10), 5)
    assert "neighbors=exact" in str(caught.value.hint)


def test_it_is_compiled_once_and_says_so() -> None:
    stand_in, told = Library(np.zeros((64, 5))), []
    for _ in range(3):
        descent_library.compile_once(stand_in, lambda done, total, note: told.append(note))
    assert stand_in.calls == 2, "cold, and from a graph"
    assert told == ["compiling pynndescent, once in a process (half a minute)"]


def test_errors() -> None:
    x = gaussian(20, 3)
    with pytest.raises(UserError, match="k is 20, but 20 samples have 19 others each"):
        approximate_neighbors(x, 20)
    with pytest.raises(UserError, match="n_jobs is -1; it must be a whole number of at least 1"):
        approximate_neighbors(x, 3, n_jobs=-1)
    for field, value in {
        "seed": -1,
        "n_jobs": 0,
        "n_trees": 0,
        "delta": 1.0,
        "recall_rows": 0,
        "k": 0,
        "min_recall": 1.5,
    }.items():
        with pytest.raises(ValueError, match=f"{field} is {value}"):
            PynndescentEngine(**{field: value})
    assert not PynndescentEngine().prefix_stable


@pytest.mark.long
def test_numba_has_threads_enough_or_says_so() -> None:
    """In fresh processes: what numba may use is fixed when it is first imported."""
    code = "from rra_cli.neighbors.descent.library import load; load({}); print('loaded')"
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
    true_distances = np.linalg.norm(x[:, None].astype(float) - x[graph.indices], axis=2)
    np.testing.assert_allclose(graph.distances, true_distances, rtol=1e-6)

    # Recall falls with the intrinsic dimension of the data, and the graph says so.
    wide = approximate_neighbors(gaussian(3000, 1000), 15, n_jobs=2)
    assert wide.recall < 0.8

    # A warm start from a related layer finds as much, is the same again, and is another graph than the cold one.
    layer = np.maximum(x @ gaussian(20, 30), 0)
    start, cold = exact_neighbors(x, 10), approximate_neighbors(layer, 10, n_jobs=2)
    warm, same = (approximate_neighbors(layer, 10, n_jobs=2, start=start) for _ in range(2))
    assert np.array_equal(warm.indices, same.indices)
    assert not np.array_equal(warm.indices, cold.indices)
    assert warm.recall > cold.recall - 0.03
    # Control: without descent it is no better than the layer before.
    unchanged = approximate_neighbors(layer, 10, n_jobs=2, start=start, n_iters=1, max_candidates=1)
    assert unchanged.recall < 0.8

    # Too small or degenerate for the library: repaired rows are exact.
    for small, k in [(x[:30], 29), (x[:2], 1), (x[:5], 2), (np.zeros((100, 5)), 5)]:
        repaired = approximate_neighbors(small, k, n_jobs=2)
        assert np.array_equal(repaired.distances, exact_neighbors(small, k).distances)
