"""Volume elements and decision boundaries over seeds: means of groups, and differences between groups.

Where a group has several runs, seeds are the units of intervals and tests. Of one run the interval is its own, over its
lines or planes (always 95 %): it speaks of that network alone. Groups are held against each other only where their
points are the same (`pullback_inputs`), and volumes only over as many directions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from rra_cli.comparison.curves import columns_of
from rra_cli.comparison.groups import Group
from rra_cli.comparison.pullback_inputs import by_inputs, inputs_of_runs, refusals
from rra_cli.comparison.statistics import LEVEL, NAN, difference, summarise
from rra_cli.pullback.boundary import NO_GAIN, stretch

Row = dict[str, Any]
# Columns of pullback.csv that are compared, with those of their interval and p-value in a run, where it has them.
QUANTITIES = {
    "log_volume": (),
    "difference": ("low", "high", "p"),
    "gain": ("gain_low", "gain_high", "gain_p"),
    "local_r": ("local_low", "local_high", "local_p"),
    "curvature": (),
}
# Over other directions these are other numbers.
_OF_DIRECTIONS = ("log_volume", "difference", "gain")
RATIO = "ratio"
SEEDS = "seeds"
ONE_RUN = "one run a group has no spread over seeds"
_UNITS = {"line": "lines", "plane": "planes", "points": "samples"}
Key = tuple[str, str]  # checkpoint, layer


@dataclass
class Cell:
    """One layer at one checkpoint in all runs of a group: the rows of pullback.csv by seed."""

    rows: dict[int | None, Row] = field(default_factory=dict)

    @property
    def first(self) -> Row:
        """Of the first seed."""
        return next(iter(self.rows.values()))

    @property
    def directions(self) -> list[int]:
        """Over how many directions volumes are, ascending: one number, unless runs differ."""
        return sorted({int(row["directions"]) for row in self.rows.values()})

    def values(self, quantity: str) -> dict[int | None, float]:
        """By seed; none where runs differ in the number of directions that the quantity is over."""
        if quantity in _OF_DIRECTIONS and len(self.directions) > 1:
            return {}
        return {seed: float(row[quantity]) for seed, row in self.rows.items()}

    def whole(self, column: str) -> int | None:
        """A number of the layer; None where runs differ in it."""
        found = {int(row[column]) for row in self.rows.values() if row[column] == row[column]}
        return found.pop() if len(found) == 1 else None


def compare_pullback(groups: Sequence[Group], level: float = LEVEL) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of `pullback`, `pullback_differences` and `refused` of all pullback metrics of the groups."""
    by_metric = {group.label: cells_of(group) for group in groups}
    metrics = dict.fromkeys(metric for found in by_metric.values() for metric in found)
    rows: list[Row] = []
    differences: list[Row] = []
    refused: list[Row] = []
    for metric in metrics:
        cells = {label: found.get(metric, {}) for label, found in by_metric.items()}
        inputs = {group.label: inputs_of_runs(group, metric) for group in groups}
        sets = by_inputs(groups, inputs)
        refused += refusals(sets, inputs, metric)
        for number, together in enumerate(sets, 1):
            for group in together:
                rows += _rows(group, cells[group.label], number, level)
                own = {key: cell.directions for key, cell in cells[group.label].items() if len(cell.directions) > 1}
                refused += _of_directions([group], metric, own, "pullback.csv")
            for one, other in combinations(together, 2):
                differences += _differences(one, other, cells, level)
                a, b = cells[one.label], cells[other.label]
                both = {key: (a[key].directions, b[key].directions) for key in a if key in b}
                unequal = {key: [*mine, *theirs] for key, (mine, theirs) in both.items() if mine != theirs}
                refused += _of_directions([one, other], metric, unequal, "pullback_differences.csv")
    return rows, differences, refused


def _of_directions(groups: Sequence[Group], metric: str, directions: dict[Key, list[int]], table: str) -> list[Row]:
    """A row of `refused` where runs, or groups, have volumes over these different numbers of directions."""
    if not directions:
        return []
    layers = dict.fromkeys(layer for _, layer in directions)
    least = min(map(min, directions.values()))
    reason = f"volumes are over other numbers of directions in {', '.join(layers)} (reason in {table})"
    reason += f"; metrics.{metric}.top={least} makes them equal" if least else ""
    named = {f"group_{side}": group.label for side, group in zip("ab", groups, strict=False)}
    return [{"quantity": f"pullback metric {metric}", **named, "reason": reason}]


