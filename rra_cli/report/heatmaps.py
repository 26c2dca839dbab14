"""Maps: similarity of layers, and of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.layer_axis import layer_ticks, stage_lines
from rra_cli.report.run import Checkpoint, Run, Variant
from rra_cli.report.style import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Up to so many rows the values stand in their cells.
MOST_ANNOTATED = 16


def nnls_matrix(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> NDArray[np.float64] | None:
    """The layer similarities within one model, `(n_layers, n_layers)`, NaN where there is none; None without any."""
    frame = run.tables.nnls
    if frame is None:
        return None
    frame = frame[frame["subset"] == 0]
    same = (frame["model_a"] == frame["model_b"]) & (frame["checkpoint_a"] == checkpoint.label)
    for side in ("a", "b"):
        same &= (frame[f"split_{side}"] == split) & (frame[f"checkpoint_{side}"] == checkpoint.label)
        same &= (frame[f"pool_{side}"] == variant.pool) & (frame[f"scale_{side}"] == variant.scale)
    frame = frame[same]
    if frame.empty:
        return None
    frame = frame.sort_values(["n_samples", "k"], ascending=False, kind="stable").drop_duplicates(["layer_a", "layer_b"])
    order = list(run.layers)
    table = frame.set_index(["layer_a", "layer_b"])["nnls"].unstack("layer_b")
    return table.reindex(index=order, columns=order).to_numpy(float)


def nnls_map(run: Run, matrix: NDArray[np.float64]) -> Figure:
    """The layer × layer map with the boundaries of stages; hatched where there is no value."""
    made, (axes,) = figure(3.15)
    image = draw_map(axes, matrix, low=0.0, high=1.0)
    layer_ticks(axes, run.layers, inches=2.1, size=6.0)
    layer_ticks(axes, run.layers, axis="y", inches=2.1, size=6.0)
    stage_lines(axes, run.stages)
    bar = made.colorbar(image, ax=axes, fraction=0.046, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.set_label("NNLS")
    bar.outline.set_linewidth(0.6)  # type: ignore[operator]
    return made


def draw_map(axes: Axes, matrix: NDArray[np.float64], *, low: float, high: float) -> AxesImage:
    """An image of the matrix with one hatched cell for every missing value, and the values where they fit."""
    from matplotlib.patches import Rectangle

    image = axes.imshow(matrix, vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    axes.spines[["top", "right"]].set_visible(True)
    for row, column in np.argwhere(np.isnan(matrix)):
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="0.85", edgecolor="0.4", hatch="////", linewidth=0)
        axes.add_patch(cell)
    if max(matrix.shape) <= MOST_ANNOTATED:
        annotate(axes, matrix, low=low, high=high)
    return image


def annotate(axes: Axes, matrix: NDArray[np.float64], *, low: float, high: float) -> None:
    """Writes the values into their cells, without a leading zero, dark on light and light on dark."""
    size = 5.2 if matrix.shape[1] > 11 else 6.0
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = (value - low) / ((high - low) or 1.0) < 0.5
            axes.text(
                *(column, row, cell_text(value)), ha="center", va="center", fontsize=size, color="w" if dark else "k"
            )


def cell_text(value: float) -> str:
    """Two digits of a fraction (.44, 1), three of a larger number."""
    if abs(value) >= 1.5:
        return f"{value:.3g}" if abs(value) < 10 else f"{value:.0f}"
    text = f"{value:.2f}"
    return "1" if text == "1.00" else "0" if text in ("0.00", "-0.00") else text.replace("0.", ".", 1)


def class_map(axes: Axes, matrix: NDArray[np.float64], names: Sequence[str]) -> AxesImage:
    """A class × class map of fractions, rows adding up to 1."""
    image = draw_map(axes, matrix, low=0.0, high=1.0)
    layer_ticks(axes, names, inches=1.2, size=5.5)
    layer_ticks(axes, names, axis="y", inches=1.2, size=5.5)
    return image
