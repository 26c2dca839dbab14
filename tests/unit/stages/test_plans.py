"""What a plan says of a run's stages, and that it changes nothing."""

from __future__ import annotations

import gc
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planning import FREED, Watcher, experiment, runner

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig, Experiment
from rra_cli.core import hashing
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.methods.supervised import Supervised
from rra_cli.neighbors.cost_model import EXACT_START
from rra_cli.pipeline import Plan
from rra_cli.stages.lay_out import lay_out


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watcher]:
    return runner(tmp_path, monkeypatch)


@pytest.fixture
def milestones(base: Experiment) -> Experiment:
    """Five checkpoints; only for plans."""
    return replace(base, method=Supervised(epochs=4, batch_size=32, milestones=1))


def disk(plan: Plan, stage: str) -> dict[str, int]:
    """Disk of the captures by what follows the layer in their labels, of other stages under ""."""
    found: dict[str, int] = defaultdict(int)
    for row in plan.rows:
        if row.stage == stage:
            found[row.label.partition(" · ")[2]] += row.disk_bytes
    return found


def test_all_that_is_kept_is_needed_at_once(milestones: Experiment) -> None:
    plan = pipeline.plan(with_threads(milestones, 1))
    assert {row.state for row in plan.rows} == {"missing"}
    assert plan.total.disk_bytes == sum(row.disk_bytes for row in plan.rows)
    assert plan.total.seconds == pytest.approx(sum(row.seconds for row in plan.rows))
    assert plan.total.memory_bytes == max(row.memory_bytes for row in plan.rows)


def with_threads(experiment: Experiment, threads: int) -> Experiment:
    return replace(experiment, runtime=replace(experiment.runtime, threads=threads))


def test_searches_side_by_side_take_their_memory_together_and_share_what_none_can_divide(
    milestones: Experiment,
) -> None:
    """All graphs are so small that they are all fixed cost, which four threads have at the same time."""
    for threads, together in ((1, 1), (4, 4)):
        plan = pipeline.plan(with_threads(milestones, threads))
        memory = {row.stage == "graph": row.memory_bytes for row in sorted(plan.rows, key=lambda row: row.memory_bytes)}
        assert plan.total.memory_bytes == max(together * memory[True], memory[False])
        fastest = min(row.seconds for row in plan.rows if row.stage == "graph")
        assert fastest == pytest.approx(EXACT_START / together, rel=0.05)


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
