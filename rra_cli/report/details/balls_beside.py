"""Uniform balls beside the curves of layers over scales, and what the caption says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.details.ball_bias import (
    DISCARD,
    balls,
    measured,
    rank_curves,
    sample_curves,
    through_rank,
    through_samples,
)
from rra_cli.report.run import Run, part_of
from rra_cli.report.style import legend_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_DOTTED: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (1, 1))}
_GREY = "0.45"


def fit_of(run: Run, metric: str) -> str | None:
    """The fit of TwoNN that a metric's curve comes from; None where balls were measured for another `discard`."""
    settings = part_of(part_of(run.config, "metrics"), metric)
    fit = str(settings.get("fit", "mle"))
    return fit if fit == "mle" or settings.get("discard", DISCARD) == DISCARD else None


def draw_balls(
    axes: Axes,
    run: Run,
    metric: str,
    axis: str,
    shown: Sequence[pd.DataFrame],
    colours: Sequence[str],
    *,
    named: bool = True,
) -> list[Line2D]:
    """Balls behind the layers' curves (rows of dimension_scales.csv by N and rank); a legend entry if there are any.

    named: whether their dimensions stand at the ends of their lines.
    """
    fit = fit_of(run, metric)
    if fit is None:
        return []
    if axis == "radius":
        drawn = [_through(axes, rows, fit, colour) for rows, colour in zip(shown, colours, strict=True)]
        return [legend_line("uniform ball through the first point", color=_GREY, **_DOTTED)] if any(drawn) else []
    values = np.concatenate([rows["value"].to_numpy(float) for rows in shown])
    samples = np.concatenate([rows["block_samples"].to_numpy(float) for rows in shown])
    low, high = 0.8 * float(np.nanmin(values)), 1.15 * float(np.nanmax(values))
    if axis == "samples":
        curves = sample_curves(low, high, float(samples.min()), float(samples.max()), fit)
    else:
        last = max(float(rows["neighbor_rank"].max()) for rows in shown)
        curves = rank_curves(low, high, float(samples.max()), last)
    for dimension, (x, estimate) in curves.items():
        axes.plot(x, estimate, color=_GREY, **_DOTTED, zorder=1, gid="ball")
        if named:
            label = axes.annotate(str(dimension), (x[-1], estimate[-1]), xytext=(2, 0), textcoords="offset points")
            label.set(fontsize=5.5, color="0.35", va="center")
    return [legend_line("uniform balls, dimension at end", color=_GREY, **_DOTTED)] if curves else []


def _through(axes: Axes, rows: pd.DataFrame, fit: str, colour: str) -> bool:
    """One layer's ball, from its smallest radius; whether there is one."""
    n, rank = rows["block_samples"].to_numpy(float), rows["neighbor_rank"].to_numpy(float)
    at = 0 if np.ptp(rank) else -1
    value, radius = float(rows["value"].iloc[at]), float(rows["radius"].iloc[at])
    if at == 0:
        found = through_rank(value, radius, n[0], rank[-1]) if rank[0] == balls().ranks[0] else None
    else:
        found = through_samples(value, radius, n[::-1], fit)
    if found is not None:
        axes.plot(*found, color=colour, **_DOTTED, zorder=1, gid="ball")
    return found is not None


def told_of_balls(run: Run, metric: str, axis: str, rows: pd.DataFrame) -> str:
    """What a caption says of the balls: rows of dimension_scales.csv of that metric and split."""
    sizes = balls().sizes
    range_ = f"{sizes[0]:,} to {sizes[-1]:,} samples"
    if fit_of(run, metric) is None:
        return f"No uniform balls beside them: those were measured with discard={DISCARD} alone."
    whole = float(rows["block_samples"].max())
    if not measured(whole) and (axis != "samples" or rows["block_samples"].min() > sizes[-1]):
        return f"No uniform balls beside them: those were measured with {range_}."
    if axis == "samples":
        beyond = "" if measured(whole) else f", measured with {range_}"
        return f"Dotted: uniform balls of the dimension at the end of the line, by the same fit{beyond}."
    if axis == "rank":
        return (
            "Dotted: uniform balls of the dimension at the end of the line and of as many samples (interpolated in "
            "log N): a layer that falls no faster than they do may have one dimension at all these scales."
        )
    return (
        "Dotted, in the colour of the layer: the uniform ball of as many samples that has the layer's estimate and its "
        "mean distance at the smallest radius; it is scaled to the layer there, as a ball has no radius of its own."
    )
