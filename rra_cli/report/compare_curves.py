"""Curves of groups with bands: along the layers, over epochs, over training, and the self-layer diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.compare_view import Line, View
from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.layer_axis import LONGEST_NAME, layer_ticks, names_inches, plain
from rra_cli.report.style import DASHES, figure, legend_line, line_style, shorten, text_points
from rra_cli.report.training_curves import PANELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES = 1.45
_LEGEND_ROW_INCHES = 0.145
_LEGEND_POINTS = 215.0
_DOTTED: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": (0, (1, 1))}
# Of the way through the network: what changes early, in the middle and at the end.
_DEPTHS = (1 / 3, 2 / 3, 1.0)
# More than this many kinds of networks: their layers' names no longer fit below one axis.
_MOST_NAMED = 3
# Comparisons of different groups in one plot.
_MOST_BETWEEN = 3


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
            at = np.arange(len(line.mean)) if len(kinds) == 1 else _depth(line)
            draw_line(place, view, line, at, few=len(line.mean) <= 30)
        _chance(place, found)
        _axis(place, view.term(metric), lines)
        if len(panels) > 1:
            place.set_title(split, loc="right", pad=2)
    room = _layer_axis(axes, kinds)
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
            draw_line(place, view, line, line.position, few=len(line.mean) <= 30)
        _chance(place, lines)
        _axis(place, view.term(metric), every)
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
    drawn = []
    for place, panel in zip(axes, shown, strict=True):
        for column, name in panel.columns.items():
            of_column = rows[rows["metric"] == column]
            for group in view.groups:
                own = of_column[of_column["group"] == group]
                if not len(own):
                    continue
                dashes.setdefault(name, DASHES[len(dashes) % len(DASHES)])
                line = view.line(group, own, "epoch", "metric")
                draw_line(place, view, line, line.position, few=False, dashes=dashes[name])
                drawn.append(line)
        place.set_ylabel(panel.label)
        place.grid(axis="y", color="0.88", linewidth=0.5)
        if all(float(np.nanmin(line.mean)) >= 0 for line in drawn):
            place.set_ylim(0.0, panel.top)
    _epoch_axis(axes[-1])
    extra = [legend_line(name, color="0.2", linestyle=dash) for name, dash in dashes.items()]
    _finish(made, view, drawn, len(shown), 0.25, extra, markers=False)
    return made


def diagonal_figure(view: View, rows: pd.DataFrame, differences: pd.DataFrame) -> Figure | None:
    """Every layer with itself in other models: a line a comparison; below, differences of groups if there are.

    More than `_MOST_BETWEEN` comparisons of different groups, or differences, are left to the tables.
    """
    if rows.empty:
        return None
    within, between = (rows[(rows["kind"] == "within") == kind] for kind in (True, False))
    groups = {label: number for number, label in enumerate(view.groups)}
    lines = _diagonals(view, within, ["group_a"])
    crossed = _diagonals(view, between, ["group_a", "group_b"])
    related = _diagonals(view, _within(differences), ["comparison_a", "comparison_b"], "difference")
    lines |= crossed if len(crossed) <= _MOST_BETWEEN or not lines else {}
    related = related if len(related) <= _MOST_BETWEEN else {}
    kinds = list(dict.fromkeys(line.names for key, line in lines.items() if len(key) == 1 or not len(within)))
    letters = _letters(view.groups)
    made, axes = figure(1.0, rows=1 + bool(related), sharex=True)
    handles = []
    for number, (key, line) in enumerate([*lines.items(), *related.items()]):
        style = line_style(groups[key[0]] if len(key) == 1 else len(groups) + number, 0, False)
        place, sign = (axes[0], "×") if number < len(lines) else (axes[1], "−")
        at = np.arange(len(line.mean)) if len(kinds) == 1 and line.names == kinds[0] else _depth(line)
        place.plot(at, line.mean, **style.keywords(), zorder=3, gid="mean")
        if np.isfinite(line.low).any():
            place.fill_between(at, line.low, line.high, color=style.colour, alpha=0.2, linewidth=0, zorder=2)
        named = [letters[group] for group in key]
        label = f" {sign} ".join(name or group for name, group in zip(named, key, strict=True))
        handles.append(
            legend_line(plain(f"{label}: {key[0]}" if len(key) == 1 and named[0] else label), **style.keywords())
        )
    _axis(axes[0], LAYER_SIMILARITY, [])
    for level in rows["chance"].dropna().unique()[:1]:
        axes[0].axhline(float(level), **_DOTTED, zorder=1, gid="chance")
        handles.insert(len(lines), legend_line("chance level", **_DOTTED))
    if related:
        axes[1].axhline(0.0, color="0.3", linewidth=0.7, zorder=1)
        axes[1].set_ylabel("difference")
        axes[1].grid(axis="y", color="0.88", linewidth=0.5)
    room = _layer_axis(axes, kinds)
    height = _PANEL_INCHES * len(axes) + room
    made.set_figheight(height + _LEGEND_ROW_INCHES * _legend(made, handles) + 0.3)
    return made


def _diagonals(view: View, rows: pd.DataFrame, keys: list[str], value: str = "mean") -> dict[tuple[str, ...], Line]:
    """A line for each of the comparisons in a table."""
    found = {}
    for key, own in rows.groupby(keys, sort=False):
        own = own.sort_values("index", kind="stable")
        line = view.line(str(key[0]), own, "depth", "layer", value)
        found[tuple(map(str, key))] = line
    return found


def _within(differences: pd.DataFrame) -> pd.DataFrame:
    """Those of one group with another, each within itself: the others are in the table."""
    if differences.empty:
        return differences
    between = differences["comparison_a"].str.contains(" × ") | differences["comparison_b"].str.contains(" × ")
    return differences[~between]


def _letters(groups: Sequence[str]) -> dict[str, str]:
    """Short names of the groups, where two of their labels would not fit into a line of the legend; else ""."""
    widest = sum(sorted(text_points(plain(group), 6.5) for group in groups)[-2:])
    short = [chr(ord("A") + at) if at < 26 else f"G{at}" for at in range(len(groups))]
    return dict(zip(groups, short if widest > _LEGEND_POINTS - 28 else [""] * len(groups), strict=True))


def draw_line(axes: Axes, view: View, line: Line, at: Any, *, few: bool, dashes: Any = None) -> None:
    """The mean, and the band around it where there is one."""
    style = line_style(view.groups.index(line.group), 0, False)
    keywords = style.keywords() | ({} if few else {"marker": "", "markersize": 0})
    axes.plot(at, line.mean, **(keywords | ({"linestyle": dashes} if dashes is not None else {})), zorder=3, gid="mean")
    if np.isfinite(line.low).any():
        axes.fill_between(at, line.low, line.high, color=style.colour, alpha=0.2, linewidth=0, zorder=2, gid="band")


def _depth(line: Line) -> Any:
    """Positions, which may be numbers of layers, from 0 to 1."""
    return line.position / max(1.0, float(line.position.max()))


def _chance(axes: Axes, lines: Sequence[Line]) -> None:
    levels = [line.chance[np.isfinite(line.chance)] for line in lines]
    for level in sorted({round(float(found.mean()), 4) for found in levels if len(found)}):
        axes.axhline(level, **_DOTTED, zorder=1, gid="chance")


def _axis(axes: Axes, term: Term, lines: Sequence[Line]) -> None:
    """Label and range: the metric's own; where it is open, that of the means and of bands that are not too wide."""
    axes.set_ylabel(term.short or term.label)
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    if term.low is not None and term.high is not None:
        axes.set_ylim(term.low, term.high + 0.02 * (term.high - term.low))
        return
    means = np.concatenate([line.mean for line in lines]) if lines else np.empty(0)
    means = means[np.isfinite(means)]
    if not len(means):
        return
    # Two seeds give bands of twelve standard errors: they may leave the picture, the means may not.
    low, high = float(means.min()), float(means.max())
    reach = 0.6 * ((high - low) or abs(high) or 1.0)
    bands = np.concatenate([np.concatenate([line.low, line.high]) for line in lines])
    bands = np.clip(bands[np.isfinite(bands)], low - reach, high + reach)
    known = np.concatenate([means, bands])
    margin = 0.05 * ((float(known.max()) - float(known.min())) or 1.0)
    axes.set_ylim(max(term.low, float(known.min()) - margin) if term.low is not None else float(known.min()) - margin)
    axes.set_ylim(top=float(known.max()) + margin)


