"""From results to tables: each value stands in the table and under the name where a reader looks for it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import Experiment, MetricSet, StoreConfig
from rra_cli.core.fields import identity
from rra_cli.core.progress import silent
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import LayerData, LayerPairMetric, Metric
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.report.run import Run
from rra_cli.report.tables.reading import apart, read_tables
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.optimizer import SGD

N, K = 40, 4


@dataclass(frozen=True)
class Place(LayerPairMetric):
    """Where a pair stands: 10 a + b, and a sample's number beside it. Nothing but the first neighbours is read."""

    name: ClassVar[str] = "place"
    fixed_k: ClassVar[int | None] = 1

    shift: int = identity(0)

    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        assert all(layer.graph.k == 1 for layer in layers)
        count = len(layers)
        return {
            (a, b): Estimate(10.0 * a + b + self.shift, per_sample=np.arange(N) + 100.0 * (10 * a + b), chance=-1.0)
            for a in range(count)
            for b in range(count)
        }


@dataclass(frozen=True)
class ShiftedNNLS(Place):
    """A similarity of layers that has a parameter."""

    name: ClassVar[str] = "nnls"


class Quiet:
    """A reporter that shows nothing."""

    def task(self, title: str) -> Any:
        return nullcontext(silent)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def experiment(root: Path, metrics: dict[str, Metric], *, on_request: bool = False) -> Experiment:
    return Experiment(
        name="toy",
        seed=0,
        dataset=Digits(n_samples=N, balanced=True),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=K),
        metrics=MetricSet(metrics, per_sample=on_request, per_class=on_request),
        store=StoreConfig(str(root / "store")),
    )


def tables(root: Path, metrics: dict[str, Metric], **settings: Any) -> Path:
    """The folder of tables of a run with these metrics."""
    folder = root / "-".join(metrics)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(experiment(root, metrics, **settings), folder, Quiet(), config={"metrics": list(metrics)})
    return folder / "tables"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of NNLS and another metric of pairs, with all that is written on request."""
    metrics = {"toy": Place(), "id_twonn": TwoNN(), "nncs": NNCS(), "nnls": NNLS()}
    return tables(tmp_path_factory.mktemp("both"), metrics, on_request=True)


def test_another_metric_of_pairs_has_a_table_of_its_own(both: Path, tmp_path: Path) -> None:
    alone = tables(tmp_path, {"nnls": NNLS()})
    assert (both / "nnls.csv").read_bytes() == (alone / "nnls.csv").read_bytes()
    assert not (alone / "pairs.csv").exists()
    layers = [row["layer"] for row in rows(both / "layers.csv") if row["split"] == "test"]
    found = [row for row in rows(both / "pairs.csv") if row["metric"] != "nnls"]
    assert len(found) == len(rows(both / "nnls.csv")) == 2 * len(layers) ** 2
    for row in found:
        assert (row["metric"], row["chance"], row["std_error"], row["reason"]) == ("toy", "-1.0", "", "")
        assert float(row["value"]) == 10 * layers.index(row["layer_a"]) + layers.index(row["layer_b"])
    asymmetric = [row for row in found if row["layer_a"] != row["layer_b"]]
    assert {float(row["value"]) for row in asymmetric} > {1.0, 10.0}, "the control: a and b are not mixed up"
    assert (both / "pairs.parquet").is_file()


def test_nnls_stands_beside_the_other_metrics_of_pairs(both: Path) -> None:
    """In the same rows and columns as in its own table, and a report reads it once."""
    copied = [row for row in rows(both / "pairs.csv") if row.pop("metric") == "nnls"]
    assert [row | {"nnls": row.pop("value")} for row in copied] == rows(both / "nnls.csv")
    read = read_tables(both.parent)
    assert read.pairs is not None
    assert set(read.pairs["metric"]) == {"nnls", "toy"}
    run = Run("toy", apart(read))
    assert run.pair_metrics == ("toy",)
    assert list(run.similarities) == ["nnls", "toy"]


def test_a_metric_called_nnls_that_is_not_in_its_table_is_one_of_the_others(both: Path) -> None:
    read = read_tables(both.parent)
    assert read.pairs is not None
    pairs = read.pairs.copy()
    at = pairs.index[pairs["metric"] == "nnls"][-1]
    pairs.loc[at, "value"] += 1e-12
    changed = apart(replace(read, pairs=pairs))
    assert changed.pairs is not None
    assert set(changed.pairs["metric"]) == {"nnls", "toy"}


def test_the_first_similarity_of_layers_is_the_one_of_its_table(tmp_path: Path) -> None:
    """A second one with other settings goes where all other metrics of pairs are."""
    folder = tables(tmp_path, {"sim": ShiftedNNLS(), "shifted": ShiftedNNLS(shift=7)})
    first = [float(row["nnls"]) for row in rows(folder / "nnls.csv")]
    pairs = rows(folder / "pairs.csv")
    assert [float(row["value"]) - 7 for row in pairs if row["metric"] == "shifted"] == first
    assert [float(row["value"]) for row in pairs if row["metric"] == "sim"] == first
    assert len(pairs) == 2 * len(first)
    assert Run("", apart(read_tables(folder.parent))).pair_metrics == ("shifted",), "whatever its key is"


def test_equal_metrics_of_pairs_are_refused_before_anything_runs(tmp_path: Path) -> None:
    base = experiment(tmp_path, {"one": Place(), "two": Place(shift=1)})
    assert len({pair.key for pair in lay_out(base).pairs}) == 2
    twice = replace(base, metrics=MetricSet({"one": Place(), "two": Place(shift=1), "three": Place(shift=1)}))
    with pytest.raises(UserError, match=r"metrics\.three measures the same as metrics\.two") as fault:
        lay_out(twice)
    assert fault.value.hint == "leave metrics.three out, or give it other settings"


def test_k_is_what_was_asked_for_in_every_table(both: Path) -> None:
    """Whatever a metric reads of it (TwoNN two neighbours, the toy one), so that rows of different tables meet."""
    for name in ("layers", "metrics", "nnls", "pairs", "per_class", "class_neighbors"):
        assert {row["k"] for row in rows(both / f"{name}.csv")} == {str(K)}, name
    for name in ("id_twonn", "nncs", "nnls", "toy"):
        assert pq.read_table(both / f"per_sample/{name}.parquet")["k"].unique().to_pylist() == [K]


def test_values_by_sample_average_to_the_value(both: Path) -> None:
    frame = pq.read_table(both / "per_sample/nncs.parquet").to_pandas()
    means = frame.groupby(["split", "layer"])["value"].mean()
    expected = {(row["split"], row["layer"]): float(row["nncs"]) for row in rows(both / "layers.csv")}
    assert means.to_dict() == pytest.approx(expected, rel=1e-12)
    assert len(set(expected.values())) > 2, "the control: layers differ"


def test_values_by_sample_of_pairs_are_there_once_and_by_sample_id(both: Path) -> None:
    layers = [row["layer"] for row in rows(both / "layers.csv") if row["split"] == "test"]
    frame = pq.read_table(both / "per_sample/toy.parquet").to_pandas()
    pairs = frame.groupby(["split_a", "layer_a", "layer_b"], sort=False)
    assert len(pairs) == len(layers) * (len(layers) - 1)  # two splits, half of the pairs
    for (_, a, b), values in pairs:
        first, second = layers.index(a), layers.index(b)
        assert first < second
        assert values["sample_id"].is_monotonic_increasing
        np.testing.assert_array_equal(values["value"], np.arange(N) + 100.0 * (10 * first + second))
