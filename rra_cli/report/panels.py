"""A small panel a layer, in a grid: which layers have one, and what is said of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rra_cli.report.layer_axis import MOST_LAYERS, chosen_layers, plain
from rra_cli.report.style import figure, number, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 24
_INCHES, _NARROW_INCHES = 1.05, 0.9  # height of a panel, in up to two columns and in three


def panel_layers(n_layers: int, peak: int | None) -> list[int]:
    """Positions of the layers that have a panel: all, or `MOST_PANELS` of them, first, last and peak included."""
    return chosen_layers(n_layers, peak, MOST_PANELS)


def panels_told(n_layers: int, table: str) -> str:
    """The sentence of a caption where layers have no panel; "" where all have one."""
    if n_layers <= MOST_PANELS:
        return ""
    return f"{MOST_PANELS} of {n_layers} layers, evenly chosen; {table}.csv has all."


def layer_panels(count: int, *, beside: float, **keywords: Any) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels; beside: inches of its height that are none of theirs; keywords: of `subplots`."""
    columns = _columns(count)
    rows = -(-count // columns)
    inches = _NARROW_INCHES if _narrow(count) else _INCHES
    made, panels = figure(beside + inches * rows, rows=rows, columns=columns, **keywords)
    for axes in panels[count:]:
        axes.set_visible(False)
    for axes in panels[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)  # shared axes are labelled in the last row alone, which may end early
    return made, panels[:count]


def ends_row(at: int, count: int) -> bool:
    """Whether panel number `at` is the last of its row."""
    columns = _columns(count)
    return at % columns == columns - 1 or at == count - 1


def name_panel(axes: Axes, layer: str, dimension: float, count: int) -> None:
    """The layer and its dimension above one of `count` panels, and as many marks as there is room for."""
    from matplotlib.ticker import MaxNLocator

    narrow = _narrow(count)
    told = f"{plain(shorten(layer, 16 if narrow else 13))}{chr(10) if narrow else ', '}d = {number(dimension)}"
    axes.set_title(told, fontsize=6.2 if narrow else 6.8, pad=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]) if narrow else MaxNLocator(4))
    axes.tick_params(labelsize=5.5 if narrow else 6.0)


def _narrow(count: int) -> bool:
    return count > MOST_LAYERS


def _columns(count: int) -> int:
    return 3 if _narrow(count) else min(2, count)
