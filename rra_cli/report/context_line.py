"""The small grey line of a curve plot that names what was measured, for whoever meets it without its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rra_cli.report.glossary import INTRINSIC_DIMENSION, LAYER_SIMILARITY
from rra_cli.report.layer_axis import plain
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint
from rra_cli.report.style import WIDTH, text_points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_POINTS, _GREY = 5.5, "0.4"
_ROOM = 72.0 * WIDTH - 10.0
ROW_INCHES = 0.1


def context(run: Run, metrics: Sequence[str], shown: Sequence[Checkpoint], splits: Sequence[str] | None = None) -> str:
    """Split, N, k and checkpoint of these metrics, as `test: N = 5,000, k = 50; last (epoch 12)`.

    k is left out where it is not read (TwoNN reads two neighbours), the checkpoint where several are shown. splits:
    those shown, None for all.
    """
    sizes = _sizes(run, metrics, run.splits if splits is None else splits)
    parts = [f"{', '.join(found)}: {size}" for size, found in sizes.items()]
    checkpoints = [checkpoint for checkpoint in shown if checkpoint.epoch is not None]
    if len(checkpoints) == 1:
        parts.append(checkpoints[0].title)
    if run.alteration:
        parts.append(f"altered: {run.alteration}")
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}; {part}" if lines[-1] else part
        if lines[-1] and text_points(plain(longer), _POINTS) > _ROOM:
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def context_legend(made: Figure, handles: Sequence[Line2D], columns: int, text: str) -> float:
    """The line below the axes, and a legend below it where there is more than one entry; gives the line's inches."""
    if len(handles) > 1:
        legend = made.legend(
            handles=list(handles), loc="outside lower center", ncols=columns, borderaxespad=0.1, title=plain(text)
        )
        legend.get_title().set(fontsize=_POINTS, color=_GREY, multialignment="center")
    else:
        made.supxlabel(plain(text), fontsize=_POINTS, color=_GREY)
    return ROW_INCHES * (1 + text.count("\n"))


def _sizes(run: Run, metrics: Sequence[str], splits: Sequence[str]) -> dict[str, list[str]]:
    """`N = 5,000, k = 50` -> the splits that were measured so."""
    found: dict[str, list[str]] = {}
    for split in splits:
        rows = [frame for metric in metrics for frame in _rows(run, metric, split)]
        if not rows:
            continue
        size = f"N = {max(int(frame['n_samples'].max()) for frame in rows):,}"
        if any(_reads_k(run, metric) for metric in metrics):
            ks = sorted({int(k) for frame in rows for k in frame["k"].dropna()})
            size += f", k = {', '.join(map(str, ks))}" if 0 < len(ks) <= 3 else ""
        found.setdefault(size, []).append(split)
    return found


def _rows(run: Run, metric: str, split: str) -> Iterator[pd.DataFrame]:
    """The measured rows of a metric of layers, or of one of pairs."""
    tables = run.tables
    column, frames = "split", [tables.metrics[tables.metrics["metric"] == metric]]
    if metric == LAYER_SIMILARITY.component:
        column, frames = "split_b", [] if tables.nnls is None else [tables.nnls]
    elif metric in run.pair_metrics and tables.pairs is not None:
        column, frames = "split_b", [tables.pairs[tables.pairs["metric"] == metric]]
    for frame in frames:
        own = frame[(frame[column] == split) & (frame["subset"] == 0)]
        if len(own):
            yield own


def _reads_k(run: Run, metric: str) -> bool:
    return metric == LAYER_SIMILARITY.component or run.term(metric).component != INTRINSIC_DIMENSION.component
