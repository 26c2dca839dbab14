"""What a change of the request makes anew and what it leaves, seen from outside: in the store, the plan and the log.

A theorem behind all of it: a run executes exactly what the plan called missing, and touches nothing that was there.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from killing import experiment

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, Runtime
from rra_cli.core.progress import Progress, silent
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.neighbors.exact import ExactEngine

Artifact = tuple[str, int]


@dataclass
class Watcher:
    """A reporter that remembers what it was told."""

    titles: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.titles.append(title)
        yield silent

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@dataclass(frozen=True)
class Run:
    """One run: what the plan called missing before, what is new in the store, what the reporter heard, the tables.

    planned, new: stage and key; made: how many artifacts of each stage.
    """

    planned: set[tuple[str, str]]
    new: set[tuple[str, str]]
    made: Counter[str]
    new_graphs: set[str]
    titles: list[str]
    tables: dict[str, bytes]
    folder: Path


def artifacts(store: Path) -> dict[str, Artifact]:
    """Everything published: name -> stage and time; what is not executed is not touched."""
    found = {}
    for meta in store.glob("**/meta.json"):
        name = meta.parent.relative_to(store)
        if name.parts[0] not in ("trash", "damaged", "refs", "cache"):
            found[name.as_posix()] = (name.parts[0], meta.stat().st_mtime_ns)
    return found


class Lab:
    """Runs variants of one tiny experiment on one store. Drawing plots is the report's business, not the store's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = experiment(root)
        self.count = 0

    def run(self, chosen: Experiment) -> Run:
        store = chosen.store_root
        before = artifacts(store)
        planned = {(row.stage, row.key) for row in pipeline.plan(chosen).rows if row.state in ("missing", "stale")}
        self.count += 1
        folder, watcher = self.root / f"run-{self.count}", Watcher()
        render, pipeline.render = pipeline.render, lambda *args, **kwargs: []  # type: ignore[assignment]
        try:
            pipeline.run(chosen, folder, watcher, config={"number": self.count})
        finally:
            pipeline.render = render
        after = artifacts(store)
        kept = {name: known for name, known in before.items() if name in after}
        assert {name: after[name] for name in kept} == kept, "something that was there was written again"
        new = {name: stage for name, (stage, _) in after.items() if name not in before}
        tables = {path.name: path.read_bytes() for path in (folder / "tables").rglob("*.csv")}
        graphs = {name for name, stage in new.items() if stage == "graph"}
        new_keys = {(stage, Path(name).parts[1]) for name, stage in new.items()}
        if chosen.activations.keep == "always":
            assert new_keys == planned, "a run executes what its plan calls missing"
        return Run(planned, new_keys, Counter(new.values()), graphs, watcher.titles, tables, folder)

    def clone(self, root: Path) -> Lab:
        """A laboratory with a copy of the store."""
        shutil.copytree(self.root / "store", root / "store")
        return Lab(root)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Run]:
    lab = Lab(tmp_path_factory.mktemp("reuse"))
    return lab, lab.run(lab.base)


@pytest.fixture
def lab(stocked: tuple[Lab, Run], tmp_path: Path) -> Lab:
    return stocked[0].clone(tmp_path)


def rows(run: Run, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(run.tables[f"{name}.csv"].decode().splitlines()))


def test_the_first_run_executes_everything(stocked: tuple[Lab, Run]) -> None:
    """Two checkpoints and two splits of five layers; layer 0 is captured and searched once a split."""
    _, first = stocked
    n_layers, places = len({row["layer"] for row in rows(first, "layers")}), 2 * 2
    assert n_layers == 5
    each = places * (n_layers - 1) + 2
    assert first.made["capture"] == first.made["graph"] == each
    assert first.made["train"] >= 3
    assert first.made["measure"] == places * 3
    assert any(title.startswith("train ") for title in first.titles)


def test_the_second_run_executes_nothing(lab: Lab, stocked: tuple[Lab, Run]) -> None:
    again = lab.run(lab.base)
    assert not again.planned
    assert not again.made
    assert again.titles == ["report"]
    assert again.tables == stocked[1].tables


def test_what_the_plan_calls_missing_is_what_a_run_executes(lab: Lab) -> None:
    """Key by key, for changes at every stage; and planning itself leaves the store as it is."""
    base = lab.base
    longer = replace(base, method=replace(base.method, epochs=3))
    before = artifacts(lab.root / "store")
    rows_of_plan = pipeline.plan(longer).rows
    assert artifacts(lab.root / "store") == before
    run = lab.run(longer)
    assert {row.stage for row in rows_of_plan if row.state == "missing"} == {
        "train",
        "capture",
        "graph",
        "measure",
        "to_last",
    }
    assert run.new == {(row.stage, row.key) for row in rows_of_plan if row.state == "missing"}


def test_other_metrics_execute_no_graph(lab: Lab) -> None:
    other = MetricSet({"id_linear": TwoNN(fit="linear"), "nncs": NNCS(class_balanced=True)}, per_class=True)
    run = lab.run(replace(lab.base, metrics=other))
    assert set(run.made) == {"measure"}
    assert run.made["measure"] == 2 * 2 * 2


def test_a_smaller_k_executes_no_graph(lab: Lab, stocked: tuple[Lab, Run]) -> None:
    run = lab.run(replace(lab.base, neighbors=ExactEngine(k=3)))
    assert set(run.made) == {"measure", "to_last"}
    assert {row["k"] for row in rows(run, "layers")} == {"3"}
    for small, large in zip(rows(run, "layers"), rows(stocked[1], "layers"), strict=True):
        assert small["id_twonn"] == large["id_twonn"], "TwoNN has no k"


