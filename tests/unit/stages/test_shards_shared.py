"""Several builders of one graph: each shard is built once, waited for last, and gone on with where one was stopped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from shard_runs import Counting, N, Watcher, context, experiment, forgetting, graphs, sharded, stored

from rra_cli.config.experiment import Experiment
from rra_cli.core.lease import LeaseHeldError
from rra_cli.core.store import Store
from rra_cli.stages.graphs.shards import rows_of_shard


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield from forgetting()


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


def test_two_builders_share_the_shards_and_each_is_built_once(base: Experiment) -> None:
    """Both hold a shard at the same moment: each of the first two searches waits until the other has begun, too."""
    cut = sharded(base, 6)
    meeting = threading.Barrier(2)
    Counting.before = lambda start, stop, work: meeting.wait(20) if stop <= rows_of_shard(N, 6, 1)[1] else None
    (first, *_), (second, *_) = graphs(cut), graphs(cut)
    watchers = Watcher(), Watcher()
    threads = [
        threading.Thread(target=graph.build, args=(context(cut, watcher),))
        for graph, watcher in zip((first, second), watchers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(Counting.searched) == [rows_of_shard(N, 6, shard) for shard in range(6)]
    titles = Counter(title for watcher in watchers for title in watcher.titles)
    assert titles[f"graph {first.label}, shard 0 of 6 (rows 0 to 2)"] == 1
    assert titles[f"graph {first.label}, merging"] == 1
    assert first.done(Store(cut.store_root))
    assert not stored(cut, "graph_shard")


def test_a_shard_that_somebody_holds_is_waited_for_after_all_others(base: Experiment) -> None:
    cut = sharded(base, 3)
    graph, store = graphs(cut)[0], Store(cut.store_root)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with store.claim(graph.shards.claims[0]):
            held.set()
            go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    assert store.busy(graph.shards.claims[0])
    assert not store.busy(graph.shards.claims[1])
    with pytest.raises(LeaseHeldError, match="is in use by process"):
        graph.shards.build_one(0, context(cut), wait=False)
    watcher = Watcher()
    builder = threading.Thread(target=graph.build, args=(context(cut, watcher),))
    builder.start()
    while not watcher.notes and builder.is_alive():
        builder.join(0.02)
    assert [note for note in watcher.notes if "shard 0 of 3 (rows 0 to 6): waiting for process" in note]
    assert Counting.searched == [rows_of_shard(N, 3, 1), rows_of_shard(N, 3, 2)]
    go.set()
    builder.join(60)
    holder.join(60)
    assert Counting.searched[-1] == rows_of_shard(N, 3, 0)
    assert graph.done(store)
    assert len(watcher.notes) == 1, "told once"


def test_who_waits_for_a_shard_stops_when_the_graph_is_there(base: Experiment) -> None:
    """Somebody searched it in one piece meanwhile."""
    cut = sharded(base, 3)
    graph = graphs(cut)[0]
    Counting.before = lambda start, stop, work: graphs(base)[0].build(context(base)) if start == 0 else None
    graph.build(context(cut))
    assert Counting.searched == [(0, N), rows_of_shard(N, 3, 0)]
    assert not stored(cut, "graph_shard")


def test_an_interrupted_shard_goes_on_with_what_its_search_kept(base: Experiment) -> None:
    cut = sharded(base, 3)
    graph = graphs(cut)[0]

    def interrupt(start: int, stop: int, work: Path) -> None:
        if start:
            (work / "block").write_text("half")
            raise KeyboardInterrupt

    Counting.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        graph.build(context(cut))
    found: list[list[str]] = []
    Counting.before = lambda start, stop, work: found.append([path.read_text() for path in work.iterdir()])
    graph.build(context(cut))
    assert found == [["half"], []]
    assert Counting.searched == [rows_of_shard(N, 3, shard) for shard in range(3)]
