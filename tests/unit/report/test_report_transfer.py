"""Similarity to the last checkpoint and probes on other data sets: what is drawn is what the tables say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rra_cli.report import render
from rra_cli.report.curves import curve
from rra_cli.report.glossary import term
from rra_cli.report.load import load_run
from rra_cli.report.milestones import to_last_figure, to_last_matrix
from rra_cli.report.plots import plots
from rra_cli.report.tables.reading import read_table
from rra_cli.report.tables.schema import TABLES
from rra_cli.report.tables.writing import write_table
from rra_cli.report.transfer import transfer_figure

MakeRun = Callable[..., Path]
LAYERS = list("abc")
CHECKPOINTS = (("epoch_0000", 0), ("epoch_0005", 5), ("last", 9))


def artists(figure: Figure, gid: str) -> list[Any]:
    return [artist for axes in figure.axes for artist in axes.get_children() if artist.get_gid() == gid]


def similarity(layer: str, checkpoint: str) -> float:
    """Layers settle one after the other."""
    return (
        1.0 if checkpoint == "last" else 0.2 + 0.1 * LAYERS.index(layer) + (0.3 if checkpoint == "epoch_0005" else 0.0)
    )


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    """Three checkpoints, with rows of every layer to itself at the last one."""
    folder = make_run(layers=LAYERS, stages=None, splits=["test"], checkpoints=CHECKPOINTS)
    frame = read_table(folder / "tables", "nnls")
    across = frame[(frame["layer_a"] == frame["layer_b"]) & (frame["checkpoint_a"] != "last")].copy()
    across["checkpoint_b"] = "last"
    across["nnls"] = [
        similarity(layer, checkpoint)
        for layer, checkpoint in zip(across["layer_a"], across["checkpoint_a"], strict=True)
    ]
    write_table(pd.concat([frame, across]), folder / "tables", "nnls")
    return folder


@pytest.mark.long
def test_the_map_of_similarity_to_the_last_checkpoint_is_the_table(run: Path) -> None:
    loaded = load_run(run)
    matrix = to_last_matrix(loaded, "nnls", "test", loaded.variants[0])
    expected = [[similarity(layer, checkpoint) for checkpoint, _ in CHECKPOINTS] for layer in LAYERS]
    np.testing.assert_allclose(matrix, expected)
    figure = to_last_figure(loaded, "nnls", loaded.variants[0])
    assert figure is not None
    (image,) = figure.axes[0].images
    np.testing.assert_allclose(np.ma.filled(image.get_array(), np.nan), expected)
    for line, values in zip(artists(figure, "series"), expected, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [0, 5, 9])
        assert values in [pytest.approx(list(row)) for row in expected]
    assert "nnls_to_last.svg" in {path.name for path in render(run)}


def test_maps_within_a_checkpoint_do_not_see_pairs_of_checkpoints(run: Path, make_run: MakeRun) -> None:
    from rra_cli.report.heatmaps import nnls_matrix

    plain = load_run(make_run("plain", layers=LAYERS, stages=None, splits=["test"], checkpoints=CHECKPOINTS))
    loaded = load_run(run)
    for checkpoint in loaded.checkpoints:
        np.testing.assert_array_equal(
            nnls_matrix(loaded, checkpoint, "test", loaded.variants[0]),
            nnls_matrix(plain, checkpoint, "test", plain.variants[0]),
        )
    assert to_last_matrix(plain, "nnls", "test", plain.variants[0]) is None


def test_two_checkpoints_make_no_map(make_run: MakeRun) -> None:
    two = load_run(make_run(layers=LAYERS, stages=None, splits=["test"], checkpoints=CHECKPOINTS[1:]))
    assert to_last_matrix(two, "nnls", "test", two.variants[0]) is None


def with_probes(folder: Path, datasets: tuple[str, ...] = ("", "kmnist", "omniglot")) -> Path:
    """Adds 1-NN accuracies: of all layers at home, of the last layer elsewhere."""
    metrics, layers = (read_table(folder / "tables", name) for name in ("metrics", "layers"))
    base = metrics[metrics["metric"] == "nncs"].copy()
    base["metric"], base["chance"], base["std_error"] = "one_nn_probe", 0.1, 0.01
    found, rows = [metrics], [layers]
    for number, dataset in enumerate(datasets):
        here = base.copy()
        here["dataset"] = dataset
        here["value"] = 0.9 - 0.2 * number + 0.01 * here["epoch"].astype(float) - 0.01 * here["index"].astype(float)
        if dataset:
            here = here[here["layer"] == LAYERS[-1]]
            here["n_samples"], here["k"], here["n_used"] = 123, pd.NA, 123
            row = layers[layers["layer"] == LAYERS[-1]].copy()
            row["dataset"], row["n_samples"], row["k"] = dataset, 123, pd.NA
            rows.append(
                row.drop(columns=["id_twonn", "nncs", "nncs_chance"]).assign(one_nn_probe=here["value"].to_numpy())
            )
        found.append(here)
    write_table(pd.concat(found), folder / "tables", "metrics")
    write_table(pd.concat(rows), folder / "tables", "layers")
    return folder


def test_rows_of_other_data_sets_are_kept_apart(run: Path) -> None:
    loaded = load_run(with_probes(run))
    assert set(loaded.tables.metrics["dataset"]) == {""}
    assert loaded.tables.transfer is not None
    assert set(loaded.tables.transfer["dataset"]) == {"kmnist", "omniglot"}
    assert len(loaded.tables.layers) == len(LAYERS) * len(CHECKPOINTS)
    series = loaded.series("one_nn_probe", loaded.main_checkpoint, "test", loaded.variants[0])
    assert series is not None
    np.testing.assert_allclose(series.value, [0.99, 0.98, 0.97])
    home = load_run(run.parent / run.name)
    assert home.layers == tuple(LAYERS)


@pytest.mark.long
def test_a_panel_a_data_set_over_the_epochs(run: Path) -> None:
    loaded = load_run(with_probes(run))
    figure = transfer_figure(loaded)
    assert figure is not None
    assert [axes.get_title(loc="right") for axes in figure.axes] == ["kmnist", "omniglot"]
    for line, start in zip(artists(figure, "series"), (0.68, 0.48), strict=True):
        np.testing.assert_allclose(line.get_xdata(), [0, 5, 9])
        np.testing.assert_allclose(line.get_ydata(), [start, start + 0.05, start + 0.09])
    assert [set(line.get_ydata()) for line in artists(figure, "chance")] == [{0.1}, {0.1}]
    assert {"transfer.svg", "one_nn_probe_milestones.svg"} <= {path.name for path in render(run)}
    html = (run / "report.html").read_text()
    assert "<td>kmnist</td><td>c</td><td>1-NN probe</td>" in html
    assert "0.570 ± 0.010" in html, "of omniglot, at the last checkpoint"


@pytest.mark.long
def test_without_other_data_sets_there_is_neither_plot_nor_section(run: Path) -> None:
    loaded = load_run(with_probes(run, ("",)))
    assert loaded.tables.transfer is None
    assert transfer_figure(loaded) is None
    assert "transfer" not in {plot.name for plot in plots(loaded)}
    render(run)
    assert "Other data sets" not in (run / "report.html").read_text()


def test_probes_are_drawn_beside_the_accuracy_of_the_network(run: Path) -> None:
    figure = curve(load_run(with_probes(run)), ["one_nn_probe"])
    assert len(artists(figure, "accuracy")) == 1
    assert [set(line.get_ydata()) for line in artists(figure, "chance")] == [{0.1}]


def test_tables_from_before_have_no_data_sets(run: Path) -> None:
    """A column that is not there reads as the experiment's own."""
    for name in ("metrics", "layers"):
        path = run / "tables" / f"{name}.csv"
        header = path.read_text().splitlines()[0].split(",")
        if "dataset" in header:
            frame = read_table(run / "tables", name).drop(columns="dataset")
            frame.to_csv(path, index=False)
    loaded = load_run(run)
    assert set(loaded.tables.metrics["dataset"]) == {""}
    assert loaded.tables.transfer is None
    assert len(loaded.tables.layers) == len(LAYERS) * len(CHECKPOINTS)


@pytest.mark.parametrize("name", ["linear_probe", "logistic_probe", "knn_probe", "one_nn_probe"])
def test_every_probe_is_in_the_glossary(name: str) -> None:
    known = term("mine", {"name": name})
    assert known.definition
    assert known.source
    assert "rows of `test`" in known.reading
    assert (known.low, known.high) == (0.0, 1.0)
    assert term(name, {}).component == name
    assert term(f"{name}_wide", {"name": name}).short == f"{known.short.removesuffix(' mine')} wide"


def test_the_schema_says_where_rows_of_other_data_sets_stand() -> None:
    assert TABLES["metrics"].columns[-1] == "dataset"
    assert TABLES["layers"].trailing[-1] == "dataset"
    for name in ("metrics", "layers"):
        assert "dataset" in TABLES[name].key
