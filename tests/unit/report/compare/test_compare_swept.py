"""Plots of a comparison against a swept number, and of volumes: what is drawn is what the tables say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from rra_cli.report.compare.plots import comparison_plots
from rra_cli.report.compare.pullback import LN_10
from rra_cli.report.compare.tables import TABLES, frame_of
from rra_cli.report.compare.view import Swept, View
from rra_cli.report.style import styled

LEVELS = {"l=0": 0.0, "l=0.5": 0.5, "l=2": 2.0}
LAYERS = ("conv", "logits")
Row = dict[str, Any]


def value(level: float, index: int) -> float:
    return 0.2 + 0.3 * index + 0.1 * level


def rows() -> Iterator[Row]:
    for group, level in LEVELS.items():
        for split in ("train", "test"):
            for index, layer in enumerate(LAYERS):
                mean = value(level, index)
                yield {
                    **{"group": group, "metric": "nncs", "transfer": "", "checkpoint": "last", "epoch": 3},
                    **{"split": split, "layer": layer, "index": index, "pool": "none", "scale": 1, "subset": 0},
                    **{"n_samples": 100, "k": 5, "mean": mean, "sd": 0.1, "n": 3, "low": mean - 0.05},
                    **{"high": mean + 0.05, "chance": 0.1 + 0.01 * level, "reason": ""},
                }


def volumes(inputs: tuple[int, int, int] = (1, 1, 1), directions: tuple[int, int, int] = (10, 10, 10)) -> Iterator[Row]:
    for (group, level), number, r in zip(LEVELS.items(), inputs, directions, strict=True):
        for checkpoint, epoch in (("epoch_0000", 0), ("last", 3)):
            for index, layer in enumerate(LAYERS):
                for quantity, mean in (("log_volume", LN_10 * level), ("ratio", 1 + value(level, index) * epoch / 3)):
                    yield {
                        **{"group": group, "metric": "way", "at": "line", "inputs": number, "checkpoint": checkpoint},
                        **{"epoch": epoch, "layer": layer, "index": index, "directions": r, "quantity": quantity},
                        **{"mean": mean, "n": 1, "low": mean - 0.1, "high": mean + 0.1, "over": "lines"},
                    }


BY_LEVEL = Swept("alter.level", LEVELS)


def view(swept: Swept | None = BY_LEVEL, **frames: Any) -> View:
    found: dict[str, list[Row]] = {name: [] for name in TABLES} | {"layers": list(rows())[::-1]} | frames
    made = {name: frame_of(each, name) for name, each in found.items()}
    return View("Comparison", tuple(LEVELS), dict.fromkeys(LEVELS, "last"), made, swept=swept)


def plots(of: View) -> dict[str, Any]:
    return {plot.name: plot for plot in comparison_plots(of)}


def drawn(figure: Figure | None, gid: str) -> list[Any]:
    assert figure is not None
    return [artist for axes in figure.axes for artist in axes.get_children() if artist.get_gid() == gid]


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


def test_a_metric_is_drawn_against_the_number_a_panel_a_split_a_line_a_layer() -> None:
    (plot,) = (each for name, each in plots(view()).items() if name.startswith("nncs_by_alter_level"))
    figure = plot.draw()
    lines = drawn(figure, "mean")
    assert len(lines) == 4
    for at, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), [0.0, 0.5, 2.0])
        np.testing.assert_allclose(line.get_ydata(), [value(level, at % 2) for level in LEVELS.values()])
    assert len(drawn(figure, "band")) == 4
    np.testing.assert_allclose(drawn(figure, "chance")[0].get_ydata(), [0.1, 0.105, 0.12])
    assert figure.axes[-1].get_xlabel() == "alter.level"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*LAYERS, "chance level"]
    assert "against alter.level" in plot.title
    assert plot.main


def test_without_such_a_number_there_is_no_such_plot() -> None:
    assert not [name for name in plots(view(swept=None)) if "_by_" in name]


def test_decades_stand_on_a_logarithmic_axis_and_levels_with_zero_do_not() -> None:
    wide = Swept("method.lr", dict(zip(LEVELS, (0.001, 0.01, 0.1), strict=True)))
    far = plots(view(BY_LEVEL, layers=[each for each in rows() if each["group"] != "l=2"]))
    (plot,) = (each for name, each in far.items() if name.startswith("nncs_by_"))
    assert plot.draw().axes[-1].get_xlim()[1] > 2.0, "a group without a value keeps its place"
    for swept, scale in ((wide, "log"), (BY_LEVEL, "linear")):
        (plot,) = (each for name, each in plots(view(swept)).items() if name.startswith("nncs_by_"))
        assert plot.draw().axes[-1].get_xscale() == scale


def test_volumes_of_groups_stand_side_by_side_with_their_intervals() -> None:
    found = plots(view(pullback=list(volumes())))
    figure = found["way_volumes"].draw()
    lines = drawn(figure, "mean")
    assert len(lines) == 6, "three groups, volume and ratio"
    for line, level in zip(lines, [*LEVELS.values()] * 2, strict=True):
        assert [round(x) for x in line.get_xdata()] == [0, 1]
        expected = [level, level] if line in lines[:3] else [1 + value(level, at) for at in range(2)]
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert all(len(each.get_segments()) == 2 for each in drawn(figure, "interval"))
    caption = found["way_volumes"].caption
    assert "over 10 directions" in caption
    assert "95 % intervals over the lines of a group's only run" in caption
    assert "groups differ" not in caption
    epochs = found["way_volumes_epochs"].draw()
    assert len(drawn(epochs, "mean")) == 6, "two layers, three groups"
    (by,) = (each for name, each in found.items() if name.startswith("way_log_volume_by_"))
    np.testing.assert_allclose(drawn(by.draw(), "mean")[0].get_ydata(), [0, 0.5, 2.0])


def test_groups_of_other_inputs_have_a_figure_of_their_own_and_others_directions_are_told() -> None:
    found = plots(view(pullback=list(volumes((1, 1, 2), (10, 12, 10)))))
    assert len(drawn(found["way_volumes"].draw(), "mean")) == 4
    assert len(drawn(found["way_inputs2_volumes"].draw(), "mean")) == 2
    assert found["way_inputs2_volumes"].title.endswith(": l=2")
    assert "over 10 to 12 directions" in found["way_volumes"].caption
    assert "In conv, logits groups differ in the number of directions" in found["way_volumes"].caption


def test_groups_of_one_run_have_nothing_between_seeds() -> None:
    """Rows between groups alone, as of one seed a group: no plot of them, and no fault."""
    side = {"checkpoint": "last", "epoch": 3, "split": "test", "layer": "conv", "index": 0, "pool": "none", "scale": 1}
    between = [
        {"kind": "between", "group_a": a, "group_b": b, **side, "k": 5, "mean": 0.5, "n_a": 1, "n_b": 1}
        for a, b in (("l=0", "l=0.5"), ("l=0", "l=2"))
    ]
    of = view(nnls_diagonal=between)
    assert not of.frames["nnls_diagonal"].empty
    assert not any(name.startswith("nnls_diagonal_by") for name in plots(of))


def test_layers_between_seeds_are_drawn_over_the_number_within_groups_alone() -> None:
    side = {"checkpoint": "last", "epoch": 3, "split": "test", "layer": "conv", "index": 0, "pool": "none", "scale": 1}
    pairs = [
        {"kind": kind, "group_a": a, "group_b": b, **side, "k": 5, "mean": mean, "n_a": 3, "n_b": 3}
        for kind, a, b, mean in (
            ("within", "l=0", "l=0", 0.7),
            ("within", "l=0.5", "l=0.5", 0.6),
            ("within", "l=2", "l=2", 0.4),
            ("between", "l=0", "l=2", 0.1),
        )
    ]
    (mean,) = drawn(plots(view(nnls_diagonal=pairs))["nnls_diagonal_by_alter_level"].draw(), "mean")
    np.testing.assert_array_equal(mean.get_xdata(), [0, 0.5, 2])
    np.testing.assert_array_equal(mean.get_ydata(), [0.7, 0.6, 0.4])


def test_deviations_were_asked_for_but_volumes_keep_their_intervals() -> None:
    """Of one run a group there is no deviation, and the bars of a ratio are those of its lines."""
    of = replace(view(pullback=list(volumes())), band="sd")
    (plot,) = (each for name, each in plots(of).items() if name.startswith("way_ratio_by"))
    (band, *_) = drawn(plot.draw(), "band")
    assert "Bands: 95 % intervals over the lines" in plot.caption
    at = band.get_paths()[0].vertices[:, 1]
    low, high = (value(level, 0) + 1 + side for level, side in ((0.0, -0.1), (2.0, 0.1)))
    assert (at.min(), at.max()) == pytest.approx((low, high))
    assert "standard deviation over the pairs of models" in of.bands_of(of.frames["layers"], "a jackknife")
