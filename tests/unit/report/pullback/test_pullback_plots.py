"""Pictures of the pullback metrics: what is drawn is what the tables say, and titles say what was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli.pullback.inputs import TRIANGLE
from rra_cli.pullback.inputs import plane as plane_section
from rra_cli.report.html import report_html
from rra_cli.report.load import load_run
from rra_cli.report.plots import plots
from rra_cli.report.pullback.lines import contrast_figure, line_sheet
from rra_cli.report.pullback.maps import curvature_sheet, relative_sheet, volume_sheet
from rra_cli.report.pullback.plots import finding, followed, learned, pullback_plots, ratio_text
from rra_cli.report.pullback.terms import pullback_terms
from rra_cli.report.pullback.view import MOST_ROWS, View, as_grid, picture
from rra_cli.report.style import styled
from rra_cli.report.tables.schema import TABLES
from rra_cli.report.tables.writing import write_table

MakeRun = Callable[..., Path]
LAYERS = ("stage1", "stage2")
NONE = {"sample_id": None, "curvature": np.nan, "log10_area": np.nan, "rank": 5}


def summary(metric: str, at: str, checkpoint: tuple[str, int], layer: int, **changes: Any) -> dict[str, Any]:
    row = {"checkpoint": checkpoint[0], "epoch": checkpoint[1], "metric": metric, "at": at, "layer": LAYERS[layer]}
    row |= {"index": layer, "n_inputs": 12, "n_features": 5, "n_points": 9, "directions": 5.0, "rank_min": 5}
    row |= {"rank_max": 5, "log_volume": 1.0, "difference": 0.5, "std_error": 0.1, "low": 0.3, "high": 0.7, "p": 0.001}
    row |= {"p_free": 0.002, "n_units": 20, "ratio": 1.105, "ratio_low": 1.062, "ratio_high": 1.15, "gain": np.nan}
    row |= {"gain_low": np.nan, "gain_high": np.nan, "gain_p": np.nan, "curvature": np.nan, "reason": ""}
    row |= {"local_r": 0.3, "local_low": 0.1, "local_high": 0.5, "local_p": 0.01}
    return row | changes


def volume_of(x: float, layer: int, epoch: int) -> float:
    """A ridge at x = 0 that grows with the epoch."""
    return -10.0 * layer + epoch / 10 * float(np.exp(-8 * x * x))


def point(metric: str, at: str, checkpoint: tuple[str, int], layer: int, number: int, **more: Any) -> dict[str, Any]:
    row = {"checkpoint": checkpoint[0], "epoch": checkpoint[1], "metric": metric, "at": at, "layer": LAYERS[layer]}
    x = more["x"]
    row |= {"index": layer, "unit": 0, "point": number, "inside": 1, "prediction": "cat" if x < 0 else "dog"}
    row |= {
        "entropy": 0.3 * float(np.exp(-x * x)),
        "margin": min(1.0, abs(x)),
        "side": "near" if abs(x) < 0.2 else "far",
    }
    return row | NONE | {"log10_volume": volume_of(x, layer, checkpoint[1])} | more


@pytest.fixture
def folder(make_run: MakeRun) -> Path:
    """A run of three checkpoints with a plane and a line, written as a run writes them."""
    checkpoints = [("epoch_0000", 0), ("epoch_0010", 10), ("last", 20)]
    made = make_run(layers=list(LAYERS), stages=None, splits=["test"], checkpoints=checkpoints)
    section = plane_section(7)
    rows, points, anchors = [], [], []
    for checkpoint in checkpoints:
        for layer in range(2):
            rows += [summary(metric, at, checkpoint, layer) for metric, at in (("flat", "plane"), ("way", "line"))]
            for number, ((x, y), inside) in enumerate(zip(section.coordinates, section.inside, strict=True)):
                more = {"x": x, "y": y, "inside": int(inside), "curvature": 100.0 * x * y, "log10_area": 0.0}
                points.append(point("flat", "plane", checkpoint, layer, number, **more))
            for number, t in enumerate(np.linspace(0, 1, 11)):
                more = {"x": t, "y": np.nan, "prediction": "cat" if t < 0.45 else "dog"}
                points.append(point("way", "line", checkpoint, layer, number, **more))
    pixels = np.arange(12, dtype=np.uint8).tobytes().hex()
    for metric, places in (("flat", TRIANGLE), ("way", [(0.0, np.nan), (1.0, np.nan)])):
        for letter, (x, y) in zip("abc", places, strict=False):
            row = {"metric": metric, "split": "train", "unit": 0, "anchor": letter, "sample_id": ord(letter)}
            row |= {"class": "cat" if letter == "a" else "dog", "x": x, "y": y, "channels": 3, "height": 2, "width": 2}
            anchors.append(row | {"pixels": pixels})
    for name, found in (("pullback", rows), ("pullback_points", points), ("pullback_anchors", anchors)):
        write_table(found, made / "tables", name)
    return made


def view(folder: Path, metric: str) -> View:
    return View(load_run(folder), metric)


def images(figure: Any) -> list[np.ndarray]:
    return [np.ma.filled(image.get_array(), np.nan) for axes in figure.axes for image in axes.get_images()]


def test_a_plane_is_drawn_as_it_lies(folder: Path) -> None:
    """Left is small x, below is small y."""
    frame = view(folder, "flat").drawn(view(folder, "flat").checkpoints[-1], "stage1")
    grid, extent = as_grid(frame, "curvature")
    side = np.linspace(-1, 1, 7)
    np.testing.assert_allclose(grid, 100.0 * side[None, :] * side[:, None], atol=1e-9)
    assert extent == pytest.approx((-1 - 1 / 6, 1 + 1 / 6, -1 - 1 / 6, 1 + 1 / 6))
    shuffled, _ = as_grid(frame.sample(frac=1.0, random_state=0), "curvature")
    np.testing.assert_array_equal(grid, shuffled)


def test_checkpoints_share_the_colours_of_a_layer(folder: Path) -> None:
    with styled():
        figure = volume_sheet(view(folder, "flat"))
    shown = [axes for axes in figure.axes if axes.get_images() and axes.get_visible()]
    by_limits: dict[tuple[float, float], int] = {}
    for axes in shown:
        image: Any = axes.get_images()[0]
        if image.get_array().shape[:2] == (7, 7) and image.get_cmap().name == "viridis":
            by_limits[image.get_clim()] = by_limits.get(image.get_clim(), 0) + 1
    assert sorted(by_limits.values()) == [3, 3], "three checkpoints each of two layers"


def test_a_plane_too_coarse_for_a_point_between_its_anchors_is_drawn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = View.drawn
    monkeypatch.setattr(View, "drawn", lambda *where: whole(*where).assign(inside=0))
    with styled():
        figure = relative_sheet(view(folder, "flat"))
    limits = np.array([axes.get_images()[0].get_clim() for axes in figure.axes if axes.get_images()], float)
    assert len(limits) >= 6, "a map a layer and checkpoint"
    assert np.isfinite(limits).all()
    assert (limits[:, 0] < limits[:, 1]).all()


def test_curvature_has_a_scale_that_is_symmetric_about_zero(folder: Path) -> None:
    with styled():
        figure = curvature_sheet(view(folder, "flat"))
    assert figure is not None
    norms: list[Any] = [image.norm for axes in figure.axes for image in axes.get_images()]
    maps = [norm for norm in norms if type(norm).__name__ == "SymLogNorm"]
    assert maps
    assert all(norm.vmin == -norm.vmax for norm in maps)
    assert float(maps[0](0.0)) == pytest.approx(0.5)


def test_without_curvature_there_is_no_such_sheet(folder: Path) -> None:
    names = [plot.name for plot in pullback_plots(load_run(folder))]
    assert names == [
        *("flat_maps", "flat_relative", "flat_curvature", "flat_boundary", "flat_histograms"),
        *("way_line", "way_boundary", "way_histograms"),
    ]


def test_a_line_is_the_table_over_the_classes_that_are_predicted(folder: Path) -> None:
    with styled():
        figure = line_sheet(view(folder, "way"))
    drawn: list[Any] = [axes.lines[0].get_ydata() for axes in figure.axes if axes.lines]
    assert len(drawn) == 6
    t = np.linspace(0, 1, 11)
    np.testing.assert_allclose(drawn[-1], [volume_of(x, 1, 20) for x in t])
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels == ["cat", "dog"]


def test_intervals_are_those_of_the_table(folder: Path) -> None:
    with styled():
        figure = contrast_figure(view(folder, "way"))
    (axes,) = figure.axes
    collections: Any = axes.collections
    spans = [segment[:, 1] for collection in collections for segment in collection.get_segments()]
    assert len(spans) == 6
    np.testing.assert_allclose(spans, np.tile([1.062, 1.15], (6, 1)))


def test_all_of_them_are_among_the_plots_of_the_run(folder: Path) -> None:
    names = [plot.name for plot in plots(load_run(folder))]
    assert "flat_maps" in names
    assert "way_line" in names


def test_titles_say_what_was_found(folder: Path, make_run: MakeRun) -> None:
    assert finding(view(folder, "way")) == (
        "Magnified near decision boundaries at last (epoch 20) (way): each of 5 directions 1.105 times as much in "
        "stage1 (95 % 1.062 to 1.150); magnified in 2, shrunk in 0 of 2 layers; also without the trend along the way "
        "(r = 0.3)"
    )
    told = {}
    row: Any = {"gain": np.nan, "gain_p": np.nan}
    around: Any = {"local_r": 0.3, "local_p": 0.2}
    assert followed(around) == "not more where the boundary is than around it"
    assert learned(row) == ""
    assert learned(row | {"gain": 0.3, "gain_p": 0.2}) == "not clearly more or less than at the same points before"
    assert learned(row | {"gain": 0.3, "gain_p": 0.01}) == "more than at the same points before"
    assert learned(row | {"gain": -0.3, "gain_p": 0.01}) == "less than at the same points before"
    cases: dict[str, dict[str, Any]] = {
        "none": {"p": 0.4},
        "one": {"p": np.nan, "n_units": 1, "reason": "one unit"},
        "less": {"difference": -0.5, "ratio": 0.9, "ratio_low": 0.87, "ratio_high": 0.94},
        "few": {"n_units": 3},
        "empty": {"difference": np.nan, "p": np.nan, "reason": "no unit"},
    }
    for name, changes in cases.items():
        made = make_run(name, layers=list(LAYERS), stages=None, splits=["test"])
        rows = [summary("way", "line", ("last", 100), layer, **changes) for layer in range(2)]
        points = [point("way", "line", ("last", 100), layer, 0, x=0.0, y=np.nan) for layer in range(2)]
        write_table(rows, made / "tables", "pullback")
        write_table(points, made / "tables", "pullback_points")
        told[name] = finding(view(made, "way"))
    assert told["none"].startswith("No clear difference near decision boundaries")
    assert told["one"].startswith("Not tested near decision boundaries")
    assert told["less"].startswith("Shrunk near decision boundaries")
    assert told["few"].startswith("Near decision boundaries at last")
    assert "from only 3 lines: each of 5 directions 1.105 times" in told["few"]
    assert told["empty"] == "No decision boundary is met (way)"


def test_many_checkpoints_are_thinned_out_and_keep_both_ends(make_run: MakeRun) -> None:
    checkpoints = [*((f"epoch_{epoch:04d}", epoch) for epoch in range(0, 90, 10)), ("last", 100)]
    made = make_run(layers=list(LAYERS), stages=None, splits=["test"], checkpoints=checkpoints)
    write_table(
        [summary("way", "line", c, layer) for c in checkpoints for layer in (0, 1)], made / "tables", "pullback"
    )
    write_table(
        [point("way", "line", c, 0, 0, x=0.1, y=np.nan) for c in checkpoints], made / "tables", "pullback_points"
    )
    shown = view(made, "way").shown
    assert len(shown) == MOST_ROWS
    assert (shown[0].epoch, shown[-1].epoch) == (0, 100)


def test_a_picture_is_what_was_written_and_nothing_else_is_read_as_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    np.testing.assert_array_equal(picture(image.tobytes().hex(), 3, 4, 5), np.moveaxis(image, 0, 2))
    assert picture(image[:1].tobytes().hex(), 1, 4, 5).shape == (4, 5, 1)
    assert picture("zz", 3, 4, 5).shape == (1, 1, 1)
    assert picture("00", 3, 4, 5).shape == (1, 1, 1)


def texts(figure: Any) -> list[str]:
    return [text for axes in figure.axes for text in (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) if text]


def test_pictures_say_over_how_many_directions_and_where_they_lie(folder: Path) -> None:
    with styled():
        line, flat = line_sheet(view(folder, "way")), volume_sheet(view(folder, "flat"))
        ratios = contrast_figure(view(folder, "way")).axes[0]
    assert "stage1\nover 5 directions" in texts(line)
    assert "t (cat → dog)" in texts(line)
    assert "log10 √det g\nstage1\nover 5 directions" in texts(flat)
    assert "entropy (base 10)" in texts(flat)
    assert [label.get_text() for label in ratios.get_xticklabels()] == ["stage1\n5 directions", "stage2\n5 directions"]
    outer = [axes for axes in flat.axes if axes.get_xlabel() == "x"]
    assert len(outer) == 4, "prediction, entropy and two layers"
    assert "epoch 0\ny" in texts(flat)


def test_the_title_above_pictures_is_within_the_sheet(folder: Path) -> None:
    with styled():
        figure = line_sheet(view(folder, "way"))
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)  # once, as for the files
        figure.set_layout_engine("none")
        figure.draw_without_rendering()
    tops = [axes.title.get_window_extent().y1 for axes in figure.axes if axes.get_title()]
    assert len(tops) == 2
    assert max(tops) <= figure.bbox.y1
    assert tops[0] == pytest.approx(tops[1]), "beside each other"


def test_what_is_not_comparable_is_in_the_captions(make_run: MakeRun) -> None:
    checkpoints = [("epoch_0000", 0), ("last", 20)]
    made = make_run(layers=list(LAYERS), stages=None, splits=["test"], checkpoints=checkpoints)
    why = "only 22 of 400 directions are above the rounding error of float32: ..."
    rows = [
        summary(
            "way", "line", c, layer, directions=float((28, 22)[number] if layer else 5), reason=why if layer else ""
        )
        for number, c in enumerate(checkpoints)
        for layer in (0, 1)
    ]
    points = [
        point("way", "line", c, layer, number, x=0.1 * number, y=np.nan, log10_volume=(np.nan, 1.0)[number > 0])
        for c in checkpoints
        for layer in (0, 1)
        for number in range(5)
    ]
    write_table(rows, made / "tables", "pullback")
    write_table(points, made / "tables", "pullback_points")
    seen = view(made, "way")
    assert (seen.over("stage1"), seen.over("stage2"), seen.over()) == (
        "5 directions",
        "22 to 28 directions",
        "5 to 28 directions",
    )
    captions = {plot.name: plot.caption for plot in pullback_plots(load_run(made))}
    for name in ("way_line", "way_boundary"):
        assert "In stage2 checkpoints differ in the number of directions" in captions[name]
        assert "In stage2 the rounding error decides" in captions[name]
    assert "4 of 20 points have fewer directions and no volume: lines stop" in captions["way_line"]


def test_plain_runs_have_no_remarks(folder: Path) -> None:
    assert view(folder, "way").remarks == ""


def test_ratios_near_one_are_told_from_one() -> None:
    assert [ratio_text(value) for value in (1.004, 1.05, 0.99, 2.7, 13.4, 0.04)] == [
        "1.004",
        "1.050",
        "0.990",
        "2.70",
        "13.4",
        "0.04",
    ]


def test_the_report_defines_the_columns(folder: Path, make_run: MakeRun) -> None:
    columns = set(TABLES["pullback"].columns)
    assert {name for names in pullback_terms(True).values() for name in names} <= columns
    page = report_html(load_run(folder), "run", [], [])
    for label in ("log volume", "near and far", "ratio", "gain", "local r"):
        assert f"<dt>{label} (" in page
    assert "scalar curvature (" not in page, "it was not asked for"
    other = report_html(load_run(make_run("other", layers=list(LAYERS), stages=None, splits=["test"])), "run", [], [])
    assert "local r" not in other
