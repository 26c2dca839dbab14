"""Shards in runs: other k, layers that cannot be searched, plans, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shard_runs import Counting, K, N, Watcher, context, elsewhere, experiment, forgetting, graphs, run, sharded, stored

from rra_cli import pipeline
from rra_cli.config.compose import load
from rra_cli.config.experiment import Experiment
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import ConfigError, UserError
from rra_cli.stages.graphs.shards import rows_of_shard
from rra_cli.stages.lay_out import lay_out


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield from forgetting()


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


def test_the_graph_of_a_larger_k_serves_and_its_shards_are_others(base: Experiment) -> None:
    large = replace(base, neighbors=Counting(k=K + 2, shards=3))
    graphs(large)[0].build(context(large))
    Counting.searched.clear()
    graph = graphs(sharded(base, 3))[0]
    assert graph.done(Store(base.store_root))
    graph.build(context(base))
    assert Counting.searched == []
    assert graph.shards.spec != graphs(large)[0].shards.spec


def test_a_layer_that_cannot_be_searched_has_no_shards(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graphs(sharded(base, 3))[0]
    monkeypatch.setattr(graph.source, "open", lambda store: (np.zeros((N, 3)), "2 of 22 rows hold NaN or infinity"))
    graph.build(context(base))
    assert graph.load(Store(base.store_root), K) == (None, "2 of 22 rows hold NaN or infinity", 3)
    assert Counting.searched == []


# One shard only


def test_shards_built_one_by_one_are_merged_by_the_plain_run(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tasks of an array do, in any order; the plain run searches nothing and writes the unsharded run's tables."""
    for shard in (2, 0, 1):
        watcher = Watcher()
        folder = run(sharded(base, 3, shard), tmp_path / f"task-{shard}", monkeypatch, watcher)
        assert Counting.searched == 2 * [rows_of_shard(N, 3, shard)]
        assert not (folder / "tables").exists()
        assert f"shard {shard} of 3 of all graphs is in the store" in (folder / "status.json").read_text()
        assert "the same command without neighbors.shard merges them and goes on" in watcher.notes[-1]
        run(sharded(base, 3, shard), tmp_path / f"task-{shard}", monkeypatch)
        assert len(Counting.searched) == 2, "the same task again finds it there"
        Counting.searched.clear()
    assert not stored(base, "graph")
    merged = run(sharded(base, 3), tmp_path / "merged", monkeypatch)
    assert Counting.searched == []
    whole = run(elsewhere(base, "whole"), tmp_path / "whole", monkeypatch)
    assert Counting.searched == 2 * [(0, N)]
    for table in sorted((whole / "tables").iterdir()):
        assert (merged / "tables" / table.name).read_bytes() == table.read_bytes(), table.name
    assert stored(base, "graph") == stored(elsewhere(base, "whole"), "graph")


def test_the_plan_of_one_shard_is_what_its_run_builds(base: Experiment) -> None:
    rows = pipeline.plan(sharded(base, 4, 3)).rows
    states = {(row.stage, row.state) for row in rows}
    assert states == {("graph", "not needed"), ("graph_shard", "missing"), ("measure", "not needed")}
    graph = graphs(sharded(base, 4))[0]
    graph.build(context(base))
    found = [row.state for row in pipeline.plan(sharded(base, 4, 3)).rows if row.stage == "graph_shard"]
    assert found == ["cached", "missing"], "where the graph is there, its shard is not missing"


def test_activations_are_not_freed_by_a_run_that_measures_nothing(base: Experiment) -> None:
    freeing = replace(base, activations=replace(base.activations, keep="until_measured"))
    assert lay_out(freeing).frees
    assert not lay_out(sharded(freeing, 2, 0)).frees
    assert not lay_out(base).frees


# What it takes


def test_shards_and_the_largest_merged_graph_are_on_disk_at_once(base: Experiment) -> None:
    plain, cut = pipeline.plan(base).total.disk_bytes, sharded(base, 4)
    graph = N * K * 12
    assert pipeline.plan(cut).total.disk_bytes == plain + graph
    assert pipeline.plan(sharded(base, 4, 0)).total.disk_bytes == 2 * graph // 4
    for stage in graphs(cut):
        for shard in range(4):
            stage.shards.build_one(shard, context(cut))
    # All shards are there: each graph is written beside its shards, which go before the next one is merged.
    headers = 2 * 4 * 2 * 128
    assert pipeline.plan(cut).total.disk_bytes == plain + graph - 2 * graph - headers


# Requests that cannot be met


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["neighbors.shards=0"], "neighbors.shards is 0; at least 1 is needed"),
        (["neighbors.shards=4", "neighbors.shard=4"], "neighbors.shard is 4; it must lie in 0..3, as shards is 4"),
        (["neighbors.shards=4", "neighbors.shard=-1"], "neighbors.shard is -1; it must lie in 0..3"),
        (["neighbors.shard=0"], "neighbors.shard is 0, but shards is 1; give the number of shards as well"),
        (["neighbors=pynndescent", "neighbors.shards=2"], "neighbors.shards: unknown key; neighbors=exact has it"),
    ],
)
def test_impossible_shards_are_refused_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides)
    (fault,) = caught.value.faults
    assert fault.startswith(message)


def test_more_shards_than_samples_are_refused(base: Experiment) -> None:
    with pytest.raises(UserError, match=f"neighbors.shards is {N + 1}, but only {N} samples are measured") as caught:
        lay_out(sharded(base, N + 1))
    assert f"neighbors.shards={N} or less" in (caught.value.hint or "")
    assert lay_out(sharded(base, N)).graphs


def test_claims_of_shards_differ_and_nothing_is_published_under_them(base: Experiment) -> None:
    graph = graphs(sharded(base, 5))[0]
    specs: list[Spec] = [*graph.shards.claims, graph.shards.spec, graph.point.graph]
    assert len({spec.key for spec in specs}) == 7
    assert set(graph.claims) == {graph.point.graph, *graph.shards.claims}
