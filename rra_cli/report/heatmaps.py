"""Maps: similarity of layers, and of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.layer_axis import layer_ticks, names_inches, stage_lines
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import WIDTH, figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Up to so many rows the values stand in their cells.
MOST_ANNOTATED = 16
_BAR_INCHES = 0.55
UNPOOLED = Variant("none", 1)


def nnls_matrix(
    run: Run, checkpoint: Checkpoint, split: str, variant: Variant, column: str = "nnls"
) -> NDArray[np.float64] | None:
    """The layer similarities within one model, `(n_layers, n_layers)`, NaN where there is none; None without any.

    column: of the table, such as `chance`.
    """
    return None if run.tables.nnls is None else _matrix(run.tables.nnls, column, run, checkpoint, split, variant)


def pair_matrix(
    run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant, column: str = "value"
) -> NDArray[np.float64] | None:
    """The same of any other metric of pairs of layers."""
    frame = run.tables.pairs
    if frame is None:
        return None
    return _matrix(frame[frame["metric"] == metric], column, run, checkpoint, split, variant)


def across_matrix(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> NDArray[np.float64] | None:
    """The similarities of unpooled layers (rows) to pooled ones (columns), `(n_layers, n_layers)`; None without any."""
    frame = run.tables.nnls
    return None if frame is None else _matrix(frame, "nnls", run, checkpoint, split, variant, rows=UNPOOLED)


def _matrix(
    frame: pd.DataFrame,
    column: str,
    run: Run,
    checkpoint: Checkpoint,
    split: str,
    variant: Variant,
    rows: Variant | None = None,
) -> NDArray[np.float64] | None:
    """rows: the scale of the first of two layers, where it is not that of the second."""
    frame = frame[frame["subset"] == 0]
    same = (frame["model_a"] == frame["model_b"]) & (frame["checkpoint_a"] == checkpoint.label)
    for side, scale in (("a", rows or variant), ("b", variant)):
        same &= (frame[f"split_{side}"] == split) & (frame[f"checkpoint_{side}"] == checkpoint.label)
        same &= (frame[f"pool_{side}"] == scale.pool) & (frame[f"scale_{side}"] == scale.scale)
    frame = frame[same]
    if frame.empty:
        return None
    frame = frame.sort_values(["n_samples", "k"], ascending=False, kind="stable").drop_duplicates(
        ["layer_a", "layer_b"]
    )
    order = list(run.layers)
    table = frame.pivot_table(index="layer_a", columns="layer_b", values=column, dropna=False, aggfunc="first")
    return table.reindex(index=order, columns=order).to_numpy(float)


def nnls_map(run: Run, matrix: NDArray[np.float64], term: Term = LAYER_SIMILARITY) -> Figure:
    """The layer × layer map with the boundaries of stages; hatched where there is no value."""
    names = names_inches(run.layers, size=6.0)
    side = WIDTH - names - _BAR_INCHES
    made, (axes,) = figure(side + names + 0.2)
    low, high = limits(term, matrix)
    image = draw_map(axes, matrix, low=low, high=high)
    layer_ticks(axes, run.layers, inches=side, size=6.0)
    layer_ticks(axes, run.layers, axis="y", inches=side, size=6.0)
    stage_lines(axes, run.stages)
    colour_bar(made, image, axes, term.short)
    return made


def limits(term: Term, values: NDArray[np.float64]) -> tuple[float, float]:
    """The metric's own range; where it is open, from 0 (or the lowest value below it) or to the highest value."""
    finite = values[np.isfinite(values)]
    low = term.low if term.low is not None else min(0.0, float(finite.min())) if len(finite) else 0.0
    high = term.high if term.high is not None else float(finite.max()) if len(finite) else low
    return low, high if high > low else low + 1.0


def colour_bar(made: Figure, image: AxesImage, axes: Any, label: str) -> None:
    """A thin bar as high as the map."""
    bar = made.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=30)
    bar.set_label(label)
    bar.ax.tick_params(labelsize=6.0)


def draw_map(axes: Axes, matrix: NDArray[np.float64], *, low: float, high: float, annotated: bool = True) -> AxesImage:
    """An image of the matrix, hatched where there is no value, with the values in their cells where they fit."""
    from matplotlib.patches import Rectangle

    masked = np.ma.masked_invalid(matrix)
    image = axes.imshow(masked, vmin=low, vmax=high, interpolation="nearest", aspect="auto", zorder=1)
    axes.spines[["top", "right"]].set_visible(True)
    if np.isnan(matrix).any():
        # Missing cells are transparent: one hatched ground behind them all.
        axes.add_patch(
            Rectangle((0, 0), 1, 1, transform=axes.transAxes, fc="0.88", ec="0.45", hatch="/////", lw=0, zorder=0)
        )
    if annotated and max(matrix.shape) <= MOST_ANNOTATED:
        annotate(axes, matrix, low=low, high=high)
    return image


def annotate(
    axes: Axes, matrix: NDArray[np.float64], *, low: float, high: float, shades: NDArray[np.float64] | None = None
) -> None:
    """Writes the values into their cells, all in one size, dark on light and light on dark.

    shades: what the cells are coloured by, between low and high; None: the values.
    """
    known = np.isfinite(matrix)
    words = dict(zip(zip(*np.nonzero(known), strict=True), cell_texts(matrix[known]), strict=True))
    size = 5.2 if matrix.shape[1] > 11 else 6.0
    size *= 1.0 if max(map(len, words.values()), default=0) < 4 else 0.8
    coloured_by = matrix if shades is None else shades
    for (row, column), word in words.items():
        dark = (coloured_by[row, column] - low) / ((high - low) or 1.0) < 0.5
        text = axes.text(column, row, word, ha="center", va="center", fontsize=size)
        text.set_color("white" if dark else "black")
        text.set_in_layout(False)  # it lies within its cell, so the layout need not measure it


def cell_texts(values: NDArray[np.float64]) -> list[str]:
    """The values of one map, `(n,)`, all with equally many decimals: three digits of the largest, two of fractions.

    Fractions stand without their zero (.44; .044 where none reaches .1), and 1 and an exact 0 without decimals.
    """
    most = float(np.abs(values).max(initial=0.0))
    if most >= 1.5:
        decimals = 2 if most < 9.995 else 1 if most < 99.95 else 0
        return [f"{value:.{decimals}f}" for value in values]
    decimals = 2 if most >= 0.1 else 3
    one = f"{1:.{decimals}f}"
    texts = [f"{value:.{decimals}f}" if value else "0" for value in values]
    return [
        "1" if text == one else text.replace("0.", ".", 1) if abs(value) < 1 else text
        for text, value in zip(texts, values, strict=True)
    ]