def test_a_larger_k_executes_graphs_but_captures_nothing(lab: Lab, stocked: tuple[Lab, Run]) -> None:
    run = lab.run(replace(lab.base, neighbors=ExactEngine(k=7)))
    assert set(run.made) == {"graph", "measure", "to_last"}
    assert len(run.new_graphs) == stocked[1].made["graph"]
    assert all(name.endswith("k=7") for name in run.new_graphs)


def test_a_smaller_k_reads_the_same_neighbours_as_a_search_for_it(lab: Lab, tmp_path: Path) -> None:
    """The prefix of a larger graph gives the tables of a store that never held one."""
    prefix = lab.run(replace(lab.base, neighbors=ExactEngine(k=3)))
    alone = Lab(tmp_path / "alone")
    searched = alone.run(replace(alone.base, neighbors=ExactEngine(k=3)))
    assert searched.made["graph"] > 0
    assert prefix.tables == searched.tables


def test_a_new_seed_finds_layer_0_there(lab: Lab, stocked: tuple[Lab, Run]) -> None:
    run = lab.run(replace(lab.base, seed=1))
    first = stocked[1].made
    assert {stage: run.made[stage] for stage in ("capture", "graph")} == {
        stage: first[stage] - 2 for stage in ("capture", "graph")
    }
    assert run.made["train"] == first["train"]
    for ours, theirs in zip(rows(run, "layers"), rows(stocked[1], "layers"), strict=True):
        assert (ours == theirs) == (ours["layer"] == "input")


def test_another_subset_executes_all_but_the_training(lab: Lab) -> None:
    """Negative control of the seed: which samples are measured changes layer 0, too."""
    # Trained on all, since `train_size` is drawn by the same seed.
    untrained = replace(lab.base, method=NoTraining(), dataset=replace(lab.base.dataset, train_size=None))
    run = lab.run(untrained)
    other = lab.run(replace(untrained, dataset=replace(untrained.dataset, subset_seed=1)))
    assert run.made["train"] > 0, "other weights than those that are there"
    assert other.made["train"] == 0
    assert other.made["capture"] == other.made["graph"] == 2 * 5
    assert run.made["graph"] == 2 * 5 - 1, "the test samples are those of the trained network's layer 0"


def test_runtime_changes_nothing(lab: Lab, stocked: tuple[Lab, Run]) -> None:
    runtime = Runtime(device="cpu", threads=1, memory="1GB", progress="none")
    run = lab.run(replace(lab.base, runtime=runtime))
    assert not run.made
    assert run.tables == stocked[1].tables


def test_activations_are_freed_once_measured_and_the_results_stay(stocked: tuple[Lab, Run], tmp_path: Path) -> None:
    """Under `until_measured` no capture is left, the tables are the same, and the second run still executes nothing."""
    lab = Lab(tmp_path)
    freeing = replace(lab.base, activations=ActivationsConfig(keep="until_measured"))
    first = lab.run(freeing)
    assert first.made["capture"] == 0, "activations are left"
    assert not list((tmp_path / "store").glob("capture/**/*.npy"))
    assert first.made["graph"] == stocked[1].made["graph"]
    assert first.tables == stocked[1].tables
    again = lab.run(freeing)
    assert not again.planned
    assert not again.made
    assert again.tables == first.tables
    # A larger k needs them again: captured, searched and freed; the training stays as it is.
    larger = lab.run(replace(freeing, neighbors=ExactEngine(k=7)))
    assert set(larger.made) == {"graph", "measure", "to_last"}
    assert any(title.startswith("capture ") for title in larger.titles)
    assert not any(title.startswith("train ") for title in larger.titles)


def test_what_is_kept_for_one_run_is_not_freed_by_the_next(lab: Lab) -> None:
    """Finished runs hold nothing back, but `keep=always` means always: only a run that frees asks for it."""
    before = {name for name, (stage, _) in artifacts(lab.root / "store").items() if stage == "capture"}
    lab.run(lab.base)
    assert {name for name, (stage, _) in artifacts(lab.root / "store").items() if stage == "capture"} == before


def test_damage_is_built_again_and_nothing_else(lab: Lab, stocked: tuple[Lab, Run]) -> None:
    """A truncated graph is moved aside and searched again; the activations are there, so nothing is captured."""
    victim = sorted((lab.root / "store").glob("graph/*/k=*/distances.npy"))[0]
    victim.write_bytes(victim.read_bytes()[:-8])
    # The results still stand, so nothing needs that graph until something new is measured.
    assert not lab.run(lab.base).made
    run = lab.run(replace(lab.base, metrics=MetricSet({"id_linear": TwoNN(fit="linear")})))
    assert run.made["graph"] == 1
    assert run.made["capture"] == 0


def test_a_raised_version_executes_its_stage_again_and_what_follows(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan calls what the old version left stale; results of the old version stay for whoever still has it."""
    monkeypatch.setattr("rra_cli.stages.keys.GRAPH_VERSION", 2)
    states = {(row.stage, row.state) for row in pipeline.plan(lab.base).rows}
    assert states == {
        ("train", "cached"),
        ("capture", "cached"),
        ("graph", "stale"),
        ("measure", "missing"),
        ("to_last", "missing"),
    }
    run = lab.run(lab.base)
    assert set(run.made) == {"graph", "measure", "to_last"}
    assert {row.state for row in pipeline.plan(lab.base).rows} == {"cached"}
    monkeypatch.undo()
    assert {row.state for row in pipeline.plan(lab.base).rows} == {"cached"}
