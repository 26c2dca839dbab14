"""Maps of inter-model similarity, and scatter plots of two columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.compare.view import View
from rra_cli.report.glossary import LAYER_SIMILARITY
from rra_cli.report.heatmaps import colour_bar, draw_map
from rra_cli.report.layer_axis import layer_ticks, names_inches, plain
from rra_cli.report.style import WIDTH, figure, legend_line, line_style, number, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR_INCHES = 0.55
_LONGEST_GROUP = 34


def matrix_figure(rows: pd.DataFrame, short: str = LAYER_SIMILARITY.short) -> Figure:
    """Mean and standard deviation over the pairs of models, layers of group a down and of group b across.

    rows: of nnls.csv or pairs.csv, of one metric (short: its name), kind, pair of groups and place.
    """
    down = rows.sort_values("index_a", kind="stable")["layer_a"].drop_duplicates().tolist()
    across = rows.sort_values("index_b", kind="stable")["layer_b"].drop_duplicates().tolist()
    names = names_inches(down, size=6.0)
    width = max(1.2, WIDTH - _BAR_INCHES - names - 0.25)
    height = min(max(0.7, width * len(down) / len(across)), 1.4 * width)
    shown = [("mean", short)]
    # One pair of models has no deviation, and is no mean.
    if rows["sd"].notna().any():
        shown = [("mean", f"{short}, mean")]
        shown.append(("sd", f"{short}, sd"))
    total = len(shown) * height + names_inches(across, size=6.0) + 0.5
    made, panels = figure(total, rows=len(shown), sharex=True)
    for axes, (column, label) in zip(panels, shown, strict=True):
        table = rows.pivot_table(index="layer_a", columns="layer_b", values=column, dropna=False, aggfunc="first")
        matrix = table.reindex(index=down, columns=across).to_numpy(float)
        known = matrix[np.isfinite(matrix)]
        high = 1.0 if column == "mean" else max(1e-3, float(known.max()) if len(known) else 0.0)
        image = draw_map(axes, matrix, low=0.0, high=high)
        layer_ticks(axes, down, axis="y", inches=height, size=6.0)
        colour_bar(made, image, axes, label)
    layer_ticks(panels[-1], across, inches=width, size=6.0)
    first = rows.iloc[0]
    if first["kind"] == "between":
        panels[0].set_ylabel(plain(shorten(str(first["group_a"]), _LONGEST_GROUP)))
        panels[-1].set_xlabel(plain(shorten(str(first["group_b"]), _LONGEST_GROUP)))
    return made


def scatter_figure(view: View, x: str, y: str) -> Figure | None:
    """Two columns against each other: along the layers (means over seeds), over runs at the last layer, over epochs.

    Points of one group share a colour; series are joined in their order, the first point is hollow.
    """
    points = _points(view, x, y)
    if points.empty:
        return None
    main = view.main_rows(points)
    last = main[main["index"] == main.groupby("group")["index"].transform("max")]
    everywhere = points[points["index"] == points.groupby("group")["index"].transform("max")]
    everywhere = everywhere[everywhere["epoch"].notna() & (everywhere["checkpoint"] != "best")]
    shown: list[tuple[str, pd.DataFrame, str]] = [("layers", main, "index"), ("runs, last layer", last, "")]
    if everywhere.groupby("group")["epoch"].nunique().max() > 2:
        shown.append(("epochs, last layer", everywhere, "epoch"))
    made, panels = figure(0.55 + 1.55 * len(shown), rows=len(shown))
    for axes, (title, rows, order) in zip(panels, shown, strict=True):
        for at, group in enumerate(view.groups):
            own = rows[rows["group"] == group]
            if len(own):
                _draw(axes, own, at, order)
        axes.set_title(title, loc="right", pad=2)
        axes.set_ylabel(view.term(y).short)
        axes.grid(color="0.9", linewidth=0.5)
        _correlations(axes, view, x, y, title)
    panels[-1].set_xlabel(view.term(x).short)
    if len(view.groups) > 1:
        styles = [(group, line_style(at, 0, False).keywords()) for at, group in enumerate(view.groups)]
        handles = [legend_line(plain(group), **style) for group, style in styles]
        made.legend(handles=handles, loc="outside lower center", ncols=2, borderaxespad=0.1)
    return made


def scatter_split(view: View, x: str, y: str) -> tuple[str, str, int] | None:
    """Split, pooling and scale that a scatter plot shows: test before train, unpooled first."""
    rows = view.frames["correlation_points"]
    rows = rows[(rows["x"] == x) & (rows["y"] == y)]
    if rows.empty:
        return None
    split = "test" if "test" in set(rows["split"]) else view.splits(rows)[0]
    pool, scale = view.places(rows[rows["split"] == split])[0]
    return split, pool, scale


def _points(view: View, x: str, y: str) -> pd.DataFrame:
    rows = view.frames["correlation_points"]
    place = scatter_split(view, x, y)
    if place is None:
        return rows.iloc[:0]
    split, pool, scale = place
    rows = rows[(rows["x"] == x) & (rows["y"] == y) & (rows["split"] == split)]
    return rows[(rows["pool"] == pool) & (rows["scale"] == scale)]


def _draw(axes: Axes, rows: pd.DataFrame, number_of_group: int, order: str) -> None:
    style = line_style(number_of_group, 0, False).keywords()
    if not order:
        axes.plot(rows["x_value"], rows["y_value"], **(style | {"linestyle": "none"}), gid="runs")
        return
    means = rows.groupby(order, sort=True)[["x_value", "y_value"]].mean()
    axes.plot(means["x_value"], means["y_value"], **(style | {"linewidth": 0.7}), gid="series")
    hollow: dict[str, Any] = style | {"markerfacecolor": "white", "linestyle": "none"}
    axes.plot(means["x_value"].iloc[:1], means["y_value"].iloc[:1], **hollow, zorder=4)


def _correlations(axes: Axes, view: View, x: str, y: str, title: str) -> None:
    """Pearson's r of what the panel shows, a line a group."""
    place = scatter_split(view, x, y)
    table = view.frames["correlations"]
    if place is None or table.empty:
        return
    split, pool, scale = place
    table = table[(table["x"] == x) & (table["y"] == y) & (table["split"] == split) & (table["r"].notna())]
    table = table[(table["pool"] == pool) & (table["scale"] == scale) & (table["over"] == title.partition(",")[0])]
    told = []
    for at, group in enumerate(view.groups):
        own = table[table["group"] == group]
        if "last layer" in title and len(own):
            own = own[own["layer"] == _last_layer(view, x, y, group)]
        if len(own):
            told.append((at, f"r = {number(float(own['r'].iloc[0]), 2)}"))
    for row, (at, text) in enumerate(told):
        colour = line_style(at, 0, False).colour
        where: dict[str, Any] = {"transform": axes.transAxes, "ha": "left", "va": "top", "fontsize": 6.0}
        axes.text(1.01, 0.98 - 0.1 * row, text, color=colour, **where)


def _last_layer(view: View, x: str, y: str, group: str) -> str:
    rows = _points(view, x, y)
    rows = rows[rows["group"] == group]
    return str(rows.loc[rows["index"] == rows["index"].max(), "layer"].iloc[0]) if len(rows) else ""
