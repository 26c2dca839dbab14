"""What a run found, on one screen: the last checkpoint's layers from `tables/layers.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.console import make_table, show
from rra_cli.report.schema import metric_columns

if TYPE_CHECKING:
    from rich.table import Table


# (checkpoint, split, place, metric) -> standard error
Errors = Mapping[tuple[str, str, tuple[str, str, str, str], str], float]


def show_summary(folder: Path) -> None:
    """Prints the table of the last checkpoint, if there is one, and the folder."""
    path = folder / "tables" / "layers.csv"
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_apart(row) for row in csv.DictReader(file)]
        if rows:
            show(summary_table(rows, read_errors(path.with_name("metrics.csv"))))
    show(f"run folder: {folder}")
    report = folder / "report.html"
    if report.exists():
        show(f"report:     {report}")


def read_errors(path: Path) -> Errors:
    """Standard errors by checkpoint, split, place and metric, where they are known."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [_apart(row) for row in csv.DictReader(file)]
    return {
        (r["checkpoint"], r["split"], _place(r), r["metric"]): float(r["std_error"]) for r in rows if r["std_error"]
    }


def summary_table(rows: list[dict[str, str]], errors: Errors | None = None) -> Table:
    """Layers down, metrics by split across (± standard error), of the checkpoint of the last row."""
    errors = errors or {}
    checkpoint = rows[-1]["checkpoint"]
    last = [row for row in rows if row["checkpoint"] == checkpoint]
    splits = list(dict.fromkeys(row["split"] for row in last))
    metrics = metric_columns(tuple(rows[0]))
    places = list(dict.fromkeys(_place(row) for row in last))
    values = {(_place(row), row["split"], metric): row[metric] for row in last for metric in metrics}
    shown = [
        (metric, split)
        for metric in metrics
        for split in splits
        if any(values.get((place, split, metric)) for place in places)
    ]
    header = ["layer", *(f"{metric} {split}" if len(splits) > 1 else metric for metric, split in shown)]
    body = [
        [
            _title(place),
            *(
                _short(values.get((place, split, metric), ""), errors.get((checkpoint, split, place, metric)))
                for metric, split in shown
            ),
        ]
        for place in places
    ]
    about = ", ".join(f"{split}: n = {n}, k = {k}" for split, n, k in _sizes(last))
    return make_table(f"{checkpoint} ({about})" if checkpoint else about, header, body)


def _apart(row: dict[str, str]) -> dict[str, str]:
    """The row with the name of another data set in place of its split, so that its values have columns of their own."""
    return {**row, "split": row.get("dataset") or row["split"]}


def _place(row: dict[str, str]) -> tuple[str, str, str, str]:
    return row["index"], row["layer"], row["pool"], row["scale"]


def _title(place: tuple[str, str, str, str]) -> str:
    index, layer, pool, scale = place
    window = "" if scale in ("", "1") else scale
    return f"{index} {layer}" + ("" if pool in ("", "none") else f" [{pool}{window}]")


def _sizes(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    """Of the experiment's own data set: of others no graphs are made, so they have no k."""
    return list(dict.fromkeys((row["split"], row["n_samples"], row["k"]) for row in rows if row["k"]))


def _short(value: str, error: float | None) -> str:
    """Two or three decimals, and the standard error with as many; text as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    digits = 2 if abs(number) >= 2 else 3
    return f"{number:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")
