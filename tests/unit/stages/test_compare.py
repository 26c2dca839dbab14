"""Compared engines: their errors are those of the graphs that they gave, beside the exact ones of the same layers."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Comparison, Experiment, MetricSet, StoreConfig
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS, nnls
from rra_cli.models.mlp import MLP
from rra_cli.neighbors import exact_neighbors
from rra_cli.neighbors.descent import library as descent_library
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.report import render
from rra_cli.reporters import make_reporter
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.stage import Context
from rra_cli.training.optimizer import SGD

N, K = 60, 5
LAYERS = ("input", "conv", "head")
COLD, WARM = PynndescentEngine(), PynndescentEngine(warm_start=True)


class Descent:
    """Stands in for pynndescent: cold it finds all neighbours, warm it returns what it was given."""

    def NNDescent(self, *, data: np.ndarray, n_neighbors: int, init_graph: Any = None, **_: Any) -> Any:
        squares = ((data[:, None].astype(np.float64) - data[None]) ** 2).sum(axis=2)
        np.fill_diagonal(squares, -1.0)
        cold = np.argsort(squares, axis=1, kind="stable")[:, :n_neighbors]
        self.neighbor_graph = (
            cold if init_graph is None else np.c_[np.arange(len(data)), init_graph[:, : n_neighbors - 1]],
            None,
        )
        return self


@pytest.fixture(autouse=True)
def _descent(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Descent()
    monkeypatch.setattr(descent_library, "load", lambda n_jobs: library)
    monkeypatch.setattr(descent_library, "_compiled", {library})


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(N, 6))
    return {name: (np.sign(x) * np.abs(x) ** (1 + index)).astype(np.float32) for index, name in enumerate(LAYERS)}


@pytest.fixture
def base(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Experiment:
    folder = tmp_path / "layers"
    folder.mkdir()
    for index, (name, array) in enumerate(arrays.items()):
        np.save(folder / f"{index:03d}_{name}.npy", array)
    return Experiment(
        name="compare",
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


def comparing(base: Experiment, engines: Mapping[str, Engine], layers: tuple[str, ...] = ()) -> Experiment:
    return replace(base, compare=Comparison(engines, layers))


def run(experiment: Experiment, folder: Path) -> list[dict[str, str]]:
    """The rows of engines.csv."""
    pipeline.run(experiment, folder, make_reporter("none"), config={"experiment": "compare"})
    with (folder / "tables" / "engines.csv").open() as file:
        return list(csv.DictReader(file))


def times(folder: Path) -> list[dict[str, str]]:
    with (folder / "search_times.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_where_all_neighbours_are_found_nothing_differs_and_where_they_are_not_the_error_is_known(
    base: Experiment, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Warm, the stand-in gives every layer the first one's neighbours: all layers are alike, NNLS is 1."""
    rows = run(comparing(base, {"cold": COLD, "warm": WARM}), tmp_path / "run")
    assert len(rows) == 2 * 3 * 2
    cold = [row for row in rows if row["search"] == "cold"]
    assert all((float(row["error"]), float(row["recall"]), row["start"]) == (0.0, 1.0, "") for row in cold)

    graphs = [exact_neighbors(array, K) for array in arrays.values()]
    for at, layer in enumerate(LAYERS):
        (row,) = (r for r in rows if (r["search"], r["layer"], r["metric"]) == ("warm", layer, "nnls"))
        true = [nnls(graphs[at], other).value for place, other in enumerate(graphs) if place != at]
        assert float(row["value"]) == 1.0
        assert float(row["exact"]) == pytest.approx(np.mean(true))
        assert float(row["error"]) == pytest.approx(1 - np.mean(true)) != 0
        assert row["start"] == ("" if at == 0 else LAYERS[at - 1])
        # Recall by definition: the listed neighbours among the true ones.
        true_ids = graphs[at].indices
        found = np.mean([len(set(a) & set(b)) / K for a, b in zip(graphs[0].indices, true_ids, strict=True)])
        assert float(row["recall"]) == pytest.approx(found)


def test_only_the_named_layers_are_searched_and_a_warm_start_begins_with_the_one_before(
    base: Experiment, tmp_path: Path
) -> None:
    rows = run(comparing(base, {"warm": WARM}, ("input", "h*")), tmp_path / "run")
    assert [(row["layer"], row["start"]) for row in rows if row["metric"] == "nnls"] == [
        ("input", ""),
        ("head", "input"),
    ]
    with (tmp_path / "run" / "tables" / "layers.csv").open() as file:
        assert [row["layer"] for row in csv.DictReader(file)] == list(LAYERS), "exact search measures all of them"


def test_graphs_and_results_are_shared_with_a_run_of_that_engine_alone(base: Experiment, tmp_path: Path) -> None:
    run(comparing(base, {"warm": WARM}), tmp_path / "run")
    alone = replace(base, neighbors=replace(WARM, k=K))
    store = Store(base.store_root)
    assert all(stage.done(store) for stage in lay_out(alone).targets)
    other = replace(base, neighbors=PynndescentEngine(k=K, seed=1))
    assert not any(stage.done(store) for stage in lay_out(other).targets), "control: another engine's are not there"


