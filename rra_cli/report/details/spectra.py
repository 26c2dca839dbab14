"""The spectrum of a layer's covariance: where it falls off a cliff, dimensions have collapsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rra_cli.report.layer_axis import chosen_layers, plain
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Eigenvalues below this share of the largest are what float32 leaves of zero.
_LOWEST = 1e-12


def spectrum_figure(run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """Eigenvalues divided by the largest against their rank, both logarithmic, at chosen layers; None without any."""
    if run.tables.spectra is None:
        return None
    frame = run.tables.spectra
    frame = run.rows(frame[frame["metric"] == metric], checkpoint, split, variant)
    found = {str(layer): rows.sort_values("rank") for layer, rows in frame.groupby("layer", sort=False)}
    if not found:
        return None
    layers = [layer for layer in run.layers if layer in found]
    shown = [layers[at] for at in chosen_layers(len(layers), None)]
    legend = 0.145 * -(-len(shown) // 2)
    made, (axes, *_) = figure(1.9 + legend)
    handles = []
    for number, layer in enumerate(shown):
        rank, value = found[layer]["rank"].to_numpy(float), found[layer]["eigenvalue"].to_numpy(float)
        share = value / value[0]
        visible = share > _LOWEST
        style = {**line_style(number, 0, False).keywords(), "marker": "none"}
        axes.plot(rank[visible], share[visible], **style, gid="series")
        handles.append(legend_line(plain(shorten(layer, 20)), **style))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rank of the eigenvalue")
    axes.set_ylabel("share of the largest")
    axes.set_xlim(left=1.0)
    axes.set_ylim(top=float(np.nextafter(1.0, 2.0)) * 1.3)
    axes.grid(color="0.88", linewidth=0.5)
    made.legend(handles=handles, loc="outside lower center", ncols=2, borderaxespad=0.1)
    return made
