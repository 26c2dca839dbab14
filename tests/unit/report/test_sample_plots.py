"""Plots of a sample study: what is drawn is what its tables say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from rra_cli.report.load import load_run
from rra_cli.report.run import Run
from rra_cli.report.samples.curves import (
    along_layers_figure,
    by_neighbors_figure,
    by_size_figure,
    mu_figure,
    similarity_figure,
)
from rra_cli.report.samples.maps import layer_map, sim_by_neighbors_figure, sim_by_samples_figure, similarity_sheet
from rra_cli.report.samples.plots import sample_plots
from rra_cli.report.samples.view import Place
from rra_cli.report.series import Variant
from rra_cli.report.style import encode, styled
from rra_cli.report.tables.writing import write_table

MakeRun = Callable[..., Path]
LAYERS = ["input", "conv1", "conv2"]
SIZES = (1000, 10000)
DENSITIES = (0.01, 0.1, 1.0)
CELL = {"engine": "exact", "recall": 1.0, "reason": ""}


def dimension(layer: int, size: int) -> float:
    return 10.0 + 5 * layer + size / 1000


def purity(layer: int, k: int) -> float:
    return 0.2 + 0.1 * layer + 1 / k


def similarity(a: int, b: int, density: float) -> float:
    return 0.5 + 0.2 * density - 0.1 * (b - a)


def k_of(size: int, density: float) -> int:
    return min(size - 1, round(size * density))


def studied(make_run: MakeRun, sizes: tuple[int, ...] = SIZES, **options: Any) -> Run:
    """Three layers of the test split."""
    folder = make_run(layers=LAYERS, stages=["input", "s1", "s1"], splits=["test"], **options)
    place = {"checkpoint": "last", "epoch": 100, "split": "test", "pool": "none", "scale": 1, "subset": 0}
    layers, mu, pairs, sims = [], [], [], []
    for size in sizes:
        for at, layer in enumerate(LAYERS):
            row = {**place, **CELL, "layer": layer, "index": at, "n_samples": size, "n_used": size, "std_error": 0.01}
            value = dimension(at, size)
            layers.append(
                {**row, "k": 2, "ndr": 2 / size, "metric": "id_twonn", "value": value, "chance": None, "basis": "graph"}
            )
            for density in DENSITIES:
                k = k_of(size, density)
                basis = "definition" if density == 1.0 else "graph"
                cell = {"k": k, "ndr": k / size, "metric": "nncs", "value": purity(at, k), "chance": 0.1}
                layers.append({**row, **cell, "basis": basis})
            levels = np.linspace(0, 0.995, 200)
            mu += [
                {**place, "engine": "exact", "recall": 1.0, "layer": layer, "index": at, "n_samples": size}
                | {"quantile": float(level), "mu": float((1 - level) ** (-1 / value))}
                for level in levels
            ]
        for (a, b), density in ((pair, density) for pair in combinations(range(3), 2) for density in DENSITIES):
            k = k_of(size, density)
            basis = "definition" if density == 1.0 else "graph"
            pairs.append(
                {**place, **CELL, "n_samples": size, "k": k, "ndr": k / size, "std_error": 0.01, "chance": density / 2}
                | {"layer_a": LAYERS[a], "index_a": a, "layer_b": LAYERS[b], "index_b": b, "basis": basis}
                | {"nnls": 1.0 if basis == "definition" else similarity(a, b, density)}
            )
        for one, other in combinations(DENSITIES, 2):
            sims.append(sim(place, "n_samples", None, (size, k_of(size, one)), (size, k_of(size, other)), 0.02))
    for density in DENSITIES:
        for one, other in combinations(sizes, 2):
            sims.append(sim(place, "ndr", density, (one, k_of(one, density)), (other, k_of(other, density)), 1e-4))
    for name, rows in (("samples", layers), ("samples_mu", mu), ("samples_nnls", pairs), ("nnls_sim", sims)):
        if rows:
            write_table(rows, folder / "tables", name)
    return load_run(folder)


def sim(place: dict, fixed: str, ndr: float | None, one: tuple[int, int], other: tuple[int, int], value: float) -> dict:
    cells = {"n_samples_a": one[0], "k_a": one[1], "n_samples_b": other[0], "k_b": other[1]}
    rest = {"bernoulli": value, "unnormalised": value / 2, "n_layers": 3, "reason": ""}
    return {**place, "fixed": fixed, "ndr": ndr, **cells, **rest, "basis_a": "graph", "basis_b": "graph"}


def here(run: Run) -> Place:
    return Place(run, run.main_checkpoint, "test", Variant("none", 1))


def drawn(figure: Figure | None, gid: str) -> list[Any]:
    assert figure is not None
    return [artist for axes in figure.axes for artist in axes.get_children() if artist.get_gid() == gid]


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return studied(make_run)


def test_the_dimension_by_samples_has_a_line_a_layer(run: Run) -> None:
    lines = drawn(by_size_figure(here(run), "id_twonn"), "series")
    assert len(lines) == 3
    for at, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), SIZES)
        np.testing.assert_allclose(line.get_ydata(), [dimension(at, size) for size in SIZES])


def test_along_the_layers_it_has_a_line_a_size(run: Run) -> None:
    figure = along_layers_figure(here(run), "id_twonn")
    lines = drawn(figure, "series")
    assert len(lines) == 2
    for size, line in zip(SIZES, lines, strict=True):
        np.testing.assert_allclose(line.get_ydata(), [dimension(at, size) for at in range(3)])
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["N = 1,000", "N = 10,000"]


def test_one_size_is_no_curve(make_run: MakeRun) -> None:
    run = studied(make_run, sizes=(1000,))
    assert by_size_figure(here(run), "id_twonn") is None
    assert along_layers_figure(here(run), "id_twonn") is None
    assert by_neighbors_figure(here(run), "nncs") is not None, "which has neighbours to go by"


def test_purity_has_a_panel_a_size_with_its_ends_hollow(run: Run) -> None:
    figure = by_neighbors_figure(here(run), "nncs")
    lines = drawn(figure, "series")
    assert len(lines) == 6
    np.testing.assert_array_equal(lines[0].get_xdata(), [10, 100, 999])
    np.testing.assert_allclose(lines[2].get_ydata(), [purity(2, k) for k in (10, 100, 999)])
    assert figure is not None
    hollow = [line for axes in figure.axes for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert sorted({float(x) for line in hollow for x in line.get_xdata()}) == [999.0, 9999.0]
    assert [axes.get_title() for axes in figure.axes] == ["N = 1,000", "N = 10,000"]
    level = [line for axes in figure.axes for line in axes.get_lines() if list(line.get_xdata()) == [0, 1]]
    assert [list(line.get_ydata()) for line in level] == [[0.1, 0.1]] * 2, "the chance level"


def test_similarity_is_the_mean_over_consecutive_layers_by_k_and_by_density(run: Run) -> None:
    figure = similarity_figure(here(run))
    lines = drawn(figure, "series")
    assert len(lines) == 4, "two sizes, by k and by density"
    assert figure is not None
    told = (("neighbours k", {999, 9999}), ("density k / N", {0.999, 0.9999}))
    for axes, (label, last) in zip(figure.axes, told, strict=True):
        assert axes.get_xlabel() == label
        assert {max(line.get_xdata()) for line in axes.get_lines() if line.get_gid() == "series"} == last
        chance = [line for line in axes.get_lines() if len(line.get_xdata()) == 3 and line.get_gid() is None]
        assert [list(line.get_ydata()) for line in chance] == [[0.005, 0.05, 0.5]] * 2
    by_density = [line for line in lines if max(line.get_xdata()) <= 1]
    for line in by_density:
        np.testing.assert_allclose(line.get_ydata(), [similarity(0, 1, 0.01), similarity(0, 1, 0.1), 1.0])


def test_maps_hold_the_similarities_of_their_cell(run: Run) -> None:
    frame = here(run).rows(run.tables.samples_nnls)
    matrix = layer_map(frame, run.layers, 1000, 100)
    expected = [[1.0 if a == b else similarity(min(a, b), max(a, b), 0.1) for b in range(3)] for a in range(3)]
    np.testing.assert_allclose(matrix, expected)
    assert np.isnan(layer_map(frame, run.layers, 1000, 7)).all(), "there is no such cell"
    sheet = similarity_sheet(here(run))
    assert sheet is not None
    panels = [axes for axes in sheet.axes if axes.get_images()]
    cells = [(size, density) for size in SIZES for density in DENSITIES]
    for axes, (size, density) in zip(panels, cells, strict=True):
        expected = layer_map(frame, run.layers, size, k_of(size, density))
        np.testing.assert_array_equal(axes.get_images()[0].get_array(), expected)
    assert [axes.get_title() for axes in panels] == ["0.01", "0.1", "1", "", "", ""]
    assert [axes.get_ylabel() for axes in panels] == ["1,000", "", "", "10,000", "", ""]


def test_a_density_has_one_label_in_all_figures_and_those_left_out_are_counted(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.01 of 300 samples are 3 neighbours, of 360 they are 4, which is 0.011 of them."""
    found = here(studied(make_run, (300, 360)))
    sheet, by_n = similarity_sheet(found), sim_by_samples_figure(found, "bernoulli")
    assert sheet is not None
    assert by_n is not None
    columns = [axes.get_title() for axes in sheet.axes if axes.get_images()][:3]
    assert [f"k / N = {column}" for column in columns] == [a.get_title() for a in by_n.axes if a.get_images()]
    assert columns == ["0.01", "0.1", "1"]

    def caption(run: Run) -> str:
        return next(plot.caption for plot in sample_plots(run) if plot.name.startswith("nnls_samples_maps"))

    assert "are shown" not in caption(found.run), "the control: all three are"
    monkeypatch.setattr("rra_cli.report.samples.maps._MOST_COLUMNS", 2)
    assert "Of 3 densities 2 are shown." in caption(found.run)
    sheet = similarity_sheet(found)
    assert sheet is not None
    assert [axes.get_title() for axes in sheet.axes if axes.get_images()][:2] == ["0.01", "1"]


