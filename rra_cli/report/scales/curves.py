"""Curves along the layers at several pooling scales, and what of the dimension is local."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.curves import draw_series
from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.heatmaps import across_matrix
from rra_cli.report.layer_axis import layer_ticks, names_inches, stage_bands
from rra_cli.report.run import Run
from rra_cli.report.series import Series, Variant
from rra_cli.report.style import COLOURS, MARKERS, LineStyle, figure, legend_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES = 1.5
_POOLS = {"avg": "average pooling", "max": "max pooling"}


def scales_figure(run: Run, metric: str, split: str) -> Figure | None:
    """A metric along the layers at all scales, means and maxima in a panel each; None where nothing was measured.

    Shaded: intervals, or ±1.96 standard errors where known.
    """
    found = {variant: run.series(metric, run.main_checkpoint, split, variant) for variant in run.scales}
    series = {variant: line for variant, line in found.items() if line is not None}
    chances = [line.chance[np.isfinite(line.chance)] for line in series.values()]
    levels = {round(float(chance.mean()), 4) for chance in chances if len(chance)}
    return _panels(run, series, run.term(metric), sorted(levels))


def diagonal_figure(run: Run, split: str) -> Figure | None:
    """How much of its neighbourhoods a layer keeps at every scale: NNLS of unpooled layers with themselves pooled."""
    series = {}
    for variant in run.scales:
        matrix = across_matrix(run, run.main_checkpoint, split, variant)
        if variant.is_spatial and matrix is not None:
            empty = np.full(len(run.layers), np.nan)
            kept = np.diagonal(matrix)
            series[variant] = Series("nnls", run.main_checkpoint, split, variant, kept, empty, empty, ())
    return _panels(run, series, LAYER_SIMILARITY, [])


def local_figure(run: Run, metric: str, split: str) -> Figure | None:
    """Unpooled and globally pooled values; between them what is local, below its share. None without both."""
    found = {variant: run.series(metric, run.main_checkpoint, split, variant) for variant in run.scales}
    whole = next((line for variant, line in found.items() if variant.pool == "none"), None)
    pooled = {variant: line for variant, line in found.items() if variant.is_spatial and variant.scale == 0 and line}
    if whole is None or not pooled:
        return None
    made, (axes, shares) = figure(1.0, rows=2, sharex=True, height_ratios=[1.6, 1.0])
    at = np.arange(len(run.layers))
    draw_series(axes, whole, _style(None, 0))
    handles = [legend_line("unpooled", **_style(None, 0).keywords())]
    for number, (variant, line) in enumerate(pooled.items()):
        style = LineStyle(COLOURS[number], MARKERS[1 + number], "-", True)
        draw_series(axes, line, style)
        handles.append(legend_line(variant.title, **style.keywords()))
        if number == 0:
            axes.fill_between(at, line.value, whole.value, color=style.colour, alpha=0.12, linewidth=0, gid="local")
        share = 100.0 * (whole.value - line.value) / whole.value
        shares.plot(at, share, **style.keywords(), zorder=3, gid="share")
    _dress(axes, run, run.term(metric), [])
    shares.set_ylabel("local share (%)")
    shares.set_xlim(-0.5, len(run.layers) - 0.5)
    shares.grid(axis="y", color="0.88", linewidth=0.5)
    shares.axhline(0.0, color="0.45", linewidth=0.6, zorder=1)
    stage_bands(shares, run.stages, named=False)
    layer_ticks(shares, run.layers)
    axes.tick_params(axis="x", which="both", labelbottom=False)
    made.set_figheight(2.6 * _PANEL_INCHES * 0.9 + names_inches(run.layers) + 0.35)
    made.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


def _panels(run: Run, series: Mapping[Variant, Series], term: Term, levels: Sequence[float]) -> Figure | None:
    """Means and maxima in a panel each, both with the unpooled layers; windows from fine to coarse by colour."""
    pools = [pool for pool in _POOLS if any(variant.pool == pool for variant in series)]
    if not pools or not any(np.isfinite(line.value).any() for line in series.values()):
        return None
    made, panels = figure(1.0, rows=len(pools), sharex=True, sharey=True)
    scales = sorted({variant.scale for variant in series if variant.is_spatial}, key=lambda scale: (scale == 0, scale))
    handles: dict[str, Any] = {}
    for axes, pool in zip(panels, pools, strict=True):
        for variant, line in series.items():
            if variant.pool not in ("none", pool):
                continue
            style = _style(scales.index(variant.scale) if variant.is_spatial else None, len(scales))
            draw_series(axes, line, style)
            label = "unpooled" if not variant.is_spatial else variant.title.partition(" ")[2]
            handles[label] = legend_line(label, **style.keywords())
        _dress(axes, run, term, levels, title=_POOLS[pool])
    for axes in panels[:-1]:
        axes.tick_params(axis="x", which="both", labelbottom=False)
    if levels:
        handles["chance level"] = legend_line("chance level", color="0.45", linewidth=0.9, linestyle=(0, (1, 1)))
    layer_ticks(panels[-1], run.layers)
    made.set_figheight(_PANEL_INCHES * len(pools) + names_inches(run.layers) + 0.145 * -(-len(handles) // 3) + 0.3)
    made.legend(handles=list(handles.values()), loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


def _dress(axes: Axes, run: Run, term: Term, levels: Sequence[float], title: str = "") -> None:
    axes.set_ylabel(f"{term.short}, {title}" if title else term.short)
    axes.set_xlim(-0.5, len(run.layers) - 0.5)
    if term.low is not None and term.high is not None:
        axes.set_ylim(term.low, term.high + 0.02 * (term.high - term.low))
    else:
        axes.set_ylim(bottom=term.low, top=term.high)
    for level in levels:
        axes.axhline(level, color="0.45", linewidth=0.9, linestyle=(0, (1, 1)), zorder=1, gid="chance")
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    stage_bands(axes, run.stages)


def _style(place: int | None, count: int) -> LineStyle:
    """Black without pooling; windows from dark to light, so that their order is seen in grey as well."""
    if place is None:
        return LineStyle("#000000", MARKERS[0], "-", True)
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shade = 0.12 + 0.73 * place / max(1, count - 1)
    return LineStyle(to_hex(colormaps["plasma"](shade)), MARKERS[1 + place % (len(MARKERS) - 1)], "-", True)
