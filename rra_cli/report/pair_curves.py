"""Similarity of layers along the network: each to the one before it and to the last, and all metrics in one plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.context_line import context, context_legend
from rra_cli.report.curves import NORMAL_95
from rra_cli.report.glossary import LAYER_SIMILARITY
from rra_cli.report.heatmaps import nnls_matrix, pair_matrix
from rra_cli.report.layer_axis import layer_ticks, names_inches, plain, stage_bands
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMBALANCE = "information_imbalance"
# The components whose metrics are similarities between 0 and 1.
BETWEEN_0_AND_1 = frozenset({LAYER_SIMILARITY.component, "overlap", "cka", "cca", "svcca"})
_DOTTED: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (1, 1)), "zorder": 1}

Relations = dict[str, NDArray[np.float64]]


def relations(matrix: NDArray[np.float64], *, directed: bool) -> Relations:
    """What a `(layers, layers)` matrix says of each layer and the one before it, and the last: `(layers,)` each.

    directed: both directions, as they differ. The first layer has none before it, and the last is not compared with
    itself: NaN there.
    """
    count = len(matrix)

    def before(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([[np.nan], np.diag(values, 1)])

    def last(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.arange(count) == count - 1, np.nan, values[:, -1])

    if not directed:
        return {"layer before": before(matrix), "last layer": last(matrix)}
    return {
        "from the layer before": before(matrix),
        "to the layer before": before(matrix.T),
        "to the last layer": last(matrix),
        "from the last layer": last(matrix.T),
    }


def pair_curve(run: Run, metric: str, checkpoint: Checkpoint, variant: Variant) -> Figure | None:
    """Each layer with the one before it and with the last, by split; None where no pairs were measured.

    metric: `nnls` or one of pairs.csv. Shaded: intervals, or ±1.96 standard errors where known; dotted: chance level.
    """
    term = LAYER_SIMILARITY if metric == LAYER_SIMILARITY.component else run.term(metric)
    found = {split: matrix_of(run, metric, checkpoint, split, variant) for split in run.splits}
    matrices = {split: matrix for split, matrix in found.items() if matrix is not None}
    if not matrices or len(run.layers) < 3:
        return None
    directed = not all(np.allclose(matrix, matrix.T, equal_nan=True) for matrix in matrices.values())
    shown = {split: relations(matrix, directed=directed) for split, matrix in matrices.items()}
    names = list(next(iter(shown.values())))
    made, (axes,) = figure(1.0)
    handles, several, chance_drawn = [], len(shown) > 1, False
    at = np.arange(len(run.layers))
    for number, (split, lines) in enumerate(shown.items()):
        errors, chances = (
            matrix_of(run, metric, checkpoint, split, variant, column) for column in ("std_error", "chance")
        )
        assert errors is not None
        assert chances is not None
        ends = None
        if run.has_intervals(metric):
            both = (matrix_of(run, metric, checkpoint, split, variant, column) for column in ("low", "high"))
            ends = [relations(end, directed=directed) for end in both if end is not None]
        error_of, chance_of = (relations(values, directed=directed) for values in (errors, chances))
        for place, (name, values) in enumerate(lines.items()):
            style = line_style(place, number, False)
            axes.plot(at, values, **style.keywords(), zorder=3, gid="series")
            reach = NORMAL_95 * error_of[name]
            low, high = (values - reach, values + reach) if ends is None else (end[name] for end in ends)
            if np.isfinite(low).any():
                axes.fill_between(at, low, high, color=style.colour, alpha=0.22, linewidth=0)
            if np.isfinite(chance_of[name]).any():
                axes.plot(at, chance_of[name], color=style.colour, **_DOTTED, gid="chance")
                chance_drawn = True
    for place, name in enumerate(names):
        handles.append(legend_line(name, **line_style(place, 0, False).keywords()))
    if several:
        dashes = [line_style(0, number, False).dashes for number in range(len(shown))]
        handles += [legend_line(s, color="0.2", linestyle=dash) for dash, s in zip(dashes, shown, strict=True)]
    if chance_drawn:
        handles.append(legend_line("chance level", color="0.45", **_DOTTED))
    axes.set_ylabel(term.short or metric)
    axes.set_xlim(-0.5, len(run.layers) - 0.5)
    if term.component == IMBALANCE:  # of neighbouring layers it is near 0
        axes.set_yscale("log")
    else:
        axes.set_ylim(term.low, None if term.high is None else term.high + 0.02 * (term.high - (term.low or 0.0)))
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    stage_bands(axes, run.stages)
    layer_ticks(axes, run.layers)
    columns = 2 if max(len(str(handle.get_label())) for handle in handles) > 14 else 3
    row = context_legend(made, handles, columns, context(run, (metric,), (checkpoint,)))
    made.set_figheight(1.8 + names_inches(run.layers) + row + 0.145 * -(-len(handles) // columns))
    return made


def similarity_metrics(run: Run) -> tuple[str, ...]:
    """The metrics of pairs of layers that lie between 0 and 1 and are 1 for equal layers: they share an axis."""
    terms = run.similarities.items()
    return tuple(metric for metric, term in terms if term.high == 1.0 and term.component in BETWEEN_0_AND_1)


def similarities_figure(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """Each layer with the one before it by all of `similarity_metrics`, a line each; None for fewer than two of them.

    Shaded: intervals, or ±1.96 standard errors where known; dotted: chance levels, in the colour of the metric.
    """
    here = (checkpoint, split, variant)
    found = [m for m in similarity_metrics(run) if np.isfinite(before_of(run, m, *here)).any()]
    if len(found) < 2 or len(run.layers) < 3:
        return None
    made, (axes,) = figure(1.0)
    handles, least, chance_drawn, at = [], 0.0, False, np.arange(len(run.layers))
    for number, metric in enumerate(found):
        style = line_style(number, 0, False)
        values, chance, error = (before_of(run, metric, *here, column) for column in (None, "chance", "std_error"))
        low, high = values - NORMAL_95 * error, values + NORMAL_95 * error
        if run.has_intervals(metric):
            low, high = (before_of(run, metric, *here, column) for column in ("low", "high"))
        axes.plot(at, values, **style.keywords(), zorder=3, gid="series")
        if np.isfinite(low).any():
            axes.fill_between(at, low, high, color=style.colour, alpha=0.22, linewidth=0)
        if np.isfinite(chance).any():
            axes.plot(at, chance, color=style.colour, **_DOTTED, gid="chance")
            chance_drawn = True
        handles.append(legend_line(plain(shorten(run.similarities[metric].short, 24)), **style.keywords()))
        shown = values[np.isfinite(values)]  # an unbiased CKA may lie below 0
        least = min([least, *shown.tolist()])
    if chance_drawn:
        handles.append(legend_line("chance level", color="0.45", **_DOTTED))
    axes.set_ylabel("similarity to the layer before")
    axes.set_xlim(-0.5, len(run.layers) - 0.5)
    axes.set_ylim(1.05 * least, 1.02)
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    stage_bands(axes, run.stages)
    layer_ticks(axes, run.layers)
    row = context_legend(made, handles, 3, context(run, tuple(found), (checkpoint,), (split,)))
    made.set_figheight(2.1 + names_inches(run.layers) + row + 0.145 * -(-len(handles) // 3))
    return made


def before_of(
    run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant, column: str | None = None
) -> NDArray[np.float64]:
    """A column of the metric's pairs of each layer with the one before it (a), `(layers,)`, NaN where there is none.

    column: as `matrix_of` takes it.
    """
    matrix = matrix_of(run, metric, checkpoint, split, variant, column)
    missing = np.full(len(run.layers), np.nan)
    return missing if matrix is None else np.concatenate([missing[:1], np.diag(matrix, 1)])


def matrix_of(
    run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant, column: str | None = None
) -> NDArray[np.float64] | None:
    """A column of the metric's pairs as `(layers, layers)`, its values where none is named; None without any."""
    if metric == LAYER_SIMILARITY.component:
        return nnls_matrix(run, checkpoint, split, variant, column or "nnls")
    return pair_matrix(run, metric, checkpoint, split, variant, column or "value")
