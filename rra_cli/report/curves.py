"""Curves along the layers: intrinsic dimension, class similarity and any other metric of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.context_line import context, context_legend
from rra_cli.report.glossary import BESIDE_ACCURACY
from rra_cli.report.layer_axis import layer_ticks, names_inches, stage_bands
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Series, Variant
from rra_cli.report.style import LineStyle, figure, legend_line, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# 95 % of a normal distribution lies within so many standard errors.
NORMAL_95 = 1.96
# More lines than this: one panel a metric and split.
_MOST_LINES = 6
# Of the axes alone; room for names and legend is added, so that long names do not squeeze the curves.
_PANEL_INCHES = 1.55
_LEGEND_ROW_INCHES = 0.145

Identity = tuple[str, Checkpoint, Variant]


def curve(run: Run, metrics: Sequence[str]) -> Figure:
    """The metrics along the layers: one line per split, checkpoint (where few), pooling and metric.

    Windows over maps have figures of their own (`scales`).
    Shaded: intervals, or ±1.96 standard errors where known. A layer without a value is a gap, marked × on the axis.
    """
    series = [
        found
        for metric in metrics
        for checkpoint in run.shown_checkpoints
        for variant in run.plain_variants
        for split in run.splits
        if (found := run.series(metric, checkpoint, split, variant)) is not None
    ]
    panels = _panels(series)
    # Where every metric has its own panels, the same colour may mean the same pooling in all of them.
    identify = _identity if len(panels) == 1 else _identity_within_metric
    identities = list(dict.fromkeys(identify(line) for line in series))
    splits = [split for split in run.splits if any(line.split == split for line in series)]
    handles = _legend_entries(run, identities, splits, apart=len(panels) > 1)
    made, all_axes = figure(1.0, rows=len(panels), sharex=True, sharey=True)
    for axes, panel in zip(all_axes, panels, strict=True):
        for line in panel:
            style = line_style(identities.index(identify(line)), splits.index(line.split), len(identities) == 1)
            draw_series(axes, line, style)
        handles += _references(axes, run, panel, splits, alone=len(identities) == 1)
        _finish(axes, run, panel, apart=len(panels) > 1)
    layer_ticks(all_axes[-1], run.layers)
    for axes in all_axes[:-1]:
        axes.tick_params(axis="x", which="both", labelbottom=False)
    if any(line.empty for line in series):
        handles.append(legend_line("no value", color="0.2", marker="x", linestyle="none"))
    unique = {str(handle.get_label()): handle for handle in handles}
    columns = 2 if max(map(len, unique)) > 14 else 3
    row = context_legend(made, list(unique.values()), columns, context(run, metrics, run.shown_checkpoints))
    made.set_figheight(
        row
        + _PANEL_INCHES * (1.0 if len(panels) == 1 else 0.75) * len(panels)
        + names_inches(run.layers)
        + _LEGEND_ROW_INCHES * -(-len(unique) // columns)
        + 0.25
    )
    return made


def _panels(series: Sequence[Series]) -> list[list[Series]]:
    """All lines together where they are few, else a panel per metric and split."""
    if len(series) <= _MOST_LINES:
        return [list(series)]
    apart: dict[tuple[str, str], list[Series]] = {}
    for line in series:
        apart.setdefault((line.metric, line.split), []).append(line)
    return list(apart.values())


def draw_series(axes: Axes, line: Series, style: LineStyle) -> None:
    """One line with its band and the marks of its missing values."""
    at = np.arange(len(line.value))
    dense = len(at) > 30
    keywords = style.keywords() | ({"markersize": 2.0} if dense else {})
    axes.plot(at, line.value, **keywords, zorder=3, gid="series")
    if line.interval is not None or np.isfinite(line.std_error).any():
        reach = NORMAL_95 * line.std_error
        low, high = (line.value - reach, line.value + reach) if line.interval is None else line.interval
        axes.fill_between(at, low, high, color=style.colour, alpha=0.22, linewidth=0, zorder=2)
    if line.empty:
        axes.plot(
            *(list(line.empty), [0.03] * len(line.empty)),
            transform=axes.get_xaxis_transform(),
            color=style.colour,
            marker="x",
            markersize=4,
            linestyle="none",
            clip_on=False,
            gid="missing",
        )


def _identity(line: Series) -> Identity:
    return line.metric, line.checkpoint, line.variant


def _identity_within_metric(line: Series) -> Identity:
    return "", line.checkpoint, line.variant


def _finish(axes: Axes, run: Run, panel: Sequence[Series], *, apart: bool) -> None:
    metrics = list(dict.fromkeys(line.metric for line in panel))
    term = run.term(metrics[0])
    label = term.short if apart or len(term.axis) > 28 else term.axis
    axes.set_ylabel(f"{label}, {panel[0].split}" if apart else label)
    axes.set_xlim(-0.5, len(run.layers) - 0.5)
    if term.low is not None and term.high is not None:
        axes.set_ylim(term.low, term.high + 0.02 * (term.high - term.low))
    elif not any(np.isfinite(line.value).any() for line in panel):
        axes.set_ylim(0.0, 1.0)
    else:
        axes.set_ylim(bottom=term.low, top=term.high)
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    stage_bands(axes, run.stages)


def _references(axes: Axes, run: Run, panel: Sequence[Series], splits: Sequence[str], *, alone: bool) -> list[Line2D]:
    """Chance levels, and beside NNCS and probes the accuracy that they can be held against; returns legend entries."""
    handles: list[Line2D] = []
    dotted: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": (0, (1, 1))}
    chances = [line.chance[np.isfinite(line.chance)] for line in panel]
    for level in sorted({round(float(chance.mean()), 4) for chance in chances if len(chance)}):
        axes.axhline(level, **dotted, zorder=1, gid="chance")
        handles.append(legend_line("chance level", **dotted))
    if run.term(panel[0].metric).component not in BESIDE_ACCURACY or run.alteration:
        return handles  # the accuracy is that of the samples as they are, the curve that of altered ones
    for split in dict.fromkeys(line.split for line in panel):
        accuracy = run.accuracy(split, run.main_checkpoint)
        if np.isfinite(accuracy):
            style = line_style(0, splits.index(split), alone)
            colour = style.colour if alone else "0.2"
            line: dict[str, Any] = {"color": colour, "linestyle": style.dashes, "linewidth": 0.6}
            star: dict[str, Any] = {"marker": "*", "markerfacecolor": colour if style.filled else "white"}
            axes.axhline(accuracy, **line, zorder=1, gid="accuracy")
            axes.plot([len(run.layers) - 0.5], [accuracy], color=colour, **star, markersize=6, clip_on=False, zorder=4)
            handles.append(legend_line(f"accuracy, {split} {accuracy:.3f}", **line, **star, markersize=5))
    return handles


def _legend_entries(run: Run, identities: Sequence[Identity], splits: Sequence[str], *, apart: bool) -> list[Line2D]:
    """What colours and markers mean, and what dashes mean where splits share a panel."""
    if len(identities) == 1:
        styles = [line_style(0, number, True) for number in range(len(splits))]
        return [legend_line(split, **style.keywords()) for style, split in zip(styles, splits, strict=True)]
    handles = [
        legend_line(_title(run, identity, identities), **line_style(number, 0, False).keywords())
        for number, identity in enumerate(identities)
    ]
    if len(splits) > 1 and not apart:
        dashes = [line_style(0, number, False).dashes for number in range(len(splits))]
        handles += [legend_line(s, color="0.2", linestyle=dash) for dash, s in zip(dashes, splits, strict=True)]
    return handles


def _title(run: Run, identity: Identity, identities: Sequence[Identity]) -> str:
    """What tells this line from the others: metric, checkpoint, pooling, whichever differ."""
    metric, checkpoint, variant = identity
    parts = (run.term(metric).short, checkpoint.title, variant.title)
    differs = [len({other[at] for other in identities}) > 1 for at in range(3)]
    return ", ".join(part for part, told in zip(parts, differs, strict=True) if told)