def test_divergences_are_maps_of_k_by_size_and_of_sizes_by_density(run: Run) -> None:
    by_k, by_n = sim_by_neighbors_figure(here(run), "bernoulli"), sim_by_samples_figure(here(run), "bernoulli")
    assert by_k is not None
    assert by_n is not None
    assert [axes.get_title() for axes in by_k.axes if axes.get_images()] == ["N = 1,000", "N = 10,000"]
    assert [label.get_text() for label in by_k.axes[0].get_xticklabels()] == ["10", "100", "999"]
    assert [text.get_text() for text in by_k.axes[0].texts] == [*["0", "2e-2", "2e-2", "2e-2"] * 2, "0"]
    titles = [axes.get_title() for axes in by_n.axes if axes.get_images()]
    assert titles == ["k / N = 0.01", "k / N = 0.1", "k / N = 1"]
    first = by_n.axes[0]
    texts = [text.get_text() for text in first.texts]
    assert texts == ["0", "1e-4", "1e-4", "0"]


def test_the_law_of_a_layer_is_that_of_its_dimension_at_the_largest_size(run: Run) -> None:
    figure = mu_figure(here(run), "id_twonn")
    assert figure is not None
    for at, axes in enumerate(figure.axes[:3]):
        (law,) = axes.get_lines()
        d, mu = dimension(at, 10000), np.asarray(law.get_xdata())
        np.testing.assert_allclose(law.get_ydata(), d * mu ** (-d - 1))
        assert axes.get_title() == f"{LAYERS[at]}, d = {d:.0f}"


