"""Nulls of metrics that read activations in a run: their columns, what they rest on, what is told of the others."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_uncertainty_in_a_run import N, Row, experiment, rows, run

from rra_cli.config.experiment import ActivationsConfig, MetricSet
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.digits import Digits
from rra_cli.metrics import imbalance_null
from rra_cli.metrics.canonical import CCA, SVCCA, cca
from rra_cli.metrics.hsic import CKA, HSIC, linear_cka
from rra_cli.metrics.imbalance import InformationImbalance
from rra_cli.metrics.imbalance_null import rank_sums
from rra_cli.metrics.linear_probe import LinearProbe
from rra_cli.metrics.metric import Metric
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.report.load import load_run
from rra_cli.report.uncertainty_html import told_html
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.uncertainty import null_costs
from rra_cli.stages.uncertainty.nulls import KernelStage, RankNull
from rra_cli.stages.uncertainty.study import uncertainty_of

M = 19
NULL = UncertaintyConfig(null_test="permutation", permutations=M)
METRICS: dict[str, Metric] = {
    "imbalance": InformationImbalance(),
    "hsic": HSIC(),
    "cka": CKA(),
    "debiased": CKA(estimator="unbiased"),
    "cca": CCA(summary="mean_square"),
    "cca_mean": CCA(),
    "svcca": SVCCA(),
    "pca": PCADimension(),
}
HAVE = ("imbalance", "hsic", "cka", "debiased", "cca")
ASKED = MetricSet(METRICS, uncertainty=NULL)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nulls")


@pytest.fixture(scope="module")
def tables(root: Path) -> Path:
    return run(experiment(root, metrics=ASKED), root / "run")


@pytest.fixture(scope="module")
def layers(root: Path, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.floating]]:
    """Activations at the last checkpoint, of the same training in a store that keeps them."""
    folder = tmp_path_factory.mktemp("again")
    asked = experiment(folder, metrics=MetricSet({"hsic": HSIC()}), activations=ActivationsConfig(keep="always"))
    run(asked, folder / "run")
    captures = [(capture.point, capture.open(Store(folder / "store"))[0]) for capture in lay_out(asked).captures]
    return {at.layer: np.array(x) for at, x in captures if at.checkpoint.label == "last" or not at.module}


def last(tables: Path, metric: str) -> list[Row]:
    """The pairs of different layers of the last checkpoint."""
    found = [row for row in rows(tables, "pairs") if row["metric"] == metric and row["checkpoint_a"] == "last"]
    return [row for row in found if row["layer_a"] != row["layer_b"]]


def test_who_has_one(tables: Path) -> None:
    told = rows(tables, "pairs")
    assert {row["metric"] for row in told} == set(METRICS) - {"pca"}
    for row in told:
        has_one = row["metric"] in HAVE and row["layer_a"] != row["layer_b"]
        assert {row[column] != "" for column in ("null_mean", "null_sd", "p_value")} == {has_one}
        if has_one:
            assert float(row["p_value"]) >= 1 / (M + 1)
            assert float(row["null_sd"]) > 0
    assert not any(row["p_value"] for row in rows(tables, "metrics")), "a dimension has none"


def test_the_report_names_those_without(tables: Path) -> None:
    told = told_html(load_run(tables.parent), {})
    assert "Against permuted data: CCA all p = 0.05" in told
    assert "No permutation null: pca, CCA mean, SVCCA." in told


def test_layers_of_one_network_are_as_related_as_can_be_told(tables: Path) -> None:
    for metric in HAVE:
        assert {float(row["p_value"]) for row in last(tables, metric)} == {1 / (M + 1)}, metric


def test_means_are_chance_levels(tables: Path) -> None:
    for metric in HAVE:
        for row in last(tables, metric):
            exact = metric != "imbalance"
            error = 1e-12 if exact else 5 * float(row["null_sd"]) / sqrt(M)
            assert float(row["null_mean"]) == pytest.approx(float(row["chance"]), abs=error, rel=1e-9 if exact else 0)


def test_spreads_are_those_of_layers_whose_samples_are_mixed(
    tables: Path, layers: dict[str, NDArray[np.floating]]
) -> None:
    rng = np.random.default_rng(0)
    of = {
        "debiased": lambda x, y: linear_cka(x, y, estimator="unbiased"),
        "cca": lambda x, y: cca(x, y, summary="mean_square"),
    }
    for metric, measure in of.items():
        row = last(tables, metric)[0]
        x, y = layers[row["layer_a"]], layers[row["layer_b"]]
        null = np.array([float(measure(x, y[rng.permutation(N)])) for _ in range(200)])
        assert float(row["null_mean"]) == pytest.approx(null.mean(), abs=5 * null.std() / sqrt(200))
        assert float(row["null_sd"]) == pytest.approx(null.std(), rel=0.25)


def test_sums_of_a_layer_serve_all_metrics_that_are_products_of_kernels(root: Path) -> None:
    study = uncertainty_of(lay_out(experiment(root, metrics=ASKED)))
    assert study is not None
    kernels = [stage for stage in study.stages if isinstance(stage, KernelStage)]
    # Four layers at two checkpoints, of which the input is the same: of HSIC and CKA, and of the directions of CCA.
    assert len(kernels) == 2 * 7
    assert len({stage.spec.key for stage in kernels}) == len(kernels)
    assert len([stage for stage in study.stages if isinstance(stage, RankNull)]) == 2


def test_what_has_none_is_told(root: Path) -> None:
    both = Digits(n_samples=N, splits=("train", "test"))
    metrics = MetricSet({**METRICS, "probe": LinearProbe()}, uncertainty=NULL)
    notes = lay_out(experiment(root, dataset=both, metrics=metrics)).notes
    told = [note for note in notes if "gets no permutation null" in note]
    product_of = (
        "each permutation would be the singular values of a product for every pair of layers; its chance level is "
        "known, and cca has a null with metrics.cca.summary=mean_square"
    )
    assert told == [
        f"cca_mean gets no permutation null: {product_of}",
        "pca gets no permutation null: it reads no labels, and in one layer there is nothing else to permute",
        "probe gets no permutation null: each permutation of the training labels would be a probe to train",
        f"svcca gets no permutation null: {product_of}",
    ]


def test_another_number_of_permutations_permutes_ranks_again_and_no_kernel(root: Path) -> None:
    def keys(permutations: int) -> dict[str, set[str]]:
        asked = MetricSet(METRICS, uncertainty=replace(NULL, permutations=permutations))
        study = uncertainty_of(lay_out(experiment(root, metrics=asked)))
        assert study is not None
        return {
            name: {s.specs[0].key for s in study.stages if s.name == name} for name in ("permuted_ranks", "kernel_sums")
        }

    few, many = keys(M), keys(99)
    assert few["kernel_sums"] == many["kernel_sums"]
    assert not few["permuted_ranks"] & many["permuted_ranks"]


def test_costs_grow_with_what_is_done() -> None:
    small, twice = (null_costs.of_permuted_ranks(n, [512] * 4, 199) for n in (4000, 8000))
    assert 3.5 < (twice.seconds - 0.1) / (small.seconds - 0.1) < 4.5
    assert null_costs.of_permuted_ranks(4000, [512] * 4, 999).seconds > small.seconds
    assert small.memory_bytes > small.blocks == 4 * 4000**2
    for n, d in product((1000, 8000), (10, 5000)):
        assert null_costs.of_kernel(n, d, False).seconds <= null_costs.of_kernel(n, 2 * d, False).seconds
    assert null_costs.of_kernel(7000, 9000, False).disk_bytes > 8 * 7000**2, "in a file"
    assert null_costs.of_kernel(7000, 900, False).disk_bytes < 10_000
    assert null_costs.of_kernel(9000, 9000, True).seconds < 1, "cca has no value there"
    assert null_costs.of_kernel(5000, 900, True).seconds > null_costs.of_kernel(5000, 900, False).seconds


def test_a_failed_run_goes_on_with_the_layers_that_it_has_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen = tmp_path / "layers", list[int]()
    made.mkdir()
    for name, width in (("00_a", 8), ("01_b", 3), ("02_c", 5)):
        np.save(made / f"{name}.npy", np.random.default_rng(width).normal(size=(60, width)).astype(np.float32))

    def counted(nearest: NDArray[np.integer], layer: NDArray[np.floating], *args: Any, **options: Any) -> Any:
        seen.append(layer.shape[1])
        if seen == [8, 3]:
            raise MemoryError
        return rank_sums(nearest, layer, *args, **options)

    monkeypatch.setattr(imbalance_null, "rank_sums", counted)
    files = {"dataset": ActivationFiles(), "activations": ActivationsConfig(path=str(made))}
    asked = experiment(tmp_path, metrics=MetricSet({"imbalance": InformationImbalance()}, uncertainty=NULL), **files)
    with pytest.raises(MemoryError):
        run(asked, tmp_path / "run")
    found = rows(run(asked, tmp_path / "again"), "pairs")
    assert seen == [8, 3, 3, 5]
    told = [float(row["p_value"]) for row in found if row["layer_a"] != row["layer_b"]]
    assert len(told) == 6
    assert np.mean(told) > 0.2, "the control: these layers are unrelated"
