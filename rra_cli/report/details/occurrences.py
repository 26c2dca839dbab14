"""How often samples occur among the nearest neighbours of others: a heavy tail is a few hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.layer_axis import chosen_layers, plain
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def occurrence_figure(run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """The fraction of samples with at least so many occurrences, at chosen layers; dotted: lists drawn at random."""
    from scipy.stats import binom

    frame = run.tables.occurrences
    if frame is None:
        return None
    frame = run.rows(frame[frame["metric"] == metric], checkpoint, split, variant)
    found = {str(layer): rows.sort_values("at_least") for layer, rows in frame.groupby("layer", sort=False)}
    if not found:
        return None
    layers = [layer for layer in run.layers if layer in found]
    most = int(np.argmax([found[layer]["at_least"].iloc[-1] for layer in layers]))
    shown = [layers[at] for at in chosen_layers(len(layers), most)]
    made, (axes, *_) = figure(1.9 + 0.145 * -(-(len(shown) + 1) // 2))
    handles = []
    for number, layer in enumerate(shown):
        rows = found[layer]
        x, share = rows["at_least"].to_numpy(float), rows["share"].to_numpy(float)
        visible = (x > 0) & (share > 0)
        style = {**line_style(number, 0, False).keywords(), "marker": "none"}
        axes.plot(x[visible], share[visible], **style, gid="series")
        handles.append(legend_line(plain(shorten(layer, 20)), **style))
    n, k = int(frame["n_samples"].iloc[0]), int(frame["k"].iloc[0])
    x = np.arange(1, 10 * k)
    share = binom.sf(x - 1, n - 1, min(1.0, k / (n - 1)))
    dotted: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": (0, (1, 1))}
    axes.plot(x[share > 1 / n], share[share > 1 / n], **dotted, gid="chance")
    handles.append(legend_line("drawn at random", **dotted))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("at least so many occurrences")
    axes.set_ylabel("fraction of samples")
    axes.set_ylim(0.5 / n, 1.3)
    axes.grid(color="0.88", linewidth=0.5)
    made.legend(handles=handles, loc="outside lower center", ncols=2, borderaxespad=0.1)
    return made
