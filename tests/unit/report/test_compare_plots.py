"""Plots and page of a comparison, from tables made of closed forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rra_cli.report.compare_curves import epochs_figure, layers_figure, training_figure
from rra_cli.report.compare_diagonal import diagonal_figure
from rra_cli.report.compare_maps import matrix_figure, scatter_figure
from rra_cli.report.compare_page import comparison_html
from rra_cli.report.compare_plots import comparison_plots
from rra_cli.report.compare_rendering import write_comparison
from rra_cli.report.compare_tables import TABLES, frame_of
from rra_cli.report.compare_view import View
from rra_cli.report.glossary import term
from rra_cli.report.style import encode, line_style, styled

DEEP = ("input", "a", "b", "c", "logits")
FLAT = ("input", "hidden", "logits")
Row = dict[str, Any]


def value(group: int, index: int, epoch: int) -> float:
    """The mean of the class similarity that all plots show."""
    return 0.2 + 0.1 * index + 0.05 * group + 0.01 * epoch


def layer_rows(groups: Sequence[str], layers: Sequence[Sequence[str]], splits: Sequence[str]) -> Iterator[Row]:
    for number, (group, names) in enumerate(zip(groups, layers, strict=True)):
        for checkpoint, epoch in (("epoch_0000", 0), ("epoch_0001", 1), ("last", 3)):
            for split in splits:
                for index, layer in enumerate(names):
                    mean = value(number, index, epoch)
                    yield {
                        **{"group": group, "metric": "nncs", "transfer": "", "checkpoint": checkpoint, "epoch": epoch},
                        **{"split": split, "layer": layer, "index": index, "depth": index / (len(names) - 1)},
                        **{"pool": "none", "scale": 1, "subset": 0, "n_samples": 100, "k": 5, "mean": mean},
                        **{"sd": 0.02, "n": 3, "low": mean - 0.05, "high": mean + 0.05, "chance": 0.1, "reason": ""},
                    }


def nnls_rows(kind: str, group_a: str, group_b: str, down: Sequence[str], across: Sequence[str]) -> Iterator[Row]:
    for i, a in enumerate(down):
        for j, b in enumerate(across):
            yield {
                **{"kind": kind, "group_a": group_a, "group_b": group_b, "checkpoint": "last", "epoch": 3},
                **{"split": "test", "layer_a": a, "index_a": i, "layer_b": b, "index_b": j, "pool": "none"},
                **{"scale": 1, "n_samples": 100, "k": 5, "mean": 1 / (1 + abs(i - j) + i), "sd": 0.01 * (i + j)},
                **{"n_pairs": 6, "n_a": 3, "n_b": 3, "low": 0.1, "high": 0.9, "chance": 0.03},
            }


def diagonal_rows(kind: str, group_a: str, group_b: str, layers: Sequence[str]) -> Iterator[Row]:
    for row in nnls_rows(kind, group_a, group_b, layers, layers):
        if row["index_a"] == row["index_b"]:
            depth = row["index_a"] / (len(layers) - 1)
            yield {**row, "layer": row["layer_a"], "index": row["index_a"], "depth": depth}


def view(
    groups: Sequence[str] = ("aug=none", "aug=rra"),
    layers: Sequence[Sequence[str]] = (DEEP, DEEP),
    splits: Sequence[str] = ("test",),
    **frames: list[Row],
) -> View:
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    rows["layers"] = list(layer_rows(groups, layers, splits))
    rows["runs"] = [{"run": f"{g}-{s}", "group": g, "seed": s, "used": "yes"} for g in groups for s in range(3)]
    rows |= frames
    made = {name: frame_of(found, name) for name, found in rows.items()}
    return View("Comparison", tuple(groups), dict.fromkeys(groups, "last"), made)


def lines(figure: Figure, gid: str) -> list[list[Any]]:
    """The lines of that kind, panel by panel."""
    return [[line for line in axes.get_lines() if line.get_gid() == gid] for axes in panels(figure)]


def legend_of(figure: Figure) -> list[tuple[Any, Any]]:
    """Texts and lines of the legend."""
    (legend,) = figure.legends
    return list(zip(legend.get_texts(), legend.legend_handles, strict=True))


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


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


def diagonals() -> list[Row]:
    names = ("aug=none", "aug=rra")
    within = [row for name in names for row in diagonal_rows("within", name, name, DEEP)]
    return [*within, *diagonal_rows("between", *names, DEEP)]


def differences() -> list[Row]:
    return [
        {**row, "comparison_a": "aug=none", "comparison_b": other, "difference": 0.1, "low": 0.0, "high": 0.2}
        for other in ("aug=rra", "aug=none × aug=rra")
        for row in diagonal_rows("within", "", "", DEEP)
    ]


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


def correlated() -> View:
    points = [
        {
            **{"x": "nncs", "y": "id", "group": group, "seed": seed, "checkpoint": checkpoint, "epoch": epoch},
            **{"split": "test", "layer": layer, "index": index, "pool": "none", "scale": 1},
            **{"x_value": index + 0.1 * seed, "y_value": 2.0 * index - 0.1 * seed + epoch},
        }
        for group in ("aug=none", "aug=rra")
        for seed in range(3)
        for checkpoint, epoch in (("epoch_0000", 0), ("epoch_0001", 1), ("last", 3))
        for index, layer in enumerate(DEEP)
    ]
    common = {"x": "nncs", "y": "id", "split": "test", "pool": "none", "scale": 1, "n": 5, "p": 0.01}
    found = [
        {**common, "over": "layers", "group": "aug=none", "layer": "", "r": 0.5, "note": "<b>"},
        {**common, "over": "runs", "group": "aug=none", "layer": "a", "r": 0.75},
        {**common, "over": "runs", "group": "aug=none", "layer": "logits", "r": -0.25},
    ]
    return replace(view(correlation_points=points, correlations=found), asked=(("nncs", "id"),))


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


def whole() -> View:
    nnls = [
        *nnls_rows("within", "aug=none", "aug=none", DEEP, DEEP),
        *nnls_rows("between", "aug=none", "aug=rra", DEEP, DEEP),
    ]
    training = [{"group": "aug=none", "metric": "test_loss", "epoch": 0, "mean": 1.0, "n": 3}]
    shown = view(nnls=nnls, nnls_diagonal=diagonals(), nnls_differences=differences(), training=training)
    points = correlated().frames
    frames = {**shown.frames, **{name: points[name] for name in ("correlations", "correlation_points")}}
    return replace(shown, frames=frames, asked=(("nncs", "id"),))


def test_every_plot_has_a_name_of_its_own_and_equal_views_give_equal_bytes() -> None:
    shown = whole()
    plots = list(comparison_plots(shown))
    names = [plot.name for plot in plots]
    assert names == [
        "nncs_layers", "nnls_diagonal_last_test", "nnls_within_aug-none_last_test",
        "nnls_between_aug-none_aug-rra_last_test", "nncs_test_epochs", "training", "correlation_nncs_id",
    ]  # fmt: skip
    drawn = [plots[0].draw(), next(iter(comparison_plots(shown))).draw()]
    first, second = (encode(figure) for figure in drawn if figure is not None)
    assert first == second


def test_other_metrics_of_pairs_of_models_are_drawn_as_nnls_is() -> None:
    """With their own names on axes and files; what is empty is not written."""
    named = [{**row, "metric": "overlap"} for row in nnls_rows("within", "aug=none", "aug=none", DEEP, DEEP)]
    own = [{**row, "metric": "overlap"} for row in diagonals()]
    shown = view(pairs=named, pairs_diagonal=own, pairs_differences=differences())
    shown = replace(shown, terms={**shown.terms, "overlap": term("overlap", {})})
    plots = {plot.name: plot for plot in comparison_plots(shown)}
    assert {"overlap_diagonal_last_test", "overlap_within_aug-none_last_test"} <= set(plots)
    assert not any(name.startswith("nnls") for name in plots)
    assert "Neighbourhood overlap" in plots["overlap_diagonal_last_test"].caption
    figure = plots["overlap_within_aug-none_last_test"].draw()
    assert figure is not None
    assert "overlap, mean" in [axes.get_ylabel() for axes in figure.axes]
    diagonal = plots["overlap_diagonal_last_test"].draw()
    assert diagonal is not None
    assert diagonal.axes[0].get_ylabel() == "overlap"


def test_groups_whose_names_differ_by_odd_characters_alone_keep_their_own_files() -> None:
    rows = [row for name in ("lr=1", "lr:1") for row in nnls_rows("within", name, name, FLAT, FLAT)]
    shown = view(("lr=1", "lr:1"), nnls=rows)
    names = [plot.name for plot in comparison_plots(shown)]
    assert len(set(names)) == len(names)


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_tells_what_was_left_out_and_escapes_what_comes_from_outside() -> None:
    evil = "<script>alert(1)</script>"
    runs = [
        {"run": "a", "group": "aug=none", "seed": 0, "used": "yes"},
        {"run": evil, "used": "no", "reason": f"unfinished {evil}"},
    ]
    refused = [{"quantity": "NNLS", "group_a": "aug=none", "group_b": evil, "split": "test", "reason": evil}]
    groups = [{"group": "aug=none", "n": 1, "seeds": "0", "setting": evil, "value": evil}]
    made = view(("aug=none", evil), runs=runs, refused=refused)
    frames = {**made.frames, "groups": frame_of(groups, "groups")}
    text = comparison_html(replace(made, frames=frames, title=evil), [], ["tables/runs.csv"])
    page = Page(text)
    assert "script" not in page.tags
    told = " ".join(page.text)
    assert f"Run {evil} is left out: unfinished {evil}" in told
    assert "0.6" in told, "the mean of the last layer"
    assert "tables/runs.csv" in told


def test_an_earlier_comparisons_files_go_and_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    small = view()
    write_comparison(small, folder)
    (folder / "plots" / "old.png").write_bytes(b"x")
    (folder / "tables" / "old.csv").write_bytes(b"x")
    (folder / "tables" / "notes.txt").write_text("mine")
    before = (folder / "report.html").read_bytes()
    paths = write_comparison(small, folder)
    assert (folder / "report.html").read_bytes() == before
    assert not (folder / "plots" / "old.png").exists()
    assert not (folder / "tables" / "old.csv").exists()
    assert (folder / "tables" / "notes.txt").read_text() == "mine"
    assert all(path.is_file() for path in paths)


def test_each_group_of_several_seeds_has_a_map_of_the_layers_of_one_model() -> None:
    rows = [
        {**row, "group": group, "n": n}
        for group, n in (("aug=none", 3), ("aug=rra", 1))
        for row in nnls_rows("", "", "", DEEP, DEEP)
    ]
    (plot,) = (each for each in comparison_plots(view(nnls_intra=rows)) if each.name.startswith("nnls_intra"))
    assert plot.name == "nnls_intra_aug-none_last_test", "one seed has its map in the run's own report"
    assert plot.title == "Layers of one model, aug=none, last, test"
    assert "over the seeds: 3" in plot.caption
    with styled():
        drawn = plot.draw()
    assert isinstance(drawn, Figure)
    image = drawn.axes[0].images[0].get_array()
    assert image is not None
    assert image[1, 2] == pytest.approx(1 / 3)


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


def test_one_network_on_differently_altered_data_is_not_called_different_models() -> None:
    pairs = list(nnls_rows("between", "a", "b", DEEP, DEEP))
    diagonal = list(diagonal_rows("between", "a", "b", DEEP))
    different = view(groups=["a", "b"], nnls=pairs, nnls_diagonal=diagonal)
    told = "the same network on differently altered data"
    same = replace(different, same={("a", "b"): told, ("b", "a"): told})
    text = {which: " ".join(f"{p.title} {p.caption}" for p in comparison_plots(v)) for which, v in
            (("different", different), ("same", same))}  # fmt: skip
    assert "different models" in text["different"]
    assert told not in text["different"]
    assert "different models" not in text["same"]
    assert "other models" not in text["same"]
    assert told in text["same"]
