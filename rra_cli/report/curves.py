"""Curves along the layers: intrinsic dimension, class similarity and any other metric of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.glossary import short_label, term
from rra_cli.report.layer_axis import layer_ticks, stage_bands
from rra_cli.report.run import Checkpoint, Run, Series, Variant
from rra_cli.report.style import LineStyle, figure, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# 95 % of a normal distribution lies within so many standard errors.
NORMAL_95 = 1.96
# More lines than this in one panel: one panel a split.
_MOST_LINES = 6

Identity = tuple[str, Checkpoint, Variant]


def curve(run: Run, metrics: Sequence[str]) -> Figure:
    """The metrics along the layers: one line per split, checkpoint (where few), pooling and metric.

    Shaded: ±1.96 standard errors where known. A layer without a value is a gap, marked × on the axis.
    """
    series = [
        found
        for metric in metrics
        for checkpoint in run.shown_checkpoints
        for variant in run.variants
        for split in run.splits
        if (found := run.series(metric, checkpoint, split, variant)) is not None
    ]
    identities = list(dict.fromkeys(_identity(line) for line in series))
    splits = [split for split in run.splits if any(line.split == split for line in series)]
    panels = [[split] for split in splits] if len(series) > _MOST_LINES and len(splits) > 1 else [splits]
    made, all_axes = figure(1.35 + 1.25 * len(panels), rows=len(panels), sharex=True, sharey=True)
    for axes, shown in zip(all_axes, panels, strict=True):
        for line in series:
            if line.split in shown:
                style = line_style(identities.index(_identity(line)), splits.index(line.split), len(identities) == 1)
                draw_series(axes, line, style)
        if len(panels) > 1:
            axes.set_title(shown[0], loc="right", pad=3)
        _finish(axes, run, metrics)
    layer_ticks(all_axes[-1], run.layers)
    for axes in all_axes[:-1]:
        axes.tick_params(axis="x", which="both", labelbottom=False)
    extra = _references(all_axes, panels, run, metrics, series, identities)
    _legend(made, identities, splits, series, extra, by_panel=len(panels) > 1)
    return made


def draw_series(axes: Axes, line: Series, style: LineStyle) -> None:
    """One line with its band and the marks of its missing values."""
    at = np.arange(len(line.value))
    dense = len(at) > 30
    axes.plot(at, line.value, **style.keywords(), zorder=3, **({"markersize": 2.0} if dense else {}), gid="series")
    if np.isfinite(line.std_error).any():
        low, high = line.value - NORMAL_95 * line.std_error, line.value + NORMAL_95 * line.std_error
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


def _finish(axes: Axes, run: Run, metrics: Sequence[str]) -> None:
    label = term(metrics[0]).label
    axes.set_ylabel(label if len(label) < 28 else short_label(metrics[0]))
    axes.set_xlim(-0.5, len(run.layers) - 0.5)
    if metrics[0].startswith("nncs"):
        axes.set_ylim(0.0, 1.02)
    elif metrics[0].startswith("id_"):
        axes.set_ylim(bottom=0.0)
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    stage_bands(axes, run.stages)


def _references(
    all_axes: Sequence[Axes],
    panels: Sequence[Sequence[str]],
    run: Run,
    metrics: Sequence[str],
    series: Sequence[Series],
    identities: Sequence[Identity],
) -> list[Any]:
    """Chance levels, and beside NNCS the classification accuracy that it can be held against; returns legend entries."""
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    levels = {line.split: float(np.nanmean(line.chance)) for line in series if np.isfinite(line.chance).any()}
    for axes, shown in zip(all_axes, panels, strict=True):
        for level in sorted({round(levels[split], 4) for split in shown if split in levels}):
            axes.axhline(level, color="0.45", linewidth=0.9, linestyle=(0, (1, 1)), zorder=1, gid="chance")
    if levels:
        handles.append(Line2D([], [], color="0.45", linewidth=0.9, linestyle=(0, (1, 1)), label="chance level"))
    if metrics[0].startswith("nncs"):
        splits = [split for shown in panels for split in shown]
        for axes, shown in zip(all_axes, panels, strict=True):
            for split in shown:
                accuracy = run.accuracy(split, run.main_checkpoint)
                if np.isfinite(accuracy):
                    style = line_style(0, splits.index(split), len(identities) == 1)
                    colour = style.colour if len(identities) == 1 else "0.2"
                    mark = {"color": colour, "marker": "_*"[1], "markerfacecolor": colour if style.filled else "white"}
                    axes.axhline(accuracy, color=colour, linewidth=0.6, linestyle=style.dashes, zorder=1, gid="accuracy")
                    right = len(run.layers) - 0.5
                    axes.plot([right], [accuracy], **mark, markersize=6, linestyle="none", clip_on=False, zorder=4)
                    label = f"accuracy, {split} {accuracy:.3f}"
                    handles.append(Line2D([], [], **mark, linewidth=0.6, linestyle=style.dashes, markersize=5, label=label))
    return handles


def _legend(
    made: Figure,
    identities: Sequence[Identity],
    splits: Sequence[str],
    series: Sequence[Series],
    extra: Sequence[Any],
    *,
    by_panel: bool,
) -> None:
    """Below the axes: what colours and markers mean, what dashes mean, and reference lines."""
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    alone = len(identities) == 1
    if not alone:
        for number, identity in enumerate(identities):
            style = line_style(number, 0, False)
            handles.append(Line2D([], [], **style.keywords(), label=_title(identity, identities)))
    if not by_panel and (len(splits) > 1 or alone):
        for number, split in enumerate(splits):
            style = line_style(0, number, alone)
            if alone:
                handles.append(Line2D([], [], **style.keywords(), label=split))
            else:
                handles.append(Line2D([], [], color="0.2", linestyle=style.dashes, label=split))
    handles.extend(extra)
    if any(line.empty for line in series):
        handles.append(Line2D([], [], color="0.2", marker="x", linestyle="none", label="no value"))
    if len(handles) > 1 or extra:
        widest = max(len(str(handle.get_label())) for handle in handles)
        made.legend(handles=handles, loc="outside lower center", ncols=2 if widest > 14 else 3, borderaxespad=0.1)


def _title(identity: Identity, identities: Sequence[Identity]) -> str:
    """What tells this line from the others: metric, checkpoint, pooling, whichever differ."""
    metric, checkpoint, variant = identity
    parts = (short_label(metric), checkpoint.title, variant.title)
    differs = [len({other[at] for other in identities}) > 1 for at in range(3)]
    return ", ".join(part for part, told in zip(parts, differs, strict=True) if told)
