"""The self-layer diagonal: every layer with itself in other models, and differences between groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rra_cli.report.compare.axes import (
    DOTTED,
    LEGEND_POINTS,
    LEGEND_ROW_INCHES,
    PANEL_INCHES,
    add_legend,
    layer_axis,
    possible,
    relative_depth,
    value_axis,
)
from rra_cli.report.compare.view import Line, View
from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.layer_axis import plain
from rra_cli.report.style import figure, legend_line, line_style, text_points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Comparisons of different groups in one plot.
_MOST_BETWEEN = 3


def diagonal_figure(
    view: View, rows: pd.DataFrame, differences: pd.DataFrame, term: Term = LAYER_SIMILARITY
) -> Figure | None:
    """Every layer with itself in other models: a line a comparison; below, differences of groups if there are.

    More than `_MOST_BETWEEN` comparisons of different groups, or differences, are left to the tables.
    """
    if rows.empty:
        return None
    within, between = (rows[(rows["kind"] == "within") == kind] for kind in (True, False))
    groups = {label: number for number, label in enumerate(view.groups)}
    lines = _diagonals(view, within, ["group_a"])
    crossed = _diagonals(view, between, ["group_a", "group_b"])
    related = _diagonals(view, _within(differences), ["comparison_a", "comparison_b"], "difference")
    lines |= crossed if len(crossed) <= _MOST_BETWEEN or not lines else {}
    related = related if len(related) <= _MOST_BETWEEN else {}
    kinds = list(dict.fromkeys(line.names for key, line in lines.items() if len(key) == 1 or not len(within)))
    letters = _letters(view.groups)
    made, axes = figure(1.0, rows=1 + bool(related), sharex=True)
    handles = []
    for number, (key, line) in enumerate([*lines.items(), *related.items()]):
        style = line_style(groups[key[0]] if len(key) == 1 else len(groups) + number, 0, False)
        place, sign = (axes[0], "×") if number < len(lines) else (axes[1], "−")
        at = np.arange(len(line.mean)) if len(kinds) == 1 and line.names == kinds[0] else relative_depth(line)
        place.plot(at, line.mean, **style.keywords(), zorder=3, gid="mean")
        if np.isfinite(line.low).any():
            low, high = possible(line, term if number < len(lines) else Term(""))
            place.fill_between(at, low, high, color=style.colour, alpha=0.2, linewidth=0, zorder=2)
        named = [letters[group] for group in key]
        label = f" {sign} ".join(name or group for name, group in zip(named, key, strict=True))
        handles.append(
            legend_line(plain(f"{label}: {key[0]}" if len(key) == 1 and named[0] else label), **style.keywords())
        )
    value_axis(axes[0], term, [])
    for level in rows["chance"].dropna().unique()[:1]:
        axes[0].axhline(float(level), **DOTTED, zorder=1, gid="chance")
        handles.insert(len(lines), legend_line("chance level", **DOTTED))
    if related:
        axes[1].axhline(0.0, color="0.3", linewidth=0.7, zorder=1)
        axes[1].set_ylabel("difference")
        axes[1].grid(axis="y", color="0.88", linewidth=0.5)
    room = layer_axis(axes, kinds)
    height = PANEL_INCHES * len(axes) + room
    made.set_figheight(height + LEGEND_ROW_INCHES * add_legend(made, handles) + 0.3)
    return made


def _diagonals(view: View, rows: pd.DataFrame, keys: list[str], value: str = "mean") -> dict[tuple[str, ...], Line]:
    """A line for each of the comparisons in a table."""
    found = {}
    for key, own in rows.groupby(keys, sort=False):
        own = own.sort_values("index", kind="stable")
        line = view.line(str(key[0]), own, "depth", "layer", value)
        found[tuple(map(str, key))] = line
    return found


def _within(differences: pd.DataFrame) -> pd.DataFrame:
    """Those of one group with another, each within itself: the others are in the table."""
    if differences.empty:
        return differences
    between = differences["comparison_a"].str.contains(" × ") | differences["comparison_b"].str.contains(" × ")
    return differences[~between]


def _letters(groups: Sequence[str]) -> dict[str, str]:
    """Short names of the groups, where two of their labels would not fit into a line of the legend; else ""."""
    widest = sum(sorted(text_points(plain(group), 6.5) for group in groups)[-2:])
    short = [chr(ord("A") + at) if at < 26 else f"G{at}" for at in range(len(groups))]
    return dict(zip(groups, short if widest > LEGEND_POINTS - 28 else [""] * len(groups), strict=True))