def _layer_axis(axes: Sequence[Axes], kinds: Sequence[tuple[str, ...]]) -> float:
    """Names along the axis; of several kinds of networks a row each, over the relative depth. Gives their inches."""
    last = axes[-1]
    for place in axes[:-1]:
        place.tick_params(axis="x", which="both", labelbottom=False)
    if len(kinds) == 1:
        last.set_xlim(-0.5, len(kinds[0]) - 0.5)
        layer_ticks(last, kinds[0])
        return names_inches(kinds[0])
    last.set_xlim(-0.04, 1.04)
    if len(kinds) > _MOST_NAMED:
        last.set_xlabel("relative depth")
        return 0.3
    last.set_xticks([])
    room = 0.0
    for names in kinds:
        axis = last.secondary_xaxis("bottom")
        axis.spines["bottom"].set_position(("outward", 72.0 * room))
        _depth_ticks(axis, names)
        room += names_inches(names, size=6.0) + 0.12
    axis.set_xlabel("relative depth", labelpad=2)
    return room + 0.12


def _depth_ticks(axis: Any, names: Sequence[str]) -> None:
    """Upright names at their relative depths, thinned out to what fits into a column."""
    step = max(1, -(-len(names) * 8 // 190))
    shown = sorted({*range(0, len(names), step), len(names) - 1})
    if len(shown) > 1 and shown[-1] - shown[-2] < step:
        del shown[-2]
    depth = max(1, len(names) - 1)
    labels = [plain(shorten(names[at], LONGEST_NAME)) for at in shown]
    axis.set_xticks([at / depth for at in shown], labels, rotation=90, fontsize=6.0)


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
        handles.append(legend_line("chance level", **_DOTTED))
    rows = _legend(made, [*handles, *extra])
    height = _PANEL_INCHES * panels * (1.0 if panels == 1 else 0.85)
    made.set_figheight(height + room + _LEGEND_ROW_INCHES * rows + 0.3)


def _legend(made: Figure, handles: Sequence[Any]) -> int:
    """Below the axes, as many columns as the longest label allows; gives its number of rows."""
    if len(handles) < 2:
        return 0
    widest = max(text_points(str(handle.get_label()), 6.5) for handle in handles) + 28
    columns = max(1, min(3, int(_LEGEND_POINTS // widest), len(handles)))
    made.legend(handles=list(handles), loc="outside lower center", ncols=columns, borderaxespad=0.1)
    return -(-len(handles) // columns)