@pytest.mark.long
def test_times_stand_beside_the_tables_which_are_the_same_again(base: Experiment, tmp_path: Path) -> None:
    experiment = comparing(base, {"cold": COLD}, ("conv",))
    run(experiment, tmp_path / "one")
    found = times(tmp_path / "one")
    assert [(row["search"], row["engine"], row["layer"]) for row in found] == [
        ("exact", "exact", "conv"),
        ("cold", "pynndescent", "conv"),
    ]
    assert all(0 < float(row["seconds"]) < 100 for row in found)
    run(experiment, tmp_path / "again")
    assert times(tmp_path / "again") == found, "of the search that made the graph, not of this run"
    run(replace(experiment, store=StoreConfig(str(tmp_path / "other"))), tmp_path / "two")
    for name in ("engines.csv", "engines.parquet", "layers.csv"):
        one, two = ((tmp_path / folder / "tables" / name).read_bytes() for folder in ("one", "two"))
        assert one == two
    pipeline.run(base, tmp_path / "plain", make_reporter("none"), config={"experiment": "compare"})
    assert not (tmp_path / "plain" / "search_times.csv").exists()
    assert not (tmp_path / "plain" / "tables" / "engines.csv").exists()


@pytest.mark.long
def test_a_graph_that_was_deleted_is_searched_again_though_its_results_are_there(
    base: Experiment, tmp_path: Path
) -> None:
    experiment = comparing(base, {"cold": COLD}, ("conv",))
    run(experiment, tmp_path / "one")
    graphs = list(Path(experiment.store.root or "").glob("graph/*"))
    for folder in graphs:
        rmtree(folder)
    assert graphs, "control: there were some"
    run(experiment, tmp_path / "two")
    for name in ("engines.csv", "layers.csv"):
        one, two = ((tmp_path / folder / "tables" / name).read_bytes() for folder in ("one", "two"))
        assert one == two


def test_a_plan_says_whose_each_search_is(base: Experiment) -> None:
    rows = pipeline.plan(comparing(base, {"cold": COLD, "warm": WARM}, ("head", "conv"))).rows
    labels = [row.label for row in rows if row.label.startswith(("cold: ", "warm: "))]
    # The first layer of a warm start is searched cold, so it is one piece of work with the cold engine's.
    assert len([label for label in labels if "k = 5" in label]) == 2 + 1
    assert {"cold: conv · last · test, k = 5", "warm: head · last · test, k = 5"} <= set(labels)


@pytest.mark.parametrize("left", [True, False])
def test_a_search_that_went_on_has_no_time(base: Experiment, tmp_path: Path, left: bool) -> None:
    """What it took before it was interrupted is not known."""
    stage = lay_out(base).graphs[0]
    context = Context(Store(base.store_root), make_reporter("none"), "cpu", None)
    blocks = tmp_path / "blocks"
    blocks.mkdir()
    if left:
        (blocks / "rows.state").write_bytes(b"half")
    assert stage.seconds(context.store) is None
    stage._search(context, tmp_path / "graph", blocks)
    assert (stage.seconds(context.store) is None) is left


@pytest.mark.long
def test_plots_are_drawn_and_times_that_cannot_be_read_are_told(base: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(comparing(base, {"cold": COLD, "warm": WARM}), folder)
    drawn = {path.name for path in (folder / "plots").glob("engines_*.png")}
    assert drawn == {"engines_recall_test.png", "engines_time_test.png", "engines_error_test.png"}
    before = (folder / "plots" / "engines_time_test.png").read_bytes()
    text = (folder / "search_times.csv").read_text()
    (folder / "search_times.csv").write_text(text.replace(",0.", ",7."))
    render(folder)
    assert (folder / "plots" / "engines_time_test.png").read_bytes() != before, "drawn anew from what the file says"
    for broken in (text.replace("seconds", "minutes"), text.replace(",0.", ",x.")):
        (folder / "search_times.csv").write_text(broken)
        with pytest.raises(UserError, match=r"search_times\.csv cannot be read"):
            render(folder)


@pytest.mark.long
def test_without_times_there_is_no_plot_of_them(base: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(comparing(base, {"cold": COLD}), folder)
    (folder / "search_times.csv").unlink()
    render(folder)
    assert not (folder / "plots" / "engines_time_test.png").exists()
    assert (folder / "plots" / "engines_recall_test.png").exists()


@pytest.mark.parametrize(
    ("neighbors", "engines", "layers", "message"),
    [
        (PynndescentEngine(k=K), {"other": COLD}, (), "compared with exact search, but neighbors=pynndescent"),
        (ExactEngine(k=K), {"exact": COLD}, (), "has the name of what it is compared with"),
        (ExactEngine(k=K), {"wide": replace(COLD, k=9)}, (), r"wide.k is 9, but graphs of k = 5"),
        (ExactEngine(k=K), {"l2": replace(COLD, preprocess="l2")}, (), "l2.preprocess is l2, but neighbors.preprocess"),
        (ExactEngine(k=K), {"cold": COLD}, ("cnov",), r"'cnov', which matches no layer: did you mean 'conv'\?"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    base: Experiment, neighbors: Engine, engines: dict[str, Engine], layers: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        lay_out(comparing(replace(base, neighbors=neighbors), engines, layers))
    lay_out(comparing(base, {"cold": replace(COLD, k=K)}))  # control: the same k is no fault


def test_a_layer_without_neighbours_has_no_error_and_a_reason(base: Experiment, tmp_path: Path) -> None:
    """All samples coincide once their norms are 1: no metric has a value, in that layer and in its pairs."""
    np.save(Path(str(base.activations.path)) / "001_conv.npy", np.outer(2.0 ** np.arange(N), np.ones(4)))
    l2 = ExactEngine(k=K, preprocess="l2")
    rows = run(comparing(replace(base, neighbors=l2), {"again": replace(l2, k=None)}), tmp_path / "run")
    conv = [row for row in rows if row["layer"] == "conv"]
    assert all(row["error"] == "" and row["reason"] for row in conv)
    others = [row for row in rows if row["layer"] != "conv"]
    assert all(float(row["error"]) == 0 and not row["reason"] for row in others)