def test_every_plot_is_drawn_and_saved(run: Run) -> None:
    found = list(sample_plots(run))
    assert len({plot.name for plot in found}) == len(found) == 8
    figures = {}
    with styled():
        for plot in found:
            figure = figures[plot.name] = plot.draw()
            assert figure is not None, plot.name
            assert encode(figure)["png"].startswith(b"\x89PNG")
    assert figures["id_twonn_samples_test"].axes[0].get_xlabel() == "samples N"
    layers = figures["id_twonn_samples_layers_test"].axes[0].get_xticklabels()
    assert [label.get_text() for label in layers] == LAYERS
    texts = figures["nnls_sim_samples_test"].axes[0].texts
    assert "1e-4" in {text.get_text() for text in texts}, "taken as probabilities"
    assert "2e-2" in {text.get_text() for text in figures["nnls_sim_neighbors_test"].axes[0].texts}


def test_a_run_without_a_study_has_none(make_run: MakeRun) -> None:
    assert not list(sample_plots(load_run(make_run(layers=LAYERS, splits=["test"], stages=None))))


def test_captions_say_what_bands_take_for_granted_and_what_holds_by_definition(make_run: MakeRun) -> None:
    captions = {plot.name: plot.caption for plot in sample_plots(studied(make_run))}
    assert "which take samples for independent" in captions["id_twonn_samples_test"]
    assert "k / N = 1 (k = N − 1)" in captions["nnls_sim_samples_test"]
    assert "by definition" in captions["nnls_sim_samples_test"]


