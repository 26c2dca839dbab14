"""Volume elements and decision boundaries of groups side by side: along the layers, over the epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.compare.axes import LEGEND_ROW_INCHES, PANEL_INCHES, add_legend
from rra_cli.report.compare.view import View
from rra_cli.report.layer_axis import LONGEST_NAME, layer_ticks, names_inches, plain
from rra_cli.report.plot import Plot
from rra_cli.report.style import counted, figure, file_name, legend_line, line_style, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VOLUME, RATIO = "log_volume", "ratio"
LABELS = {VOLUME: "log10 √det g", RATIO: "stretch of a direction,\nnear / far"}
LN_10 = float(np.log(10.0))
_DOTTED: dict[str, Any] = {"color": "0.45", "linewidth": 0.8, "linestyle": (0, (1, 1))}
_BESIDE = 0.09  # between the points of two groups, in layers
_MOST_LAYERS = 3  # panels of the epochs


def pullback_plots(view: View) -> Iterator[Plot]:
    """Of every pullback metric, a figure for every set of groups that looked at the same points."""
    frame = view.frames["pullback"]
    for (metric, inputs), rows in frame.groupby(["metric", "inputs"], sort=False):
        told = _of_set(view, str(metric), rows)
        name = file_name(str(metric), "" if inputs == 1 else f"inputs{inputs}", "volumes")
        yield Plot(
            name,
            f"Volume element and decision boundaries along the layers ({metric}){told}",
            f"Above: log10 √det g over {directions_text(view, rows)}, the mean over points. Below: how much more the "
            "mean direction of input space is stretched near decision boundaries than far from them; dotted: no "
            "difference. "
            f"{bars_text(view, rows)} {remarks(view, rows)}".strip(),
            partial(layers_figure, view, rows),
        )
        yield Plot(
            f"{name}_epochs",
            f"Stretch near decision boundaries over the epochs ({metric}){told}",
            f"Near / far, a panel a layer. {bars_text(view, rows)}",
            partial(epochs_figure, view, rows),
            False,
        )


def _of_set(view: View, metric: str, rows: pd.DataFrame) -> str:
    """The groups that share their points, where not all groups with the metric do."""
    frame = view.frames["pullback"]
    if frame.loc[frame["metric"] == metric, "inputs"].nunique() < 2:
        return ""
    return f": {'; '.join(dict.fromkeys(rows['group']))}"


def bars_text(view: View, rows: pd.DataFrame, quantity: str = RATIO) -> str:
    """What the vertical lines are: seeds where there are several, else the units of the only run."""
    over = [unit for unit in dict.fromkeys(rows.loc[rows["quantity"] == quantity, "over"]) if unit]
    told = []
    if "seeds" in over:
        told.append(f"{view.level:.0%} intervals of the mean over seeds (Student's t)")
    own = [unit for unit in over if unit != "seeds"]
    if own:
        units = " or ".join(own)
        told.append(f"95 % intervals over the {units} of a group's only run, which speak of that network alone")
    return f"Vertical lines: {'; '.join(told)}." if told else "There are no intervals."


def directions_text(view: View, rows: pd.DataFrame) -> str:
    """Over how many directions volumes are in what is shown."""
    found = view.main_rows(rows)["directions"].dropna()
    return "as many directions as its runs have" if found.empty else counted(map(int, found), "direction")


def remarks(view: View, rows: pd.DataFrame) -> str:
    """Layers whose volumes are over other numbers of directions in other groups, or seeds; "" where there are none."""
    here = view.main_rows(rows[rows["quantity"] == VOLUME])
    by_layer = [(str(layer), own["directions"]) for layer, own in here.groupby("layer", sort=False)]
    groups = ", ".join(layer for layer, own in by_layer if len(set(own.dropna())) > 1)
    seeds = ", ".join(layer for layer, own in by_layer if own.isna().any())
    told = []
    if groups:
        told.append(f"In {groups} groups differ in the number of directions: compare within a group.")
    if seeds:
        told.append(f"In {seeds} runs of a group differ in it, so that they have no mean.")
    return " ".join(told)


def layers_figure(view: View, rows: pd.DataFrame) -> Figure | None:
    """log10 volume and near / far at the main checkpoints, a line a group; None where nothing has a value."""
    here = view.main_rows(rows)
    here = here[here["quantity"].isin([VOLUME, RATIO])]
    if not here["mean"].notna().any():
        return None
    layers = list(dict.fromkeys(here.sort_values("index", kind="stable")["layer"]))
    groups = _with_values(view, here)
    made, axes = figure(1.0, rows=2, sharex=True)
    for place, quantity in zip(axes, (VOLUME, RATIO), strict=True):
        for number, group in enumerate(groups):
            own = here[(here["group"] == group) & (here["quantity"] == quantity)].set_index("layer").reindex(layers)
            draw(place, view, group, np.arange(len(layers)) + _aside(number, len(groups)), own, quantity)
        _axis(place, quantity)
    axes[-1].set_xlim(-0.5, len(layers) - 0.5)
    layer_ticks(axes[-1], layers)
    _finish(made, view, groups, 2, names_inches(layers))
    return made


def epochs_figure(view: View, rows: pd.DataFrame) -> Figure | None:
    """near / far over the trained checkpoints at up to three layers; None with fewer than two epochs."""
    rows = rows[(rows["quantity"] == RATIO) & rows["epoch"].notna() & (rows["checkpoint"] != "best")]
    if rows["epoch"].nunique() < 2 or not rows["mean"].notna().any():
        return None
    layers = list(dict.fromkeys(rows.sort_values("index", kind="stable")["layer"]))
    if len(layers) > _MOST_LAYERS:
        layers = [layers[at] for at in np.linspace(0, len(layers) - 1, _MOST_LAYERS).round().astype(int)]
    groups = _with_values(view, rows)
    made, axes = figure(1.0, rows=len(layers), sharex=True, sharey=True)
    for place, layer in zip(axes, layers, strict=True):
        for number, group in enumerate(groups):
            own = rows[(rows["group"] == group) & (rows["layer"] == layer)]
            own = own.sort_values("epoch", kind="stable").drop_duplicates("epoch")
            aside = _aside(number, len(groups)) * 0.1 * float(rows["epoch"].max())
            draw(place, view, group, own["epoch"].to_numpy(float) + aside, own, RATIO)
        _axis(place, RATIO, "near / far")
        place.set_title(plain(shorten(str(layer), LONGEST_NAME)), loc="right", pad=2)
    axes[-1].set_xlabel("epoch")
    _finish(made, view, groups, len(layers), 0.25)
    return made


def draw(axes: Axes, view: View, group: str, at: Any, rows: pd.DataFrame, quantity: str) -> None:
    """The means as a line, their intervals as vertical lines."""
    scale = LN_10 if quantity == VOLUME else 1.0
    mean, low, high = (rows[name].to_numpy(float) / scale for name in ("mean", "low", "high"))
    style, known = line_style(view.groups.index(group), 0, False), np.isfinite(low) & np.isfinite(high)
    axes.plot(at, mean, **style.keywords(), zorder=3, gid="mean")
    axes.vlines(at[known], low[known], high[known], color=style.colour, linewidth=0.9, zorder=2, gid="interval")


def _with_values(view: View, rows: pd.DataFrame) -> list[str]:
    return [group for group in view.groups if rows.loc[rows["group"] == group, "mean"].notna().any()]


def _aside(number: int, count: int) -> float:
    """By how much the points of one of several groups stand beside their place, so that intervals are told apart."""
    return (number - (count - 1) / 2) * min(_BESIDE, 0.5 / count)


def _axis(axes: Axes, quantity: str, label: str = "") -> None:
    axes.set_ylabel(label or LABELS[quantity])
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    if quantity == RATIO:
        axes.axhline(1.0, **_DOTTED, zorder=1)


def _finish(made: Figure, view: View, groups: Sequence[str], panels: int, room: float) -> None:
    numbers = [view.groups.index(group) for group in groups]
    handles = [legend_line(plain(view.groups[n]), **line_style(n, 0, False).keywords()) for n in numbers]
    made.set_figheight(PANEL_INCHES * panels * 0.9 + room + LEGEND_ROW_INCHES * add_legend(made, handles) + 0.3)
