"""Damaged shards and graphs, and what is left over: built again, never read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shard_runs import (
    Counting,
    K,
    N,
    context,
    elsewhere,
    experiment,
    forgetting,
    graphs,
    run,
    sharded,
    stored,
    tied_points,
)

from rra_cli.config.experiment import Experiment
from rra_cli.core.artifact import ArtifactGoneError
from rra_cli.core.progress import silent
from rra_cli.core.store import Store
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.shards import rows_of_shard


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield from forgetting()


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


def cut_short(content: bytes) -> bytes:
    return content[:-8]


def flipped(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def damaged_shard(graph: GraphStage, store: Store, damage: Callable[[bytes], bytes], name: str) -> None:
    artifact = graph.shards.find(store, 1)
    assert artifact is not None
    victim = artifact.file(name)
    victim.write_bytes(damage(victim.read_bytes()))


@pytest.mark.parametrize("name", ["indices.npy", "distances.npy"])
@pytest.mark.parametrize("damage", [cut_short, flipped])
def test_a_damaged_shard_is_built_again_and_no_other(
    base: Experiment, damage: Callable[[bytes], bytes], name: str
) -> None:
    """A bit of one neighbour is enough: it is named and moved aside, and the graph is the one of sound shards."""
    whole, cut = elsewhere(base, "whole"), sharded(base, 3)
    graphs(whole)[0].build(context(whole))
    told: list[str] = []
    graph, store = graphs(cut)[0], Store(cut.store_root, warn=told.append)
    for shard in range(3):
        graph.shards.build_one(shard, context(cut))
    damaged_shard(graph, store, damage, name)
    with pytest.raises(ArtifactGoneError, match=r"shard 1 of 3 .* was removed"):
        graph.shards.merge(store, cut.store_root / "out", silent)
    (line,) = told
    assert f"rows=7-14 is damaged: {name} has" in line
    assert len(list((cut.store_root / "damaged").iterdir())) == 1
    Counting.searched.clear()
    graph.build(replace(context(cut), store=store))
    assert Counting.searched == [rows_of_shard(N, 3, 1)]
    assert stored(cut, "graph") == stored(whole, "graph")


def test_a_flipped_bit_that_is_not_looked_for_is_sealed(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above."""
    whole, cut = elsewhere(base, "whole"), sharded(base, 3)
    graphs(whole)[0].build(context(whole))
    graph, store = graphs(cut)[0], Store(cut.store_root)
    for shard in range(3):
        graph.shards.build_one(shard, context(cut))
    damaged_shard(graph, store, flipped, "distances.npy")
    monkeypatch.setattr("rra_cli.core.store.verify_files", lambda *given: None)
    graph.build(replace(context(cut), store=store))
    assert stored(cut, "graph") != stored(whole, "graph")
    assert store.verify().ok


@pytest.mark.parametrize("sound", [True, False])
def test_a_graph_is_checked_before_something_is_made_from_it(base: Experiment, sound: bool) -> None:
    """One with a flipped bit is built again; a sound one, the control, is not."""
    graph, told = graphs(base)[0], list[str]()
    store = Store(base.store_root, warn=told.append)
    graph.build(context(base))
    before = stored(base, "graph")
    artifact = graph.find(store)
    assert artifact is not None
    if not sound:
        victim = artifact.file("distances.npy")
        victim.write_bytes(flipped(victim.read_bytes()))
    Counting.searched.clear()
    found, _, _ = graph.read(replace(context(base), store=store), K)
    assert np.array_equal(found.distances, exact_neighbors(tied_points(), K).distances)  # type: ignore[union-attr]
    assert stored(base, "graph") == before
    assert (Counting.searched, len(told)) == (([], 0) if sound else ([(0, N)], 1))


def test_a_damaged_graph_is_not_loaded(base: Experiment) -> None:
    graph, store = graphs(base)[0], Store(base.store_root, warn=lambda message: None)
    graph.build(context(base))
    victim = next(base.store_root.glob("graph/*/*/indices.npy"))
    victim.write_bytes(flipped(victim.read_bytes()))
    with pytest.raises(ArtifactGoneError, match="is not in the store") as caught:
        graph.load(store, K)
    assert caught.value.hint == "run the same command again"


def test_shards_of_another_number_are_removed_with_the_graph(base: Experiment) -> None:
    """Whoever publishes the graph removes them, in one piece or not."""
    for shards in (1, 2):
        other = sharded(elsewhere(base, str(shards)), shards)
        five = sharded(other, 5)
        graphs(five)[0].shards.build_one(4, context(other))
        assert stored(other, "graph_shard")
        graphs(other)[0].build(context(other))
        assert not stored(other, "graph_shard")


def test_what_a_kill_between_publishing_and_removing_left_is_removed_by_the_next_run(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = sharded(base, 3)
    with monkeypatch.context() as patch:
        patch.setattr(GraphStage, "tidy", lambda self, store: None)
        for graph in graphs(cut):
            graph.build(context(cut))
    assert len([name for name in stored(cut, "graph_shard") if name.endswith("meta.json")]) == 2 * 3
    run(cut, tmp_path / "run", monkeypatch)
    assert not stored(cut, "graph_shard")
    assert Store(cut.store_root).verify().orphaned == ()
