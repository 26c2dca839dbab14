"""Maps of a sample study: layer similarities for every N and density, and how much they differ (NNLS_SIM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.heatmaps import draw_map
from rra_cli.report.samples.view import Place, sizes_of
from rra_cli.report.style import figure, number
from rra_cli.report.tables.schema_samples import FIXED_DENSITY, FIXED_N

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COLUMNS = 5
_MOST_WRITTEN = 6
# Divergences below this, in nats, are drawn like it: they differ by less than samples do.
_LOWEST, _HIGHEST = 1e-6, np.log(2.0)


def similarity_sheet(place: Place) -> Figure | None:
    """Layer × layer maps, a row a number of samples, a column a density that all of them have."""
    run, frame = place.run, place.rows(place.run.tables.samples_nnls)
    sizes, every = sizes_of(frame), densities(place)
    if not sizes or not every:
        return None
    shared = shown_of(list(every))
    made, panels = figure(0.45 + 0.55 * len(sizes), rows=len(sizes), columns=len(shared))
    image: Any = None
    for at, axes in enumerate(panels):
        size, density = sizes[at // len(shared)], shared[at % len(shared)]
        matrix = layer_map(frame, run.layers, size, every[density].get(size))
        image = draw_map(axes, matrix, low=0.0, high=1.0, annotated=False)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        if at < len(shared):
            axes.set_title(number(density, 2), fontsize=6.0, pad=2)
        if at % len(shared) == 0:
            axes.set_ylabel(f"{size:,}", fontsize=6.0)
    made.supxlabel("columns: k / N, rows: N", fontsize=6.5)
    made.colorbar(image, ax=panels, location="right", fraction=0.04, pad=0.02, aspect=30).set_label("NNLS")
    return made


def sim_by_neighbors_figure(place: Place, definition: str) -> Figure | None:
    """NNLS_SIM between numbers of neighbours, a map a number of samples."""
    frame = _fixed(place, FIXED_N)
    maps = {}
    for size in [] if frame.empty else sorted(int(n) for n in frame["n_samples_a"].unique()):
        rows = frame[frame["n_samples_a"] == size]
        maps[f"N = {size:,}"] = _map(rows, ("k_a", "k_b"), definition)
    return _sheet(maps, "numbers of neighbours")


def sim_by_samples_figure(place: Place, definition: str) -> Figure | None:
    """NNLS_SIM between numbers of samples, a map a density."""
    frame = _fixed(place, FIXED_DENSITY)
    maps = {}
    for density in [] if frame.empty else sorted(float(ndr) for ndr in frame["ndr"].unique()):
        rows = frame[frame["ndr"] == density]
        maps[f"k / N = {number(density, 2)}"] = _map(rows, ("n_samples_a", "n_samples_b"), definition)
    return _sheet(maps, "numbers of samples")


def shown_of(densities: Sequence[float]) -> list[float]:
    """Those that have a column of the sheet: evenly chosen, both ends among them, where there are too many."""
    if len(densities) <= _MOST_COLUMNS:
        return list(densities)
    return [densities[round(at)] for at in np.linspace(0, len(densities) - 1, _MOST_COLUMNS)]


def densities(place: Place) -> dict[float, dict[int, int]]:
    """The densities, as asked for, that all sizes have, ascending: of each the k by number of samples."""
    frame = _fixed(place, FIXED_DENSITY)
    found: dict[float, dict[int, int]] = {}
    for side in ("a", "b") if not frame.empty else ():
        for density, size, k in zip(frame["ndr"], frame[f"n_samples_{side}"], frame[f"k_{side}"], strict=True):
            found.setdefault(float(density), {})[int(size)] = int(k)
    return {density: found[density] for density in sorted(found)}


def layer_map(frame: pd.DataFrame, layers: Sequence[str], size: int, k: int | None) -> NDArray[np.float64]:
    """The similarities of all layers at one cell, `(layers, layers)`; NaN where there is none."""
    matrix = np.full((len(layers), len(layers)), np.nan)
    rows = frame[(frame["n_samples"] == size) & (frame["k"] == k)] if k is not None else frame.iloc[:0]
    for one, other, value in zip(rows["layer_a"], rows["layer_b"], rows["nnls"], strict=True):
        a, b = layers.index(one), layers.index(other)
        matrix[a, b] = matrix[b, a] = value
    if len(rows):
        np.fill_diagonal(matrix, 1.0)
    return matrix


def _fixed(place: Place, fixed: str) -> pd.DataFrame:
    frame = place.rows(place.run.tables.nnls_sim)
    return frame if frame.empty else frame[frame["fixed"] == fixed]


def _map(rows: pd.DataFrame, columns: tuple[str, str], definition: str) -> tuple[list[int], NDArray[np.float64]]:
    """What is compared, ascending, and their divergences; 0 on the diagonal."""
    marks = sorted({int(value) for column in columns for value in rows[column]})
    matrix = np.full((len(marks), len(marks)), np.nan)
    np.fill_diagonal(matrix, 0.0)
    for one, other, value in zip(rows[columns[0]], rows[columns[1]], rows[definition], strict=True):
        a, b = marks.index(int(one)), marks.index(int(other))
        matrix[a, b] = matrix[b, a] = value
    return marks, matrix


def _sheet(maps: dict[str, tuple[list[int], NDArray[np.float64]]], label: str) -> Figure | None:
    """Small maps with their values, coloured by the logarithm."""
    if not maps:
        return None
    in_a_row = 3 if max(len(marks) for marks, _ in maps.values()) <= _MOST_WRITTEN else 2
    columns = min(in_a_row, len(maps))
    rows = -(-len(maps) // columns)
    made, panels = figure(0.6 + (3.2 if columns < 3 else 3.6) / columns * rows, rows=rows, columns=columns)
    low, high = np.log10(_LOWEST), np.log10(_HIGHEST)
    image: Any = None
    for axes, (title, (marks, matrix)) in zip(panels, maps.items(), strict=False):
        shades = np.log10(np.clip(matrix, _LOWEST, _HIGHEST))
        image = draw_map(axes, shades, low=low, high=high, annotated=False)
        _write(axes, matrix, shades, low, high)
        names = [f"{mark:,}" for mark in marks]
        axes.set_xticks(range(len(marks)), names, rotation=90, fontsize=5.5)
        axes.set_yticks(range(len(marks)), names, fontsize=5.5)
        axes.set_title(title, fontsize=6.8, pad=3)
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    bar = made.colorbar(image, ax=panels, location="bottom", fraction=0.05, pad=0.03, aspect=40)
    bar.set_label(f"NNLS_SIM between {label} (nats)")
    bar.ax.tick_params(labelsize=6.0)
    bar.set_ticks([-6, -5, -4, -3, -2, -1], labels=["≤ 1e-6", "1e-5", "1e-4", "1e-3", "0.01", "0.1"])
    return made


def _write(axes: Axes, matrix: NDArray[np.float64], shades: NDArray[np.float64], low: float, high: float) -> None:
    """Values as powers of ten, where they fit."""
    if len(matrix) > _MOST_WRITTEN:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = (shades[row, column] - low) / (high - low) < 0.5
            text = "0" if value == 0 else f"{value:.2f}".lstrip("0") if value >= 0.1 else _short(value)
            written = axes.text(column, row, text, ha="center", va="center", fontsize=4.6)
            written.set_color("white" if dark else "black")
            written.set_in_layout(False)


def _short(value: float) -> str:
    """1e-4 instead of 1e-04."""
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
