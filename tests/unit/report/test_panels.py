"""A panel a layer: every layer has one, or the caption says how many have, and neighbours leave each other room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rra_cli.report.details.dimension_scales import dimension_scale_figure
from rra_cli.report.details.plots import detail_plots, distribution_plots
from rra_cli.report.details.twonn_fit import fit_check, mu_distribution
from rra_cli.report.load import load_run
from rra_cli.report.panels import MOST_PANELS, ends_row
from rra_cli.report.run import Run
from rra_cli.report.samples.curves import mu_figure
from rra_cli.report.samples.plots import sample_plots
from rra_cli.report.samples.view import Place
from rra_cli.report.style import styled

MakeRun = Callable[..., Path]
PLACE = {"checkpoint": "last", "epoch": 100, "split": "test", "pool": "none", "scale": 1, "subset": 0}
STEPS = (2500, 5000, 10000)


def dimension(at: int, n: int) -> float:
    """Of layer number `at` in blocks of n samples: it falls along the layers and rises with N."""
    return 30.0 - at + n / 1000


def with_scales(make_run: MakeRun, n_layers: int) -> Run:
    """A run with as many layers, its dimension at three block sizes, and a sample study of μ at two N."""
    layers = [f"stage{at}.block{at}" for at in range(n_layers)]
    tables = ("layers", "metrics", "mu")
    run = load_run(make_run(f"{n_layers}", layers=layers, stages=None, splits=["test"], training=False, tables=tables))
    assert run.tables.mu is not None
    rows: list[dict[str, Any]] = []
    studied: list[dict[str, Any]] = []
    for at, layer in enumerate(layers):
        here = {**PLACE, "layer": layer, "index": at, "n_samples": 10_000, "k": 100, "engine": "exact", "recall": 1.0}
        for n in STEPS:
            common = {"block_samples": n, "neighbor_rank": 2, "blocks": 10_000 // n, "radius": 9.0 - n / 2000}
            found = {"value": dimension(at, n), "sd": 0.5, "std_error": 0.1}
            rows.append({**here, "metric": "id_decimation", **common, **found})
        studied.append({**here, "metric": "id_twonn", "value": dimension(at, 10_000), "std_error": 0.1})
    extended = replace(
        run.tables,
        dimension_scales=pd.DataFrame(rows),
        samples=pd.DataFrame(studied),
        samples_mu=run.tables.mu[["checkpoint", "epoch", "split", "layer", "index", "pool", "scale", "subset"]].assign(
            n_samples=10_000, quantile=run.tables.mu["quantile"], mu=run.tables.mu["mu"]
        ),
    )
    return replace(run, tables=extended)


def drawn(run: Run, name: str) -> Figure:
    view = (run.main_checkpoint, "test", run.variants[0])
    with styled():
        if name in ("samples", "radius"):
            made = dimension_scale_figure(run, "id_decimation", name, *view)  # type: ignore[arg-type]
        elif name == "study":
            made = mu_figure(Place(run, *view), "id_twonn")
        else:
            made = {"mu": mu_distribution, "fit": fit_check}[name](run, *view)
    assert made is not None
    return made


def captions(run: Run) -> dict[str, str]:
    found = (*detail_plots(run), *distribution_plots(run), *sample_plots(run))
    return {
        plot.name: plot.caption for plot in found if "mu" in plot.name or "fit" in plot.name or "decim" in plot.name
    }


def panels(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.get_visible()]


def names(figure: Figure) -> list[str]:
    return [axes.get_title().splitlines()[0] for axes in panels(figure)]


@pytest.fixture
def thirteen(make_run: MakeRun) -> Run:
    return with_scales(make_run, 13)


@pytest.fixture
def forty(make_run: MakeRun) -> Run:
    return with_scales(make_run, 40)


@pytest.mark.parametrize("name", ["samples", "mu", "study"])
def test_every_layer_of_a_residual_network_has_a_panel(thirteen: Run, name: str) -> None:
    assert names(drawn(thirteen, name)) == list(thirteen.layers)


def test_few_layers_share_the_panel_of_their_scales(make_run: MakeRun) -> None:
    (axes,) = panels(drawn(with_scales(make_run, 6), "samples"))
    assert len([line for line in axes.lines if line.get_gid() == "series"]) == 6


def test_scale_panels_hold_the_table_on_equal_axes(thirteen: Run) -> None:
    first, *others = found = panels(drawn(thirteen, "samples"))
    for at, axes in enumerate(found):
        (line,) = (line for line in axes.lines if line.get_gid() == "series")
        np.testing.assert_array_equal(line.get_xydata(), [[n, dimension(at, n)] for n in STEPS])
        assert [line for line in axes.lines if line.get_gid() == "ball"]
        assert bool(axes.texts) == ends_row(at, 13), "balls are named at the end of a row"
        assert not [line for line in axes.lines if line.get_gid() == "others"]
    assert first.get_xscale() == "log"
    assert all((axes.get_xlim(), axes.get_ylim()) == (first.get_xlim(), first.get_ylim()) for axes in others)


def test_over_radii_every_panel_shows_the_other_layers_too(thirteen: Run) -> None:
    for axes in panels(drawn(thirteen, "radius")):
        others = {tuple(line.get_ydata()) for line in axes.lines if line.get_gid() == "others"}
        assert others == {tuple(dimension(at, n) for n in STEPS) for at in range(13)}


def test_of_more_layers_than_panels_the_caption_tells_how_many_are_drawn(forty: Run, thirteen: Run) -> None:
    shown = [forty.layers.index(layer) for layer in names(drawn(forty, "fit"))]
    assert len(shown) == MOST_PANELS
    assert (shown[0], shown[-1]) == (0, 39)
    assert max(b - a for a, b in pairwise(shown)) <= 3, "spread over the network"
    told, whole = captions(forty), captions(thirteen)
    for name, table in (
        ("id_decimation_samples_test", "dimension_scales"),
        ("mu_distribution_test", "mu"),
        ("twonn_fit_test", "mu"),
        ("id_twonn_samples_mu_test", "samples_mu"),
    ):
        assert told[name].endswith(f"24 of 40 layers, evenly chosen; {table}.csv has all."), name
        assert "chosen" not in whole[name]


@pytest.mark.long
@pytest.mark.parametrize("name", ["samples", "radius", "mu", "fit", "study"])
def test_names_and_marks_of_neighbouring_panels_do_not_touch(thirteen: Run, forty: Run, name: str) -> None:
    for run in (thirteen, forty):
        figure = drawn(run, name)
        with styled():
            figure.draw_without_rendering()
            boxes = [axes.title.get_window_extent() for axes in panels(figure)]
            for left, right in pairwise(boxes):
                assert left.x1 < right.x0 or left.y0 > right.y1
            for axes in panels(figure):
                ticks = [tick for tick in axes.xaxis.get_major_ticks() if tick.label1.get_text()]
                low, high = axes.get_xlim()
                seen = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_visible()]
                marks = sorted((label.get_window_extent() for label in seen), key=lambda box: box.x0)
                assert len(marks) != 1
                assert all(left.x1 < right.x0 for left, right in pairwise(marks))
