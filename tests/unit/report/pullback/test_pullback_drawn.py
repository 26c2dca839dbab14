"""What the pictures of pullback metrics show, artist by artist, against the numbers that they are made of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from rra_cli.pullback.inputs import TRIANGLE, plane
from rra_cli.report.pullback.lines import contrast_figure, histogram_sheet, line_sheet
from rra_cli.report.pullback.maps import relative_sheet, volume_sheet
from rra_cli.report.pullback.plots import finding
from rra_cli.report.pullback.view import View
from rra_cli.report.series import Checkpoint
from rra_cli.report.style import COLOURS

FIRST, LAST = Checkpoint("epoch_0000", 0), Checkpoint("last", 20)
T = np.array([0.0, 0.2, 0.6, 1.0])
BLACK, WHITE = np.zeros((3, 2, 2), np.uint8), np.full((3, 2, 2), 255, np.uint8)


def made(at: str, rows: list[dict[str, Any]], points: list[pd.DataFrame], anchors: list[dict[str, Any]]) -> View:
    """A view of tables made here; rows and points are of one layer and checkpoint each, in any order."""
    summary = pd.DataFrame(rows).assign(metric="m", at=at, reason="")
    everything = pd.concat(points, ignore_index=True).assign(metric="m", curvature=np.nan)
    tables = SimpleNamespace(
        pullback=summary,
        pullback_points=everything,
        pullback_anchors=pd.DataFrame(anchors).assign(metric="m", unit=0) if anchors else None,
    )
    run: Any = SimpleNamespace(tables=tables, checkpoints=(FIRST, LAST))
    return View(run, "m")


def row(checkpoint: Checkpoint, index: int = 0, **changes: Any) -> dict[str, Any]:
    found = {"checkpoint": checkpoint.label, "layer": f"layer{index}", "index": index, "directions": 5.0, "n_units": 20}
    found |= {"difference": 0.5, "p": 0.01, "ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.4, "gain": np.nan}
    return found | {"gain_p": np.nan, "local_r": np.nan, "local_p": np.nan} | changes


def points(checkpoint: Checkpoint, unit: int = 0, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"entropy": 0.0, "margin": 1.0, "side": "", "inside": 1, "y": np.nan, **columns})
    return frame.assign(checkpoint=checkpoint.label, layer="layer0", unit=unit, point=np.arange(len(frame)))


def anchor(letter: str, label: str, x: float, y: float, pixels: np.ndarray | None = None) -> dict[str, Any]:
    found = {"anchor": letter, "class": label, "x": x, "y": y, "channels": 3, "height": 2, "width": 2}
    return found | {"pixels": "" if pixels is None else pixels.tobytes().hex()}


# Lines


@pytest.fixture(scope="module")
def line() -> View:
    """Two checkpoints of two lines, of which the first is drawn: more dogs than cats between a cat and a dog."""
    frames = []
    for checkpoint, volume in ((FIRST, [0.0, 1.0, 1.0, 0.0]), (LAST, [10.0, 12.0, 13.0, 11.0])):
        frames.append(points(checkpoint, 1, x=T, prediction="frog", log10_volume=99.0))
        frames.append(points(checkpoint, x=T, prediction=["cat", "dog", "dog", "dog"], log10_volume=volume))
    ends = [anchor("b", "dog", 1.0, np.nan, WHITE), anchor("a", "cat", 0.0, np.nan, BLACK)]
    return made("line", [row(FIRST), row(LAST)], frames, ends)


def test_each_class_has_its_colour_as_far_as_it_is_predicted(line: View) -> None:
    """Regions meet in the middle between two points; the colours go by the anchors first."""
    assert line.colours == {"cat": COLOURS[0], "dog": COLOURS[1]}
    figure: Any = line_sheet(line)
    boxes = [patch for patch in figure.axes[0].patches if patch.get_alpha()]
    spans = [(patch.get_extents().transformed(figure.axes[0].transData.inverted()), patch) for patch in boxes]
    np.testing.assert_allclose([(box.x0, box.x1) for box, _ in spans], [(0, 0.1), (0.1, 0.4), (0.4, 0.8), (0.8, 1)])
    colours = [to_hex(patch.get_facecolor()).upper() for _, patch in spans]
    assert colours == [COLOURS[0], *[COLOURS[1]] * 3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog"], "the other line's are not"


def test_lines_of_a_layer_have_one_scale_and_each_its_own_middle(line: View) -> None:
    figure: Any = line_sheet(line)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [0, 1, 1, 0])
    spans = np.array([axes.get_ylim() for axes in figure.axes])
    np.testing.assert_allclose(spans.mean(axis=1), [0.5, 11.5])
    np.testing.assert_allclose(np.diff(spans, axis=1), 1.15 * 3)


def test_the_pictures_of_the_ends_are_above_their_ends(line: View) -> None:
    figure: Any = line_sheet(line)
    boxes = [artist for artist in figure.axes[0].artists if hasattr(artist, "offsetbox")]
    found = {box.xy: float(np.mean(box.offsetbox.get_data())) for box in boxes}
    assert found == {(0.0, 1.0): 0.0, (1.0, 1.0): 255.0}


def test_ratios_are_drawn_within_their_intervals_checkpoint_by_checkpoint(line: View) -> None:
    rows = [row(FIRST, ratio=0.9, ratio_low=0.8, ratio_high=1.0), row(LAST)]
    figure: Any = contrast_figure(made("line", rows, [line.points], []))
    (axes,) = figure.axes
    drawn = [curve for curve in axes.lines if curve.get_marker() not in ("None", None)]
    assert [curve.get_ydata()[0] for curve in drawn] == [0.9, 1.2]
    assert drawn[0].get_xdata()[0] < drawn[1].get_xdata()[0], "the first at the left"
    bars = [collection.get_segments()[0] for collection in axes.collections]
    for curve, bar, (low, high) in zip(drawn, bars, ((0.8, 1.0), (1.1, 1.4)), strict=True):
        np.testing.assert_allclose(bar, [(curve.get_xdata()[0], low), (curve.get_xdata()[0], high)])


def test_histograms_are_about_the_mean_of_each_line_and_tell_near_from_far(line: View) -> None:
    """Two lines a hundred apart; near points lie 1 above their line's mean, far ones 1 below."""
    frames = [
        points(LAST, unit, x=T, prediction="cat", side=["near", "far", "near", "far"], log10_volume=mean + offsets)
        for unit, mean in enumerate((0.0, 100.0))
        for offsets in [np.array([1.0, -1.0, 1.0, -1.0])]
    ]
    figure: Any = histogram_sheet(made("line", [row(LAST)], frames, []))
    assert figure is not None
    (axes,) = figure.axes
    seen = {}
    for patch in axes.patches:
        corners = patch.get_xy()
        full = corners[corners[:, 1] > 0, 0]
        seen[to_hex(patch.get_edgecolor()).upper()] = (full.min(), full.max())
    entries = {
        text.get_text(): to_hex(handle.get_color()).upper()
        for text, handle in zip(figure.legends[0].get_texts(), figure.legends[0].legend_handles, strict=True)
    }
    assert seen[entries["near"]] == pytest.approx((1.0, 1.0), abs=0.1)
    assert seen[entries["far"]] == pytest.approx((-1.0, -1.0), abs=0.1)
    assert histogram_sheet(line) is None, "no point of theirs is near or far"


