"""Axes and legends of the plots of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.compare.view import Line
from rra_cli.report.glossary import Term
from rra_cli.report.layer_axis import LONGEST_NAME, layer_ticks, names_inches, plain
from rra_cli.report.style import shorten, text_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = 1.45
LEGEND_ROW_INCHES = 0.145
LEGEND_POINTS = 215.0
DOTTED: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": (0, (1, 1))}
# More than this many kinds of networks: their layers' names no longer fit below one axis.
_MOST_NAMED = 3


def relative_depth(line: Line) -> Any:
    """Positions, which may be numbers of layers, from 0 to 1."""
    return line.position / max(1.0, float(line.position.max()))


def possible(line: Line, term: Term) -> tuple[Any, Any]:
    """Both ends of the band, no further than the metric has values: an interval of Student's t knows no bounds."""
    if term.low is None and term.high is None:
        return line.low, line.high
    return np.clip(line.low, term.low, term.high), np.clip(line.high, term.low, term.high)


def value_axis(axes: Axes, term: Term, lines: Sequence[Line]) -> None:
    """Label and range: the metric's own; where it is open, that of the means and of bands that are not too wide."""
    axes.set_ylabel(term.short or term.label)
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    if term.low is not None and term.high is not None:
        axes.set_ylim(term.low, term.high + 0.02 * (term.high - term.low))
        return
    ends = shown_range(lines)
    if ends is not None:
        axes.set_ylim(ends[0] if term.low is None else max(term.low, ends[0]), ends[1])


def shown_range(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Both ends of an axis that shows all means, and bands that are not too wide; None where there is no mean."""
    means = np.concatenate([line.mean for line in lines]) if lines else np.empty(0)
    means = means[np.isfinite(means)]
    if not len(means):
        return None
    # Two seeds give bands of twelve standard errors: they may leave the picture, the means may not.
    low, high = float(means.min()), float(means.max())
    reach = 0.6 * ((high - low) or abs(high) or 1.0)
    bands = np.concatenate([np.concatenate([line.low, line.high]) for line in lines])
    bands = np.clip(bands[np.isfinite(bands)], low - reach, high + reach)
    known = np.concatenate([means, bands])
    margin = 0.05 * ((float(known.max()) - float(known.min())) or 1.0)
    return float(known.min()) - margin, float(known.max()) + margin


def layer_axis(axes: Sequence[Axes], kinds: Sequence[tuple[str, ...]]) -> float:
    """Names along the axis; of several kinds of networks a row each, over the relative depth. Gives their inches."""
    last = axes[-1]
    for place in axes[:-1]:
        place.tick_params(axis="x", which="both", labelbottom=False)
    if len(kinds) == 1:
        last.set_xlim(-0.5, len(kinds[0]) - 0.5)
        layer_ticks(last, kinds[0])
        return names_inches(kinds[0])
    last.set_xlim(-0.04, 1.04)
    if len(kinds) > _MOST_NAMED:
        last.set_xlabel("relative depth")
        return 0.3
    last.set_xticks([])
    room = 0.0
    for names in kinds:
        axis = last.secondary_xaxis("bottom")
        axis.spines["bottom"].set_position(("outward", 72.0 * room))
        _depth_ticks(axis, names)
        room += names_inches(names, size=6.0) + 0.12
    axis.set_xlabel("relative depth", labelpad=2)
    return room + 0.12


def _depth_ticks(axis: Any, names: Sequence[str]) -> None:
    """Upright names at their relative depths, thinned out to what fits into a column."""
    step = max(1, -(-len(names) * 8 // 190))
    shown = sorted({*range(0, len(names), step), len(names) - 1})
    if len(shown) > 1 and shown[-1] - shown[-2] < step:
        del shown[-2]
    depth = max(1, len(names) - 1)
    labels = [plain(shorten(names[at], LONGEST_NAME)) for at in shown]
    axis.set_xticks([at / depth for at in shown], labels, rotation=90, fontsize=6.0)


def add_legend(made: Figure, handles: Sequence[Any]) -> int:
    """Below the axes, as many columns as the longest label allows; gives its number of rows."""
    if len(handles) < 2:
        return 0
    widest = max(text_points(str(handle.get_label()), 6.5) for handle in handles) + 28
    columns = max(1, min(3, int(LEGEND_POINTS // widest), len(handles)))
    made.legend(handles=list(handles), loc="outside lower center", ncols=columns, borderaxespad=0.1)
    return -(-len(handles) // columns)
