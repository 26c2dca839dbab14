"""The axis along a network: layer names that never overlap, the boundaries of its stages, layers that are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rra_cli.report.style import shorten, text_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS_PER_INCH = 72.0
LONGEST_NAME = 18
MOST_LAYERS = 6


def layer_ticks(axes: Axes, layers: Sequence[str], *, axis: str = "x", inches: float = 2.7, size: float = 6.5) -> None:
    """Names the positions 0..n-1 of an axis `inches` long, thinned out where they would overlap.

    Font sizes in points; horizontal names where they fit, upright ones otherwise. Every layer keeps its tick.
    """
    room = inches * _POINTS_PER_INCH / max(1, len(layers))
    names = [plain(shorten(layer, LONGEST_NAME)) for layer in layers]
    flat = axis == "x" and max((text_points(name, size) for name in names), default=0.0) + 3 <= room
    height = size * 1.25
    step = 1 if flat else max(1, -(-int(height * 100) // max(1, int(room * 100))))
    shown = [at for at in range(len(names)) if at % step == 0]
    # The last layer is worth naming; the one just before it makes room.
    if len(names) > 1 and shown[-1] != len(names) - 1:
        if len(names) - 1 - shown[-1] < step:
            shown.pop()
        shown.append(len(names) - 1)
    target = axes.xaxis if axis == "x" else axes.yaxis
    target.set_ticks(shown, [names[at] for at in shown])
    target.set_ticks([at for at in range(len(names)) if at not in set(shown)], minor=True)
    axes.tick_params(axis="both", which="minor", length=1.2, width=0.4)
    if axis == "x":
        axes.tick_params(axis="x", rotation=0 if flat else 90, labelsize=size)
    else:
        axes.tick_params(axis="y", labelsize=size)


def names_inches(layers: Sequence[str], *, size: float = 6.5) -> float:
    """The room that upright layer names take, so that a figure can be made that much higher."""
    names = (plain(shorten(layer, LONGEST_NAME)) for layer in layers)
    return max((text_points(name, size) for name in names), default=0.0) / _POINTS_PER_INCH


def stage_runs(stages: Sequence[str]) -> list[tuple[int, int, str]]:
    """Neighbouring layers of the same stage as (first, last, name)."""
    runs: list[tuple[int, int, str]] = []
    for at, stage in enumerate(stages):
        if runs and runs[-1][2] == stage:
            runs[-1] = (runs[-1][0], at, stage)
        else:
            runs.append((at, at, stage))
    return runs


def stage_bands(axes: Axes, stages: Sequence[str], *, inches: float = 2.7, named: bool = True) -> None:
    """Shades every other stage lightly behind curves; named: with their names above the axes where there is room."""
    if len(set(stages)) < 2:
        return
    room = inches * _POINTS_PER_INCH / len(stages)
    for number, (first, last, name) in enumerate(stage_runs(stages)):
        if number % 2:
            axes.axvspan(first - 0.5, last + 0.5, color="0.93", linewidth=0, zorder=0)
        if named and name and text_points(plain(name), 6.0) <= room * (last - first + 1):
            axes.text(
                *((first + last) / 2, 1.01, plain(name)),
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=6.0,
                color="0.35",
            )


def stage_lines(axes: Axes, stages: Sequence[str], *, width: float = 0.6) -> None:
    """Draws the boundaries between stages across a layer × layer map, in lines of that many points."""
    for _, last, _ in stage_runs(stages)[:-1]:
        for draw in (axes.axhline, axes.axvline):
            # White under black: seen on the dark and on the light end of the map.
            draw(last + 0.5, color="white", linewidth=width + 1.0 if width > 0.5 else 2 * width, zorder=2)
            draw(last + 0.5, color="black", linewidth=width, zorder=2)


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a layer may have a dollar in its name, which would start a formula."""
    return "".join(character if character.isprintable() else "?" for character in text).replace("$", r"\$")


def chosen_layers(n_layers: int, peak: int | None, most: int = MOST_LAYERS) -> list[int]:
    """Positions of the layers that are looked at: first, last, the peak and others evenly in between."""
    if n_layers <= most:
        return list(range(n_layers))
    chosen = {0, n_layers - 1} | (set() if peak is None else {peak})
    while len(chosen) < most:
        # The middle of the widest gap, so that what is shown covers the network evenly.
        order = sorted(chosen)
        first, last = max(pairwise(order), key=lambda gap: gap[1] - gap[0])
        chosen.add((first + last) // 2)
    return sorted(chosen)
