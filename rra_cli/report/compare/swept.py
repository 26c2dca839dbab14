"""Metrics against the number that groups differ in (`alter.level`, `model.width_multiplier`), a line a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.compare.axes import (
    DOTTED,
    LEGEND_ROW_INCHES,
    PANEL_INCHES,
    add_legend,
    possible,
    value_axis,
)
from rra_cli.report.compare.pullback import LABELS, LN_10, RATIO, VOLUME, bars_text
from rra_cli.report.compare.view import JACKKNIFE, Line, View
from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.layer_axis import LONGEST_NAME, plain
from rra_cli.report.plot import Plot
from rra_cli.report.style import figure, file_name, legend_line, shade, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LAYERS = 13  # lines of one plot; of more layers so many, evenly
# Values whose largest is so many times the smallest stand on a logarithmic axis.
_DECADES = 16.0
Panels = Sequence[tuple[str, "pd.DataFrame"]]  # by split, "" where there is one panel


def swept_plots(view: View) -> Iterator[Plot]:
    """Every metric of layers, the similarity of layers in other seeds, and volumes; none without such a number."""
    if view.swept is None:
        return
    setting, frame = view.swept.setting, view.frames["layers"]
    by = setting.replace(".", "_")
    for (metric, transfer), rows in frame.groupby(["metric", "transfer"], sort=False):
        term, splits = view.term(str(metric)), view.splits(rows)
        for number, (pool, scale) in enumerate(view.places(rows)):
            place = (str(metric), pool, scale, str(transfer))
            panels = [(split, view.main_rows(view.metric_rows(place[0], split, *place[1:]))) for split in splits]
            where = "".join([f", data set {transfer}" if transfer else "", f", {pool} {scale}" if number else ""])
            yield Plot(
                file_name(str(metric), str(transfer), f"{pool}{scale}" if number else "", "by", by),
                f"{term.short or term.label} against {setting}{where}",
                f"{term.reading} {_how(view, rows)}".strip(),
                partial(swept_figure, view, term, panels),
                number == 0,
            )
    yield from _between_seeds(view, setting, by)
    rows = view.frames["pullback"]
    for (metric, inputs), own in rows.groupby(["metric", "inputs"], sort=False):
        for quantity, what in ((VOLUME, "Volume element"), (RATIO, "Stretch near decision boundaries")):
            yield Plot(
                file_name(str(metric), "" if inputs == 1 else f"inputs{inputs}", quantity, "by", by),
                f"{what} against {setting} ({metric})",
                f"{_LINES} {bars_text(view, own, quantity).replace('Vertical lines', 'Bands')}",
                partial(swept_figure, view, _TERMS[quantity], [("", _volumes(view, own, quantity))]),
            )


_TERMS = {VOLUME: Term(LABELS[VOLUME]), RATIO: Term(LABELS[RATIO])}
_LINES = "A line a layer, dark to light from the first to the last."


def _how(view: View, rows: pd.DataFrame, pairs: str = "") -> str:
    """What lines and bands are."""
    chance = " Dotted: chance level." if rows["chance"].notna().any() else ""
    return f"{_LINES}{chance} {view.bands_of(rows, pairs)}"


def _between_seeds(view: View, setting: str, by: str) -> Iterator[Plot]:
    """NNLS of every layer with itself in other models of its group."""
    rows = view.frames["nnls_diagonal"]
    rows = rows[rows["kind"] == "within"]
    rows = rows.assign(group=rows["group_a"])  # of these rows alone: one run a group has none
    for number, (pool, scale) in enumerate(view.places(rows)):
        here = view.main_rows(rows[(rows["pool"] == pool) & (rows["scale"] == scale)])
        panels = [(split, here[here["split"] == split]) for split in view.splits(here)]
        yield Plot(
            file_name("nnls_diagonal", f"{pool}{scale}" if number else "", "by", by),
            f"Layers and themselves in other models against {setting}{f', {pool} {scale}' if number else ''}",
            f"NNLS of every layer with itself between the seeds of a group. {_how(view, here, JACKKNIFE)}",
            partial(swept_figure, view, LAYER_SIMILARITY, panels),
            number == 0,
        )


def _volumes(view: View, rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Rows of pullback.csv of one quantity, at the main checkpoints, with intervals; volumes in decimal digits."""
    rows = view.main_rows(rows[rows["quantity"] == quantity])
    scale = LN_10 if quantity == VOLUME else 1.0
    return rows.drop(columns="sd").assign(**{name: rows[name] / scale for name in ("mean", "low", "high")})


