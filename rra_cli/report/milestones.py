"""How a metric of the layers changes while the network is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.heatmaps import colour_bar, draw_map, limits, nnls_matrix
from rra_cli.report.layer_axis import chosen_layers, layer_ticks, plain
from rra_cli.report.pair_curves import matrix_of, relations
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Two are lines of one plot already; a map begins to say something with the third.
FEWEST = 3
_IN_A_ROW = 4


def trained_checkpoints(run: Run) -> tuple[Checkpoint, ...]:
    """The checkpoints in the order of training; `best` is a choice rather than a milestone and left out."""
    return tuple(c for c in run.checkpoints if c.epoch is not None and c.label != "best")


def milestone_matrix(run: Run, metric: str, split: str, variant: Variant) -> NDArray[np.float64] | None:
    """The metric as `(n_layers, n_checkpoints)`, NaN where there is none; None with fewer than three checkpoints."""
    checkpoints = trained_checkpoints(run)
    series = [run.series(metric, checkpoint, split, variant) for checkpoint in checkpoints]
    if len(checkpoints) < FEWEST or all(found is None for found in series):
        return None
    missing = np.full(len(run.layers), np.nan)
    return np.stack([missing if found is None else found.value for found in series], axis=1)


def to_next_matrix(run: Run, metric: str, split: str, variant: Variant) -> NDArray[np.float64] | None:
    """Similarity of every layer to itself one checkpoint before, `(n_layers, n_checkpoints)`; NaN at the first one.

    metric: `nnls` or a metric of pairs.csv. None with fewer than three checkpoints, or where it was not measured.
    """
    checkpoints = trained_checkpoints(run)
    found = np.full((len(run.layers), len(checkpoints)), np.nan)
    if len(checkpoints) < FEWEST:
        return None
    for at, (earlier, later) in enumerate(pairwise(checkpoints), 1):
        rows = _across(run, metric, split, variant, later)
        if rows is not None:
            frame, column = rows
            values = frame[frame["checkpoint_a"] == earlier.label].drop_duplicates("layer_a").set_index("layer_a")
            found[:, at] = [values[column].get(layer, np.nan) for layer in run.layers]
    # To the last one alone there are rows of older runs, too.
    return found if np.isfinite(found[:, 1:-1]).any() else None


def to_last_matrix(run: Run, metric: str, split: str, variant: Variant) -> NDArray[np.float64] | None:
    """Similarity of every layer to itself at the last checkpoint, `(n_layers, n_checkpoints)`, 1 there for NNLS.

    metric: `nnls` or a metric of pairs.csv. None with fewer than three checkpoints, or where none was measured.
    """
    checkpoints = trained_checkpoints(run)
    rows = None if len(checkpoints) < FEWEST else _across(run, metric, split, variant, checkpoints[-1])
    if rows is None:
        return None
    frame, column = rows
    if not (frame["checkpoint_a"] != checkpoints[-1].label).any():
        return None
    found = frame.drop_duplicates(["checkpoint_a", "layer_a"]).set_index(["layer_a", "checkpoint_a"])[column]
    order = [[(layer, checkpoint.label) for checkpoint in checkpoints] for layer in run.layers]
    return np.array([[found.get(place, np.nan) for place in row] for row in order], np.float64)


def consecutive_matrix(
    run: Run, metric: str, split: str, variant: Variant, *, backwards: bool = False
) -> NDArray[np.float64] | None:
    """Every layer with the one before it at each checkpoint, `(n_layers, n_checkpoints)`; NaN for the first layer.

    metric: `nnls` or a metric of pairs.csv. backwards: row the layer, column the one before it, instead of the other
    way; None where that is the same. None with fewer than three checkpoints, or where none was measured.
    """
    checkpoints = trained_checkpoints(run)
    matrices = [matrix_of(run, metric, checkpoint, split, variant) for checkpoint in checkpoints]
    if len(checkpoints) < FEWEST or all(matrix is None for matrix in matrices):
        return None
    missing = np.full((len(run.layers),) * 2, np.nan)
    there, back = (
        np.stack([relations(missing if m is None else m, directed=True)[name] for m in matrices], axis=1)
        for name in ("from the layer before", "to the layer before")
    )
    if backwards and np.allclose(there, back, equal_nan=True):
        return None
    return back if backwards else there


def _across(run: Run, metric: str, split: str, variant: Variant, later: Checkpoint) -> tuple[Any, str] | None:
    """The rows of every layer with itself at a later checkpoint, and the column of the values; None without a table."""
    frame, column = _pairs(run, metric)
    if frame is None:
        return None
    here = (frame["checkpoint_b"] == later.label) & (frame["layer_a"] == frame["layer_b"]) & (frame["subset"] == 0)
    for side in ("a", "b"):
        here &= (frame[f"split_{side}"] == split) & (frame[f"pool_{side}"] == variant.pool)
        here &= frame[f"scale_{side}"] == variant.scale
    return frame[here & (frame["model_a"] == frame["model_b"])], column


def _pairs(run: Run, metric: str) -> tuple[Any, str]:
    """The table of that metric of pairs, and the column of its values."""
    if metric == LAYER_SIMILARITY.component:
        return run.tables.nnls, "nnls"
    frame = run.tables.pairs
    return (None if frame is None else frame[frame["metric"] == metric]), "value"


def milestone_figure(run: Run, metric: str, variant: Variant) -> Figure | None:
    """For every split a layer × epoch map, and below them chosen layers over the epochs; None without milestones."""
    maps = {split: milestone_matrix(run, metric, split, variant) for split in run.splits}
    # What training changes is a small part of a metric's range: colours and axis span what was measured.
    return over_epochs(run, maps, run.term(metric), seen=_span(maps.values()))


def to_last_figure(run: Run, metric: str, variant: Variant) -> Figure | None:
    """The same of the similarity of every layer to itself at the last checkpoint."""
    term = LAYER_SIMILARITY if metric == LAYER_SIMILARITY.component else run.term(metric)
    maps = {split: to_last_matrix(run, metric, split, variant) for split in run.splits}
    return over_epochs(run, maps, replace(term, short=f"{term.short} to last"))


def to_next_figure(run: Run, metric: str, variant: Variant) -> Figure | None:
    """The same of the similarity of every layer to itself one checkpoint before."""
    term = LAYER_SIMILARITY if metric == LAYER_SIMILARITY.component else run.term(metric)
    maps = {split: to_next_matrix(run, metric, split, variant) for split in run.splits}
    return over_epochs(run, maps, replace(term, short=f"{term.short} to previous"))


def consecutive_figure(run: Run, metric: str, variant: Variant, *, backwards: bool = False) -> Figure | None:
    """The same of every layer with the one before it, at each checkpoint."""
    maps = {split: consecutive_matrix(run, metric, split, variant, backwards=backwards) for split in run.splits}
    return over_epochs(run, maps, run.similarities[metric], seen=_span(maps.values()))


def _span(maps: Iterable[NDArray[np.float64] | None]) -> tuple[float, float] | None:
    """From the smallest value to the largest; None where there are no two."""
    values = np.concatenate([np.empty(0), *(matrix.ravel() for matrix in maps if matrix is not None)])
    values = values[np.isfinite(values)]
    if not len(values) or float(values.max()) <= float(values.min()):
        return None
    return float(values.min()), float(values.max())


def over_epochs(
    run: Run,
    maps: Mapping[str, NDArray[np.float64] | None],
    term: Term,
    seen: tuple[float, float] | None = None,
) -> Figure | None:
    """By split a map of layers by trained checkpoints `(n_layers, n_checkpoints)`, and chosen layers as curves.

    seen: what colours and axis span; None: the metric's own range.
    """
    from matplotlib.ticker import MaxNLocator

    shown = {split: matrix for split, matrix in maps.items() if matrix is not None}
    if not shown or not any(np.isfinite(matrix).any() for matrix in shown.values()):
        return None
    epochs = [int(c.epoch) for c in trained_checkpoints(run) if c.epoch is not None]
    low, high = seen if seen is not None else limits(term, np.stack(list(shown.values())))
    height = 1.0 + 0.13 * min(24, len(run.layers))
    made, panels = figure(1.9 + height * len(shown), rows=len(shown) + 1, height_ratios=[height] * len(shown) + [1.2])
    for axes, (split, matrix) in zip(panels, shown.items(), strict=False):
        image = draw_map(axes, matrix, low=low, high=high)
        layer_ticks(axes, run.layers, axis="y", inches=height - 0.4, size=6.0)
        layer_ticks(axes, [str(epoch) for epoch in epochs], inches=1.9, size=6.0)
        axes.set_title(split, loc="right", pad=3)
        colour_bar(made, image, axes, term.short)
    axes = panels[-1]
    first = next(iter(shown.values()))
    peak = int(np.nanargmax(np.where(np.isnan(first[:, -1]), -np.inf, first[:, -1])))
    handles = []
    chosen = [at for at in chosen_layers(len(run.layers), peak, most=5) if _known(shown.values(), at)]
    for number, at in enumerate(chosen):
        for split_number, matrix in enumerate(shown.values()):
            style = line_style(number, split_number, False)
            axes.plot(epochs, matrix[at], **style.keywords(), gid="series")
        label = plain(shorten(run.layers[at], 18))
        handles.append(legend_line(label, **line_style(number, 0, False).keywords()))
    if len(shown) > 1:
        for number, split in enumerate(shown):
            handles.append(legend_line(split, color="0.2", linestyle=line_style(0, number, False).dashes))
    axes.set_ylabel(term.short)
    axes.set_xlabel("epoch")
    if seen is None:
        axes.set_ylim(low, None if term.high is None else high + 0.02 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    made.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


def _known(maps: Iterable[NDArray[np.float64]], at: int) -> bool:
    """Whether that layer has a value at any epoch; the first has none with the one before it."""
    return any(bool(np.isfinite(matrix[at]).any()) for matrix in maps)


def nnls_sheet(run: Run, split: str, variant: Variant) -> Figure | None:
    """The layer × layer maps of all milestones, four in a row; None where there are none."""
    maps = {c.epoch: nnls_matrix(run, c, split, variant) for c in trained_checkpoints(run)}
    shown = [(epoch, matrix) for epoch, matrix in maps.items() if matrix is not None]
    if not shown:
        return None
    rows = -(-len(shown) // _IN_A_ROW)
    made, panels = figure(0.3 + 0.85 * rows, rows=rows, columns=_IN_A_ROW)
    image: Any = None
    for axes, (epoch, matrix) in zip(panels, shown, strict=False):
        image = draw_map(axes, matrix, low=0.0, high=1.0, annotated=False)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"epoch {epoch}", fontsize=6.5, pad=2)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    made.colorbar(image, ax=panels, location="bottom", fraction=0.05, pad=0.03, aspect=40).set_label("NNLS")
    return made
