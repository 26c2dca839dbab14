"""What was logged over the epochs of training: loss, accuracy and how the representation is spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rra_cli.report.run import Run
from rra_cli.report.style import figure, legend_line, line_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Training samples without augmentation, after some of the epochs: the fair partner of the test split.
_CLEAN: dict[str, Any] = {"color": "black", "marker": "D", "linestyle": "none", "markersize": 3.4, "zorder": 4}
_MEASURED: dict[str, Any] = {"color": "0.25", "marker": "^", "linestyle": "none", "markersize": 4}


@dataclass(frozen=True)
class Panel:
    """Columns of the history that share an axis: column -> what the legend calls it. top: end of the axis, if fixed."""

    label: str
    columns: dict[str, str]
    clean: str = ""
    top: float | None = None


# The n-th name of the legend has the n-th style, in whichever panels it stands.
NAMES = ("train", "test", "k-NN, test", "representation", "projection")
PANELS = (
    Panel("loss", {"train_loss": "train", "test_loss": "test"}, clean="train_clean_loss"),
    Panel(
        "accuracy",
        {"train_accuracy": "train", "test_accuracy": "test", "knn_accuracy": "k-NN, test"},
        clean="train_clean_accuracy",
        top=1.02,
    ),
    Panel("embedding std", {"embedding_std": "representation", "projection_std": "projection"}, top=1.02),
    Panel("effective rank", {"effective_rank": "representation", "projection_effective_rank": "projection"}),
)


def training_figure(run: Run) -> Figure | None:
    """One panel for each of `PANELS` of which something was logged; None where nothing was trained.

    Figures that were computed after some epochs only are joined by straight lines. Triangles below the axis: measured
    checkpoints.
    """
    from matplotlib.ticker import MaxNLocator

    frame = run.training
    if frame is None:
        return None
    shown = [panel for panel in PANELS if any(_is_logged(frame, column) for column in panel.columns)]
    if not shown:
        return None
    made, axes = figure(0.75 + 1.25 * len(shown), rows=len(shown), sharex=True)
    named: dict[str, Any] = {}
    for panel, place in zip(shown, axes, strict=True):
        named |= _draw(panel, frame, place)
    measured = sorted({c.epoch for c in run.checkpoints if c.epoch is not None})
    axes[-1].plot(
        *(measured, [0.0] * len(measured)),
        **_MEASURED,
        transform=axes[-1].get_xaxis_transform(),
        clip_on=False,
        zorder=5,
        gid="measured",
    )
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles = [named[name] for name in (*NAMES, "clean") if name in named]
    if measured:
        handles.append(legend_line("measured", **_MEASURED))
    made.legend(handles=handles, loc="outside lower center", ncols=3 if len(handles) == 3 else 2, borderaxespad=0.1)
    return made


def _draw(panel: Panel, frame: pd.DataFrame, axes: Axes) -> dict[str, Any]:
    """Draws the panel's lines; their entries of the legend by name."""
    named = {}
    lowest = 0.0
    for column, name in panel.columns.items():
        if not _is_logged(frame, column):
            continue
        # Those of every epoch keep their gaps.
        known = frame if column.startswith(("train_", "test_")) else frame[frame[column].notna()]
        style = line_style(0, NAMES.index(name), True).keywords()
        every = max(1, len(known) // 12)
        values = known[column].to_numpy(float)
        axes.plot(known["epoch"].to_numpy(float), values, **style, markevery=every, gid=column)
        named[name] = legend_line(name, **style)
        lowest = min(lowest, float(known[column].min()))
    if panel.clean and _is_logged(frame, panel.clean):
        values = frame[panel.clean].to_numpy(float)
        axes.plot(frame["epoch"].to_numpy(float), values, **_CLEAN, markerfacecolor="none", gid=panel.clean)
        named["clean"] = legend_line("train, not augmented", **_CLEAN, markerfacecolor="none")
    axes.set_ylabel(panel.label)
    axes.grid(axis="y", color="0.88", linewidth=0.5)
    # A loss that is a cosine lies below 0.
    if lowest == 0.0:
        axes.set_ylim(0.0, panel.top)
    return named


def _is_logged(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].notna().any())
