"""The choice between exact and approximate search: from sizes alone, cautious, and told with its reason."""

from __future__ import annotations

import numpy as np
import pytest
from brute_force import brute_force, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_cli.core.fields import identity_of
from rra_cli.neighbors import auto, cost_model
from rra_cli.neighbors.auto import WORTH_TRYING, AutoEngine, engine_for, explain
from rra_cli.neighbors.cost_model import exact_seconds, nn_descent_bytes, nn_descent_seconds
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine

SMALL, LARGE = (1000, 64, 10), (1_000_000, 64, 15)
sizes = st.tuples(st.integers(2, 10**7), st.integers(1, 200_000), st.integers(1, 5000))


@settings(max_examples=300, deadline=None)
@given(sizes)
def test_more_work_is_never_estimated_to_take_less(size: tuple[int, int, int]) -> None:
    n, d, k = size
    for seconds in (exact_seconds, nn_descent_seconds, nn_descent_bytes):
        here = seconds(n, d, k)
        assert 0 < here < float("inf")
        # The number of trees is a rounded logarithm and leaves grow with k: a step of either may cost a little less.
        slack = 1.0 if seconds is not nn_descent_seconds else 0.7
        assert min(seconds(2 * n, d, k), seconds(n, 2 * d, k), seconds(n, d, 2 * k)) >= slack * here


def test_exact_search_grows_with_the_square_and_descent_nearly_linearly() -> None:
    """The reason why there are two engines: 10 times the samples are 100 and about 10 times the work."""
    n, d, k = 10**6, 256, 50
    assert exact_seconds(10 * n, d, k) / exact_seconds(n, d, k) == pytest.approx(100, rel=0.2)
    times = [nn_descent_seconds(size, d, k, compiled=True) for size in (n, 10 * n)]
    assert 10 <= times[1] / times[0] < 16
    assert 1 < exact_seconds(n, d, k, n_reference=n) / exact_seconds(n, d, k) < 2, "all pairs, each from one side"
    assert 1.9 < exact_seconds(n, d, k, shards=100) / exact_seconds(n, d, k) < 2, "pairs of two shards, from both"
    assert exact_seconds(n, d, k, shards=1) == exact_seconds(n, d, k)
    assert nn_descent_seconds(*SMALL, compiled=True) + cost_model.DESCENT_COMPILE == nn_descent_seconds(*SMALL)


@settings(max_examples=200, deadline=None)
@given(sizes, st.sampled_from([0.0, 0.9, 0.99, 0.995, 1.0]))
def test_approximate_search_is_chosen_where_a_miss_would_be_paid_back(
    size: tuple[int, int, int], recall: float
) -> None:
    choice = AutoEngine(min_recall=recall).choose(*size)
    wide = max(101, size[2] + 51)
    assert (choice.exact, choice.approximate) == (exact_seconds(*size), nn_descent_seconds(*size, n_neighbors=wide))
    worth = choice.approximate <= WORTH_TRYING * choice.exact and recall <= 0.99
    assert isinstance(choice.engine, PynndescentEngine if worth else ExactEngine)


def test_both_engines_are_chosen_somewhere() -> None:
    assert AutoEngine().choose(*SMALL).engine == ExactEngine()
    assert AutoEngine(k=7, seed=3, n_jobs=2, recall_rows=50, warm_start=True).choose(*LARGE).engine == (
        PynndescentEngine(k=7, seed=3, n_jobs=2, n_neighbors=101, recall_rows=50, warm_start=True, min_recall=0.99)
    )


def test_a_graph_has_the_identity_of_the_engine_that_was_chosen() -> None:
    """So that what was searched exactly is shared with whoever asks for `neighbors=exact`."""
    assert identity_of(engine_for(AutoEngine(), *SMALL, first=True).engine) == identity_of(ExactEngine())
    assert identity_of(engine_for(AutoEngine(seed=9, preprocess="l2"), *SMALL, first=True).engine) == identity_of(
        ExactEngine(preprocess="l2")
    )
    approximate = engine_for(AutoEngine(), *LARGE, first=True).engine
    assert identity_of(approximate) == identity_of(PynndescentEngine(min_recall=0.99, n_neighbors=101))
    # Control: another recall is another graph, for one may be searched exactly where the other is not.
    other = engine_for(AutoEngine(min_recall=0.9), *LARGE, first=True).engine
    assert identity_of(approximate) != identity_of(other)


def test_an_engine_by_name_is_taken_as_it_is_and_the_first_layer_starts_cold() -> None:
    warm = PynndescentEngine(warm_start=True)
    assert engine_for(ExactEngine(), *LARGE, first=True).engine == ExactEngine()
    assert engine_for(warm, *SMALL, first=False).engine == warm
    assert engine_for(warm, *SMALL, first=True).engine == PynndescentEngine()
    assert engine_for(AutoEngine(warm_start=True), *LARGE, first=True).engine == AutoEngine().approximate(15)


def test_it_says_what_it_chose_and_why() -> None:
    lines = explain(AutoEngine(min_recall=0.95), [SMALL, (1000, 512, 10), LARGE])
    assert len(lines) == 2
    assert lines[0].startswith("neighbors=auto: exact for 2 graphs (1,000 samples, 64 to 512 features, k = 10): about ")
    assert "pynndescent about" in lines[0]
    assert lines[1].startswith(
        "neighbors=auto: pynndescent for 1 graph (1,000,000 samples, 64 features, k = 15): about"
    )
    assert lines[1].endswith("where its recall is below 0.95, exact")
    assert explain(AutoEngine(min_recall=1), [LARGE])[0].endswith("not relied on for a recall above 0.99")
    assert explain(AutoEngine(), []) == []


def test_search_is_that_of_the_chosen_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gaussian(60, 3)
    graph = AutoEngine().search(x, 5)
    assert graph.engine == "exact"
    assert np.array_equal(graph.indices, brute_force(x, 5)[0])
    monkeypatch.setattr(auto, "exact_seconds", lambda *size: 1e9)
    monkeypatch.setattr(PynndescentEngine, "search", lambda self, *args, **options: self)
    assert AutoEngine(seed=4).search(x, 5) == PynndescentEngine(seed=4, n_neighbors=101, min_recall=0.99)


def test_faults_are_those_of_the_engine_that_would_be_chosen() -> None:
    for field, value in {"min_recall": 1.5, "seed": -1, "n_jobs": 0, "recall_rows": 0, "k": 0}.items():
        with pytest.raises(ValueError, match=f"{field} is {value}"):
            AutoEngine(**{field: value})
    with pytest.raises(ValueError, match=r"min_recall is 1.2; it must lie in \[0, 1\]$"):  # there is no null here
        AutoEngine(min_recall=1.2)
    assert not AutoEngine().prefix_stable
