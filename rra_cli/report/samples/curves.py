"""Curves of a sample study: the intrinsic dimension by N, the distribution of μ by N, NNCS and NNLS by k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.curves import NORMAL_95
from rra_cli.report.details.twonn_fit import density, pareto
from rra_cli.report.layer_axis import layer_ticks, names_inches, stage_bands
from rra_cli.report.panels import layer_panels, name_panel, panel_layers
from rra_cli.report.samples.view import DOTTED, Place, entries, log_axis, sizes_of
from rra_cli.report.style import figure, legend_line, shade
from rra_cli.report.tables.schema_samples import DEFINITION

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEGEND_ROW = 0.145


def by_size_figure(place: Place, metric: str) -> Figure | None:
    """The intrinsic dimension over the number of samples, a line a layer; None with fewer than two sizes."""
    frame = place.of_metric(metric)
    sizes, layers = sizes_of(frame), place.layers(frame)
    if len(sizes) < 2:
        return None
    made, (axes,) = figure(2.3 + _LEGEND_ROW * -(-len(layers) // 3))
    for at, layer in enumerate(layers):
        rows = frame[frame["layer"] == layer].sort_values("n_samples")
        _line(axes, rows["n_samples"], rows, at, len(layers))
    log_axis(axes, sizes)
    axes.set_xlabel("samples N")
    axes.set_ylabel(place.run.term(metric).short)
    axes.set_ylim(bottom=0.0)
    made.legend(handles=entries(layers), loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


def along_layers_figure(place: Place, metric: str) -> Figure | None:
    """The same along the layers, a line a number of samples (thesis fig. 5.2)."""
    frame = place.of_metric(metric)
    sizes, layers = sizes_of(frame), place.run.layers
    if len(sizes) < 2:
        return None
    made, (axes,) = figure(1.7 + names_inches(layers) + _LEGEND_ROW * -(-len(sizes) // 3))
    for at, size in enumerate(sizes):
        rows = frame[frame["n_samples"] == size].set_index("layer").reindex(list(layers))
        _line(axes, np.arange(len(layers)), rows, at, len(sizes))
    axes.set_xlim(-0.5, len(layers) - 0.5)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel(place.run.term(metric).short)
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    stage_bands(axes, place.run.stages)
    layer_ticks(axes, layers)
    handles = entries([f"N = {size:,}" for size in sizes])
    made.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


def mu_figure(place: Place, metric: str) -> Figure | None:
    """The density of μ, a panel a layer and a line a number of samples, with the law of the largest N (dashed)."""
    frame, values = place.rows(place.run.tables.samples_mu), place.of_metric(metric)
    sizes, layers = sizes_of(frame), place.layers(frame)
    if not layers or values.empty:
        return None
    largest = values[values["n_samples"] == sizes[-1]].set_index("layer")["value"].reindex(layers).to_numpy(float)
    peak = int(np.nanargmax(largest)) if np.isfinite(largest).any() else None
    shown = panel_layers(len(layers), peak)
    made, panels = layer_panels(len(shown), beside=0.75)
    for axes, at in zip(panels, shown, strict=True):
        here = frame[frame["layer"] == layers[at]]
        end = 1.0
        for which, size in enumerate(sizes):
            found = here[here["n_samples"] == size].sort_values("quantile")
            if len(found) > 1:
                edges, height = density(found["quantile"].to_numpy(float), found["mu"].to_numpy(float))
                colour = shade(which, len(sizes)).colour
                axes.stairs(height, edges, color=colour, linewidth=0.8, gid="density")
                end = max(end, float(edges[-1]))
        if np.isfinite(largest[at]) and end > 1.0:
            grid = np.linspace(1.0, end, 200)
            axes.plot(grid, pareto(grid, float(largest[at])), color="black", linewidth=1.0, linestyle=(0, (4, 1.6)))
        axes.set_xlim(1.0, end if end > 1.0 else 1.1)
        axes.set_ylim(bottom=0.0)
        name_panel(axes, layers[at], float(largest[at]), len(shown))
    made.supxlabel(r"μ = $r_2/r_1$", fontsize=7.5)
    made.supylabel("density", fontsize=7.5)
    handles = [legend_line(f"N = {size:,}", color=shade(which, len(sizes)).colour) for which, size in enumerate(sizes)]
    handles.append(legend_line(f"law of d, N = {sizes[-1]:,}", color="black", linestyle=(0, (4, 1.6))))
    made.legend(handles=handles, loc="outside upper center", ncols=3, borderaxespad=0.1)
    return made


def by_neighbors_figure(place: Place, metric: str) -> Figure | None:
    """NNCS over k at every number of samples, a panel each, a line a layer; hollow: by definition, dotted: chance."""
    frame = place.of_metric(metric)
    sizes, layers = sizes_of(frame), place.layers(frame)
    if not layers:
        return None
    columns = min(2, len(sizes))
    rows = -(-len(sizes) // columns)
    made, panels = figure(
        0.4 + 1.5 * rows + _LEGEND_ROW * -(-(len(layers) + 1) // 3), rows=rows, columns=columns, sharey=True
    )
    for axes, size in zip(panels, sizes, strict=False):
        here = frame[frame["n_samples"] == size]
        for at, layer in enumerate(layers):
            found = here[here["layer"] == layer].sort_values("k")
            _line(axes, found["k"], found, at, len(layers))
            ends = found[found["basis"] == DEFINITION]
            colour = shade(at, len(layers)).colour
            axes.plot(ends["k"].to_numpy(float), ends["value"].to_numpy(float), **_hollow(colour), zorder=4)
        axes.axhline(float(here["chance"].mean()), **DOTTED, zorder=1)
        _marks(axes, here["k"])
        axes.set_ylim(0.0, 1.02)
        axes.set_title(f"N = {size:,}", fontsize=6.8, pad=3)
    for axes in panels[len(sizes) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(sizes) - columns) : len(sizes)]:
        axes.set_xlabel("neighbours k")
    made.supylabel(place.run.term(metric).short, fontsize=7.5)
    handles = [*entries(layers), legend_line("chance level", **DOTTED)]
    made.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


def similarity_figure(place: Place) -> Figure | None:
    """NNLS of consecutive layers, their mean, over k and over the density k / N, a line a number of samples."""
    frame = place.rows(place.run.tables.samples_nnls)
    if frame.empty:
        return None
    next_to = frame[(frame["index_b"] - frame["index_a"] == 1) & frame["nnls"].notna()]
    sizes = sizes_of(next_to)
    if not sizes:
        return None
    made, panels = figure(2.45, columns=2, sharey=True)
    means = next_to.groupby(["n_samples", "k", "ndr", "basis"], as_index=False)[["nnls", "chance"]].mean()
    for at, size in enumerate(sizes):
        rows = means[means["n_samples"] == size].sort_values("k")
        style = shade(at, len(sizes))
        ends = rows["basis"] == DEFINITION
        for axes, column in zip(panels, ("k", "ndr"), strict=True):
            x = rows[column].to_numpy(float)
            axes.plot(x, rows["nnls"].to_numpy(float), **style.keywords(), zorder=3, gid="series")
            axes.plot(x[ends], rows["nnls"].to_numpy(float)[ends], **_hollow(style.colour), zorder=4)
            axes.plot(x, rows["chance"].to_numpy(float), color=style.colour, **_CHANCE, zorder=1)
    for axes, column, label in zip(panels, ("k", "ndr"), ("neighbours k", "density k / N"), strict=True):
        _marks(axes, means[column])
        axes.set_xlabel(label)
        axes.set_ylim(0.0, 1.02)
    panels[0].set_ylabel("NNLS of consecutive layers")
    handles = [*entries([f"N = {size:,}" for size in sizes]), legend_line("chance level", **DOTTED)]
    made.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


_CHANCE: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (1, 1))}


def _hollow(colour: str) -> dict[str, Any]:
    """How a point is drawn that holds by definition."""
    return {"color": colour, "marker": "o", "markerfacecolor": "white", "markersize": 4.5, "linestyle": "none"}


def _line(axes: Axes, x: Any, rows: pd.DataFrame, at: int, count: int) -> None:
    """Values with their intervals, where the run has them, elsewhere with ±1.96 standard errors."""
    style = shade(at, count)
    place, value, error = (np.asarray(column, float) for column in (x, rows["value"], rows["std_error"]))
    ends = (rows["low"].to_numpy(float), rows["high"].to_numpy(float))
    known = np.isfinite(ends[0])
    low, high = (
        np.where(known, end, value + side * NORMAL_95 * error) for end, side in zip(ends, (-1, 1), strict=True)
    )
    axes.plot(place, value, **style.keywords(), zorder=3, gid="series")
    axes.fill_between(place, low, high, color=style.colour, alpha=0.18, linewidth=0, gid="band")


def _marks(axes: Axes, values: pd.Series[Any]) -> None:
    """A logarithmic axis with 1, 10, 100 .. and their fractions as far as there are values; with 3, 30 .. of few."""
    from math import ceil, floor, log10

    low, high = float(values.min()), float(values.max())
    powers = range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
    for steps in ((1,), (1, 3)):
        marks = [step * 10.0**power for power in powers for step in steps]
        shown = [mark for mark in marks if 0.8 * low <= mark <= 1.25 * high]
        if len(shown) > 2:
            break
    log_axis(axes, shown)
    axes.tick_params(labelsize=6.0)
