"""Curves of a comparison: along the layers, over epochs, over training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from compare_views import (
    DEEP,
    FLAT,
    layer_rows,
    legend_of,
    lines,
    panels,
    value,
    view,
)

from rra_cli.report.compare.curves import epochs_figure, layers_figure, training_figure
from rra_cli.report.compare.tables import frame_of
from rra_cli.report.glossary import term
from rra_cli.report.style import styled


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


def test_a_line_a_group_with_its_mean_and_band() -> None:
    figure = layers_figure(view(splits=("train", "test")), "nncs", "none", 1)
    assert figure is not None
    for found in lines(figure, "mean"):
        assert [line.get_ydata().tolist() for line in found] == [
            pytest.approx([value(group, index, 3) for index in range(5)]) for group in (0, 1)
        ]
    bands = [part for axes in panels(figure) for part in axes.collections if part.get_gid() == "band"]
    assert len(bands) == 4
    (path,) = bands[0].get_paths()
    heights = path.vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((value(0, 0, 3) - 0.05, value(0, 4, 3) + 0.05))


def test_the_band_is_the_deviation_where_that_was_asked_for() -> None:
    figure = layers_figure(replace(view(), band="sd"), "nncs", "none", 1)
    assert figure is not None
    (band, _) = (part for part in figure.axes[0].collections if part.get_gid() == "band")
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(value(0, 4, 3) + 0.02)


def test_other_architectures_are_drawn_by_relative_depth_with_the_names_of_each() -> None:
    figure = layers_figure(view(layers=(DEEP, FLAT)), "nncs", "none", 1)
    assert figure is not None
    ((deep, flat),) = lines(figure, "mean")
    drawn = {text.get_text(): line.get_color() for text, line in legend_of(figure)}
    assert [drawn["aug=none"], drawn["aug=rra"]] == [deep.get_color(), flat.get_color()]
    assert deep.get_color() != flat.get_color()
    assert deep.get_xdata().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert flat.get_xdata().tolist() == [0.0, 0.5, 1.0]
    axes = figure.axes[0]
    named = [[label.get_text() for label in child.get_xticklabels()] for child in axes.child_axes]
    assert named == [list(DEEP), list(FLAT)]
    same = layers_figure(view(), "nncs", "none", 1)
    assert same is not None
    assert not same.axes[0].child_axes, "the control: equal layers have one axis"


def test_many_kinds_of_networks_keep_the_depth_without_names() -> None:
    names = [tuple(f"n{kind}l{index}" for index in range(3 + kind)) for kind in range(4)]
    figure = layers_figure(view([f"m={kind}" for kind in range(4)], names), "nncs", "none", 1)
    assert figure is not None
    assert figure.axes[0].get_xlabel() == "relative depth"
    assert not figure.axes[0].child_axes


def test_epochs_are_drawn_at_three_depths_of_each_network() -> None:
    figure = epochs_figure(view(layers=(DEEP, FLAT)), "nncs", "test", "none", 1)
    assert figure is not None
    found = lines(figure, "mean")
    assert [line.get_xdata().tolist() for line in found[0]] == [[0.0, 1.0, 3.0]] * 2
    assert found[2][0].get_ydata().tolist() == pytest.approx([value(0, 4, epoch) for epoch in (0, 1, 3)])
    assert found[2][1].get_ydata().tolist() == pytest.approx([value(1, 2, epoch) for epoch in (0, 1, 3)])
    assert "logits" in figure.axes[2].get_title(loc="right")
    few = view()
    rows = few.frames["layers"]
    assert (
        epochs_figure(
            replace(few, frames={"layers": rows[rows["checkpoint"] != "epoch_0001"]}), "nncs", "test", "none", 1
        )
        is None
    )


def test_a_band_of_two_seeds_may_leave_the_picture_but_no_mean_does() -> None:
    wide = view()
    frame = wide.frames["layers"].assign(low=-500.0, high=500.0, metric="open")
    figure = layers_figure(replace(wide, frames={**wide.frames, "layers": frame}), "open", "none", 1)
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    assert low < value(0, 0, 3) < value(1, 4, 3) < high
    assert high - low < 2.0


def test_training_curves_of_groups_share_panels() -> None:
    rows = [
        {"group": group, "metric": metric, "epoch": epoch, "mean": 1.0 / (1 + epoch), "low": 0.1, "high": 1.0, "n": 3}
        for group in ("aug=none", "aug=rra")
        for metric in ("train_loss", "test_loss", "test_accuracy")
        for epoch in range(3)
    ]
    figure = training_figure(view(training=rows))
    assert figure is not None
    assert [len(found) for found in lines(figure, "mean")] == [4, 2]
    assert training_figure(view()) is None


def test_bands_end_where_the_metric_does() -> None:
    rows = [{**row, "low": -0.2, "high": 1.4} for row in layer_rows(["a"], [DEEP], ["test"])]
    known = replace(view(groups=["a"], layers=[DEEP]), terms={"nncs": term("nncs", {})})
    figure = layers_figure(
        replace(known, frames=known.frames | {"layers": frame_of(rows, "layers")}), "nncs", "none", 1
    )
    assert figure is not None
    (band,) = [found for found in figure.axes[0].collections if found.get_gid() == "band"]
    at = band.get_paths()[0].vertices[:, 1]
    assert (at.min(), at.max()) == (0.0, 1.0)
