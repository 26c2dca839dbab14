"""Comparisons whose tables are made of closed forms, and what is read from their plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rra_cli.report.compare.tables import TABLES, frame_of
from rra_cli.report.compare.view import View

DEEP = ("input", "a", "b", "c", "logits")
FLAT = ("input", "hidden", "logits")
Row = dict[str, Any]


def value(group: int, index: int, epoch: int) -> float:
    """The mean of the class similarity that all plots show."""
    return 0.2 + 0.1 * index + 0.05 * group + 0.01 * epoch


def layer_rows(groups: Sequence[str], layers: Sequence[Sequence[str]], splits: Sequence[str]) -> Iterator[Row]:
    for number, (group, names) in enumerate(zip(groups, layers, strict=True)):
        for checkpoint, epoch in (("epoch_0000", 0), ("epoch_0001", 1), ("last", 3)):
            for split in splits:
                for index, layer in enumerate(names):
                    mean = value(number, index, epoch)
                    yield {
                        **{"group": group, "metric": "nncs", "transfer": "", "checkpoint": checkpoint, "epoch": epoch},
                        **{"split": split, "layer": layer, "index": index, "depth": index / (len(names) - 1)},
                        **{"pool": "none", "scale": 1, "subset": 0, "n_samples": 100, "k": 5, "mean": mean},
                        **{"sd": 0.02, "n": 3, "low": mean - 0.05, "high": mean + 0.05, "chance": 0.1, "reason": ""},
                    }


def nnls_rows(kind: str, group_a: str, group_b: str, down: Sequence[str], across: Sequence[str]) -> Iterator[Row]:
    for i, a in enumerate(down):
        for j, b in enumerate(across):
            yield {
                **{"kind": kind, "group_a": group_a, "group_b": group_b, "checkpoint": "last", "epoch": 3},
                **{"split": "test", "layer_a": a, "index_a": i, "layer_b": b, "index_b": j, "pool": "none"},
                **{"scale": 1, "n_samples": 100, "k": 5, "mean": 1 / (1 + abs(i - j) + i), "sd": 0.01 * (i + j)},
                **{"n_pairs": 6, "n_a": 3, "n_b": 3, "low": 0.1, "high": 0.9, "chance": 0.03},
            }


def diagonal_rows(kind: str, group_a: str, group_b: str, layers: Sequence[str]) -> Iterator[Row]:
    for row in nnls_rows(kind, group_a, group_b, layers, layers):
        if row["index_a"] == row["index_b"]:
            depth = row["index_a"] / (len(layers) - 1)
            yield {**row, "layer": row["layer_a"], "index": row["index_a"], "depth": depth}


def view(
    groups: Sequence[str] = ("aug=none", "aug=rra"),
    layers: Sequence[Sequence[str]] = (DEEP, DEEP),
    splits: Sequence[str] = ("test",),
    **frames: list[Row],
) -> View:
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    rows["layers"] = list(layer_rows(groups, layers, splits))
    rows["runs"] = [{"run": f"{g}-{s}", "group": g, "seed": s, "used": "yes"} for g in groups for s in range(3)]
    rows |= frames
    made = {name: frame_of(found, name) for name, found in rows.items()}
    return View("Comparison", tuple(groups), dict.fromkeys(groups, "last"), made)


def lines(figure: Figure, gid: str) -> list[list[Any]]:
    """The lines of that kind, panel by panel."""
    return [[line for line in axes.get_lines() if line.get_gid() == gid] for axes in panels(figure)]


def legend_of(figure: Figure) -> list[tuple[Any, Any]]:
    """Texts and lines of the legend."""
    (legend,) = figure.legends
    return list(zip(legend.get_texts(), legend.legend_handles, strict=True))


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def diagonals() -> list[Row]:
    names = ("aug=none", "aug=rra")
    within = [row for name in names for row in diagonal_rows("within", name, name, DEEP)]
    return [*within, *diagonal_rows("between", *names, DEEP)]


def differences() -> list[Row]:
    return [
        {**row, "comparison_a": "aug=none", "comparison_b": other, "difference": 0.1, "low": 0.0, "high": 0.2}
        for other in ("aug=rra", "aug=none × aug=rra")
        for row in diagonal_rows("within", "", "", DEEP)
    ]


def correlated() -> View:
    points = [
        {
            **{"x": "nncs", "y": "id", "group": group, "seed": seed, "checkpoint": checkpoint, "epoch": epoch},
            **{"split": "test", "layer": layer, "index": index, "pool": "none", "scale": 1},
            **{"x_value": index + 0.1 * seed, "y_value": 2.0 * index - 0.1 * seed + epoch},
        }
        for group in ("aug=none", "aug=rra")
        for seed in range(3)
        for checkpoint, epoch in (("epoch_0000", 0), ("epoch_0001", 1), ("last", 3))
        for index, layer in enumerate(DEEP)
    ]
    common = {"x": "nncs", "y": "id", "split": "test", "pool": "none", "scale": 1, "n": 5, "p": 0.01}
    found = [
        {**common, "over": "layers", "group": "aug=none", "layer": "", "r": 0.5, "note": "<b>"},
        {**common, "over": "runs", "group": "aug=none", "layer": "a", "r": 0.75},
        {**common, "over": "runs", "group": "aug=none", "layer": "logits", "r": -0.25},
    ]
    return replace(view(correlation_points=points, correlations=found), asked=(("nncs", "id"),))
