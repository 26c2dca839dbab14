"""Probes on other data sets: the accuracy of a frozen encoder away from home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.curves import NORMAL_95
from rra_cli.report.layer_axis import plain
from rra_cli.report.milestones import trained_checkpoints
from rra_cli.report.run import Run
from rra_cli.report.style import figure, legend_line, line_style, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_PANEL_INCHES = 1.5


def transfer_figure(run: Run) -> Figure | None:
    """A panel a data set: accuracy over the epochs, a line for each probe and layer; None where there is no value."""
    from matplotlib.ticker import MaxNLocator

    frame = run.tables.transfer
    if frame is None or not frame["value"].notna().any():
        return None
    labels = [checkpoint.label for checkpoint in trained_checkpoints(run)] or [run.main_checkpoint.label]
    frame = frame[frame["checkpoint"].isin(labels)]
    datasets = list(dict.fromkeys(frame["dataset"]))
    lines = list(dict.fromkeys(zip(frame["metric"], frame["layer"], frame["pool"], frame["scale"], strict=True)))
    several = len({line[1:] for line in lines}) > 1
    legend = 0.145 * -(-(len(lines) + 1) // 2)
    made, panels = figure(0.4 + _PANEL_INCHES * len(datasets) + legend, rows=len(datasets), sharex=True)
    for axes, dataset in zip(panels, datasets, strict=True):
        rows = frame[frame["dataset"] == dataset]
        for number, line in enumerate(lines):
            found = _of(rows, line)
            epochs = found["epoch"].to_numpy(float, na_value=0.0)
            value, error = found["value"].to_numpy(float), found["std_error"].to_numpy(float)
            style = line_style(number, 0, False)
            axes.plot(epochs, value, **style.keywords(), gid="series", zorder=3)
            spread = NORMAL_95 * np.nan_to_num(error)
            axes.fill_between(epochs, value - spread, value + spread, color=style.colour, alpha=0.22, linewidth=0)
        chance = rows["chance"].dropna()  # the same in all rows: it depends on the labels alone
        if len(chance):
            axes.axhline(float(chance.iloc[0]), **_DOTTED, zorder=1, gid="chance")
        axes.set_ylabel("accuracy")
        axes.set_ylim(0.0, 1.02)
        axes.set_title(plain(shorten(str(dataset), 30)), loc="right", pad=3)
        axes.grid(axis="y", color="0.88", linewidth=0.5)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles = [
        legend_line(_title(run, line, several), **line_style(number, 0, False).keywords())
        for number, line in enumerate(lines)
    ]
    handles.append(legend_line("chance level", **_DOTTED))
    made.legend(handles=handles, loc="outside lower center", ncols=2, borderaxespad=0.1)
    return made


_DOTTED: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "linestyle": (0, (1, 1))}


def _of(rows: pd.DataFrame, line: tuple[str, str, str, int]) -> pd.DataFrame:
    metric, layer, pool, scale = line
    found = rows[(rows["metric"] == metric) & (rows["layer"] == layer)]
    found = found[(found["pool"] == pool) & (found["scale"] == scale)]
    return found.sort_values("epoch", kind="stable")


def _title(run: Run, line: tuple[str, str, str, int], several: bool) -> str:
    metric, layer, pool, scale = line
    where = layer if pool == "none" else f"{layer} {pool}{scale}"
    return plain(f"{run.term(metric).short}, {shorten(where, 18)}" if several else run.term(metric).short)
