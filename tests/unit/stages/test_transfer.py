"""Probes and other data sets as stages: what is laid out, keyed, shared, freed, refused and told."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.data.dataset import Samples, Split
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.linear_probe import LinearProbe, LogisticProbe
from rra_cli.metrics.metric import Input, LayerData, LayerMetric, Metric, TransferMetric
from rra_cli.metrics.neighbor_probes import KNNProbe, OneNNProbe
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages import probe_costs
from rra_cli.stages.images import Images
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.optimizer import SGD

FREED = ActivationsConfig(keep="until_measured")


@dataclass(frozen=True)
class Spread(LayerMetric):
    """The largest value of a layer: of activations alone."""

    name: ClassVar[str] = "spread"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations"})

    def measure(self, layer: LayerData) -> Estimate:
        assert layer.graph is None
        assert layer.labels is None
        assert layer.activations is not None
        assert not layer.activations.flags.writeable
        assert isinstance(layer.activations, np.memmap)
        return Estimate(float(layer.activations.max()), n_used=len(layer.activations))


@dataclass(frozen=True)
class Both(Spread):
    """Reads everything."""

    name: ClassVar[str] = "both"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations", "graph", "labels"})

    def measure(self, layer: LayerData) -> Estimate:
        assert layer.graph is not None
        assert layer.labels is not None
        assert layer.activations is not None
        return Estimate(float(len(layer.activations) - len(layer.graph)), n_used=1)


@dataclass(frozen=True)
class Turned(Digits):
    """Digits upside down and in colour: another data set."""

    name: ClassVar[str] = "turned"
    input_shape: ClassVar[tuple[int, int, int]] = (3, 8, 8)
    mean: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)

    def load(self, split: Split) -> Samples:
        samples = super().load(split)
        turned = samples.images[:, :, ::-1].repeat(3, axis=1)
        return Samples(np.ascontiguousarray(turned), samples.labels, samples.ids)


@dataclass
class Watcher:
    """A reporter that remembers what it was told."""

    told: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.told.append(title)
        yield silent

    def note(self, message: str) -> None:
        self.told.append(message)

    def warn(self, message: str) -> None:
        self.told.append(message)


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path, {"knn_probe": KNNProbe(k=5), "one_nn_probe": OneNNProbe()})


def experiment(root: Path, metrics: dict[str, Metric]) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples={"train": 120, "test": 60}),
        model=MLP(width=16, depth=1),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet(metrics),
        activations=ActivationsConfig(),
        store=StoreConfig(str(root / "store")),
    )


def trained(base: Experiment) -> Experiment:
    """Two checkpoints."""
    return replace(base, method=Supervised(epochs=1, batch_size=256, milestones=(0,)))


def run(chosen: Experiment, name: str = "run") -> tuple[Path, Watcher]:
    """The tables of a run without plots, and what was told."""
    folder, watcher = Path(chosen.store_root).parent / name, Watcher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(chosen, folder, watcher, config={"name": name})
    return folder / "tables", watcher


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# What is laid out


def test_every_layer_is_probed_from_train_to_test(base: Experiment) -> None:
    layout = lay_out(base)
    layers = list(dict.fromkeys(graph.point.layer for graph in layout.graphs))
    assert [(probe.key, probe.point.layer) for probe in layout.probes] == [
        (key, layer) for layer in layers for key in ("knn_probe", "one_nn_probe")
    ]
    for probe in layout.probes:
        assert (probe.train.point.split, probe.test.point.split) == ("train", "test")
        assert (probe.train.point.layer, probe.train.point.n_samples) == (probe.point.layer, 120)
        assert set(probe.needs) <= set(layout.captures)


def test_one_split_is_not_enough_and_the_note_says_which_is_missing(base: Experiment) -> None:
    layout = lay_out(replace(base, dataset=replace(base.dataset, splits=("test",))))
    assert not layout.probes
    assert [note for note in layout.notes if "dataset.splits=[train,test]" in note] == [
        f"{key} is left out: a probe is fitted to the training split and judged by the test split, and dataset.splits "
        "is [test]: use dataset.splits=[train,test]"
        for key in ("knn_probe", "one_nn_probe")
    ]


def test_a_users_folder_is_one_split(base: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "layers"
    folder.mkdir()
    np.save(folder / "000_x.npy", np.random.default_rng(0).normal(size=(50, 3)))
    np.save(folder / "labels.npy", np.arange(50) % 2)
    mine = replace(
        base,
        dataset=ActivationFiles(),
        activations=ActivationsConfig(path=str(folder)),
        metrics=MetricSet({"nncs": NNCS(), "one_nn_probe": OneNNProbe()}),
    )
    layout = lay_out(mine)
    assert not layout.probes
    assert (
        "one_nn_probe is left out: a probe needs a training and a test split, and a folder of activations is one split"
    ) in layout.notes
    with pytest.raises(UserError, match="transfer names other, but dataset=activations has no network to apply"):
        lay_out(replace(mine, transfer={"other": Digits()}))


def test_more_neighbours_than_training_samples_are_refused_before_anything_runs(base: Experiment) -> None:
    many = replace(base, metrics=MetricSet({"knn_probe": KNNProbe(k=121)}))
    with pytest.raises(UserError, match=r"metrics\.knn_probe needs 121 training samples, but only 120 are") as fault:
        lay_out(many)
    assert fault.value.hint == "use a smaller metrics.knn_probe.k, or a larger dataset.n_samples"
    few = replace(base, transfer={"few": Digits(n_samples={"train": 4, "test": 60})})
    with pytest.raises(UserError, match=r"needs 5 training samples, but only 4 are measured of transfer\.few"):
        lay_out(few)


def test_more_neighbours_than_a_class_has_are_noted_once(base: Experiment) -> None:
    """120 training samples of ten classes: of 13 neighbours at least one lies in another class."""

    def notes(k: int) -> list[str]:
        layout = lay_out(replace(base, metrics=MetricSet({"knn_probe": KNNProbe(k=k)})))
        return [note for note in layout.notes if "neighbours" in note]

    assert notes(12) == []
    assert notes(13) == [
        "knn_probe asks 13 neighbours, where a class has 12 training samples on average: the others lie in other "
        "classes; see metrics.knn_probe.k"
    ]


# Keys


def test_what_a_probe_depends_on(base: Experiment) -> None:
    def keys(chosen: Experiment) -> dict[str, str]:
        return {probe.label: probe.spec.key for probe in lay_out(chosen).probes}

    before = keys(base)
    assert len(set(before.values())) == len(before)
    assert keys(replace(base, neighbors=ExactEngine(k=9))) == before, "graphs are not read"
    other = keys(replace(base, metrics=MetricSet({"knn_probe": KNNProbe(k=6), "one_nn_probe": OneNNProbe()})))
    assert {label for label in before if other[label] != before[label]} == {
        label for label in before if label.startswith("knn_probe")
    }
    seeds = keys(replace(base, seed=1))
    assert {label for label in before if seeds[label] == before[label]} == {
        label for label in before if "of input" in label
    }, "layer 0 does not know the network"
    fewer = keys(replace(base, dataset=replace(base.dataset, n_samples={"train": 100, "test": 60})))
    assert not set(fewer.values()) & set(before.values()), "the training split is part of it"


def test_layer_0_is_probed_once_for_all_checkpoints(base: Experiment) -> None:
    layout = lay_out(trained(base))
    inputs = [probe for probe in layout.probes if probe.point.layer == "input" and probe.key == "knn_probe"]
    assert len(inputs) == 2
    assert len({probe.spec.key for probe in inputs}) == 1
    last = [probe for probe in layout.probes if probe.point.layer == "logits" and probe.key == "knn_probe"]
    assert len({probe.spec.key for probe in last}) == 2


# Costs


def test_a_plan_knows_what_makes_probes_slow() -> None:
    """More samples, features, epochs and neighbours: more seconds; unknown probes are taken for reading."""

    def seconds(metric: TransferMetric, n: int = 10_000, d: int = 100) -> float:
        cost = probe_costs.probe(metric, n, 1_000, d, 10)
        assert min(cost.seconds, cost.memory_bytes, cost.disk_bytes) > 0
        return cost.seconds

    for metric in (LinearProbe(), LogisticProbe(), KNNProbe(), OneNNProbe()):
        assert seconds(metric) < seconds(metric, n=60_000) < seconds(metric, n=60_000, d=3_000)
    assert seconds(LinearProbe()) < seconds(LinearProbe(epochs=100)) < seconds(LinearProbe(epochs=100, batch_size=48))
    assert seconds(OneNNProbe()) < seconds(KNNProbe(k=20)) < seconds(KNNProbe())
    assert seconds(LogisticProbe()) < seconds(LogisticProbe(max_iterations=1000))


# Running


def test_probes_need_no_graphs(base: Experiment) -> None:
    plan = pipeline.plan(base)
    states = {row.stage: {r.state for r in plan.rows if r.stage == row.stage} for row in plan.rows}
    assert states["graph"] == {"not needed"}
    assert states["probe"] == states["capture"] == {"missing"}
    tables, _ = run(base)
    assert not Store(base.store_root).root.joinpath("graph").exists()
    assert {row["engine"] for row in rows(tables / "layers.csv")} == {""}
    assert {(row["engine"], row["recall"]) for row in rows(tables / "metrics.csv")} == {("exact", "1.0")}
    assert {row.state for row in pipeline.plan(base).rows} == {"cached", "not needed"}


def test_both_splits_stay_until_the_probes_are_done_and_no_longer(base: Experiment) -> None:
    kept, _ = run(trained(base), "kept")
    freed = replace(trained(base), activations=FREED, store=StoreConfig(str(base.store_root) + "2"))
    layout = lay_out(freed)
    assert [walk.title for walk in layout.walks] == ["epoch_0000 · train, test", "last · train, test"]
    found, watcher = run(freed, "freed")
    assert (found / "metrics.csv").read_bytes() == (kept / "metrics.csv").read_bytes()
    assert not list(Path(freed.store_root).glob("capture/*"))
    passes = [title for title in watcher.told if title.startswith("capture ")]
    assert len(passes) == len(set(passes)), "no layer was captured twice"
    plain = lay_out(replace(freed, metrics=MetricSet({"id_twonn": TwoNN()})))
    assert [walk.title for walk in plain.walks][:2] == ["epoch_0000 · train", "epoch_0000 · test"]


def test_the_disk_that_both_splits_take_is_known(base: Experiment) -> None:
    freed = replace(trained(base), activations=FREED)
    rows_ = pipeline.plan(freed).rows
    captures = sum(row.disk_bytes for row in rows_ if row.stage == "capture" and "last" not in row.label)
    rest = sum(row.disk_bytes for row in rows_ if row.stage not in ("capture", "graph"))
    assert pipeline.plan(freed).total.disk_bytes == rest + captures


def test_metrics_of_activations_alone_see_them_read_only(base: Experiment) -> None:
    alone = replace(trained(base), metrics=MetricSet({"spread": Spread()}), activations=FREED)
    tables, _ = run(alone)
    found = rows(tables / "metrics.csv")
    assert {row["split"] for row in found} == {"train", "test"}
    assert all(row["value"] and row["engine"] == "" and row["recall"] == "" for row in found)
    assert not Store(base.store_root).root.joinpath("graph").exists()
    assert not list(Path(base.store_root).glob("capture/*"))
    inputs = {row["value"] for row in found if row["layer"] == "input" and row["split"] == "train"}
    assert len(inputs) == 1
    mixed, _ = run(replace(base, metrics=MetricSet({"both": Both(), "id_twonn": TwoNN()})), "mixed")
    assert {row["value"] for row in rows(mixed / "metrics.csv") if row["metric"] == "both"} == {"0.0"}


def test_values_by_sample_are_there_on_request(base: Experiment) -> None:
    import pyarrow.parquet as pq

    asked = replace(base, metrics=replace(base.metrics, per_sample=True), transfer={"turned": Turned(n_samples=30)})
    tables, _ = run(asked)
    frame = pq.read_table(tables / "per_sample" / "one_nn_probe.parquet").to_pandas()
    assert set(frame["value"]) == {0.0, 1.0}
    means = frame.groupby(["dataset", "layer"])["value"].mean()
    for row in rows(tables / "metrics.csv"):
        if row["metric"] == "one_nn_probe":
            assert means[row["dataset"], row["layer"]] == pytest.approx(float(row["value"]))


def test_a_layer_that_is_not_finite_has_its_reason(base: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Images.batches

    def spoiled(self: Images, split: Split, start: int, stop: int, device: str) -> object:
        images = opened(self, split, start, stop, device)
        if split == "train" and start == 0:
            images[0] = float("nan")
        return images

    monkeypatch.setattr(Images, "batches", spoiled)
    tables, watcher = run(base)
    assert {row["reason"] for row in rows(tables / "metrics.csv")} == {"train: 1 of 120 rows hold NaN or infinity"}
    assert any("no value, train: 1 of 120 rows" in told for told in watcher.told)


def test_the_k_of_a_probes_row_is_its_own(base: Experiment) -> None:
    """The graph's (5) is that of the layer, and of metrics that read graphs: the control."""
    metrics = {
        "knn_probe": KNNProbe(k=7),
        "one_nn_probe": OneNNProbe(),
        "logistic_probe": LogisticProbe(),
        "nncs": NNCS(),
    }
    tables, _ = run(replace(base, metrics=MetricSet(metrics, per_sample=True)))
    found = {(row["metric"], row["k"]) for row in rows(tables / "metrics.csv")}
    assert found == {("knn_probe", "7"), ("one_nn_probe", "1"), ("logistic_probe", ""), ("nncs", "5")}
    assert {row["k"] for row in rows(tables / "layers.csv")} == {"5"}


