"""Similarities of consecutive layers: all metrics along the layers, each by epoch, and what SVCCA's directions hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli.report.bases_text import bases_text
from rra_cli.report.html import report_html
from rra_cli.report.load import load_run
from rra_cli.report.milestones import consecutive_matrix
from rra_cli.report.pair_curves import similarities_figure, similarity_metrics
from rra_cli.report.plots import plots
from rra_cli.report.run import Run
from rra_cli.report.series import Variant
from rra_cli.report.style import styled
from rra_cli.report.tables.reading import read_table
from rra_cli.report.tables.writing import write_table

LAYERS = ("input", "a", "b", "c")
EPOCHS = ((0, "epoch_0000"), (1, "epoch_0001"), (2, "last"))
PLAIN = Variant("none", 1)
Value = Callable[[int, int, int], float]
# By row, column and epoch; imbalance alone has a direction.
VALUES: dict[str, Value] = {
    "cka": lambda a, b, e: 0.5 + 0.05 * min(a, b) + 0.01 * e,
    "svcca": lambda a, b, e: 0.7,
    "hsic": lambda a, b, e: 30.0 + a + b + e,
    "information_imbalance": lambda a, b, e: 0.1 * (2 * a + b + 1) / (1 + e),
}


@pytest.fixture
def folder(tmp_path: Path, make_run: Callable[..., Path]) -> Path:
    """NNLS of the closed form of the other tests, and the metrics above with it in the table of pairs."""
    run = make_run(
        tmp_path / "run",
        layers=LAYERS,
        stages=None,
        splits=("test",),
        training=False,
        checkpoints=[(label, e) for e, label in EPOCHS],
    )
    nnls = read_table(run / "tables", "nnls")
    epochs = {label: epoch for epoch, label in EPOCHS}
    found: list[dict[str, Any]] = []
    for row in nnls.to_dict("records"):
        at = LAYERS.index(row["layer_a"]), LAYERS.index(row["layer_b"]), epochs[row["checkpoint_a"]]
        value, rest = row["nnls"], {name: cell for name, cell in row.items() if name != "nnls"}
        found.append({**rest, "metric": "nnls", "value": value})
        found += [
            {**rest, "metric": metric, "value": of(*at), "chance": 0.25, "std_error": np.nan}
            for metric, of in VALUES.items()
        ]
    write_table(found, run / "tables", "pairs")
    return run


@pytest.fixture
def run(folder: Path) -> Run:
    return load_run(folder)


def test_the_similarities_of_consecutive_layers_share_a_plot(run: Run) -> None:
    assert similarity_metrics(run) == ("nnls", "cka", "svcca"), "HSIC and imbalance are no similarities in [0, 1]"
    with styled():
        made = similarities_figure(run, run.main_checkpoint, "test", PLAIN)
    assert made is not None
    axes = made.axes[0]
    nnls, cka, svcca = (np.asarray(line.get_ydata()) for line in axes.lines if line.get_gid() == "series")
    assert run.tables.nnls is not None
    rows = run.tables.nnls
    last = rows[(rows["checkpoint_a"] == "last") & (rows["split_a"] == "test")].set_index(["layer_a", "layer_b"])
    expected = [last["nnls"][pair] for pair in pairwise(LAYERS)]
    np.testing.assert_array_equal(nnls, [np.nan, *expected])
    np.testing.assert_allclose(cka, [np.nan, 0.52, 0.57, 0.62])
    np.testing.assert_allclose(svcca, [np.nan, 0.7, 0.7, 0.7])
    chance = [line for line in axes.lines if line.get_gid() == "chance"]
    assert {float(y) for line in chance for y in line.get_ydata() if y == 0.25} == {0.25}
    labels = [text.get_text() for text in made.legends[0].get_texts()]
    assert labels == ["NNLS", "CKA", "SVCCA", "chance level"]
    assert axes.get_ylim()[0] == 0.0


def test_one_similarity_has_no_plot_of_several(tmp_path: Path, make_run: Callable[..., Path]) -> None:
    alone = load_run(make_run(tmp_path / "alone", layers=LAYERS, stages=None))
    assert not [plot for plot in plots(alone) if plot.name.startswith("similarities_along")]


def test_intervals_are_its_bands(folder: Path) -> None:
    for name, value in (("nnls", "nnls"), ("pairs", "value")):
        table = read_table(folder / "tables", name)
        write_table(table.assign(low=table[value] - 0.1, high=table[value] + 0.2), folder / "tables", name)
    changed = load_run(folder)
    with styled():
        made = similarities_figure(changed, changed.main_checkpoint, "test", PLAIN)
    assert made is not None
    svcca = made.axes[0].collections[-1].get_paths()[0].vertices
    assert (float(svcca[:, 1].min()), float(svcca[:, 1].max())) == pytest.approx((0.6, 0.9))
    caption = next(plot.caption for plot in plots(changed) if plot.name.startswith("similarities_along"))
    assert "Bands: 95 % intervals over sets of such samples. Shaded" in caption


def test_a_caption_names_the_metrics_whose_bands_are_intervals(folder: Path) -> None:
    table = read_table(folder / "tables", "pairs")
    ends = {"low": table["value"] - 0.1, "high": table["value"] + 0.2}
    asked = {name: column.where(table["metric"] == "cka") for name, column in ends.items()}
    write_table(table.assign(**asked), folder / "tables", "pairs")
    caption = {plot.name: plot.caption for plot in plots(load_run(folder))}
    told = "Bands of CKA: 95 % intervals over sets of such samples; of the others: ±1.96 standard errors where known"
    assert told in caption["similarities_along_test"]
    assert "Bands: 95 %" in caption["cka_along"]
    assert "Bands: ±1.96" in caption["nnls_along"]


def test_an_imbalance_peaks_where_similarities_dip(run: Run) -> None:
    captions = {plot.name: plot.caption for plot in plots(run)}
    assert "(a dip: the network rearranges" in captions["cka_along"]
    assert "(how much of the end" in captions["cka_along"]
    assert "(a peak: the network rearranges" in captions["information_imbalance_along"]
    assert "(the nearer 0, the more of the end" in captions["information_imbalance_along"]


def test_consecutive_layers_by_epoch(run: Run) -> None:
    """Row i, column e: of layers i - 1 and i at that epoch; the other direction only where it differs."""
    for metric, of in VALUES.items():
        found = consecutive_matrix(run, metric, "test", PLAIN)
        assert found is not None
        assert found.shape == (4, 3)
        assert np.isnan(found[0]).all()
        np.testing.assert_allclose(found[1:], [[of(i - 1, i, e) for e in range(3)] for i in (1, 2, 3)])
        back = consecutive_matrix(run, metric, "test", PLAIN, backwards=True)
        if metric == "information_imbalance":
            assert back is not None
            np.testing.assert_allclose(back[1:], [[of(i, i - 1, e) for e in range(3)] for i in (1, 2, 3)])
        else:
            assert back is None
    layers = run.tables.layers
    two = replace(run, tables=replace(run.tables, layers=layers[layers["epoch"] < 2]))
    assert consecutive_matrix(two, "cka", "test", PLAIN) is None, "two checkpoints are no map"


def test_every_metric_of_pairs_has_a_map_over_epochs(run: Run) -> None:
    with styled():
        drawn = {plot.name: plot.draw() for plot in plots(run) if "_milestones" in plot.name}
    for metric in ("nnls", *VALUES):
        assert drawn[f"{metric}_milestones"] is not None
        assert (drawn[f"{metric}_milestones_back"] is None) == (metric != "information_imbalance")
    one = drawn["hsic_milestones"]
    assert one is not None
    assert [tick.get_text() for tick in one.axes[0].get_xticklabels()] == ["0", "1", "2"]
    labels = [text.get_text() for text in one.legends[0].get_texts()]
    assert labels == ["a", "b", "c"], "the input has no layer before it, and no line"


def test_what_the_directions_hold_stands_in_the_caption(folder: Path) -> None:
    layers = read_table(folder / "tables", "layers").to_dict("records")
    names = ("checkpoint", "epoch", "split", "layer", "index", "pool", "scale", "subset", "n_samples", "n_features")
    rows = [
        {
            **{name: row[name] for name in names},
            **{"metric": "svcca", "n_directions": 10 + row["index"], "decomposition": "exact"},
            **{"held": 1 - 0.002 * (1 + row["index"]), "residual": 0.002 * (1 + row["index"])},
        }
        for row in layers
    ]
    write_table(rows, folder / "tables", "svcca_bases")
    run = load_run(folder)
    told = (
        "It keeps 10 to 13 directions of a layer, which leave out 0.8 % of the variance at most (in c); exact "
        "decompositions (svcca_bases.csv)."
    )
    assert bases_text(run, "svcca", run.main_checkpoint, "test", PLAIN) == told
    assert bases_text(run, "cka", run.main_checkpoint, "test", PLAIN) == ""
    captions = {plot.name: plot.caption for plot in plots(run)}
    assert told in captions["pairs_svcca_test"]
    assert told not in captions["pairs_cka_test"]
    write_table([{**row, "decomposition": "randomised"} for row in rows], folder / "tables", "svcca_bases")
    changed = load_run(folder)
    assert "; randomised in 4 of 4 layers (" in bases_text(changed, "svcca", run.main_checkpoint, "test", PLAIN)


def test_the_report_tells_of_how_many_pairs_a_metric_has_no_value(make_run: Callable[..., Path]) -> None:
    """Of three layers one has collapsed: 5 of the 9 ordered pairs have it."""
    settings: dict[str, Any] = {"layers": list("abc"), "stages": None, "splits": ["test"], "training": False}
    run = make_run(**settings, empty=[1])
    table = read_table(run / "tables", "nnls").rename(columns={"nnls": "value"}).assign(metric="cka")
    write_table(table.assign(value=table["value"] / 2), run / "tables", "pairs")
    page = report_html(load_run(run), "run", [], [])
    for name in ("NNLS", "CKA"):
        assert page.count(f"{name}</b> is empty at 5 of 9 pairs of layers: no graph</li>") == 1
    assert "is empty at" not in report_html(load_run(make_run("whole", **settings)), "run", [], [])
