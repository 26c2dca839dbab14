"""The intrinsic dimension against the scale that it is measured at: samples, rank of the neighbour, or radius."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rra_cli.report.ball_bias import ball_curves
from rra_cli.report.curves import NORMAL_95
from rra_cli.report.layer_axis import plain
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, legend_line, line_style, shorten
from rra_cli.report.twonn_fit import chosen_layers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Axis = Literal["samples", "rank", "radius"]
_MOST_MARKS = 8
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


def dimension_scale_figure(
    run: Run, metric: str, axis: Axis, checkpoint: Checkpoint, split: str, variant: Variant
) -> Figure | None:
    """The dimension of chosen layers over the scale (logarithmic); None where there are fewer than two scales.

    Shaded: ± one standard deviation over disjoint blocks, or ±1.96 standard errors where there are no blocks. Dotted,
    over samples: what TwoNN gives for uniform balls of the dimension written at the end of the line.
    """
    from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

    frame = run.tables.dimension_scales
    if frame is None:
        return None
    frame = run.rows(frame[frame["metric"] == metric], checkpoint, split, variant)
    column = {"samples": "block_samples", "rank": "neighbor_rank", "radius": "radius"}[axis]
    found = {
        str(layer): rows.sort_values(["neighbor_rank", "block_samples"])
        for layer, rows in frame.groupby("layer", sort=False)
        if len(rows) > 1
    }
    if not found:
        return None
    layers = [layer for layer in run.layers if layer in found]
    # The last row is that of all samples, and of the largest rank.
    peak = int(np.argmax([found[layer]["value"].iloc[-1] for layer in layers]))
    shown = [layers[at] for at in chosen_layers(len(layers), peak)]
    made, (axes, *_) = figure(1.9 + 0.145 * -(-(len(shown) + 1) // 2))
    handles = []
    for number, layer in enumerate(shown):
        rows, style = found[layer], line_style(number, 0, False)
        x, value = rows[column].to_numpy(float), rows["value"].to_numpy(float)
        sd, error = rows["sd"].to_numpy(float), rows["std_error"].to_numpy(float)
        band = sd if np.isfinite(sd).any() else NORMAL_95 * error
        axes.plot(x, value, **style.keywords(), gid="series", zorder=3)
        axes.fill_between(x, value - band, value + band, color=style.colour, alpha=0.22, linewidth=0)
        handles.append(legend_line(plain(shorten(layer, 20)), **style.keywords()))
    if axis == "samples":
        handles += _draw_balls(axes, [found[layer] for layer in shown])
    axes.set_xscale("log")
    marks = sorted({int(x) for layer in shown for x in found[layer][column]}) if axis != "radius" else []
    step = -(-len(marks) // _MOST_MARKS) if marks else 1
    ticks = FixedLocator(marks[::-1][::step]) if marks else LogLocator(10, subs=(1.0, 2.0, 5.0))
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}" if x < 1000 else f"{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(_LABELS[axis])
    axes.set_ylabel(run.term(metric).short)
    axes.set_ylim(bottom=0.0)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(color="0.88", linewidth=0.5)
    made.legend(handles=handles, loc="outside lower center", ncols=2, borderaxespad=0.1)
    return made


def _draw_balls(axes: Axes, shown: list[pd.DataFrame]) -> list[Line2D]:
    """Balls of known dimension behind the layers' curves; a legend entry where there are any."""
    values = np.concatenate([rows["value"].to_numpy(float) for rows in shown])
    sizes = np.concatenate([rows["block_samples"].to_numpy(float) for rows in shown])
    curves = ball_curves(0.8 * float(values.min()), 1.15 * float(values.max()), float(sizes.min()), float(sizes.max()))
    dotted: dict[str, Any] = {"color": "0.45", "linewidth": 0.8, "linestyle": (0, (1, 1))}
    for dimension, (n, estimate) in curves.items():
        axes.plot(n, estimate, **dotted, zorder=1, gid="ball")
        label = axes.annotate(str(dimension), (n[-1], estimate[-1]), xytext=(2, 0), textcoords="offset points")
        label.set(fontsize=5.5, color="0.35", va="center")
    return [legend_line("uniform balls, dimension at end", **dotted)] if curves else []
