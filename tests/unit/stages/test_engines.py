"""Engines by layer: a warm start is keyed by what it starts from; what auto chose is keyed by what was chosen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors import auto
from rra_cli.neighbors.auto import AutoEngine
from rra_cli.neighbors.descent import library as descent_library
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.reporters import make_reporter
from rra_cli.stages.graphs.engines import reserve_threads
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.stage import Context, ensure
from rra_cli.stages.tabulate import Tabulator
from rra_cli.training.optimizer import SGD

N, K = 60, 5


class Descent:
    """Stands in for pynndescent: cold it finds all neighbours, warm it returns what it was given."""

    def __init__(self) -> None:
        self.starts: list[Any] = []

    def NNDescent(self, *, data: np.ndarray, n_neighbors: int, init_graph: Any = None, **_: Any) -> Any:
        self.starts.append(init_graph)
        squares = ((data[:, None].astype(np.float64) - data[None]) ** 2).sum(axis=2)
        np.fill_diagonal(squares, -1.0)
        cold = np.argsort(squares, axis=1, kind="stable")[:, :n_neighbors]
        self.listed = cold if init_graph is None else np.c_[np.arange(len(data)), init_graph[:, : n_neighbors - 1]]
        return self

    @property
    def neighbor_graph(self) -> tuple[np.ndarray, None]:
        return self.listed, None


@pytest.fixture
def descent(monkeypatch: pytest.MonkeyPatch) -> Descent:
    library = Descent()
    monkeypatch.setattr(descent_library, "load", lambda n_jobs: library)
    monkeypatch.setattr(descent_library, "_compiled", {library})
    return library


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    folder = tmp_path / "layers"
    folder.mkdir()
    x = np.random.default_rng(0).normal(size=(N, 6))
    for index, name in enumerate(("input", "conv", "head")):
        np.save(folder / f"{index:03d}_{name}.npy", (np.sign(x) * np.abs(x) ** (1 + index)).astype(np.float32))
    return Experiment(
        name="engines",
        seed=0,
        dataset=ActivationFiles(),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=K),
        metrics=MetricSet({"id_twonn": TwoNN(), "nnls": NNLS()}),
        activations=ActivationsConfig(path=str(folder)),
        store=StoreConfig(str(tmp_path / "store")),
    )


def graphs(base: Experiment, engine: Engine) -> list[GraphStage]:
    return lay_out(replace(base, neighbors=engine)).graphs


def keys(base: Experiment, engine: Engine) -> list[str]:
    return [graph.point.graph.key for graph in graphs(base, engine)]


def build(stage: GraphStage, base: Experiment) -> Context:
    context = Context(Store(base.store_root), make_reporter("none"), "cpu", None)
    ensure(stage, context)
    return context


def lists(stage: GraphStage, context: Context) -> np.ndarray:
    graph, _, _ = stage.load(context.store, K)
    assert graph is not None
    return np.array(graph.indices)


def test_numba_is_told_before_anything_runs_how_many_threads_are_asked_for(
    base: Experiment, descent: Descent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("rra_cli.core.numba_threads.reserve", asked.append)
    monkeypatch.setattr("rra_cli.pipeline.render", lambda *args, **kwargs: [])
    for engine in (PynndescentEngine(k=K, n_jobs=7), ExactEngine(k=K)):
        pipeline.run(replace(base, neighbors=engine), tmp_path / engine.name, make_reporter("none"), config={})
        assert asked == [7]
    monkeypatch.setattr(auto, "exact_seconds", lambda *size: 1e9)
    reserve_threads(lay_out(replace(base, neighbors=AutoEngine(k=K, n_jobs=9))).stages)
    assert asked == [7, 9]


def test_a_warm_graph_is_keyed_by_the_graph_it_starts_from(base: Experiment) -> None:
    cold, warm = keys(base, PynndescentEngine(k=K)), keys(base, PynndescentEngine(k=K, warm_start=True))
    assert cold[0] == warm[0], "the first layer starts cold, so it is shared with a cold run"
    assert not set(cold[1:]) & set(warm)
    stages = graphs(base, PynndescentEngine(k=K, warm_start=True))
    for before, stage in pairwise(stages):
        assert stage.point.graph.upstream == (stage.point.activations.key, before.point.graph.key)
        assert before in stage.needs
    # What changes the first graph changes all after it, though the warm layers' own settings are the same.
    np.save(Path(str(base.activations.path)) / "000_input.npy", np.random.default_rng(1).normal(size=(N, 6)))
    assert not set(keys(base, PynndescentEngine(k=K, warm_start=True))) & set(warm)
    assert keys(base, PynndescentEngine(k=K))[1:] == cold[1:], "control: cold layers know nothing of each other"


def test_poolings_start_from_layers_of_their_own(base: Experiment) -> None:
    engine = PynndescentEngine(k=K, warm_start=True)
    two = replace(base, pooling={"none": Pooling(), "twice": Pooling()}, neighbors=engine)
    stages = lay_out(two).graphs
    assert [stage.start is None for stage in stages[:3]] == [True, False, False]


def test_a_warm_graph_is_built_from_the_one_before_resumes_and_is_the_same_again(
    base: Experiment, descent: Descent
) -> None:
    engine = PynndescentEngine(k=K, warm_start=True)
    first, second, third = graphs(base, engine)
    context = build(second, base)  # as a run that was killed after the second layer
    assert [start is None for start in descent.starts] == [True, False]
    assert np.array_equal(descent.starts[1][:, :K], lists(first, context))
    context = build(third, base)
    assert len(descent.starts) == 3, "what was finished is not searched again"
    found = [lists(stage, context) for stage in (first, second, third)]
    # The stand-in keeps what it is given, so the ids of the first layer have gone through all.
    assert all(np.array_equal(np.sort(found[0], axis=1), np.sort(other, axis=1)) for other in found[1:])

    elsewhere = replace(base, store=StoreConfig(str(Path(str(base.store.root)).parent / "other")))
    again = graphs(elsewhere, engine)
    context = build(again[2], elsewhere)
    assert all(np.array_equal(a, lists(stage, context)) for a, stage in zip(found, again, strict=True))

    cold = graphs(base, PynndescentEngine(k=K))[2]
    assert not np.array_equal(np.sort(lists(cold, build(cold, base)), axis=1), np.sort(found[2], axis=1))


def test_a_missed_recall_is_noted_and_kept_beside_the_exact_graph(
    base: Experiment, descent: Descent, caplog: pytest.LogCaptureFixture
) -> None:
    """The ids of the first layer are poor neighbours of the last one."""
    stage = graphs(base, PynndescentEngine(k=K, warm_start=True, min_recall=0.99))[2]
    with caplog.at_level("INFO", logger="rra_cli"):
        context = build(stage, base)
    artifact = stage.find(context.store)
    assert artifact is not None
    assert '"recall"' in (artifact.path / "approximate.json").read_text()
    assert stage.load(context.store, K)[0].engine == "exact"  # type: ignore[union-attr]
    assert "an approximate graph had a recall of 0." in caplog.text
    exact = graphs(base, ExactEngine(k=K))[2]
    assert np.array_equal(lists(stage, context), lists(exact, build(exact, base)))


def test_auto_shares_the_graphs_of_the_engine_that_it_chose(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys(base, AutoEngine(k=K)) == keys(base, ExactEngine(k=K))
    monkeypatch.setattr(auto, "exact_seconds", lambda n, d, k: 1e9)
    wide = PynndescentEngine(k=K, n_neighbors=101, min_recall=0.99)
    assert keys(base, AutoEngine(k=K)) == keys(base, wide)
    warm = AutoEngine(k=K, warm_start=True)
    assert keys(base, warm) == keys(base, replace(wide, warm_start=True))


def test_auto_says_in_plan_what_it_chose(base: Experiment) -> None:
    assert pipeline.plan(base).notes == ()
    (note,) = pipeline.plan(replace(base, neighbors=AutoEngine(k=K))).notes
    assert note.startswith("neighbors=auto: exact for 3 graphs (60 samples, 6 features, k = 5)")


@pytest.mark.parametrize("metrics", [{"nnls": NNLS()}, {"id_twonn": TwoNN(), "nnls": NNLS()}])
def test_every_row_of_every_table_names_engine_and_recall(
    base: Experiment, descent: Descent, metrics: dict[str, Any]
) -> None:
    """Also where only pairs of layers are measured, whose results do not hold them."""
    engine = PynndescentEngine(k=K, warm_start=True)
    layout = lay_out(replace(base, neighbors=engine, metrics=MetricSet(metrics, per_sample=True)))
    context = Context(Store(base.store_root), make_reporter("none"), "cpu", None)
    for stage in layout.targets:
        ensure(stage, context)
    recalls = [graph.load(context.store, K)[0].recall for graph in layout.graphs]  # type: ignore[union-attr]
    assert recalls[0] == 1 > max(recalls[1:]), "the stand-in finds all neighbours only where it starts cold"
    results = Tabulator(layout, context.store)
    tables = results.tables()
    assert [row["recall"] for row in tables["layers"]] == recalls
    assert [(row["recall_a"], row["recall_b"]) for row in tables["nnls"]] == list(product(recalls, repeat=2))
    rows = [row for table in tables.values() for row in table]
    rows += [block.constants for blocks in results.per_sample().values() for block in blocks]
    rows += [block.constants for blocks in results.per_sample_pairs().values() for block in blocks]
    for row in rows:
        sides = ("",) if "layer" in row else ("_a", "_b")
        assert all(row[f"engine{side}"] == "pynndescent" and row[f"recall{side}"] in recalls for side in sides)
