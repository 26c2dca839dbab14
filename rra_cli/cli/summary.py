"""What a run found, on one screen: the last checkpoint's layers from `tables/layers.csv`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.console import make_table, show

if TYPE_CHECKING:
    from rich.table import Table

COMMON = frozenset({"checkpoint", "epoch", "split", "layer", "index", "stage", "pool", "scale", "subset"})
COMMON |= {"n_samples", "n_features", "k"}


def show_summary(folder: Path) -> None:
    """Prints the table of the last checkpoint, if there is one, and the folder."""
    path = folder / "tables" / "layers.csv"
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows:
            show(summary_table(rows))
    show(f"run folder: {folder}")
    report = folder / "report.html"
    if report.exists():
        show(f"report:     {report}")


def summary_table(rows: list[dict[str, str]]) -> Table:
    """Layers down, metrics by split across, of the checkpoint of the last row."""
    checkpoint = rows[-1]["checkpoint"]
    last = [row for row in rows if row["checkpoint"] == checkpoint]
    splits = list(dict.fromkeys(row["split"] for row in last))
    metrics = [column for column in rows[0] if column not in COMMON]
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
        [_title(place), *(_short(values.get((place, split, metric), "")) for metric, split in shown)]
        for place in places
    ]
    about = ", ".join(f"{split}: n = {n}, k = {k}" for split, n, k in _sizes(last))
    return make_table(f"{checkpoint} ({about})" if checkpoint else about, header, body)


def _place(row: dict[str, str]) -> tuple[str, str, str, str]:
    return row["index"], row["layer"], row["pool"], row["scale"]


def _title(place: tuple[str, str, str, str]) -> str:
    index, layer, pool, scale = place
    window = "" if scale in ("", "1") else scale
    return f"{index} {layer}" + ("" if pool in ("", "none") else f" [{pool}{window}]")


def _sizes(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys((row["split"], row["n_samples"], row["k"]) for row in rows))


def _short(value: str) -> str:
    """Four significant digits; text as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    return f"{number:.2f}" if abs(number) >= 10 else f"{number:.3f}"
