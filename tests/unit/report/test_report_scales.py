"""Plots and tables of a report at several pooling scales: what is drawn is what the tables say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rra_cli.report.load import load_run
from rra_cli.report.plots import plots
from rra_cli.report.run import Run
from rra_cli.report.scales.curves import diagonal_figure, local_figure, scales_figure
from rra_cli.report.scales.maps import across_sheet, best_scales_figure, within_sheet
from rra_cli.report.series import Variant
from rra_cli.report.style import encode, styled
from rra_cli.report.tables.writing import write_table
from rra_cli.report.tables_html import best_scales_html

MakeRun = Callable[..., Path]
LAYERS = ["input", "conv1", "conv2", "conv3"]
NINE = [("none", 1), *((pool, scale) for pool in ("avg", "max") for scale in (2, 4, 8, 0))]


def kept(layer: int, other: int, pool: str, scale: int) -> float:
    """A similarity of an unpooled layer to a pooled one that is not symmetric."""
    return 1.0 / (2.0 + layer + 0.5 * other + scale + (pool == "max"))


def scaled_run(make_run: MakeRun, variants: list[tuple[str, int]] = NINE) -> Run:
    """Layers in two stages, with similarities across scales and the best scales."""
    folder = make_run(layers=LAYERS, stages=["input", "s1", "s1", "s2"], splits=["test"], variants=variants)
    pairs = pd.read_csv(folder / "tables" / "nnls.csv", keep_default_na=False).to_dict("records")
    own = {(row["layer_a"], row["layer_b"]): row for row in pairs if row["pool_a"] == "none"}
    for pool, scale in variants[1:] if own else ():
        for (a, b), row in own.items():
            value = kept(LAYERS.index(a), LAYERS.index(b), pool, scale)
            pairs.append({**row, "pool_b": pool, "scale_b": scale, "nnls": value})
    write_table(pairs, folder / "tables", "nnls")
    common = {"checkpoint": "last", "epoch": 100, "split": "test", "subset": 0, "n_samples": 10000, "k": 100}
    best = {"best_pool": "avg", "best_scale": 4, "height": 8, "width": 8, "value": 0.5, "std_error": 0.1}
    rows = [
        {**common, **best, "metric": "nncs", "level": level, "stage": "s1", "layer": layer, "index": 1, "among": among}
        | {"n_layers": 1, "unpooled": 0.3, "as_good": "avg2", "reason": ""}
        for level, layer in (("layer", "conv1"), ("layer", "conv2"), ("stage", ""))
        for among in ("avg", "all")
    ]
    write_table(rows, folder / "tables", "best_scales")
    return load_run(folder)


def drawn(figure: Figure | None, gid: str) -> list[Any]:
    assert figure is not None
    return [artist for axes in figure.axes for artist in axes.get_children() if artist.get_gid() == gid]


def column(run: Run, name: str, pool: str, scale: int) -> np.ndarray:
    frame = run.tables.layers
    frame = frame[(frame["pool"] == pool) & (frame["scale"] == scale)]
    return frame.sort_values("index")[name].to_numpy(float)


def test_a_caption_names_the_colours_that_are_drawn(make_run: MakeRun) -> None:
    captions = {plot.name: plot.caption for plot in plots(scaled_run(make_run))}
    assert "Black: unpooled" in captions["nncs_scales_test"]
    assert "Black" not in captions["nnls_across_diagonal_test"]
    assert "Dark to light: 2×2" in captions["nnls_across_diagonal_test"]


def test_every_scale_is_a_line_and_means_and_maxima_have_a_panel_each(make_run: MakeRun) -> None:
    run = scaled_run(make_run)
    figure = scales_figure(run, "id_twonn", "test")
    lines = drawn(figure, "series")
    assert len(lines) == 10, "the unpooled layers are in both panels"
    expected = [column(run, "id_twonn", *place) for place in [*NINE[:5], NINE[0], *NINE[5:]]]
    for line, values in zip(lines, expected, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert figure is not None
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["unpooled", "2×2", "4×4", "8×8", "global"]
    assert len(drawn(scales_figure(run, "nncs", "test"), "chance")) == 2
    assert len(drawn(scales_figure(scaled_run(make_run, [("none", 1), ("max", 2)]), "nncs", "test"), "series")) == 2


def test_what_a_layer_keeps_is_the_diagonal_of_the_similarity_across_scales(make_run: MakeRun) -> None:
    run = scaled_run(make_run)
    lines = drawn(diagonal_figure(run, "test"), "series")
    assert len(lines) == 8
    for line, (pool, scale) in zip(lines, NINE[1:], strict=True):
        np.testing.assert_allclose(line.get_ydata(), [kept(at, at, pool, scale) for at in range(4)])
    figure = across_sheet(run, "test")
    assert figure is not None
    maps = [axes.images[0].get_array() for axes in figure.axes if axes.images and axes.get_title()]
    np.testing.assert_allclose(maps[1], [[kept(a, b, "avg", 2) for b in range(4)] for a in range(4)])
    assert not np.allclose(maps[1], maps[1].T), "rows are unpooled"
    within = within_sheet(run, "test")
    assert within is not None
    assert [axes.get_title() for axes in within.axes if axes.get_title()] == [v.title for v in run.scales]


def test_the_local_part_is_unpooled_minus_global(make_run: MakeRun) -> None:
    run = scaled_run(make_run)
    whole, part = column(run, "id_twonn", "none", 1), column(run, "id_twonn", "avg", 0)
    share = drawn(local_figure(run, "id_twonn", "test"), "share")[0]
    np.testing.assert_allclose(share.get_ydata(), 100 * (whole - part) / whole)
    assert local_figure(scaled_run(make_run, [("none", 1), ("avg", 2)]), "id_twonn", "test") is None


def test_the_best_scales_are_framed_and_told_by_stage(make_run: MakeRun) -> None:
    run = scaled_run(make_run)
    frames = {
        (box.get_x() + 0.46, box.get_y() + 0.44) for box in drawn(best_scales_figure(run, "nncs", "test"), "best")
    }
    row = run.scales.index(Variant("avg", 4))
    assert {(round(x), round(y)) for x, y in frames} == {(1, row), (2, row)}
    page = best_scales_html(run)
    assert page.count("<tr>") == 1 + 2
    for text in ("s1", "avg 4×4", "8×8", "0.5", "0.3", "avg2"):
        assert f">{text}<" in page
    plain = load_run(make_run("plain", layers=LAYERS, stages=None))
    assert best_scales_html(plain) == ""


def test_scales_have_plots_of_their_own_and_other_plots_stay_as_they_are(make_run: MakeRun) -> None:
    run = scaled_run(make_run)
    found = {plot.name: plot for plot in plots(run)}
    for name in ("id_twonn_scales_test", "id_twonn_local_test", "nncs_scales_test", "nncs_best_scales_test"):
        assert found[name].main
    assert {"nnls_scales_test", "nnls_across_test", "nnls_across_diagonal_test"} <= set(found)
    assert not found["nnls_across_test_avg_global"].main
    assert not found["nnls_test_max8"].main
    assert found["nnls_test"].main
    assert [name for name in found if name.startswith("mu_")] == ["mu_distribution_test"]
    with styled():
        for name, plot in found.items():
            if "scales" in name or "across" in name or "local" in name:
                made = plot.draw()
                assert made is not None
                if name in ("id_twonn_local_test", "nncs_best_scales_test"):
                    assert all(encode(made).values()), name
    plain = load_run(make_run("plain", layers=LAYERS, stages=None))
    assert not any("scales" in plot.name or "across" in plot.name for plot in plots(plain))


@pytest.mark.parametrize(("scale", "title", "slug"), [(2, "avg 2×2", "avg2"), (0, "avg global", "avg_global")])
def test_what_scales_are_called(scale: int, title: str, slug: str) -> None:
    assert (Variant("avg", scale).title, Variant("avg", scale).slug) == (title, slug)
