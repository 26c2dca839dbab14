"""Intervals and null distributions in a run: their columns, what they rest on, and that nothing else changes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.core.progress import silent
from rra_cli.core.store import Store
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.class_similarity import NNCS, nncs
from rra_cli.metrics.hubness import Hubness
from rra_cli.metrics.imbalance import InformationImbalance
from rra_cli.metrics.intrinsic_dimension import TwoNN, twonn
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import Metric
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.metrics.permutation import permutation
from rra_cli.metrics.uncertainty import block_rows, interval_of
from rra_cli.models.convnet import ConvNetSmall
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine, exact_neighbors
from rra_cli.report.load import load_run
from rra_cli.report.pair_curves import pair_curve
from rra_cli.report.plot import band
from rra_cli.report.uncertainty_html import interval_text, intervals, told_html
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.uncertainty.spreads import BlockMeasure
from rra_cli.stages.uncertainty.study import uncertainty_of
from rra_cli.training.optimizer import SGD

N, K, M = 200, 6, 9
METRICS: dict[str, Metric] = {
    "id": TwoNN(),
    "nncs": NNCS(),
    "hubness": Hubness(),
    "pca": PCADimension(),
    "nnls": NNLS(),
    "imbalance": InformationImbalance(),
}
BOTH = UncertaintyConfig(intervals="blocks", null_test="permutation", permutations=M)
Row = Mapping[str, str]


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def task(self, title: str) -> Any:
        return nullcontext(silent)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None: ...


def experiment(root: Path, uncertainty: UncertaintyConfig = BOTH, **changes: Any) -> Experiment:
    base = Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=N, splits=("test",)),
        model=MLP(width=16, depth=2),
        method=Supervised(epochs=1, batch_size=64, milestones=1),
        augment=NoAugment(),
        optimizer=SGD(lr=0.1),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=K),
        metrics=MetricSet(METRICS, uncertainty=uncertainty),
        activations=ActivationsConfig(keep="until_measured"),
        store=StoreConfig(str(root / "store")),
    )
    return replace(base, **changes)


def run(asked: Experiment, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(asked, folder, Notes(), config={})  # type: ignore[arg-type]
    return folder / "tables"


def rows(tables: Path, name: str) -> list[Row]:
    with (tables / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uncertainty")


@pytest.fixture(scope="module")
def plain(root: Path) -> Path:
    """The tables of the run without them, which comes first."""
    return run(experiment(root, UncertaintyConfig()), root / "plain")


@pytest.fixture(scope="module")
def tables(root: Path, plain: Path) -> Path:
    """Those of the run with them, in the same store."""
    before = {path: path.stat().st_mtime_ns for path in (root / "store" / "graph").rglob("*.npy")}
    assert before
    found = run(experiment(root), root / "run")
    after = {path: path.stat().st_mtime_ns for path in (root / "store" / "graph").rglob("*.npy")}
    assert after == before, "no graph is searched again"
    return found


def features(tmp_path: Path, checkpoint: str) -> dict[str, np.ndarray]:
    """The layers' activations, of the same training in a store that keeps them."""
    asked = experiment(tmp_path, UncertaintyConfig(), activations=ActivationsConfig(keep="always"))
    run(asked, tmp_path / "again")
    captures = [(capture.point, capture.open(Store(tmp_path / "store"))[0]) for capture in lay_out(asked).captures]
    # The input, which has no module, is captured once for all of them.
    return {at.layer: np.array(x) for at, x in captures if at.checkpoint.label == checkpoint or not at.module}


def imbalance(one: np.ndarray, other: np.ndarray) -> float:
    """By its definition: 2 / n times the mean rank in the other layer of the nearest neighbour in the one."""
    near, far = (np.linalg.norm(x[:, None].astype(float) - x[None], axis=2) for x in (one, other))
    np.fill_diagonal(near, np.inf)
    np.fill_diagonal(far, -1.0)
    ranks = far.argsort(axis=1).argsort(axis=1)
    return float(2 / len(one) * ranks[np.arange(len(one)), near.argmin(axis=1)].mean())


def test_nothing_else_changes(plain: Path, tables: Path) -> None:
    for name, new in (("metrics", 5), ("nnls", 5), ("pairs", 5), ("layers", 0), ("mu", 0)):
        before, after = rows(plain, name), rows(tables, name)
        assert list(after[0])[: len(before[0])] == list(before[0])
        assert len(after[0]) == len(before[0]) + new, "columns come last"
        assert [{column: row[column] for column in before[0]} for row in after] == before
    assert (plain / "layers.csv").read_bytes() == (tables / "layers.csv").read_bytes()


