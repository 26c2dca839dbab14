"""What a run takes is known, and refused where there is less, before anything runs; a plan tells the same number."""

from __future__ import annotations

import gc
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, Runtime, StoreConfig
from rra_cli.core import files, hashing
from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import format_bytes
from rra_cli.core.rundir import RunDir
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors import cost_model
from rra_cli.neighbors.auto import AutoEngine
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.pipeline import Plan
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.optimizer import SGD

FREED = ActivationsConfig(keep="until_measured")


@dataclass
class Watcher:
    """A reporter that remembers the notes."""

    notes: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        yield silent

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None: ...


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples={"train": 300, "test": 200}),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet({"id_twonn": TwoNN()}),
        activations=ActivationsConfig(),
        store=StoreConfig(str(tmp_path / "store")),
    )


@pytest.fixture
def milestones(base: Experiment) -> Experiment:
    """Five checkpoints; only for plans."""
    return replace(base, method=Supervised(epochs=4, batch_size=32, milestones=1))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watcher]:
    """Runs an experiment without plots, with so much free disk."""
    monkeypatch.setattr("rra_cli.pipeline.render", lambda *args, **kwargs: [])

    def call(experiment: Experiment, name: str = "run", *, free: int = 10**15) -> Watcher:
        watcher = Watcher()
        monkeypatch.setattr("rra_cli.core.resources.free_disk", lambda path: free)
        pipeline.run(experiment, tmp_path / name, watcher, config={"keep": experiment.activations.keep})
        return watcher

    return call


def disk(plan: Plan, stage: str) -> dict[str, int]:
    """Disk of the captures by what follows the layer in their labels, of other stages under ""."""
    found: dict[str, int] = defaultdict(int)
    for row in plan.rows:
        if row.stage == stage:
            found[row.label.partition(" · ")[2]] += row.disk_bytes
    return found


def test_all_that_is_kept_is_needed_at_once(milestones: Experiment) -> None:
    plan = pipeline.plan(milestones)
    assert {row.state for row in plan.rows} == {"missing"}
    assert plan.total.disk_bytes == sum(row.disk_bytes for row in plan.rows)
    assert plan.total.seconds == pytest.approx(sum(row.seconds for row in plan.rows))
    assert plan.total.memory_bytes == max(row.memory_bytes for row in plan.rows)


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


def test_of_what_is_freed_the_largest_walk_is_needed(milestones: Experiment) -> None:
    """It is the first one of the larger split: it has the images besides."""
    plan = pipeline.plan(replace(milestones, activations=FREED))
    captures = disk(plan, "capture")
    assert set(captures) == {"train", "test"} | {
        f"{checkpoint} · {split}"
        for checkpoint in ("epoch_0000", "epoch_0001", "epoch_0002", "epoch_0003", "last")
        for split in ("train", "test")
    }
    rest = sum(row.disk_bytes for row in plan.rows if row.stage != "capture")
    assert plan.total.disk_bytes == rest + captures["epoch_0000 · train"] + captures["train"]
    images = 300 * 64 * 4
    assert captures["train"] == images
    # Negative control: it is not what all checkpoints take together.
    assert plan.total.disk_bytes < rest + sum(captures.values()) / 5


def test_layer_0_is_one_piece_of_work_for_all_checkpoints(milestones: Experiment) -> None:
    plan = pipeline.plan(milestones)
    places = [(row.stage, row.key) for row in plan.rows]
    assert len(places) == len(set(places))
    graphs = [row.label for row in plan.rows if row.stage == "graph"]
    assert [label for label in graphs if label.startswith("input")] == ["input · train, k = 5", "input · test, k = 5"]
    assert sum(label.startswith("logits") for label in graphs) == 5 * 2


def test_labels_do_not_repeat_what_the_stage_column_says(milestones: Experiment) -> None:
    for row in pipeline.plan(milestones).rows:
        assert not row.label.startswith(row.stage)
    training = lay_out(milestones).training
    assert training is not None
    assert training.label == "mlp by supervised on digits, seed 0"
    assert training.title == f"train {training.label}"


@pytest.mark.long
def test_what_one_walk_needs_and_another_has_is_not_called_unneeded(
    base: Experiment, run: Callable[..., Watcher]
) -> None:
    """The graph of layer 0 is gone, and of two checkpoints only the second still has to be measured."""
    both = replace(base, method=Supervised(epochs=1, batch_size=256, milestones=(0,)))
    first = replace(both, activations=ActivationsConfig(checkpoints=("milestones",)))
    run(first, "first")
    store = Store(base.store_root)
    for graph in lay_out(first).graphs:
        if graph.point.layer == "input":
            store.free(graph.point.graph, f"k={graph.k}")
    states = {row.label: row.state for row in pipeline.plan(both).rows if row.stage == "graph"}
    assert states["input · test, k = 5"] == "missing"
    assert states["logits · epoch_0000 · test, k = 5"] == "cached"
    assert states["logits · last · test, k = 5"] == "missing"
    # Negative control: without the second checkpoint nobody asks for it.
    states = {row.label: row.state for row in pipeline.plan(first).rows if row.stage == "graph"}
    assert states["input · test, k = 5"] == "not needed"


