"""How long searches take by a plan, and with how much memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from planning import Watcher, experiment, runner

from rra_cli import pipeline
from rra_cli.config.experiment import Experiment, Runtime
from rra_cli.neighbors import cost_model
from rra_cli.neighbors.auto import AutoEngine
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.stages.lay_out import lay_out


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watcher]:
    return runner(tmp_path, monkeypatch)


def graph_seconds(experiment: Experiment, stage: str = "graph") -> list[float]:
    """Of the plan's graphs, in their order."""
    return [row.seconds for row in pipeline.plan(experiment).rows if row.stage == stage]


def test_what_a_process_does_once_is_with_the_first_graph(base: Experiment, run: Callable[..., Watcher]) -> None:
    base = replace(base, runtime=Runtime(threads=cost_model.THREADS))
    first, *others = graph_seconds(base)
    assert first - cost_model.KERNEL_LOAD == pytest.approx(others[0], rel=0.1)
    assert max(others) < 0.1
    first, *others = graph_seconds(replace(base, neighbors=PynndescentEngine(k=5, n_jobs=1)))
    assert first == pytest.approx(cost_model.KERNEL_LOAD + cost_model.DESCENT_COMPILE, rel=0.1)
    assert max(others) < 1.0
    # It is what is missing that begins with it: here the graphs of the second split.
    run(replace(base, dataset=replace(base.dataset, splits=("train",))))
    rows = [row for row in pipeline.plan(base).rows if row.stage == "graph" and row.state == "missing"]
    assert rows[0].seconds - cost_model.KERNEL_LOAD == pytest.approx(rows[1].seconds, rel=0.1)
    assert 0 < len(rows) < len(others) + 1


def test_the_choice_of_auto_tells_the_time_that_the_plan_has(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph, with the threads of the estimates: compilation is in both."""
    monkeypatch.setattr(cost_model, "EXACT_SELECT", 1.0)  # so that descent is chosen
    monkeypatch.setattr("rra_cli.stages.costs.usable_cores", lambda: 4)
    auto = AutoEngine(k=5)
    estimated = auto.choose(300, 64, 5).approximate
    first = graph_seconds(replace(base, neighbors=auto, runtime=Runtime(threads=4)))[0]
    assert first - cost_model.KERNEL_LOAD == pytest.approx(estimated)


def test_threads_share_an_exact_search_and_n_jobs_a_descent(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_model, "EXACT_SELECT", 1e-3)
    monkeypatch.setattr(cost_model, "EXACT_START", 0.0)
    monkeypatch.setattr("rra_cli.stages.costs.usable_cores", lambda: 8)
    exact = {n: graph_seconds(replace(base, runtime=Runtime(threads=n)))[1] for n in (1, 4, 8)}
    assert exact[1] == pytest.approx(4 * exact[4]) == pytest.approx(8 * exact[8])
    descent = {n: graph_seconds(replace(base, neighbors=PynndescentEngine(k=5, n_jobs=n)))[1] for n in (1, 4, 16)}
    assert descent[1] == pytest.approx(4 * descent[4]) == pytest.approx(8 * descent[16]), "there are eight cores"
    # Whoever chooses between them chooses the same for any number of threads.
    chosen = [lay_out(replace(base, neighbors=AutoEngine(), runtime=Runtime(threads=n))).graphs[0] for n in (1, 64)]
    assert chosen[0].point.graph.key == chosen[1].point.graph.key


def test_shards_take_up_to_twice_the_time_of_one_search(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_model, "EXACT_SELECT", 1e-3)
    whole = graph_seconds(base)[1]
    assert graph_seconds(replace(base, neighbors=ExactEngine(k=5, shards=10)))[1] == pytest.approx(
        1.9 * whole, rel=0.05
    )
    one = graph_seconds(replace(base, neighbors=ExactEngine(k=5, shards=10, shard=3)), "graph_shard")[1]
    assert one == pytest.approx(0.19 * whole, rel=0.05)


def test_no_more_memory_is_planned_than_a_search_may_take(base: Experiment) -> None:
    """Beside the graph itself, which is no workspace. Control: enough is not changed."""

    def peak(**options: int | str | None) -> int:
        own, general = options.get("memory"), options.get("general")
        changed = replace(base, neighbors=ExactEngine(k=5, memory=own), runtime=Runtime(memory=general))
        return max(row.memory_bytes for row in pipeline.plan(changed).rows if row.stage == "graph")

    plenty, graph = peak(), cost_model.graph_bytes(300, 5)
    assert peak(memory="100kB") == peak(general="100kB") == peak(memory="100kB", general="1TB") == 100_000 + graph
    assert plenty == peak(memory="1TB") == cost_model.exact_bytes(300, 64, 5) > 100_000 + graph
