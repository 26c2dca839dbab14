"""What a run found, on one screen: the last checkpoint's layers from `tables/layers.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from rra_cli.cli.summary_pullback import pullback_summary
from rra_cli.console import make_table, show, stdout
from rra_cli.report.tables.schema import WINDOWS, metric_columns

if TYPE_CHECKING:
    from rich.table import Table


# Columns of text that a person reads without turning their head; the tables have no such limit.
PIPE_WIDTH = 120


class Beside(NamedTuple):
    """What metrics.csv tells beside a value; None for what is not known."""

    std_error: float | None = None
    interval: tuple[float, float] | None = None
    n_used: int | None = None
    n_samples: int | None = None


# (checkpoint, split, place, metric) -> what stands beside the value
Errors = Mapping[tuple[str, str, tuple[str, str, str, str], str], Beside]


def show_summary(folder: Path) -> None:
    """Prints the table of the last checkpoint, if there is one, in as many parts as its width takes, and the folder."""
    path = folder / "tables" / "layers.csv"
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_apart(row) for row in csv.DictReader(file)]
        if rows:
            console = stdout()
            width = console.width if console.is_terminal else PIPE_WIDTH
            errors = read_errors(path.with_name("metrics.csv"))
            volumes = pullback_summary(path.with_name("pullback.csv"))
            # Names of layers alone are no finding.
            layers = [] if volumes and not metric_columns(tuple(rows[0])) else summary_tables(rows, errors, width)
            for table in [*layers, *volumes]:
                show(table)
            for note in left_out(rows[-1]["checkpoint"], errors):
                show(note)
    show(f"run folder: {folder}")
    report = folder / "report.html"
    if report.exists():
        show(f"report:     {report}")


def read_errors(path: Path) -> Errors:
    """Standard error or interval of every value, and the samples that it is of, as far as they are known."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [_apart(row) for row in csv.DictReader(file)]
    return {(row["checkpoint"], row["split"], _place(row), row["metric"]): _beside(row) for row in rows}


def left_out(checkpoint: str, errors: Errors) -> Iterator[str]:
    """A line a metric that is not of all samples: a mean over those that have neighbours says nothing of the others."""
    found: dict[tuple[str, int], list[int]] = {}
    for (at, _, _, metric), beside in errors.items():
        used, n = beside.n_used, beside.n_samples
        if at == checkpoint and used is not None and n is not None and 0 < used < n:
            found.setdefault((metric, n), []).append(used)
    for (metric, n), counts in found.items():
        low, high = min(counts), max(counts)
        many = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        yield f"{metric}: in some layers of {many} of the {n:,} samples alone (n_used in tables/metrics.csv)"


def _beside(row: Mapping[str, str]) -> Beside:
    error, low, high, used, n = (row.get(name) for name in ("std_error", "low", "high", "n_used", "n_samples"))
    return Beside(
        float(error) if error else None,
        (float(low), float(high)) if low and high else None,
        int(used) if used else None,
        int(n) if n else None,
    )


def summary_tables(rows: list[dict[str, str]], errors: Errors | None = None, width: int = PIPE_WIDTH) -> list[Table]:
    """Layers down, metrics by split across ([interval] or ± standard error), of the checkpoint of the last row.

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


def _short(value: str, beside: Beside | None) -> str:
    """Two or three decimals, and the interval or standard error with as many; text as it is.

    A standard error of 0 is left out: where all samples have one value, as at a proportion of 1, it tells nothing of
    how sure the value is.
    """
    try:
        number = float(value)
    except ValueError:
        return value
    digits = 2 if abs(number) >= 2 else 3
    text = f"{number:.{digits}f}"
    if beside is not None and beside.interval is not None:
        return f"{text} [{beside.interval[0]:.{digits}f}, {beside.interval[1]:.{digits}f}]"
    return f"{text} ± {beside.std_error:.{digits}f}" if beside is not None and beside.std_error else text
