"""Metrics of activations, of pairs and of labellings within a run: tables, reuse, plots, what cannot be measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from similarities import METRICS, PAIRS, K, N, activations, experiment, rows, run

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig
from rra_cli.core.store import Store
from rra_cli.metrics.canonical import SVCCA
from rra_cli.metrics.decimation import Decimation
from rra_cli.metrics.hsic import linear_cka
from rra_cli.metrics.imbalance import InformationImbalance
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import Metric
from rra_cli.neighbors import exact_neighbors, neighbor_ranks
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.report.load import load_run
from rra_cli.report.plots import plots
from rra_cli.report.style import styled
from rra_cli.stages.lay_out import lay_out


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("similarities")
    run(root / "run", experiment(root))
    return root


def test_every_pair_of_every_metric_is_in_the_table(done: Path) -> None:
    layers = list(activations(done))
    found = rows(done / "run/tables/pairs.csv")
    assert len(found) == (1 + len(PAIRS)) * len(layers) ** 2, "NNLS among them"
    assert not [row for row in found if row["reason"]]
    alone = {row["metric"] for row in found if row["engine_a"] == "" and row["recall_b"] == ""}
    assert alone == {"cka", "hsic", "cca", "svcca"}, "what reads no graph names no engine"
    assert len(rows(done / "run/tables/nnls.csv")) == len(layers) ** 2


def test_values_are_those_of_the_functions_on_the_stored_layers(done: Path) -> None:
    layers = activations(done)
    table = {
        (row["metric"], row["layer_a"], row["layer_b"]): float(row["value"])
        for row in rows(done / "run/tables/pairs.csv")
    }
    names = list(layers)
    for a, b in ((names[0], names[2]), (names[2], names[0]), (names[1], names[3])):
        assert table["cka", a, b] == pytest.approx(float(linear_cka(layers[a], layers[b])), rel=1e-9)
        ranks = neighbor_ranks(exact_neighbors(layers[a], 1), layers[b])
        assert table["information_imbalance", a, b] == pytest.approx(2 / N * ranks.mean(), rel=1e-12)
    assert table["information_imbalance", names[0], names[2]] != table["information_imbalance", names[2], names[0]]


def test_values_by_sample_are_kept_both_ways_where_they_differ(done: Path) -> None:
    import pyarrow.parquet as pq

    n_layers = len(activations(done))
    folder = done / "run/tables/per_sample"
    assert pq.read_table(folder / "overlap.parquet").num_rows == N * n_layers * (n_layers - 1) / 2
    assert pq.read_table(folder / "information_imbalance.parquet").num_rows == N * n_layers * (n_layers - 1)


def test_scale_curves_and_occurrences_have_tables(done: Path) -> None:
    scales = rows(done / "run/tables/dimension_scales.csv")
    layer = scales[0]["layer"]
    here = [row for row in scales if row["layer"] == layer]
    blocks = [(row["block_samples"], row["blocks"]) for row in here if row["metric"] == "id_decimation"]
    assert blocks == [("15", "4"), ("30", "2"), ("60", "1")]
    assert [row["neighbor_rank"] for row in here if row["metric"] == "id_gride"] == ["2", "4"]
    found = [row for row in rows(done / "run/tables/occurrences.csv") if row["layer"] == layer]
    assert (found[0]["at_least"], found[0]["share"], found[-1]["share"]) == ("0", "1.0", "0.0")


def test_all_of_it_is_drawn(done: Path) -> None:
    with styled():
        drawn = {plot.name: plot.draw() for plot in plots(load_run(done / "run"))}
    expected = {f"{name}_along" for name in ("nnls", *PAIRS)} | {f"pairs_{name}_test" for name in PAIRS}
    expected |= {
        "id_decimation_samples_test",
        "id_decimation_radius_test",
        "id_gride_rank_test",
        "id_gride_radius_test",
    }
    expected |= {"hubness_occurrences_test", "luminance_overlap_curve", "pca_dimension_curve", "id_curve"}
    assert expected <= set(drawn)
    assert all(drawn[name] is not None for name in expected)
    lines = {
        name: [line.get_ydata() for line in drawn[f"{name}_along"].axes[0].lines if line.get_gid() == "series"]
        for name in ("nnls", "information_imbalance")
    }
    assert (len(lines["nnls"]), len(lines["information_imbalance"])) == (2, 4), "directions only where they differ"
    n_layers = len(activations(done))
    assert all(np.isnan(line).sum() == 1 and len(line) == n_layers for found in lines.values() for line in found)


def test_a_second_run_measures_nothing_and_equal_tables_come_out(done: Path) -> None:
    reporter = run(done / "again", experiment(done))
    assert reporter.begun == ["report"]
    for name in ("pairs", "metrics", "dimension_scales", "occurrences"):
        assert (done / f"again/tables/{name}.csv").read_bytes() == (done / f"run/tables/{name}.csv").read_bytes()


def test_another_setting_measures_that_metric_alone(done: Path) -> None:
    metrics = METRICS | {"svcca": SVCCA(share=0.9)}
    missing = [row for row in pipeline.plan(experiment(done, metrics)).rows if row.state == "missing"]
    assert [row.label.partition(" ")[0] for row in missing] == ["svcca"]
    assert missing[0].seconds > 0
    assert missing[0].memory_bytes > 0


def test_activations_may_be_freed_and_are_captured_again(tmp_path: Path) -> None:
    """Metrics of pairs hold back every layer until they are measured; then nothing is left."""
    metrics: dict[str, Metric] = {name: METRICS[name] for name in ("cka", "information_imbalance")}
    kept = experiment(tmp_path, metrics, activations=ActivationsConfig(keep="until_measured"))
    run(tmp_path / "run", kept)
    assert all(not capture.done(Store(tmp_path / "store")) for capture in lay_out(kept).captures)
    assert not [row for row in rows(tmp_path / "run/tables/pairs.csv") if row["reason"]]


def test_pairs_without_a_value_are_counted_by_their_reason(tmp_path: Path) -> None:
    """Two samples that coincide would be neighbours at any radius: the digits have none."""
    metrics: dict[str, Metric] = {"near": NNLS(graph="radius", radius=1e-6), "nnls": NNLS()}
    told = run(tmp_path / "run", experiment(tmp_path, metrics)).said
    found = [row for row in rows(tmp_path / "run/tables/pairs.csv") if row["metric"] == "near"]
    assert not any(row["value"] for row in found)
    by_reason = Counter(row["reason"] for row in found)
    layers = round(len(found) ** 0.5)
    assert [line for line in told if "no value" in line] == [
        f"near of {layers} layers · last · test: no value at {count} of {layers**2} pairs, {reason}"
        for reason, count in by_reason.items()
    ]
    assert sorted(by_reason.values()) == [layers, layers**2 - layers], "a layer with itself, and with another"


def test_ranks_and_blocks_are_of_what_was_searched(tmp_path: Path) -> None:
    """Where activations are preprocessed before the search, graphs and ranks must both be of the same."""
    metrics: dict[str, Metric] = {
        "information_imbalance": InformationImbalance(),
        "id_decimation": Decimation(smallest=30),
    }
    asked = experiment(tmp_path, metrics, neighbors=ExactEngine(k=K, preprocess="zscore"))
    run(tmp_path / "run", asked)
    layers = activations(tmp_path)
    a, b = list(layers)[1:3]

    def zscore(x: np.ndarray) -> np.ndarray:
        spread = x.std(axis=0, dtype=np.float64)
        return (x - x.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1.0)

    expected = 2 / N * neighbor_ranks(exact_neighbors(zscore(layers[a]), 1), zscore(layers[b])).mean()
    found = [r for r in rows(tmp_path / "run/tables/pairs.csv") if (r["layer_a"], r["layer_b"]) == (a, b)]
    assert float(found[0]["value"]) == pytest.approx(expected, rel=1e-6)
    raw = 2 / N * neighbor_ranks(exact_neighbors(layers[a], 1), layers[b]).mean()
    assert abs(raw - expected) > 1e-3, "the control: it makes a difference"


def test_a_file_without_a_measured_sample_stops_before_anything_is_built(tmp_path: Path) -> None:
    from rra_cli.errors import UserError

    path = tmp_path / "mine.csv"
    path.write_text("sample_id,mood\n0,good\n")
    asked = experiment(tmp_path, {"mood_overlap": LabelOverlap("mood", file=str(path))})
    with pytest.raises(UserError, match="has no mood for"):
        run(tmp_path / "run", asked)
    assert not (tmp_path / "run").exists()