@pytest.mark.long
@pytest.mark.parametrize("activations", [ActivationsConfig(), FREED])
def test_too_little_disk_is_refused_with_the_planned_number_before_anything_is_written(
    base: Experiment, run: Callable[..., Watcher], tmp_path: Path, activations: ActivationsConfig
) -> None:
    experiment = replace(base, activations=activations)
    needed = pipeline.plan(experiment).total.disk_bytes
    message = f"this run needs about {format_bytes(needed)}, {format_bytes(needed - 1)} are free"
    with pytest.raises(UserError, match=message):
        run(experiment, free=needed - 1)
    assert list(tmp_path.iterdir()) == []
    run(experiment, free=needed)
    run(experiment, "again", free=0)  # where all is there, nothing is needed


@pytest.mark.long
def test_a_pass_that_goes_on_does_not_ask_again_for_what_it_holds(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after two of three batches of the first network pass, it needs what is still to be written."""
    experiment = replace(base, activations=ActivationsConfig(batch_size=100))
    monkeypatch.setattr("rra_cli.activations.stream.NOTE_SECONDS", 0.0)
    before = pipeline.plan(experiment).total.disk_bytes
    batches = [0]

    def interrupt(name: str) -> None:
        if name == "capture: batch written":
            batches[0] += 1
            if batches[0] == 3 + 3:  # three of layer 0; the third of the network's is not noted
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "observers", [interrupt])
        with pytest.raises(KeyboardInterrupt):
            run(experiment)
    layout = lay_out(experiment)
    network = next(c for c in layout.captures if c.point.layer != "input" and c.point.split == "train")
    written = Store(base.store_root).held(network.capture_pass.spec)
    assert written > 0
    after = pipeline.plan(experiment).total.disk_bytes
    rows = {row.label: row for row in pipeline.plan(experiment).rows if row.state == "cached"}
    there = sum(row.disk_bytes for row in rows.values())
    assert there > 0
    assert after == before - there - written
    with pytest.raises(UserError, match="not enough disk"):
        run(experiment, "refused", free=after - 1)
    run(experiment, free=after)


def test_a_run_says_what_it_needs_unless_that_is_little(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(base, "little").notes == []
    monkeypatch.setattr(pipeline, "TINY", replace(pipeline.TINY, disk_bytes=10**5))
    assert run(base, "nothing").notes == []
    total = pipeline.plan(replace(base, seed=1)).total
    (note,) = run(replace(base, seed=1), "much").notes
    assert note.startswith(f"needs about {format_bytes(total.disk_bytes)} of disk, ")
    assert f"{format_bytes(total.memory_bytes)} of memory, about " in note


def test_a_second_run_frees_nothing_and_writes_nothing_for_it(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = replace(base, activations=FREED)
    seen: list[str] = []
    monkeypatch.setattr(files, "observers", [seen.append])
    run(experiment, "first")
    assert any(name.startswith("discard") for name in seen)
    assert not list(base.store_root.glob("capture/*"))
    note = next((base.store_root / "refs").iterdir()).name
    walks = len(lay_out(experiment).walks)
    assert seen.count(f"write {note}: begin") == 1 + walks, "one when it is planned, one a walk"
    seen.clear()
    run(experiment, "second")
    assert not any(name.startswith("discard") for name in seen)
    assert sum(name.startswith("write test_") or "_second-" in name for name in seen if "begin" in name) == 1


@pytest.mark.long
def test_what_is_there_and_still_read_is_not_released_from_the_start(
    base: Experiment, run: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Activations that another run kept serve the graphs of a larger k; no other run may free them before."""
    run(base, "kept")
    captures = {f"capture/{capture.point.activations.key}" for capture in lay_out(base).captures}
    needed: list[frozenset[str]] = []
    walk = pipeline._walk

    def spy(*args: object) -> None:
        run_dir = args[-1]
        assert isinstance(run_dir, RunDir)
        needed.append(Store(base.store_root).references()[run_dir.id].needed & captures)
        walk(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "_walk", spy)
    nnls = MetricSet({"nnls": NNLS()})  # unlike TwoNN it reads all k neighbours
    run(replace(base, activations=FREED, neighbors=ExactEngine(k=7), metrics=nnls), "larger")
    run(replace(base, activations=FREED), "same")
    assert needed == [captures, frozenset()]


def test_the_number_type_is_part_of_the_passs_key(base: Experiment) -> None:
    """Two runs that differ in nothing else do not find each other's unfinished files."""

    def passes(dtype: str) -> set[str]:
        config = ActivationsConfig(dtype=dtype)  # type: ignore[arg-type]
        return {capture.capture_pass.spec.key for capture in lay_out(replace(base, activations=config)).captures}

    assert len(passes("float32")) == 4
    assert passes("float32") == passes("float32")
    assert not passes("float32") & passes("float16")


def test_costs_keep_nothing_alive(milestones: Experiment) -> None:
    """A sweep in one process must not gather the images of every job."""
    layout = lay_out(milestones)
    assert layout.training is not None
    assert layout.training.cost().seconds > 0
    forgotten = weakref.ref(layout.training)
    del layout
    gc.collect()
    assert forgotten() is None


def test_planning_a_users_files_writes_nothing(
    base: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "SETTLED_NS", -(10**12))
    folder = tmp_path / "layers"
    folder.mkdir()
    np.save(folder / "000_x.npy", np.random.default_rng(0).normal(size=(50, 3)))
    experiment = replace(
        base, dataset=ActivationFiles(splits=("test",)), activations=ActivationsConfig(path=str(folder))
    )
    before = pipeline.plan(experiment)
    assert not base.store_root.exists()
    lay_out(experiment)  # negative control: whoever runs remembers the hash
    assert list(base.store_root.glob("cache/hashes/*.json"))
    assert pipeline.plan(experiment) == before
