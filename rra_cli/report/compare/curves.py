"""Curves of groups with bands: along the layers, over epochs, over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.compare.axes import (
    DOTTED,
    LEGEND_ROW_INCHES,
    PANEL_INCHES,
    add_legend,
    layer_axis,
    possible,
    relative_depth,
    shown_range,
    value_axis,
)
from rra_cli.report.compare.view import Line, View
from rra_cli.report.glossary import Term
from rra_cli.report.layer_axis import LONGEST_NAME, plain
from rra_cli.report.style import DASHES, figure, legend_line, line_style, shorten
from rra_cli.report.training_curves import PANELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the way through the network: what changes early, in the middle and at the end.
_DEPTHS = (1 / 3, 2 / 3, 1.0)


def layers_figure(view: View, metric: str, pool: str, scale: int, transfer: str = "") -> Figure | None:
    """The metric along the layers at the main checkpoint: a panel a split, a line a group.

    Groups with other layers than the first are drawn by relative depth, each kind of network with its names.
    """
    splits = view.splits(view.frames["layers"])
    panels = {split: view.layers(metric, split, pool, scale, transfer) for split in splits}
    panels = {split: lines for split, lines in panels.items() if lines}
    if not panels:
        return None
    lines = [line for found in panels.values() for line in found]
    kinds = list(dict.fromkeys(line.names for line in lines))
    made, axes = figure(1.0, rows=len(panels), sharex=True, sharey=True)
    for place, (split, found) in zip(axes, panels.items(), strict=True):
        for line in found:
            at = np.arange(len(line.mean)) if len(kinds) == 1 else relative_depth(line)
            draw_line(place, view, line, at, few=len(line.mean) <= 30, term=view.term(metric))
        _chance(place, found)
        value_axis(place, view.term(metric), lines)
        if len(panels) > 1:
            place.set_title(split, loc="right", pad=2)
    room = layer_axis(axes, kinds)
    _finish(made, view, lines, len(panels), room)
    return made


def epochs_figure(view: View, metric: str, split: str, pool: str, scale: int) -> Figure | None:
    """The metric over the epochs of the measured checkpoints at three depths of the network; None below three."""
    panels = [(depth, view.epochs(metric, split, pool, scale, depth)) for depth in _DEPTHS]
    if not any(len(line.mean) > 2 for _, lines in panels for line in lines):
        return None
    made, axes = figure(1.0, rows=len(panels), sharex=True, sharey=True)
    every = [line for _, lines in panels for line in lines]
    for place, (_, lines) in zip(axes, panels, strict=True):
        for line in lines:
            draw_line(place, view, line, line.position, few=len(line.mean) <= 30, term=view.term(metric))
        _chance(place, lines)
        value_axis(place, view.term(metric), every)
        names = dict.fromkeys(name for line in lines for name in line.names)
        place.set_title(plain(", ".join(shorten(name, LONGEST_NAME) for name in names)), loc="right", pad=2)
    _epoch_axis(axes[-1])
    _finish(made, view, every, len(panels), 0.25)
    return made


def training_figure(view: View) -> Figure | None:
    """What was logged over the epochs: colours are groups, dashes the figures that share a panel."""
    rows = view.frames["training"]
    shown = [panel for panel in PANELS if rows["metric"].isin(list(panel.columns)).any()]
    if not shown:
        return None
    made, axes = figure(1.0, rows=len(shown), sharex=True)
    dashes: dict[str, Any] = {}
    drawn: list[Line] = []
    for place, panel in zip(axes, shown, strict=True):
        own_rows = rows[rows["metric"].isin(list(panel.columns))]
        positive = not bool((own_rows["mean"] < 0).any())  # a loss that is a cosine lies below 0
        bounds = Term("", low=0.0 if positive else None, high=None if panel.top is None else 1.0)
        first = len(drawn)
        for column, name in panel.columns.items():
            of_column = rows[rows["metric"] == column]
            for group in view.groups:
                own = of_column[of_column["group"] == group]
                if not len(own):
                    continue
                dashes.setdefault(name, DASHES[len(dashes) % len(DASHES)])
                line = view.line(group, own, "epoch", "metric")
                draw_line(place, view, line, line.position, few=False, dashes=dashes[name], term=bounds)
                drawn.append(line)
        place.set_ylabel(panel.label)
        place.grid(axis="y", color="0.88", linewidth=0.5)
        if positive and panel.top is not None:
            place.set_ylim(0.0, panel.top)
        elif ends := shown_range(drawn[first:]):
            place.set_ylim(0.0 if positive else ends[0], ends[1])
    _epoch_axis(axes[-1])
    extra = [legend_line(name, color="0.2", linestyle=dash) for name, dash in dashes.items()]
    _finish(made, view, drawn, len(shown), 0.25, extra, markers=False)
    return made


def draw_line(
    axes: Axes, view: View, line: Line, at: Any, *, few: bool, dashes: Any = None, term: Term | None = None
) -> None:
    """The mean, and the band around it where there is one, as far as the metric (term) has values."""
    style = line_style(view.groups.index(line.group), 0, False)
    keywords = style.keywords() | ({} if few else {"marker": "", "markersize": 0})
    axes.plot(at, line.mean, **(keywords | ({"linestyle": dashes} if dashes is not None else {})), zorder=3, gid="mean")
    if np.isfinite(line.low).any():
        low, high = possible(line, term or Term(""))
        axes.fill_between(at, low, high, color=style.colour, alpha=0.2, linewidth=0, zorder=2, gid="band")


def _chance(axes: Axes, lines: Sequence[Line]) -> None:
    levels = [line.chance[np.isfinite(line.chance)] for line in lines]
    for level in sorted({round(float(found.mean()), 4) for found in levels if len(found)}):
        axes.axhline(level, **DOTTED, zorder=1, gid="chance")


def _epoch_axis(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _finish(
    made: Figure,
    view: View,
    lines: Sequence[Line],
    panels: int,
    room: float,
    extra: Sequence[Any] = (),
    *,
    markers: bool = True,
) -> None:
    """Legend of the groups that are drawn, and a height that leaves the panels theirs."""
    handles = []
    for number, group in enumerate(view.groups):
        if any(line.group == group for line in lines):
            keywords = line_style(number, 0, False).keywords() | ({} if markers else {"marker": ""})
            handles.append(legend_line(plain(group), **keywords))
    if any(np.isfinite(line.chance).any() for line in lines):
        handles.append(legend_line("chance level", **DOTTED))
    rows = add_legend(made, [*handles, *extra])
    height = PANEL_INCHES * panels * (1.0 if panels == 1 else 0.85)
    made.set_figheight(height + room + LEGEND_ROW_INCHES * rows + 0.3)
