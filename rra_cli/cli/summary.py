"""What a run found, on one screen: the last checkpoint's layers from `tables/layers.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from rra_cli.console import make_table, show, stdout
from rra_cli.report.schema import WINDOWS, metric_columns

if TYPE_CHECKING:
    from rich.table import Table


# Columns of text that a person reads without turning their head; the tables have no such limit.
PIPE_WIDTH = 120

# (checkpoint, split, place, metric) -> standard error
Errors = Mapping[tuple[str, str, tuple[str, str, str, str], str], float]


def show_summary(folder: Path) -> None:
    """Prints the table of the last checkpoint, if there is one, in as many parts as its width takes, and the folder."""
    path = folder / "tables" / "layers.csv"
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_apart(row) for row in csv.DictReader(file)]
        if rows:
            console = stdout()
            width = console.width if console.is_terminal else PIPE_WIDTH
            for table in summary_tables(rows, read_errors(path.with_name("metrics.csv")), width):
                show(table)
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


def summary_tables(rows: list[dict[str, str]], errors: Errors | None = None, width: int = PIPE_WIDTH) -> list[Table]:
    """Layers down, metrics by split across (± standard error), of the checkpoint of the last row.

    What is wider than `width` goes on in another table with the layers again.
    """
    errors = errors or {}
    checkpoint = rows[-1]["checkpoint"]
    last = [row for row in rows if row["checkpoint"] == checkpoint]
    # Nine scales of every layer are no summary: where there are others, windows over maps are left to the tables.
    last = [row for row in last if row["pool"] not in WINDOWS] or last
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
    layers = ["layer", *map(_title, places)]
    columns = [
        [
            f"{metric}\n{split}" if len(splits) > 1 else metric,
            *(
                _short(values.get((place, split, metric), ""), errors.get((checkpoint, split, place, metric)))
                for place in places
            ),
        ]
        for metric, split in shown
    ]
    about = ", ".join(f"{split}: n = {n}, k = {k}" for split, n, k in _sizes(last))
    title = f"{checkpoint} ({about})" if checkpoint else about
    tables: list[Table] = []
    for part in _parts(layers, columns, width):
        header, *body = zip(layers, *part, strict=True)
        tables.append(make_table("" if tables else title, header, body))
    return tables


def _parts(first: Sequence[str], columns: Sequence[Sequence[str]], width: int) -> Iterator[Sequence[Sequence[str]]]:
    """The columns in groups that fit into the width beside the first one; at least one a group."""
    start, used = 0, _wide(first)
    for place, column in enumerate(columns):
        used += _wide(column)
        if used > width and place > start:
            yield columns[start:place]
            start, used = place, _wide(first) + _wide(column)
    yield columns[start:]


def _wide(column: Sequence[str]) -> int:
    """Columns of text that a column of a table takes, the gap beside it included."""
    return 3 + max(cell_len(line) for cell in column for line in cell.split("\n"))


def _apart(row: dict[str, str]) -> dict[str, str]:
    """The row with the name of another data set in place of its split, so that its values have columns of their own."""
    return {**row, "split": row.get("dataset") or row["split"]}


def _place(row: dict[str, str]) -> tuple[str, str, str, str]:
    return row["index"], row["layer"], row["pool"], row["scale"]


def _title(place: tuple[str, str, str, str]) -> str:
    index, layer, pool, scale = place
    window = {"": "", "1": "", "0": "_global"}.get(scale, scale)
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
