"""A graph built in shards is the graph built in one piece, byte for byte, whoever built which shard."""

from __future__ import annotations

import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.compose import load
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core import files
from rra_cli.core.artifact import ArtifactGoneError
from rra_cli.core.lease import LeaseHeldError
from rra_cli.core.progress import Progress, silent
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.errors import ConfigError, UserError
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.engine import ShardedEngine
from rra_cli.neighbors.exact import ExactEngine, exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.shards import rows_of_shard
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.stage import Context
from rra_cli.training.optimizer import SGD

N, K = 22, 6


@dataclass
class Watcher:
    """A reporter that remembers titles and notes."""

    titles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.titles.append(title)
        yield silent

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None: ...


@dataclass(frozen=True)
class Counting(ShardedEngine):
    """The exact search, which notes what it was asked for; `before` is called with the rows of every shard."""

    name: ClassVar[str] = "counting"
    searched: ClassVar[list[tuple[int, int]]] = []
    before: ClassVar[Any] = None

    @property
    def prefix_stable(self) -> bool:
        return True

    def search(self, activations: np.ndarray, k: int, **others: Any) -> NeighborGraph:
        self.searched.append((0, len(activations)))
        return replace(exact_neighbors(activations, k), engine=self.name)

    def search_rows(
        self, activations: np.ndarray, k: int, start: int, stop: int, **others: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        if Counting.before is not None:
            Counting.before(start, stop, others["work"])
        self.searched.append((start, stop))
        graph = exact_neighbors(activations, k)
        return graph.indices[start:stop], graph.distances[start:stop]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    Counting.searched.clear()
    Counting.before = None
    yield
    Counting.before = None


def tied_points() -> np.ndarray:
    """A grid of whole numbers: many equal distances; every row of the first ten comes again near the end."""
    points = np.random.default_rng(0).integers(0, 4, size=(N, 3)).astype(np.float32)
    points[-12:-2] = points[:10]
    return points


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    folder = tmp_path / "layers"
    folder.mkdir()
    points = tied_points()
    np.save(folder / "000_grid.npy", points)
    np.save(folder / "001_wide.npy", np.random.default_rng(1).normal(size=(N, 8)) + points[:, :1])
    return Experiment(
        name="test",
        seed=0,
        dataset=ActivationFiles(splits=("test",)),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=Counting(k=K),
        metrics=MetricSet({"id_twonn": TwoNN()}),
        activations=ActivationsConfig(path=str(folder)),
        store=StoreConfig(str(tmp_path / "store")),
    )


def graphs(experiment: Experiment) -> list[GraphStage]:
    return lay_out(experiment).graphs


def context(experiment: Experiment, watcher: Watcher | None = None) -> Context:
    return Context(Store(experiment.store_root), watcher or Watcher(), "cpu", None)


def sharded(experiment: Experiment, shards: int, shard: int | None = None) -> Experiment:
    return replace(experiment, neighbors=replace(experiment.neighbors, shards=shards, shard=shard))


def elsewhere(experiment: Experiment, name: str) -> Experiment:
    return replace(experiment, store=StoreConfig(f"{experiment.store.root}-{name}"))


def stored(experiment: Experiment, stage: str) -> dict[str, bytes]:
    """Every file of a stage, by path."""
    root = experiment.store_root / stage
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def run(experiment: Experiment, folder: Path, monkeypatch: pytest.MonkeyPatch, watcher: Watcher | None = None) -> Path:
    monkeypatch.setattr(pipeline, "render", lambda *args, **kwargs: [])
    pipeline.run(experiment, folder, watcher or Watcher(), config={"neighbors": repr(experiment.neighbors)})
    return folder


# Which rows a shard has


@given(st.integers(1, 10**7), st.integers(1, 200))
def test_shards_cover_all_rows_once_and_are_balanced(n: int, shards: int) -> None:
    shards = min(n, shards)
    ranges = [rows_of_shard(n, shards, shard) for shard in range(shards)]
    assert (ranges[0][0], ranges[-1][1]) == (0, n)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    sizes = [stop - start for start, stop in ranges]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


# The same graph


@pytest.mark.parametrize("preprocess", ["none", "zscore"])
def test_the_graph_is_the_same_to_the_byte_for_any_number_of_shards(base: Experiment, preprocess: Any) -> None:
    """Indices, distances, graph.json and meta.json, with ties and copies of rows on both sides of every border."""
    base = replace(base, neighbors=ExactEngine(k=K, preprocess=preprocess))
    whole = elsewhere(base, "whole")
    for graph in graphs(whole):
        graph.build(context(whole))
    wanted = stored(whole, "graph")
    assert len(wanted) == 2 * 4
    for shards in (1, 2, 3, 7, N) if preprocess == "none" else (3,):
        cut = sharded(elsewhere(base, str(shards)), shards)
        for graph in graphs(cut):
            graph.build(context(cut))
        assert stored(cut, "graph") == wanted, shards
        assert not stored(cut, "graph_shard"), "the shards are removed"


def test_duplicates_and_ties_lie_across_borders() -> None:
    """Of the data above: neighbours at equal distance in other shards than each other, copies in other shards."""
    graph = exact_neighbors(tied_points(), K)
    shard_of = np.concatenate([np.full(b - a, s) for s, (a, b) in enumerate(rows_of_shard(N, 3, s) for s in range(3))])
    own, there = shard_of[:, None], shard_of[graph.indices]
    assert ((graph.distances == 0) & (own != there)).sum() > 5
    tied = np.diff(graph.distances, axis=1) == 0
    assert (tied & (there[:, 1:] != there[:, :-1])).sum() > 20


def test_a_wrong_shard_changes_the_graph(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the comparison: rows that are one off are not the same graph."""
    whole, cut = elsewhere(base, "whole"), sharded(base, 3)
    graphs(whole)[0].build(context(whole))
    true = Counting.search_rows
    monkeypatch.setattr(Counting, "search_rows", lambda self, x, k, a, b, **more: true(self, x[::-1], k, a, b, **more))
    graphs(cut)[0].build(context(cut))
    assert stored(cut, "graph") != stored(whole, "graph")


def test_the_number_of_shards_and_the_one_that_is_built_are_no_part_of_any_key(base: Experiment) -> None:
    keys = [[graph.point.graph.key for graph in graphs(sharded(base, *how))] for how in ((1,), (3,), (3, 1))]
    assert keys[0] == keys[1] == keys[2]


def test_a_graph_is_merged_without_holding_it_in_memory(base: Experiment, tmp_path: Path) -> None:
    """Blocks of rows only: the peak is far below the graph's size and does not grow with it."""
    n, k = 1_500_000, 8
    graph = graphs(sharded(base, 5))[0]
    graph.point, graph.k = replace(graph.point, n_samples=n), k
    store = Store(tmp_path / "large")
    true_ids = np.arange(k, dtype=np.int64)
    for shard in range(5):
        start, stop = graph.shards.rows(shard)
        rows = np.arange(start, stop)[:, None]
        with store.claim(graph.shards.claims[shard]) as work:
            files.write_array(work.path / "shard/indices.npy", ((rows + 1 + true_ids) % n).astype(np.int32))
            files.write_array(work.path / "shard/distances.npy", np.ones((stop - start, k)))
            work.publish("shard", entry=f"rows={start}-{stop}", spec=graph.shards.spec)
    size = n * k * 12
    tracemalloc.start()
    graph.shards.merge(store, tmp_path / "merged", silent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * size
    written = np.load(tmp_path / "merged" / "indices.npy", mmap_mode="r")
    assert written.shape == (n, k)
    assert written[-1].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_stacked_blocks_have_the_bytes_of_the_whole_array(tmp_path: Path, dtype: type) -> None:
    whole = np.arange(60).reshape(20, 3).astype(dtype)
    files.write_array(tmp_path / "whole.npy", whole)
    files.write_stacked(tmp_path / "parts.npy", [whole[:7], whole[7:7], whole[7:]], 20, 3, np.dtype(dtype))
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    with pytest.raises(ValueError, match="expected 20 rows, got 19"):
        files.write_stacked(tmp_path / "short.npy", [whole[:19]], 20, 3, np.dtype(dtype))
    with pytest.raises(ValueError, match="expected rows of 4"):
        files.write_stacked(tmp_path / "narrow.npy", [whole], 20, 4, np.dtype(dtype))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.npy", "whole.npy"]


# Who builds what


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
