"""Accuracies of groups as dots with intervals, and their differences to the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.compare.accuracy_text import (
    CLEAN,
    HELD,
    KNN,
    SHORT,
    TEST,
    accuracy_remarks,
    against_reference,
    told,
)
from rra_cli.report.compare.axes import LEGEND_ROW_INCHES, add_legend
from rra_cli.report.compare.view import View
from rra_cli.report.layer_axis import plain
from rra_cli.report.plot import Plot
from rra_cli.report.style import figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Those that are drawn, each with its colour and marker: not the augmented one, which is of another kind of samples.
_DRAWN = (TEST, CLEAN, KNN)
_ROW_INCHES = 0.2
_LINE_INCHES = 0.11  # of a label's further lines
_LONGEST = 30
_BESIDE = 0.2  # between the dots of a group, in groups


def accuracy_plots(view: View) -> Iterator[Plot]:
    """One plot; none where no group has an accuracy."""
    frame = view.frames["accuracies"]
    if not (frame["mean"].notna() & frame["metric"].isin(_DRAWN)).any():
        return
    bands = view.band_text.replace("Bands", "Horizontal lines").replace("bands", "intervals")
    below = ""
    tests = against_reference(view)
    if len(tests):
        ends = f", with {view.level:.0%} intervals" if tests["low"].notna().any() else ""
        below = f" Below: {HELD[told(view)]} minus that of {view.reference}{ends}."
    remarks = "".join(f" {remark}" for remark in accuracy_remarks(view))
    caption = f"After the last epoch, of samples that are not augmented. {bands}{below}{remarks}"
    yield Plot("accuracies", "Accuracies", caption, partial(accuracy_figure, view))


def accuracy_figure(view: View) -> Figure:
    """A row a group: accuracies above, differences to the reference below where there are any."""
    frame = view.frames["accuracies"]
    shown = [metric for metric in _DRAWN if (frame["mean"].notna() & (frame["metric"] == metric)).any()]
    tests = against_reference(view)
    made, axes = figure(1.0, rows=1 + bool(len(tests)))
    handles = []
    for number, metric in enumerate(shown):
        style = _style(metric)
        aside = (number - (len(shown) - 1) / 2) * _BESIDE
        rows = frame[frame["metric"] == metric].set_index("group").reindex(view.groups)
        _dots(axes[0], rows, "mean", view.band, aside, style, metric)
        handles.append(legend_line(SHORT[metric], **style))
    axes[0].set_xlabel("accuracy")
    names = list(view.groups)
    room = _group_axis(axes[0], names)
    if len(tests):
        others = [group for group in names if group != view.reference]
        _dots(
            axes[1],
            tests.set_index("group_a").reindex(others),
            "difference",
            "interval",
            0.0,
            _style(told(view)),
            "difference",
        )
        axes[1].axvline(0.0, color="0.3", linewidth=0.7, zorder=1, gid="zero")
        axes[1].set_xlabel(plain(f"{HELD[told(view)]} minus {shorten(view.reference, _LONGEST)}"))
        room += _group_axis(axes[1], others) + 0.4
        _heights(axes, [len(names), len(others)])
    made.set_figheight(room + LEGEND_ROW_INCHES * add_legend(made, handles) + 0.5)
    return made


def _style(metric: str) -> dict[str, Any]:
    """The same in every plot and panel."""
    return line_style(_DRAWN.index(metric), 0, False).keywords() | {"linestyle": "none"}


def _dots(
    axes: Axes, rows: pd.DataFrame, value: str, band: str, aside: float, style: dict[str, Any], name: str
) -> None:
    """A dot a row with its interval as a horizontal line, where it has one."""
    mean = rows[value].to_numpy(float)
    if band == "sd":
        low, high = mean - rows["sd"].to_numpy(float), mean + rows["sd"].to_numpy(float)
    else:
        low, high = rows["low"].to_numpy(float), rows["high"].to_numpy(float)
    # An interval of Student's t knows no bounds, accuracies do.
    least = -1.0 if value == "difference" else 0.0
    low, high = np.clip(low, least, 1.0), np.clip(high, least, 1.0)
    at, known = np.arange(len(rows)) + aside, np.isfinite(low) & np.isfinite(high)
    axes.plot(mean, at, **style, zorder=3, gid=name)
    axes.hlines(at[known], low[known], high[known], color=style["color"], linewidth=0.9, zorder=2, gid="interval")


def _group_axis(axes: Axes, groups: Sequence[str]) -> float:
    """Names from top to bottom, their settings below each other; gives the height that they need."""
    labels = [",\n".join(plain(shorten(part, _LONGEST)) for part in group.split(", ")) for group in groups]
    axes.set_yticks(range(len(groups)), labels)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(axis="x", color="0.88", linewidth=0.5)
    lines = max(label.count("\n") for label in labels) if labels else 0
    return len(groups) * (_ROW_INCHES + _LINE_INCHES * lines)


def _heights(axes: Sequence[Axes], rows: Sequence[int]) -> None:
    grid = axes[0].get_gridspec()
    if grid is not None:
        grid.set_height_ratios([count + 0.01 for count in rows])
