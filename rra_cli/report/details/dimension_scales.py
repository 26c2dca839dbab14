"""The intrinsic dimension against the scale that it is measured at: samples, rank of the neighbour, or radius."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rra_cli.report.curves import NORMAL_95
from rra_cli.report.details.balls_beside import draw_balls
from rra_cli.report.layer_axis import MOST_LAYERS, plain
from rra_cli.report.panels import ends_row, layer_panels, panel_layers
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import COLOURS, figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Axis = Literal["samples", "rank", "radius"]
_COLUMNS = {"samples": "block_samples", "rank": "neighbor_rank", "radius": "radius"}
_LABELS = {
    "samples": "samples N in a block",
    "rank": "rank of the farther neighbour",
    "radius": "mean distance to it (radius)",
}


def axes_of(frame: pd.DataFrame) -> tuple[Axis, ...]:
    """What the scales of a metric differ in: rows of dimension_scales.csv."""
    if len(frame["block_samples"].unique()) > 1:
        return ("samples", "radius")
    return ("rank", "radius")


def scales_of(run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant) -> dict[str, pd.DataFrame]:
    """By layer, in the network's order: its rows of dimension_scales.csv, ascending; of layers with two or more."""
    if run.tables.dimension_scales is None:
        return {}
    frame = run.tables.dimension_scales
    frame = run.rows(frame[frame["metric"] == metric], checkpoint, split, variant)
    found = {
        str(layer): rows.sort_values(["neighbor_rank", "block_samples"])
        for layer, rows in frame.groupby("layer", sort=False)
        if len(rows) > 1
    }
    return {layer: found[layer] for layer in run.layers if layer in found}


def dimension_scale_figure(
    run: Run, metric: str, axis: Axis, checkpoint: Checkpoint, split: str, variant: Variant
) -> Figure | None:
    """The dimension of the layers over the scale (logarithmic); None where there are fewer than two scales.

    A line a layer, or of many layers a panel each with equal axes. Shaded: ± one standard deviation over disjoint
    blocks, or ±1.96 standard errors where there are no blocks. Dotted: uniform balls. Over samples and ranks, of the
    dimension written at the end of the line; over radii, for each layer the one through its point of the smallest
    radius.
    """
    found = scales_of(run, metric, checkpoint, split, variant)
    if not found:
        return None
    # The last row is that of all samples, and of the largest rank.
    peak = int(np.argmax([rows["value"].iloc[-1] for rows in found.values()]))
    layers = list(found)
    shown = {layers[at]: found[layers[at]] for at in panel_layers(len(layers), peak)}
    return (_together if len(shown) <= MOST_LAYERS else _side_by_side)(run, metric, axis, shown)


def _together(run: Run, metric: str, axis: Axis, shown: dict[str, pd.DataFrame]) -> Figure:
    """All lines in one panel."""
    made, (axes,) = figure(1.9 + 0.145 * -(-(len(shown) + 1) // 2))
    styles = [line_style(number, 0, False) for number in range(len(shown))]
    for style, rows in zip(styles, shown.values(), strict=True):
        _draw_layer(axes, rows, axis, style.keywords())
    handles = [
        legend_line(plain(shorten(layer, 20)), **style.keywords()) for layer, style in zip(shown, styles, strict=True)
    ]
    handles += draw_balls(axes, run, metric, axis, list(shown.values()), [style.colour for style in styles])
    _scaled(axes, shown, axis, most=8)
    axes.set_xlabel(_LABELS[axis])
    axes.set_ylabel(run.term(metric).short)
    made.legend(handles=handles, loc="outside lower center", ncols=2, borderaxespad=0.1)
    return made


def _side_by_side(run: Run, metric: str, axis: Axis, shown: dict[str, pd.DataFrame]) -> Figure:
    """A panel a layer; all have the same axes. Grey, over radii: the other layers, to be read at equal radius."""
    made, panels = layer_panels(len(shown), beside=0.5, sharex=True, sharey=True)
    handles: list[Line2D] = []
    for at, (axes, (layer, rows)) in enumerate(zip(panels, shown.items(), strict=True)):
        _draw_layer(axes, rows, axis, {"color": COLOURS[0], "marker": "o", "markersize": 1.8})
        if axis == "radius":
            for other in shown.values():
                axes.plot(other["radius"], other["value"], color="0.8", linewidth=0.7, zorder=0.5, gid="others")
        # A ball through a layer's point is that layer's; those of a dimension are the same behind all.
        behind = [rows] if axis == "radius" else list(shown.values())
        named = ends_row(at, len(panels))
        handles = draw_balls(axes, run, metric, axis, behind, [COLOURS[0]] * len(behind), named=named) or handles
        axes.set_title(plain(shorten(layer, 18)), fontsize=6.8, pad=3)
        axes.tick_params(labelsize=6.0)
        axes.grid(color="0.88", linewidth=0.5)
    _scaled(panels[0], shown, axis, most=3)
    made.supxlabel(_LABELS[axis], fontsize=7.5)
    made.supylabel(run.term(metric).short, fontsize=7.5)
    if handles:
        made.legend(handles=handles, loc="outside upper center", borderaxespad=0.1)
    return made


def _draw_layer(axes: Axes, rows: pd.DataFrame, axis: Axis, style: dict[str, Any]) -> None:
    x, value = rows[_COLUMNS[axis]].to_numpy(float), rows["value"].to_numpy(float)
    sd, error = rows["sd"].to_numpy(float), rows["std_error"].to_numpy(float)
    band = sd if np.isfinite(sd).any() else NORMAL_95 * error
    axes.plot(x, value, **style, gid="series", zorder=3)
    axes.fill_between(x, value - band, value + band, color=style["color"], alpha=0.22, linewidth=0)


def _scaled(axes: Axes, shown: dict[str, pd.DataFrame], axis: Axis, *, most: int) -> None:
    """A logarithmic scale with up to `most` marks, the largest of all N or ranks among them; the dimension from 0."""
    from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

    axes.set_xscale("log")
    places = np.unique(np.concatenate([rows[_COLUMNS[axis]].to_numpy(float) for rows in shown.values()]))
    places = places[np.isfinite(places) & (places > 0)]
    if axis != "radius":
        axes.xaxis.set_major_locator(FixedLocator(places[::-1][:: -(-len(places) // most)]))
    elif most > 3 or not len(places):
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    else:
        # Over less than a decade LogLocator makes more marks than a small panel has room for.
        marks = np.geomspace(places[0], places[-1], most)
        axes.xaxis.set_major_locator(FixedLocator(sorted({float(f"{x:.2g}") for x in marks})))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}" if x < 1000 else f"{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0.0)
    axes.yaxis.set_major_locator(MaxNLocator(6 if most > 3 else 4))
    axes.grid(color="0.88", linewidth=0.5)
