"""Compared engines: the recall of their graphs, what it does to the metrics, and what a search takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rra_cli.report.layer_axis import layer_ticks, names_inches
from rra_cli.report.run import Run, part_of
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, legend_line, line_style, shorten
from rra_cli.report.tables.schema import EXACT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AXES_INCHES = 1.5
_LEGEND_ROW_INCHES = 0.145
_COLUMNS = 3
_LONGEST = 16  # letters of an engine's name in a legend


def recall_figure(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """The measured recall of every compared engine along the layers."""
    rows = _rows(run, run.tables.engines, checkpoint, split, variant)
    if rows is None:
        return None
    rows = rows.drop_duplicates(["search", "layer"])
    layers = _layers(run, rows)
    made, (axes,) = figure(_AXES_INCHES + names_inches(layers) + _legend_inches(_searches(run, rows)))
    _along_layers(axes, rows, layers, "recall", _searches(run, rows))
    axes.axhline(1.0, color="0.45", linewidth=0.9, linestyle=(0, (1, 1)), zorder=1)
    axes.set_ylabel("recall")
    axes.set_ylim(top=1.0 + 0.05 * (1.0 - axes.get_ylim()[0]))
    _legend(made, _searches(run, rows))
    return made


def time_figure(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """The seconds of every search along the layers, exact search among them; searches of unknown time are left out."""
    rows = _rows(run, run.search_times, checkpoint, split, variant)
    if rows is None or not rows["seconds"].notna().any():
        return None
    layers = _layers(run, rows)
    searches = [EXACT, *(search for search in _searches(run, rows) if search != EXACT)]
    made, (axes,) = figure(_AXES_INCHES + names_inches(layers) + _legend_inches(searches))
    _along_layers(axes, rows, layers, "seconds", searches)
    axes.set_yscale("log")
    axes.set_ylabel("seconds a search")
    _legend(made, searches)
    return made


def error_figure(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """Of each metric a panel: the error of every layer and engine against the recall of its graph."""
    rows = _rows(run, run.tables.engines, checkpoint, split, variant)
    if rows is None:
        return None
    metrics = list(dict.fromkeys(rows["metric"]))
    searches = _searches(run, rows)
    height = 0.85 * _AXES_INCHES * len(metrics) + 0.3 + _legend_inches(searches)
    made, all_axes = figure(height, rows=len(metrics), sharex=True)
    for axes, metric in zip(all_axes, metrics, strict=True):
        term = run.term(metric)
        for number, search in enumerate(searches, 1):
            here = rows[(rows["metric"] == metric) & (rows["search"] == search)]
            error = here["error"].to_numpy(float)
            if term.is_dimension:
                error = 100 * error / here["exact"].to_numpy(float)
            style = line_style(number, 0, False)
            axes.plot(here["recall"].to_numpy(float), error, **(style.keywords() | {"linestyle": "none"}), gid="errors")
        axes.axhline(0.0, color="0.45", linewidth=0.9, linestyle=(0, (1, 1)), zorder=1)
        axes.grid(axis="y", color="0.88", linewidth=0.5)
        axes.set_ylabel(f"{term.short} error{', %' if term.is_dimension else ''}")
    all_axes[-1].set_xlabel("recall")
    _legend(made, searches, lines=False)
    return made


def _rows(
    run: Run, frame: pd.DataFrame | None, checkpoint: Checkpoint, split: str, variant: Variant
) -> pd.DataFrame | None:
    """The rows of a table of searches at that checkpoint, split and pooling; None where there are none."""
    if frame is None:
        return None
    found = frame[
        (frame["checkpoint"] == checkpoint.label)
        & (frame["split"] == split)
        & (frame["pool"] == variant.pool)
        & (frame["scale"] == variant.scale)
    ]
    return found if len(found) else None


def _along_layers(axes: Axes, rows: pd.DataFrame, layers: list[str], column: str, searches: list[str]) -> None:
    for search in searches:
        here = rows[rows["search"] == search].set_index("layer").reindex(layers)
        number = 0 if search == EXACT else 1 + [name for name in searches if name != EXACT].index(search)
        values = here[column].to_numpy(float)
        axes.plot(np.arange(len(layers)), values, **line_style(number, 0, False).keywords(), gid="series")
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    axes.set_xlim(-0.5, len(layers) - 0.5)
    layer_ticks(axes, layers)


def _layers(run: Run, rows: pd.DataFrame) -> list[str]:
    """The compared layers, in the network's order."""
    compared = set(rows["layer"])
    return [layer for layer in run.layers if layer in compared]


def _searches(run: Run, rows: pd.DataFrame) -> list[str]:
    """The compared engines, as the configuration orders them."""
    order = list(part_of(part_of(run.config, "compare"), "engines"))
    found = {str(search) for search in rows["search"]}
    return [*(search for search in order if search in found), *sorted(found - set(order))]


def _legend_inches(searches: list[str]) -> float:
    return _LEGEND_ROW_INCHES * -(-len(searches) // _COLUMNS) + 0.25


def _legend(made: Figure, searches: list[str], *, lines: bool = True) -> None:
    others = [search for search in searches if search != EXACT]
    handles = []
    for search in searches:
        keywords = line_style(0 if search == EXACT else 1 + others.index(search), 0, False).keywords()
        handles.append(legend_line(shorten(search, _LONGEST), **(keywords if lines else keywords | {"linestyle": ""})))
    made.legend(handles=handles, loc="outside lower center", ncols=_COLUMNS, borderaxespad=0.1)
