"""What pullback metrics found, on one screen: volumes, and near against far from decision boundaries."""

from __future__ import annotations

import csv
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.console import make_table

if TYPE_CHECKING:
    from rich.table import Table

_HEADER = ("checkpoint", "layer", "directions", "log10 volume", "near / far [95 %]", "p")


def pullback_summary(path: Path) -> list[Table]:
    """A table a metric, a row a checkpoint and layer, of `pullback.csv`; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tables = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        here = [row for row in rows if row["metric"] == metric]
        title = f"{metric} ({here[0]['at']}, {_units(here)})"
        tables.append(make_table(title, _HEADER, [summary_row(row) for row in here], text_columns=2))
    return tables


def summary_row(row: dict[str, str]) -> tuple[str, ...]:
    """A row of `pullback.csv` as a person reads it; what is empty there is empty here."""
    volume = f"{float(row['log_volume']) / log(10.0):.2f}" if row["log_volume"] else ""
    ratio = _ratio(row["ratio"])
    if row["ratio_low"] and row["ratio_high"]:
        ratio += f" [{_ratio(row['ratio_low'])}, {_ratio(row['ratio_high'])}]"
    directions = f"{float(row['directions']):.0f}" if row["directions"] else ""
    p = f"{float(row['p']):.2g}" if row["p"] else ""
    return row["checkpoint"], row["layer"], directions, volume, ratio, p


def _ratio(value: str) -> str:
    return f"{float(value):.3f}" if value else ""


def _units(rows: list[dict[str, str]]) -> str:
    found = sorted({int(float(row["n_units"])) for row in rows if row["n_units"]})
    if not found:
        return "no unit"
    names = {"line": "line", "plane": "plane", "points": "sample"}
    between = f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return f"{between} {names.get(rows[0]['at'], 'unit')}{'' if found == [1] else 's'}"
