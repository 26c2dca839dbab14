"""How curves over pooling scales agree between networks whose maps differ in size: at equal windows, at equal maps.

RRA thesis, ch. 6: a network on images of twice the side has maps of twice the side, and its curves are more alike those
of the first at equal maps (windows of twice the side) than at equal windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from rra_cli.comparison.groups import Group
from rra_cli.metrics.scales import curve_correlation
from rra_cli.report.tables.reading import read_table

Row = dict[str, Any]
WINDOW, MAP = "window", "map"
# A curve's place: metric, checkpoint, split, pool; a point's: layer and window (1: unpooled, 0: the whole map).
Curve = tuple[str, str, str, str]
_PLACE = ("metric", "checkpoint", "split", "pool")
Point = tuple[str, int]


class Curves:
    """All curves of a group: values, means over its runs, and the side of the map at each layer and window."""

    def __init__(self, group: Group) -> None:
        import pandas as pd

        self.label = group.label
        self.values: dict[Curve, dict[Point, float]] = {}
        self.sides: dict[Point, int] = {}
        found: dict[Curve, dict[Point, list[float]]] = {}
        for run in group.runs:
            if not (run.folder / "tables" / "scales.csv").is_file():
                continue
            frame = read_table(run.folder / "tables", "scales")
            frame = frame[(frame["subset"] == 0) & frame["value"].notna()]
            for row in frame.to_dict("records"):
                point = row["layer"], int(row["scale"])
                if not pd.isna(row["height"]) and row["height"] == row["width"]:
                    self.sides[point] = int(row["height"])
                # The unpooled layer is the finest scale of both kinds of windows.
                for pool in ("avg", "max") if row["pool"] == "none" else (row["pool"],):
                    curve = row["metric"], row["checkpoint"], row["split"], pool
                    found.setdefault(curve, {}).setdefault(point, []).append(float(row["value"]))
        for curve, points in found.items():
            if any(scale != 1 for _, scale in points):
                self.values[curve] = {point: math.fsum(v) / len(v) for point, v in points.items()}

    def window_of(self, layer: str, side: int, curve: Curve) -> int | None:
        """The finest measured window that leaves maps of that side at that layer; None where there is none."""
        scales = [s for name, s in self.values[curve] if name == layer and self.sides.get((name, s)) == side]
        return min(scales, key=lambda scale: (scale == 0, scale), default=None)


def scale_correlation_rows(groups: Sequence[Group]) -> Iterator[Row]:
    """Pearson's r of the curves along the layers of every two groups, window by window.

    over `window`: both at the same window. over `map`: b at the window, layer by layer, that leaves maps of the side
    that a's window leaves; empty `scale_b` where that is not one window. Layers without maps are in both. A mean, with
    an empty `scale_a`, follows: over the windows at which all layers are compared in both ways, so that the two means
    are of the same windows and layers; none where there are no such windows.
    """
    everything = [found for found in map(Curves, groups) if found.values]
    for one, other in combinations(everything, 2):
        for curve in one.values:
            if curve in other.values:
                yield from _rows(one, other, curve)


def _rows(one: Curves, other: Curves, curve: Curve) -> Iterator[Row]:
    """Both ways, each followed by its mean."""
    found = {over: list(_window_rows(one, other, curve, over)) for over in (WINDOW, MAP)}
    # Over the few layers of a window that most maps have no partner at, a correlation is another quantity.
    n = max((row["n_layers"] for rows in found.values() for row in rows), default=0)
    whole = [
        {row["scale_a"] for row in rows if row["n_layers"] == n and not math.isnan(row["r"])} for rows in found.values()
    ]
    for rows in found.values():
        yield from rows
        known = [row["r"] for row in rows if row["scale_a"] in whole[0] & whole[1]]
        if known:
            place = {name: rows[0][name] for name in ("group_a", "group_b", *_PLACE, "over")}
            yield {**place, "n_layers": None, "r": math.fsum(known) / len(known), "n_curves": len(known)}


def _window_rows(one: Curves, other: Curves, curve: Curve, over: str) -> Iterator[Row]:
    place = dict(zip(_PLACE, curve, strict=True))
    common = {"group_a": one.label, "group_b": other.label, **place, "over": over}
    scales = sorted({scale for _, scale in one.values[curve]}, key=lambda scale: (scale == 0, scale))
    for scale in scales:
        points = list(_points(one, other, curve, scale, over))
        windows = {window for _, window in points if window is not None}
        mine, theirs = one.values[curve], other.values[curve]
        a = [mine[layer, scale] for (layer, _), _ in points]
        b = [theirs[layer, scale if window is None else window] for (layer, _), window in points]
        r, n = curve_correlation(a, b)
        if n >= 3:
            shared = windows.pop() if len(windows) == 1 else None
            yield {**common, "scale_a": scale, "scale_b": shared, "n_layers": n, "r": r}


def _points(one: Curves, other: Curves, curve: Curve, scale: int, over: str) -> Iterator[tuple[Point, int | None]]:
    """The layers that both have, with the other's window; None for a layer without maps, which has the same value."""
    for layer, mine in one.values[curve]:
        if mine != scale:
            continue
        side = one.sides.get((layer, scale))
        if side is None:
            if (layer, scale) in other.values[curve]:
                yield (layer, scale), None
            continue
        window = scale if over == WINDOW else other.window_of(layer, side, curve)
        if window is not None and (layer, window) in other.values[curve]:
            yield (layer, scale), window
