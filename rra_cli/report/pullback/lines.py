"""Lines through two samples, and near against far from decision boundaries over all units."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.pullback.view import View
from rra_cli.report.style import COLOURS, WIDTH, figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES = 1.6
_BINS = 30
_PICTURE_POINTS = 22.0  # the height of the pictures of both ends
_GAP_POINTS = 3.0


def line_sheet(view: View) -> Figure:
    """log10 sqrt(det g) along the line, a row a checkpoint and a column a layer, over the classes predicted there."""
    from matplotlib.patches import Patch

    made, axes = _sheet(len(view.shown), len(view.layers))
    pictures = any(anchor.picture is not None for anchor in view.anchors)
    # In points, which the layout keeps whatever it makes of the panels.
    pad = _PICTURE_POINTS + 2 * _GAP_POINTS if pictures else None
    made.set_figheight(made.get_figheight() + (pad or 0.0) / 72)
    for row, checkpoint in enumerate(view.shown):
        for column, layer in enumerate(view.layers):
            frame, each = view.drawn(checkpoint, layer), axes[row, column]
            t, predicted = frame["x"].to_numpy(float), frame["prediction"].to_numpy(object)
            edges = [0.0, *((a + b) / 2 for a, b in pairwise(t)), 1.0]
            for start, stop, name in zip(edges[:-1], edges[1:], predicted, strict=True):
                each.axvspan(start, stop, color=view.colours[name], alpha=0.3, linewidth=0, zorder=0)
            each.plot(t, frame["log10_volume"].to_numpy(float), color="black", linewidth=0.9)
            each.set_xlim(0.0, 1.0)
            if row == 0:
                each.set_title(f"{shorten(layer, 24)}\nover {view.over(layer)}", pad=pad)
        axes[row, 0].set_ylabel(f"{checkpoint.title}\nlog10 √det g")
    way = " → ".join(anchor.label for anchor in view.anchors)
    for column in range(len(view.layers)):
        _equal_spans(axes[:, column])
        axes[-1, column].set_xlabel(f"t ({way})" if way else "t")
    _ends(axes[0, 0], view)
    drawn = view.points[(view.points["unit"] == 0) & view.points["checkpoint"].isin([c.label for c in view.shown])]
    seen = set(drawn["prediction"])
    entries = [Patch(facecolor=view.colours[name], alpha=0.3, label=name) for name in view.colours if name in seen]
    made.legend(handles=entries, loc="outside lower center", ncols=5, title="predicted class")
    return made


def histogram_sheet(view: View) -> Figure | None:
    """Distributions of log10 volume near boundaries and far from them, each minus its unit's mean."""
    frame = view.points[view.points["side"] != ""]
    frame = frame[frame["log10_volume"].notna()]
    if frame.empty:
        return None
    made, axes = _sheet(len(view.shown), len(view.layers), sharex="col")
    for row, checkpoint in enumerate(view.shown):
        for column, layer in enumerate(view.layers):
            each, here = axes[row, column], view.all_points(checkpoint, layer)
            here = here[(here["inside"] == 1) & here["log10_volume"].notna()]
            means = here.groupby("unit")["log10_volume"].transform("mean")
            centred = (here["log10_volume"] - means).to_numpy(float)
            side = here["side"].to_numpy(object)
            low, high = (float(v) for v in np.percentile(centred, (0.5, 99.5))) if len(centred) else (0.0, 1.0)
            bins = np.linspace(low, high if high > low else low + 1.0, _BINS)
            for name, colour, dashes in (("far", COLOURS[0], "-"), ("near", COLOURS[1], "--")):
                values = centred[side == name]
                if len(values):
                    each.hist(values, bins, density=True, histtype="step", color=colour, linestyle=dashes)
            each.set_yticks([])
            if row == 0:
                each.set_title(f"{shorten(layer, 24)}\nover {view.over(layer)}")
        axes[row, 0].set_ylabel(checkpoint.title)
    for each in axes[-1]:
        each.set_xlabel("log10 √det g − mean", fontsize=6.5)
    entries = [legend_line("far", color=COLOURS[0]), legend_line("near", color=COLOURS[1], linestyle="--")]
    made.legend(handles=entries, loc="outside lower center", ncols=2)
    return made


def contrast_figure(view: View) -> Figure:
    """By how much more a direction is stretched near boundaries than far from them, by layer and checkpoint."""
    made, (axes,) = figure(1.9)
    at = np.arange(len(view.layers))
    shown = view.shown
    for number, checkpoint in enumerate(shown):
        rows = [view.row(checkpoint, layer) for layer in view.layers]
        value, low, high = (
            np.array([float(row[name]) for row in rows]) for name in ("ratio", "ratio_low", "ratio_high")
        )
        place = at + (number - (len(shown) - 1) / 2) * 0.08
        style = line_style(number, 0, False)
        axes.plot(place, value, **style.keywords())
        known = np.isfinite(low) & np.isfinite(high)
        axes.vlines(place[known], low[known], high[known], color=style.colour, linewidth=0.9)
    axes.axhline(1.0, color="0.45", linewidth=0.8, linestyle=(0, (1, 1)))
    axes.set_xticks(at, [f"{shorten(layer, 16)}\n{view.over(layer)}" for layer in view.layers])
    axes.set_xlim(-0.5, len(view.layers) - 0.5)
    axes.set_ylabel("stretch of a direction,\nnear / far")
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    entries = [legend_line(c.title, **line_style(number, 0, False).keywords()) for number, c in enumerate(shown)]
    made.legend(handles=entries, loc="outside lower center", ncols=3)
    return made


def _sheet(rows: int, columns: int, **keywords: Any) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    width = max(WIDTH, columns * _PANEL_INCHES + 0.5)
    made = Figure(figsize=(width, rows * 1.05 + 0.75), layout="constrained")
    return made, made.subplots(rows, columns, squeeze=False, **keywords)


def _equal_spans(column: Iterable[Axes]) -> None:
    """Axes of one scale, each around its own line: training moves a layer's volumes by more than they differ within."""
    panels = list(column)
    limits = [_extremes(each) for each in panels]
    span = 1.15 * max(high - low for low, high in limits) or 1.0
    for each, (low, high) in zip(panels, limits, strict=True):
        each.set_ylim((low + high - span) / 2, (low + high + span) / 2)


def _extremes(axes: Axes) -> tuple[float, float]:
    values = np.asarray(axes.lines[0].get_ydata(), np.float64)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _ends(axes: Axes, view: View) -> None:
    """The pictures of both ends, above the axes."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    for anchor, x in zip(view.anchors, (0.0, 1.0), strict=False):
        if anchor.picture is None:
            continue
        shown = np.broadcast_to(anchor.picture, (*anchor.picture.shape[:2], 3))
        image = OffsetImage(shown, zoom=_PICTURE_POINTS / len(shown), interpolation="nearest")
        place: Any = {"xy": (x, 1.0), "xycoords": "axes fraction", "box_alignment": (x, 0.0)}
        box = AnnotationBbox(
            image, xybox=(0.0, _GAP_POINTS), boxcoords="offset points", frameon=False, pad=0.0, **place
        )
        box.set_in_layout(False)
        axes.add_artist(box)