def with_intervals(run: Run, k: int = 100) -> Run:
    """Intervals from 1 below to 2 above every value of the measured set, which was measured with k neighbours."""
    metrics = run.tables.metrics.assign(k=k)
    assert set(metrics["n_samples"]) == {10000}
    values = [dimension(LAYERS.index(layer), 10000) for layer in metrics["layer"]]
    metrics = metrics.assign(low=[value - 1 for value in values], high=[value + 2 for value in values])
    return replace(run, tables=replace(run.tables, metrics=metrics))


def ends_of(figure: Figure | None, at: int) -> tuple[float, float]:
    """The lowest and highest point of the last band at place `at` of the horizontal axis."""
    corners = drawn(figure, "band")[-1].get_paths()[0].vertices
    here = corners[np.isclose(corners[:, 0], at)][:, 1]
    return float(here.min()), float(here.max())


def test_bands_are_the_runs_intervals_where_it_has_them_and_standard_errors_elsewhere(run: Run) -> None:
    found, value = with_intervals(run), dimension(2, 10000)
    by_size = by_size_figure(here(found), "id_twonn")
    assert ends_of(by_size, 10000) == pytest.approx((value - 1, value + 2))
    assert ends_of(by_size, 1000) == pytest.approx(dimension(2, 1000) + np.array([-1.96, 1.96]) * 0.01, abs=1e-3)
    along = along_layers_figure(here(found), "id_twonn")
    assert ends_of(along, 2) == pytest.approx((value - 1, value + 2))
    by_neighbors = by_neighbors_figure(here(found), "nncs")
    assert ends_of(by_neighbors, 100) == pytest.approx((value - 1, value + 2))
    assert ends_of(by_neighbors, 1000) == pytest.approx((purity(2, 1000) - 0.02, purity(2, 1000) + 0.02), abs=1e-3)
    without = ends_of(by_size_figure(here(run), "id_twonn"), 10000)
    assert without == pytest.approx((value - 0.02, value + 0.02), abs=1e-3), "control"


def test_captions_say_which_bands_are_intervals(run: Run) -> None:
    captions = {plot.name: plot.caption for plot in sample_plots(with_intervals(run))}
    kind = "95 % intervals over sets of such samples, elsewhere ±1.96 standard errors"
    for name in ("id_twonn_samples_test", "id_twonn_samples_layers_test"):
        assert f"Bands: at N = 10,000 {kind}" in captions[name]
    assert f"Bands: at N = 10,000, k = 100 {kind}" in captions["nncs_samples_test"]
    of_other_k = {plot.name: plot.caption for plot in sample_plots(with_intervals(run, k=50))}
    assert "Bands: ±1.96 standard" in of_other_k["nncs_samples_test"]
    assert "intervals of all samples are in the plots of NNCS along the layers" in of_other_k["nncs_samples_test"]
    assert kind in of_other_k["id_twonn_samples_test"], "which reads two neighbours, whatever k is"