# Planes


@pytest.fixture(scope="module")
def surface() -> View:
    """7 x 7 points, cats at the left and dogs at the right; every column of the table is a function of its own."""
    section = plane(7)
    x, y = section.coordinates.T
    columns = {"x": x, "y": y, "inside": section.inside.astype(int), "prediction": np.where(x < 0.1, "cat", "dog")}
    columns |= {"entropy": 0.1 + x * x, "margin": 0.5 + x / 4, "log10_volume": 20.0 + 3 * x + 7 * y}
    corners = [anchor(letter, "cat", *corner) for letter, corner in zip("abc", TRIANGLE, strict=True)]
    return made("plane", [row(LAST)], [points(LAST, **columns)], corners)


def pictures(figure: Any) -> list[Any]:
    return [axes.get_images()[0] for axes in figure.axes if axes.get_images() and axes.get_visible()]


def test_maps_are_those_of_their_titles(surface: View) -> None:
    side = np.linspace(-1, 1, 7)
    prediction, entropy, volume = pictures(volume_sheet(surface))
    np.testing.assert_allclose(entropy.get_array(), np.tile(0.1 + side**2, (7, 1)))
    np.testing.assert_allclose(volume.get_array(), 20 + 3 * side + 7 * side[:, None])
    shown = prediction.cmap(prediction.norm(prediction.get_array()))
    for place, name in ((0, "cat"), (6, "dog")):
        assert {to_hex(colour).upper() for colour in shown[:, place]} == {surface.colours[name]}


def test_relative_maps_are_about_the_mean_between_the_anchors_and_a_direction(surface: View) -> None:
    section = plane(7)
    volume = 20 + section.coordinates @ (3, 7)
    expected = (volume - volume[section.inside].mean()) / 5.0
    assert abs(volume[section.inside].mean() - volume.mean()) > 0.5, "the control"
    (image,) = pictures(relative_sheet(surface))
    np.testing.assert_allclose(image.get_array().ravel(), expected)
    low, high = image.get_clim()
    assert low == -high


def test_the_triangle_and_the_boundary_lie_where_they_are(surface: View) -> None:
    figure: Any = relative_sheet(surface)
    (axes,) = [axes for axes in figure.axes if axes.get_images() and len(axes.lines)]
    (dashed,) = axes.lines
    np.testing.assert_allclose(np.transpose(dashed.get_data()), TRIANGLE[[0, 1, 2, 0]])
    (contour,) = axes.collections
    corners = np.concatenate([path.vertices for path in contour.get_paths()])
    np.testing.assert_allclose(corners[:, 0], 1 / 6, atol=1e-9)  # between the columns at 0 and 1/3
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((-1, 1))


# Words


def test_the_title_is_about_the_layer_where_it_is_clearest() -> None:
    rows = [row(LAST, 0, p=0.01), row(LAST, 1, p=1e-6, difference=-0.5, ratio=0.8, ratio_low=0.7, ratio_high=0.9)]
    rows.append(row(LAST, 2, p=0.3, ratio=3.0))
    said = finding(made("line", rows, [points(LAST, x=T, prediction="cat", log10_volume=0.0)], []))
    assert said == (
        "Shrunk near decision boundaries at last (epoch 20) (m): each of 5 directions 0.800 times as much in layer1 "
        "(95 % 0.700 to 0.900); magnified in 1, shrunk in 1 of 3 layers"
    )
    few = finding(made("line", [row(LAST, n_units=5)], [points(LAST, x=T, prediction="cat", log10_volume=0.0)], []))
    assert few.startswith("Magnified"), "five units are enough, four are few"
    few = finding(made("line", [row(LAST, n_units=4)], [points(LAST, x=T, prediction="cat", log10_volume=0.0)], []))
    assert "from only 4 lines" in few