def test_who_has_what(tables: Path) -> None:
    told = {row["metric"]: (row["low"] != "", row["p_value"] != "") for row in rows(tables, "metrics")}
    assert told["id"] == (True, False), "labels are no part of it"
    assert told["nncs"] == (True, True)
    assert told["pca"] == (True, False), "it reads no graph, and tells its interval by itself"
    for row in rows(tables, "metrics"):
        if row["low"]:
            assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        if row["metric"] == "hubness":
            assert (row["low"] != "") == (abs(float(row["value"])) <= 1)
    for name, value in (("nnls", "nnls"), ("pairs", "value")):
        for row in rows(tables, name):
            is_itself = (row["layer_a"], row["checkpoint_a"]) == (row["layer_b"], row["checkpoint_b"])
            assert float(row["low"]) <= float(row[value]) <= float(row["high"])
            assert (row["p_value"] != "") == (not is_itself)
    assert any(row["checkpoint_a"] != row["checkpoint_b"] for row in rows(tables, "nnls")), "to the last one, too"


def test_values_of_blocks_are_those_of_their_samples_alone(root: Path, tables: Path, tmp_path: Path) -> None:
    layer = "logits"
    layers = features(tmp_path, "last")
    x = layers[layer]
    found = {
        row["metric"]: row for row in rows(tables, "metrics") if (row["layer"], row["checkpoint"]) == (layer, "last")
    }
    labels = lay_out(experiment(root)).data.labels("test")
    assert labels is not None
    ids, shares = [], []
    for block in block_rows(N, 4):
        graph = exact_neighbors(x[block], 2)  # 6 / 4^(2/3)
        ids.append(twonn(graph).value)
        shares.append(nncs(graph, labels[block]).value)
    for name, metric, values in (("id", TwoNN(), ids), ("nncs", NNCS(), shares)):
        expected = interval_of(metric, float(found[name]["value"]), np.array(values), N)
        assert (float(found[name]["low"]), float(found[name]["high"])) == pytest.approx(expected)
    pairs = [row for row in rows(tables, "pairs") if row["checkpoint_a"] == row["checkpoint_b"] == "last"]
    pairs = [row for row in pairs if row["metric"] == "imbalance"]
    for row in (row for row in pairs if layer in (row["layer_a"], row["layer_b"]) and row["layer_a"] != row["layer_b"]):
        one, other = layers[row["layer_a"]], layers[row["layer_b"]]
        of_blocks = np.array([imbalance(one[block], other[block]) for block in block_rows(N, 4)])
        expected = interval_of(InformationImbalance(), float(row["value"]), of_blocks, N)
        assert (float(row["low"]), float(row["high"])) == pytest.approx(expected), (row["layer_a"], row["layer_b"])


def test_null_values_are_those_of_permuted_labels(root: Path, tables: Path) -> None:
    row = next(row for row in rows(tables, "metrics") if (row["metric"], row["layer"]) == ("nncs", "input"))
    layout = lay_out(experiment(root))
    graph = next(graph for graph in layout.graphs if graph.point.layer == "input").load(Store(root / "store"), K)[0]
    labels = layout.data.labels("test")
    assert graph is not None
    assert labels is not None
    null = [nncs(graph, labels[permutation(N, 0, number)]).value for number in range(M)]
    assert float(row["null_mean"]) == pytest.approx(np.mean(null))
    assert float(row["null_sd"]) == pytest.approx(np.std(null, ddof=1))
    assert float(row["p_value"]) == 1 / (M + 1), "digits lie by class in the pixels"


def test_null_values_of_pairs_are_those_of_layers_whose_samples_are_mixed_each_by_itself(tables: Path) -> None:
    """Mixed alike, they would stay as related as they are."""
    told = [row for row in rows(tables, "nnls") if row["p_value"]]
    assert told
    for row in told:
        mean, sd, chance = float(row["null_mean"]), float(row["null_sd"]), float(row["chance"])
        assert sd > 0.0
        assert mean == pytest.approx(chance, abs=5 * sd / M**0.5)
        assert float(row["nnls"]) > mean + 5 * sd, "the control: their own samples are related"


