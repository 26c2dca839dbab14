"""Diagonals, maps and scatter plots of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from compare_views import (
    DEEP,
    FLAT,
    correlated,
    diagonals,
    differences,
    legend_of,
    lines,
    nnls_rows,
    panels,
    view,
)

from rra_cli.report.compare.diagonal import diagonal_figure
from rra_cli.report.compare.maps import matrix_figure, scatter_figure
from rra_cli.report.compare.tables import frame_of
from rra_cli.report.style import line_style, styled


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


def test_the_diagonal_has_a_line_a_comparison_and_a_panel_of_differences_of_groups() -> None:
    shown = view(nnls_diagonal=diagonals(), nnls_differences=differences())
    figure = diagonal_figure(shown, shown.frames["nnls_diagonal"], shown.frames["nnls_differences"])
    assert figure is not None
    upper, lower = lines(figure, "mean")
    assert (len(upper), len(lower)) == (3, 1), "with the comparison between groups: only in the table"
    assert upper[0].get_ydata().tolist() == pytest.approx([1 / (1 + index) for index in range(5)])
    found = legend_of(figure)
    assert [text.get_text() for text, _ in found] == [
        "aug=none", "aug=rra", "aug=none × aug=rra", "chance level", "aug=none − aug=rra"
    ]  # fmt: skip
    colours = [line.get_color() for line in (*upper, *lower)]
    assert [line.get_color() for text, line in found if text.get_text() != "chance level"] == colours
    assert len(set(colours)) == len(colours)
    assert [[line.get_ydata()[0] for line in panel] for panel in lines(figure, "chance")] == [[0.03], []]
    bands = [[part.get_paths()[0].vertices[:, 1] for part in axes.collections] for axes in figure.axes]
    assert [[(band.min(), band.max()) for band in panel] for panel in bands] == [[(0.1, 0.9)] * 3, [(0.0, 0.2)]]
    assert diagonal_figure(shown, shown.frames["nnls_diagonal"].iloc[:0], shown.frames["nnls_differences"]) is None


def test_long_labels_are_called_by_letters_where_two_of_them_stand_together() -> None:
    long = tuple(f"model=convnet_small, augment={name}" for name in ("none", "rra"))
    names = dict(zip(("aug=none", "aug=rra"), long, strict=True))
    rows = [{**row, "group_a": names[row["group_a"]], "group_b": names[row["group_b"]]} for row in diagonals()]
    shown = view(long, nnls_diagonal=rows)
    figure = diagonal_figure(shown, shown.frames["nnls_diagonal"], shown.frames["nnls_differences"])
    assert figure is not None
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f"A: {long[0]}", f"B: {long[1]}", "A × B", "chance level"]


def test_a_matrix_of_two_architectures_is_a_rectangle_of_means_and_deviations() -> None:
    rows = frame_of(list(nnls_rows("between", "m=deep", "m=flat", DEEP, FLAT)), "nnls")
    figure = matrix_figure(rows)
    mean, sd = (axes.get_images()[0].get_array() for axes in panels(figure))
    assert mean.shape == sd.shape == (5, 3)
    assert mean[3, 1] == pytest.approx(1 / (1 + 2 + 3))
    assert sd[3, 1] == pytest.approx(0.04)
    assert (panels(figure)[0].get_ylabel(), panels(figure)[1].get_xlabel()) == ("m=deep", "m=flat")
    alone = rows.assign(sd=np.nan)
    assert len(panels(matrix_figure(alone))) == 1, "one pair has no deviation"


def test_two_columns_are_drawn_over_layers_runs_and_epochs_with_their_correlation() -> None:
    figure = scatter_figure(correlated(), "nncs", "id")
    assert figure is not None
    titles = [axes.get_title(loc="right") for axes in panels(figure)]
    assert titles == ["layers", "runs, last layer", "epochs, last layer"]
    along = lines(figure, "series")[0][0]
    assert along.get_xdata().tolist() == pytest.approx([index + 0.1 for index in range(5)])
    last = lines(figure, "runs")[1][0]
    assert last.get_xdata().tolist() == pytest.approx([4.0, 4.1, 4.2])
    assert [[text.get_text() for text in axes.texts] for axes in panels(figure)] == [["r = 0.5"], ["r = -0.25"], []]
    assert scatter_figure(view(), "nncs", "id") is None
    shown = correlated()
    other = {**shown.frames, "correlations": shown.frames["correlations"].assign(group="aug=rra")}
    figure = scatter_figure(replace(shown, frames=other), "nncs", "id")
    assert figure is not None
    assert figure.axes[0].texts[0].get_color() == line_style(1, 0, False).colour, "of its group, not of its line"