# Other data sets


def test_the_same_data_set_as_another_has_the_same_values(base: Experiment) -> None:
    """At the representation, which is where a transfer looks unless it is told."""
    tables, _ = run(replace(base, transfer={"again": base.dataset}))
    for row in (found := rows(tables / "metrics.csv")):
        assert (row["split"], row["dataset"] in ("", "again")) == ("test", True)
    again = [row for row in found if row["dataset"] == "again"]
    layer = lay_out(base).training.fresh.encoder().representation  # type: ignore[union-attr]
    assert [(row["metric"], row["layer"], row["k"]) for row in again] == [
        ("one_nn_probe", layer, "1"),
        ("knn_probe", layer, "5"),
    ]
    own = {row["metric"]: row for row in found if row["dataset"] == "" and row["layer"] == layer}
    for row in again:
        for name in ("value", "std_error", "chance", "n_used"):
            assert row[name] == own[row["metric"]][name]
    layers = rows(tables / "layers.csv")
    assert [row["dataset"] for row in layers][-1] == "again"
    assert layers[-1]["one_nn_probe"] == again[0]["value"]
    assert len([row for row in layers if row["dataset"]]) == 1


def test_another_data_set_is_shown_to_the_network_as_its_own(base: Experiment) -> None:
    """In its shape and with its normalisation; and it is other data: the control."""
    other = Images(Turned(n_samples=40), like=base.dataset)
    assert other.batches("test", 0, 7, "cpu").shape == (7, 1, 8, 8)
    own = Images(replace(base.dataset, n_samples=40))
    assert other.measured_identity("test") != Images(Turned(n_samples=40)).measured_identity("test")
    batch, turned = own.batches("test", 0, 40, "cpu"), other.batches("test", 0, 40, "cpu")
    assert torch.equal(batch.flip(2), turned)
    assert not torch.equal(batch, turned)
    everywhere = replace(base, transfer={"turned": Turned(n_samples=100)}, transfer_layers=("hidden*", "input"))
    layout = lay_out(everywhere)
    assert {probe.point.layer for probe in layout.probes if probe.point.dataset} == {"input"} | {
        graph.point.layer for graph in layout.graphs if graph.point.layer.startswith("hidden")
    }
    keys = {probe.spec.key for probe in layout.probes}
    assert len(keys) == len(layout.probes)
    assert [walk.title for walk in layout.walks] == ["last · train, test", "last · turned"]


def test_files_of_other_data_sets_are_checked_and_told(base: Experiment) -> None:
    layout = lay_out(replace(base, transfer={"turned": Turned()}))
    assert set(layout.checksums()) == {"sklearn.datasets.load_digits", "turned/sklearn.datasets.load_digits"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transfer": {"x": ActivationFiles()}}, r"transfer\.x\.name is activations, which has no images"),
        ({"transfer": {"x": Digits(splits=("test",))}}, r"transfer\.x\.splits is \['test'\], but a probe is fitted"),
        (
            {"transfer": {"x": Digits()}, "metrics": MetricSet({"id_twonn": TwoNN()})},
            "transfer names x, but metrics has no probe",
        ),
        (
            {"transfer": {"x": Digits()}, "transfer_layers": ("logitz",)},
            "transfer_layers names 'logitz', which matches no layer: did you mean 'logits'",
        ),
    ],
)
def test_what_cannot_be_transferred_is_refused(base: Experiment, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as fault:
        lay_out(replace(base, **settings))  # type: ignore[arg-type]
    assert fault.value.hint
