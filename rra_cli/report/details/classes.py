"""Metrics class by class: how pure each class's neighbourhoods are, and which classes they are mixed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.heatmaps import colour_bar, draw_map, limits
from rra_cli.report.layer_axis import chosen_layers, layer_ticks, names_inches, plain
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def per_class_figure(run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """A class × layer map of the metric; None where it was not asked for."""
    if run.tables.per_class is None:
        return None
    frame = run.rows(run.tables.per_class, checkpoint, split, variant)
    frame = _largest_k(frame[frame["metric"] == metric], ["layer", "class"])
    if frame.empty:
        return None
    names = class_names(frame["class"])
    table = frame.assign(name=frame["class"].map(str)).pivot_table(
        index="name", columns="layer", values="value", dropna=False, aggfunc="first"
    )
    matrix = table.reindex(index=names, columns=list(run.layers)).to_numpy(float)
    term = run.term(metric)
    low, high = limits(term, matrix)
    height = 0.17 * min(20, max(4, len(names)))
    made, (axes,) = figure(height + names_inches(run.layers, size=6.0) + 0.2)
    image = draw_map(axes, matrix, low=low, high=high)
    layer_ticks(axes, run.layers, inches=2.2, size=6.0)
    layer_ticks(axes, names, axis="y", inches=height, size=6.0)
    axes.set_ylabel("class")
    colour_bar(made, image, axes, term.short)
    return made


def class_neighbors_figure(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """Class × class maps at up to four layers: where the neighbours of a class (row) come from (column)."""
    if run.tables.class_neighbors is None:
        return None
    frame = run.rows(run.tables.class_neighbors, checkpoint, split, variant)
    frame = _largest_k(frame, ["layer", "class", "neighbor_class"])
    if frame.empty:
        return None
    names = class_names(frame["class"])
    layers = [layer for layer in run.layers if (frame["layer"] == layer).any()]
    chosen = [layers[at] for at in chosen_layers(len(layers), None, most=4)]
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    made, panels = figure(0.3 + 1.6 * rows, rows=rows, columns=columns, sharex=True, sharey=True)
    image: Any = None
    for axes, layer in zip(panels, chosen, strict=False):
        here = frame[frame["layer"] == layer]
        matrix = np.full((len(names), len(names)), np.nan)
        for row in here.itertuples(index=False):
            matrix[names.index(str(row[here.columns.get_loc("class")])), names.index(str(row.neighbor_class))] = (
                row.fraction
            )
        image = draw_map(axes, matrix, low=0.0, high=1.0, annotated=False)
        layer_ticks(axes, names, inches=1.1, size=5.8)
        layer_ticks(axes, names, axis="y", inches=1.1, size=5.8)
        axes.set_title(plain(shorten(layer, 20)), fontsize=6.8, pad=3)
    for axes in panels[len(chosen) :]:
        axes.set_visible(False)
    made.supylabel("class", fontsize=7.5)
    made.supxlabel("class of the neighbour", fontsize=7.5)
    made.colorbar(image, ax=panels, fraction=0.04, pad=0.02, aspect=30).set_label("fraction of neighbours")
    return made


def class_names(classes: pd.Series[Any]) -> list[str]:
    """The classes in order: by number where they are numbers, else by name."""
    return [str(value) for value in sorted(classes.unique())]


def _largest_k(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    return frame.sort_values("k", ascending=False, kind="stable").drop_duplicates(key)