def swept_figure(view: View, term: Term, panels: Panels) -> Figure | None:
    """A panel a split, a line a layer over the groups' values; None where fewer than two groups have any."""
    assert view.swept is not None, "groups differ in a number"
    values = view.swept.values
    found = {name: lines for name, rows in panels if (lines := layer_lines(view, rows))}
    every = [line for lines in found.values() for line in lines]
    if not any(np.isfinite(line.mean).sum() > 1 for line in every):
        return None
    layers = list(dict.fromkeys(line.group for line in every))
    made, axes = figure(1.0, rows=len(found), sharex=True, sharey=True)
    for place, (name, lines) in zip(axes, found.items(), strict=True):
        for line in lines:
            style = shade(layers.index(line.group), len(layers))
            place.plot(line.position, line.mean, **style.keywords(), zorder=3, gid="mean")
            if np.isfinite(line.low).any():
                low, high = possible(line, term)
                place.fill_between(line.position, low, high, color=style.colour, alpha=0.1, linewidth=0, gid="band")
        _chance(place, lines)
        value_axis(place, term, lines)
        only = plain(shorten(layers[0], LONGEST_NAME)) if len(layers) == 1 else ""
        place.set_title(", ".join(part for part in (name if len(found) > 1 else "", only) if part), loc="right", pad=2)
    value_marks(axes[-1], sorted(values.values()))
    axes[-1].set_xlabel(plain(view.swept.setting))
    handles = [
        legend_line(plain(shorten(layer, LONGEST_NAME)), **shade(at, len(layers)).keywords())
        for at, layer in enumerate(layers)
    ]
    if any(np.isfinite(line.chance).any() for line in every):
        handles.append(legend_line("chance level", **DOTTED))
    made.set_figheight(PANEL_INCHES * len(found) + LEGEND_ROW_INCHES * add_legend(made, handles) + 0.55)
    return made


def layer_lines(view: View, rows: pd.DataFrame) -> list[Line]:
    """A line a layer (its `group`), in the network's order, over the values of the groups that have it."""
    assert view.swept is not None, "groups differ in a number"
    rows = rows.assign(swept=rows["group"].map(dict(view.swept.values)))
    names = list(dict.fromkeys(rows.sort_values("index", kind="stable")["layer"]))
    if len(names) > _MOST_LAYERS:
        names = [names[at] for at in np.linspace(0, len(names) - 1, _MOST_LAYERS).round().astype(int)]
    by_layer = {name: rows[rows["layer"] == name].sort_values("swept", kind="stable") for name in names}
    lines = [view.line(str(name), own, "swept", "group") for name, own in by_layer.items()]
    return [line for line in lines if np.isfinite(line.mean).any()]


def _chance(axes: Axes, lines: Sequence[Line]) -> None:
    """Chance levels, which may depend on the value: their mean over the layers."""
    known: dict[float, list[float]] = {}
    for line in lines:
        for at, chance in zip(line.position, line.chance, strict=True):
            if np.isfinite(chance):
                known.setdefault(float(at), []).append(float(chance))
    if known:
        at = sorted(known)
        axes.plot(at, [float(np.mean(known[value])) for value in at], **DOTTED, zorder=1, gid="chance")


def value_marks(axes: Axes, values: Sequence[float]) -> None:
    """An axis with a mark at every value that finds room; logarithmic where they span decades."""
    from matplotlib.ticker import FixedLocator, NullLocator

    margin = 0.03 * (values[-1] - values[0])
    ends = values[0] - margin, values[-1] + margin
    if values[0] > 0 and values[-1] / values[0] >= _DECADES:
        axes.set_xscale("log")
        factor = (values[-1] / values[0]) ** 0.03
        ends = values[0] / factor, values[-1] * factor
    axes.set_xlim(*ends)
    low, high = (axes.transData.transform((value, 0))[0] for value in (values[0], values[-1]))
    shown: list[float] = []
    last: Any = None
    for value in values:
        at = axes.transData.transform((value, 0))[0]
        if last is None or at - last >= (high - low) / 10:
            shown.append(value)
            last = at
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