def cells_of(group: Group) -> dict[str, dict[Key, Cell]]:
    """All rows of a group's runs by metric, in the order of their tables."""
    import pandas as pd

    found: dict[str, dict[Key, Cell]] = {}
    for run in group.runs:
        if run.pullback is None:
            continue
        for record in run.pullback.to_dict("records"):
            row = {str(name): None if value is pd.NA else value for name, value in record.items()}
            key = str(row["checkpoint"]), str(row["layer"])
            found.setdefault(str(row["metric"]), {}).setdefault(key, Cell()).rows[run.seed] = row
    return found


def _rows(group: Group, cells: dict[Key, Cell], inputs: int, level: float) -> Iterator[Row]:
    """A row a layer and quantity: mean, sd and interval."""
    for cell in cells.values():
        first = cell.first
        common = {"group": group.label, **columns_of(group), **_place(cell), "at": first["at"], "inputs": inputs}
        common |= {name: cell.whole(name) for name in ("n_inputs", "n_features", "directions", "n_units")}
        for quantity, own in QUANTITIES.items():
            row = {**common, "quantity": quantity, **_summary(cell, quantity, own, level)}
            if quantity == "curvature" and not row["n"]:
                continue
            yield row
            if quantity == "difference":
                yield {**row, "quantity": RATIO, **_as_ratio(row, cell)}


def _place(cell: Cell) -> Row:
    epochs = {row["epoch"] for row in cell.rows.values()}
    names = ("metric", "checkpoint", "layer", "index")
    return {**{name: cell.first[name] for name in names}, "epoch": epochs.pop() if len(epochs) == 1 else None}


def _summary(cell: Cell, quantity: str, own: Sequence[str], level: float) -> Row:
    """Over seeds; of one run what it says itself, over its lines or planes."""
    values = cell.values(quantity)
    found = summarise(values.values(), level)
    row: Row = {"mean": found.mean, "sd": found.sd, "n": found.n, "low": found.low, "high": found.high, "p": NAN}
    row |= {"over": SEEDS if found.n > 1 else "", "reason": _reason(cell, quantity, found.n)}
    if found.n > 1 and own:
        test = difference(values, dict.fromkeys(values, 0.0), level)
        row["p"] = test.p
        row |= {"low": NAN, "high": NAN, "reason": test.reason} if test.reason else {}
    elif found.n == 1 and own:
        (seed,) = (seed for seed, value in values.items() if math.isfinite(value))
        row |= {name: float(cell.rows[seed][column]) for name, column in zip(("low", "high", "p"), own, strict=True)}
        row["over"] = _UNITS.get(str(cell.first["at"]), "") if math.isfinite(row["low"]) else ""
    return row


def _as_ratio(row: Row, cell: Cell) -> Row:
    """The difference as the stretch of the mean direction, which 0 is 1 of; an sd has no such form."""
    directions = cell.whole("directions") or 0
    return {name: stretch(row[name], directions) for name in ("mean", "low", "high")} | {"sd": NAN}


def _reason(cell: Cell, quantity: str, n: int) -> str:
    if quantity in _OF_DIRECTIONS and len(cell.directions) > 1:
        return f"the runs' volumes are over {' and '.join(map(str, cell.directions))} directions"
    if n:
        return ""
    told = {part for row in cell.rows.values() for part in str(row["reason"] or "").split("; ") if part}
    of_gain = {part for part in told if part.startswith(NO_GAIN)}
    return "; ".join(sorted(of_gain or told if quantity == "gain" else told - of_gain))


def _differences(one: Group, other: Group, cells: dict[str, dict[Key, Cell]], level: float) -> Iterator[Row]:
    """The first group minus the second, of every layer that both have by that name."""
    of_one, of_other = cells[one.label], cells[other.label]
    for key, cell in of_one.items():
        if key not in of_other:
            continue
        counterpart = of_other[key]
        directions = [each.directions for each in (cell, counterpart)]
        for quantity in QUANTITIES:
            reason = ""
            a, b = cell.values(quantity), counterpart.values(quantity)
            if quantity in _OF_DIRECTIONS and directions[0] != directions[1]:
                told = [" and ".join(map(str, each)) for each in directions]
                a, b, reason = {}, {}, f"volumes are over {told[0]} and over {told[1]} directions"
            found = difference(a, b, level)
            counts = [sum(map(math.isfinite, values.values())) for values in (a, b)]
            if not min(counts) and not reason:
                continue
            yield {
                **{"group_a": one.label, "group_b": other.label, **_place(cell), "quantity": quantity},
                **{"difference": found.value, "low": found.low, "high": found.high, "p": found.p},
                **{"n_a": counts[0], "n_b": counts[1], "paired": "by seed" if found.paired else "no"},
                "reason": reason or found.reason or ("" if min(counts) > 1 else ONE_RUN),
            }
