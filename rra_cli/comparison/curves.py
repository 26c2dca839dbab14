"""What runs measured by themselves, over seeds: layers, training, and differences between groups.

Nothing here needs the same samples: curves of other data sets, N or k stand beside each other. Differences are taken
where N and k are equal, for dimension and class similarity depend on both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from rra_cli.comparison.groups import Group
from rra_cli.comparison.statistics import LEVEL, NAN, difference, summarise
from rra_cli.report.compare.tables import column_name

Row = dict[str, Any]
# What tells one measured value of a run from another.
KEY = ("metric", "dataset", "checkpoint", "split", "layer", "pool", "scale", "subset", "n_samples", "k")
Key = tuple[Any, ...]


@dataclass
class Cell:
    """One metric of one layer in all runs of a group. values: by seed."""

    values: dict[int | None, float] = field(default_factory=dict)
    epochs: set[int | None] = field(default_factory=set)
    indices: set[int] = field(default_factory=set)
    chances: list[float] = field(default_factory=list)
    engines: set[str] = field(default_factory=set)
    recalls: list[float] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)
    scale: float = 0.0  # the largest |value| that values are differences of

    @property
    def epoch(self) -> int | None:
        """Of the checkpoint; None where it is not the same in all runs (`best`)."""
        return next(iter(self.epochs)) if len(self.epochs) == 1 else None

    @property
    def index(self) -> int:
        """Of the layer."""
        return min(self.indices)


def cells_of(group: Group) -> dict[Key, Cell]:
    """All values of a group's runs, in the order of their tables."""
    import pandas as pd

    found: dict[Key, Cell] = {}
    for run in group.runs:
        # An exact graph before an approximate one, where a run has both.
        frame = run.metrics.sort_values("engine", kind="stable").drop_duplicates(list(KEY)).sort_index()
        for row in frame.to_dict("records"):
            key = tuple(None if pd.isna(row[column]) else row[column] for column in KEY)
            cell = found.setdefault(key, Cell())
            cell.values[run.seed] = float(row["value"])
            cell.epochs.add(None if pd.isna(row["epoch"]) else int(row["epoch"]))
            cell.indices.add(int(row["index"]))
            cell.engines.add(str(row["engine"]))
            cell.chances += [float(row["chance"])] if row["chance"] == row["chance"] else []
            cell.recalls += [float(row["recall"])] if row["recall"] == row["recall"] else []
            if row["reason"]:
                cell.reasons[str(row["reason"])] = None
    return found


def layer_rows(group: Group, cells: dict[Key, Cell], level: float = LEVEL) -> Iterator[Row]:
    """One row a metric and layer: mean, sd and interval over the seeds."""
    deepest = max((cell.index for cell in cells.values()), default=0)
    for key, cell in cells.items():
        found = summarise(cell.values.values(), level)
        yield {
            "group": group.label,
            **columns_of(group),
            **named(key),
            "epoch": cell.epoch,
            "index": cell.index,
            "depth": cell.index / deepest if deepest else 0.0,
            "mean": found.mean,
            "sd": found.sd,
            "n": found.n,
            "low": found.low,
            "high": found.high,
            "chance": math.fsum(cell.chances) / len(cell.chances) if cell.chances else NAN,
            "engine": ", ".join(sorted(engine for engine in cell.engines if engine)),
            "recall": min(cell.recalls, default=NAN),
            "reason": "; ".join(sorted(cell.reasons)),
        }


def training_rows(group: Group, level: float = LEVEL) -> Iterator[Row]:
    """One row an epoch and logged figure."""
    values: dict[str, dict[int, list[float]]] = {}
    for run in group.runs:
        if run.training is None:
            continue
        for column in run.training.columns:
            if column == "epoch" or run.training[column].dtype.kind not in "fi":
                continue
            known = run.training[["epoch", column]].dropna()
            for epoch, value in zip(known["epoch"].tolist(), known[column].tolist(), strict=True):
                values.setdefault(str(column), {}).setdefault(int(epoch), []).append(float(value))
    for column, by_epoch in values.items():
        for epoch in sorted(by_epoch):
            found = summarise(by_epoch[epoch], level)
            row = {"group": group.label, **columns_of(group), "metric": column, "epoch": epoch}
            summary = {"mean": found.mean, "sd": found.sd, "n": found.n, "low": found.low, "high": found.high}
            yield {**row, **summary}


def difference_rows(groups: Sequence[Group], cells: Sequence[dict[Key, Cell]], level: float = LEVEL) -> Iterator[Row]:
    """Every earlier group minus every later one, for what both measured of equal N with equal k."""
    for (one, of_one), (other, of_other) in combinations(zip(groups, cells, strict=True), 2):
        for key, cell in of_one.items():
            if key not in of_other:
                continue
            counterpart = of_other[key]
            found = difference(cell.values, counterpart.values, level)
            counts = [sum(map(math.isfinite, each.values.values())) for each in (cell, counterpart)]
            yield {
                "group_a": one.label,
                "group_b": other.label,
                **named(key),
                "epoch": cell.epoch if cell.epoch == counterpart.epoch else None,
                "index": cell.index,
                "difference": found.value,
                "low": found.low,
                "high": found.high,
                "p": found.p,
                "n_a": counts[0],
                "n_b": counts[1],
                "paired": "by seed" if found.paired else "no",
                "reason": found.reason,
            }


def named(key: Key) -> Row:
    """The columns of a cell's key, as tables call them."""
    row = dict(zip(KEY, key, strict=True))
    return {**row, "transfer": row.pop("dataset")}


def columns_of(group: Group) -> Row:
    """What tells the group from others, as tables call it."""
    return {column_name(column): value for column, value in group.columns.items()}
