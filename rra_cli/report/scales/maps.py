"""Maps of scales: the value at every scale and layer with the best one marked, and sheets of layer similarities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.glossary import LAYER_SIMILARITY
from rra_cli.report.heatmaps import across_matrix, annotate, colour_bar, draw_map, nnls_map, nnls_matrix
from rra_cli.report.layer_axis import layer_ticks, names_inches, stage_lines, stage_runs
from rra_cli.report.run import Run
from rra_cli.report.series import Variant
from rra_cli.report.style import WIDTH, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IN_A_ROW = 3


def best_scales_figure(run: Run, metric: str, split: str) -> Figure | None:
    """The metric by scale and layer, coloured by what it gains over no pooling.

    Framed: the best of a layer among means and among maxima.
    """
    lines = {variant: run.series(metric, run.main_checkpoint, split, variant) for variant in run.scales}
    shown = {variant: line.value for variant, line in lines.items() if line is not None}
    if not any(variant.is_spatial for variant in shown):
        return None
    matrix = np.stack(list(shown.values()))
    whole = next((line for variant, line in shown.items() if not variant.is_spatial), None)
    colours = matrix if whole is None else matrix - whole
    finite = colours[np.isfinite(colours)]
    if not len(finite):
        return None
    made, (axes,) = figure(0.55 + 0.2 * len(shown) + names_inches(run.layers, size=6.0))
    low, high = float(finite.min()), float(finite.max())
    high = high if high > low else low + 1.0
    image = draw_map(axes, colours, low=low, high=high, annotated=False)
    annotate(axes, matrix, low=low, high=high, shades=colours)
    axes.set_yticks(range(len(shown)), [variant.title for variant in shown], fontsize=6.0)
    layer_ticks(axes, run.layers, inches=2.4, size=6.0)
    for _, last, _ in stage_runs(run.stages)[:-1]:
        axes.axvline(last + 0.5, color="white", linewidth=1.6, zorder=2)
        axes.axvline(last + 0.5, color="black", linewidth=0.6, zorder=2)
    for layer, variant in _best(run, metric, split):
        if variant in shown:
            _frame(axes, run.layers.index(layer), list(shown).index(variant))
    short = run.term(metric).short
    colour_bar(made, image, axes, short if whole is None else f"{short} − unpooled")
    return made


def within_sheet(run: Run, split: str) -> Figure | None:
    """Layer × layer similarity at every scale; None where there is none."""
    return _sheet(run, {v: nnls_matrix(run, run.main_checkpoint, split, v) for v in run.scales}, "layer", "layer")


def across_sheet(run: Run, split: str) -> Figure | None:
    """Similarity of unpooled layers (rows) to pooled ones (columns) at every scale; None where there is none."""
    maps = {v: across_matrix(run, run.main_checkpoint, split, v) for v in run.scales}
    if not any(v.is_spatial and matrix is not None for v, matrix in maps.items()):
        return None
    return _sheet(run, maps, "unpooled layer", "pooled layer")


def across_map(run: Run, split: str, variant: Variant) -> Figure | None:
    """One of these maps with its values."""
    matrix = across_matrix(run, run.main_checkpoint, split, variant)
    if matrix is None:
        return None
    made = nnls_map(run, matrix, LAYER_SIMILARITY)
    made.axes[0].set_ylabel("unpooled")
    made.axes[0].set_xlabel(variant.title)
    return made


def _sheet(run: Run, maps: Mapping[Variant, NDArray[np.float64] | None], rows: str, columns: str) -> Figure | None:
    shown = [(variant, matrix) for variant, matrix in maps.items() if matrix is not None]
    if not shown:
        return None
    height = -(-len(shown) // _IN_A_ROW)
    made, panels = figure(0.45 + 0.92 * height, rows=height, columns=_IN_A_ROW)
    image: Any = None
    for number, (axes, (variant, matrix)) in enumerate(zip(panels, shown, strict=False)):
        image = draw_map(axes, matrix, low=0.0, high=1.0, annotated=False)
        axes.set_aspect("equal")
        stage_lines(axes, run.stages, width=0.3)
        ends = [0, len(run.layers) - 1]
        axes.set_xticks(ends if number >= len(shown) - _IN_A_ROW else [])
        axes.set_yticks(ends if number % _IN_A_ROW == 0 else [])
        axes.tick_params(labelsize=5.5)
        axes.set_title(variant.title, fontsize=6.5, pad=2)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    made.supylabel(rows, fontsize=6.5)
    made.supxlabel(columns, fontsize=6.5)
    bar = made.colorbar(image, ax=panels, location="right", fraction=0.04, pad=0.02, aspect=40)
    bar.set_label(LAYER_SIMILARITY.short)
    bar.ax.tick_params(labelsize=5.5)
    made.set_figwidth(WIDTH)
    return made


def _best(run: Run, metric: str, split: str) -> list[tuple[str, Variant]]:
    """Layer and best scale, among means and among maxima."""
    frame = run.tables.best_scales
    if frame is None:
        return []
    here = (frame["metric"] == metric) & (frame["split"] == split) & (frame["level"] == "layer")
    here &= (frame["checkpoint"] == run.main_checkpoint.label) & frame["among"].isin(["avg", "max"])
    frame = frame[here & (frame["best_pool"] != "")].drop_duplicates(["layer", "among"], keep="last")
    columns = (frame[name].tolist() for name in ("layer", "best_pool", "best_scale"))
    return [(str(layer), Variant(str(pool), int(scale))) for layer, pool, scale in zip(*columns, strict=True)]


def _frame(axes: Any, column: int, row: int) -> None:
    from matplotlib.patches import Rectangle

    for colour, width in (("white", 2.0), ("#D55E00", 1.1)):
        box = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, ec=colour, lw=width, zorder=4, gid="best")
        axes.add_patch(box)
