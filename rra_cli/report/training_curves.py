"""Loss and accuracy over the epochs of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rra_cli.report.run import Run
from rra_cli.report.style import figure, legend_line, line_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUANTITIES = ("loss", "accuracy")
_SPLITS = ("train", "test")
# Training samples without augmentation, after some of the epochs: the fair partner of the test split.
_CLEAN: dict[str, Any] = {"color": "black", "marker": "D", "linestyle": "none", "markersize": 3.4, "zorder": 4}


def training_figure(run: Run) -> Figure | None:
    """One panel for each of loss and accuracy that was logged, both splits; None where nothing was trained.

    Triangles below the axis: measured checkpoints.
    """
    from matplotlib.ticker import MaxNLocator

    frame = run.training
    if frame is None:
        return None
    logged = {
        quantity: [
            split for split in _SPLITS if f"{split}_{quantity}" in frame and frame[f"{split}_{quantity}"].notna().any()
        ]
        for quantity in _QUANTITIES
    }
    shown = [quantity for quantity in _QUANTITIES if logged[quantity]]
    if not shown:
        return None
    clean = [q for q in shown if f"train_clean_{q}" in frame and frame[f"train_clean_{q}"].notna().any()]
    made, panels = figure(0.75 + 1.25 * len(shown), rows=len(shown), sharex=True)
    epochs = frame["epoch"].to_numpy(float)
    for axes, quantity in zip(panels, shown, strict=True):
        for split in logged[quantity]:
            style = line_style(0, _SPLITS.index(split), True)
            every = max(1, len(epochs) // 12)
            values = frame[f"{split}_{quantity}"].to_numpy(float)
            axes.plot(epochs, values, **style.keywords(), markevery=every, gid=f"{split}_{quantity}")
        if quantity in clean:
            values = frame[f"train_clean_{quantity}"].to_numpy(float)
            axes.plot(epochs, values, **_CLEAN, markerfacecolor="none", gid=f"train_clean_{quantity}")
        axes.set_ylabel(quantity)
        axes.grid(axis="y", color="0.88", linewidth=0.5)
        axes.set_ylim(bottom=0.0)
        if quantity == "accuracy":
            axes.set_ylim(0.0, 1.02)
    measured = sorted({c.epoch for c in run.checkpoints if c.epoch is not None})
    panels[-1].plot(
        *(measured, [0.0] * len(measured)),
        transform=panels[-1].get_xaxis_transform(),
        color="0.25",
        marker="^",
        markersize=4,
        linestyle="none",
        clip_on=False,
        zorder=5,
        gid="measured",
    )
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles = [
        legend_line(split, **line_style(0, _SPLITS.index(split), True).keywords())
        for split in _SPLITS
        if any(split in logged[quantity] for quantity in shown)
    ]
    if clean:
        handles.append(legend_line("train, not augmented", **_CLEAN, markerfacecolor="none"))
    if measured:
        handles.append(legend_line("measured", color="0.25", marker="^", linestyle="none", markersize=4))
    made.legend(handles=handles, loc="outside lower center", ncols=2 if clean else 3, borderaxespad=0.1)
    return made