def test_the_level_is_chosen_without_measuring_again(root: Path, tables: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root / "store" / "block_values").rglob("*.npy")}
    wide = run(experiment(root, replace(BOTH, interval_level=0.99)), root / "wide")
    assert before == {path: path.stat().st_mtime_ns for path in (root / "store" / "block_values").rglob("*.npy")}
    for one, other in zip(rows(tables, "metrics"), rows(wide, "metrics"), strict=True):
        if one["low"] and one["metric"] != "pca":  # whole numbers
            assert float(other["low"]) < float(one["low"])
            assert float(other["high"]) > float(one["high"])


def test_only_what_is_asked_for_has_columns(root: Path, tables: Path) -> None:
    found = run(experiment(root, replace(BOTH, null_test="none")), root / "intervals")
    assert list(rows(found, "metrics")[0])[-2:] == ["low", "high"]
    found = run(experiment(root, replace(BOTH, intervals="none")), root / "null")
    assert list(rows(found, "nnls")[0])[-3:] == ["null_mean", "null_sd", "p_value"]


def test_curves_have_the_intervals_as_bands_and_older_folders_read(plain: Path, tables: Path) -> None:
    found, before = load_run(tables.parent), load_run(plain.parent)
    here = (found.main_checkpoint, "test", found.variants[0])
    series = found.series("id", *here)
    assert series is not None
    assert series.interval is not None
    low = [float(row["low"]) for row in rows(tables, "metrics") if (row["metric"], row["checkpoint"]) == ("id", "last")]
    np.testing.assert_array_equal(series.interval[0], low)
    assert found.has_intervals("nnls")
    assert found.has_intervals("imbalance")
    assert found.has_intervals("pca")
    assert not before.has_intervals("pca")
    older = before.series("id", *here)
    assert older is not None
    assert older.interval is None
    assert band(found, ["id"]) == "Bands: 95 % intervals over sets of such samples."
    assert band(before, ["id"]) == "Bands: ±1.96 standard errors where known, which take samples for independent."
    assert pair_curve(found, "nnls", *here[::2]) is not None
    ends = intervals(found)
    first = next(row for row in rows(tables, "metrics") if row["metric"] == "id" and row["low"])
    text = interval_text((float(first["low"]), float(first["high"])))
    assert text in {interval_text(pair) for pair in ends.values()}
    told = told_html(found, ends)
    assert "95 % intervals" in told
    assert "NNCS all p = 0.1" in told
    assert "No permutation null: hubness, id, pca." in told
    said = told_html(replace(found, config={"metrics": {"permutations": 9}}), ends)
    assert "NNCS all p &lt;= 1/10" in said
    assert "(1/10 is the least that 9 of them can tell)" in said
    assert (intervals(before), told_html(before, {})) == ({}, "")


def test_few_samples_and_metrics_without_a_null_are_noted(root: Path) -> None:
    few = lay_out(experiment(root, dataset=Digits(n_samples=150, splits=("test",))))
    assert (
        "no intervals of metrics of neighbour graphs of 150 samples: four blocks of 50 samples are needed at least"
        in few.notes
    )
    found = uncertainty_of(few)
    assert found is not None
    assert not found.blocks
    note = "id gets no permutation null: it reads no labels, and in one layer there is nothing else to permute"
    assert note in lay_out(experiment(root)).notes
    assert not any(note.startswith(("nncs gets no", "imbalance gets no")) for note in lay_out(experiment(root)).notes)
    assert uncertainty_of(lay_out(experiment(root, UncertaintyConfig()))) is None


def test_a_layer_has_one_set_of_blocks_for_all_metrics_and_checkpoints(root: Path) -> None:
    study = uncertainty_of(lay_out(experiment(root)))
    assert study is not None
    # Four layers at two checkpoints, of which the input is the same.
    assert len(study.lists) == 7
    assert all(isinstance(each, BlockMeasure) for each in study.blocks.values())
    assert len({each.spec.key for each in study.blocks.values()}) == len(study.blocks)


@pytest.mark.long
def test_scales_have_intervals_too(tmp_path: Path) -> None:
    poolings = {name: Pooling.named(name) for name in ("none", "avg_global")}
    asked = experiment(tmp_path, pooling=poolings, model=ConvNetSmall(width_multiplier=0.25, depth_multiplier=0.5))
    found = rows(run(replace(asked, metrics=MetricSet({"nnls": NNLS()}, uncertainty=BOTH)), tmp_path / "run"), "nnls")
    across = [row for row in found if row["pool_a"] != row["pool_b"]]
    assert across
    assert all(row["low"] and row["p_value"] for row in across)
