"""Reading the tables of a run folder back, exactly as they were written (`rra_cli.report.tables.writing`)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.core.resources import format_bytes, free_memory
from rra_cli.errors import UserError
from rra_cli.report.tables.frames import complete
from rra_cli.report.tables.schema import LABELS, REQUIRED, TABLES, TEXT, WHOLE, metric_columns

if TYPE_CHECKING:
    import pandas as pd

_GROWTH = 25  # bytes of memory for a byte of a table, whose cells are texts first


@dataclass(frozen=True)
class Tables:
    """The tables of a run; those that were not asked for are None. Columns and kinds are those of `schema`.

    transfer: the rows of metrics.csv of other data sets, once `apart` has taken them out of `layers` and `metrics`.
    """

    layers: pd.DataFrame
    metrics: pd.DataFrame
    nnls: pd.DataFrame | None = None
    pairs: pd.DataFrame | None = None
    svcca_bases: pd.DataFrame | None = None
    mu: pd.DataFrame | None = None
    per_class: pd.DataFrame | None = None
    spectra: pd.DataFrame | None = None
    class_neighbors: pd.DataFrame | None = None
    engines: pd.DataFrame | None = None
    transfer: pd.DataFrame | None = None
    dimension_scales: pd.DataFrame | None = None
    occurrences: pd.DataFrame | None = None
    scales: pd.DataFrame | None = None
    best_scales: pd.DataFrame | None = None
    scale_correlations: pd.DataFrame | None = None
    invariance: pd.DataFrame | None = None
    graph_lists: pd.DataFrame | None = None
    pictures: pd.DataFrame | None = None
    picture_quality: pd.DataFrame | None = None
    samples: pd.DataFrame | None = None
    samples_mu: pd.DataFrame | None = None
    samples_nnls: pd.DataFrame | None = None
    nnls_sim: pd.DataFrame | None = None
    pullback: pd.DataFrame | None = None
    pullback_points: pd.DataFrame | None = None
    pullback_anchors: pd.DataFrame | None = None


def apart(tables: Tables) -> Tables:
    """The experiment's own data set in `layers` and `metrics`, and what was measured on others in `transfer`.

    `pairs` has then the metrics alone that are not in `nnls`.
    """
    other = tables.metrics["dataset"] != ""
    layers = tables.layers
    own = layers[layers["dataset"] == ""] if "dataset" in layers else layers
    found = tables.metrics[other].reset_index(drop=True) if other.any() else None
    return replace(
        tables,
        layers=own.reset_index(drop=True),
        metrics=tables.metrics[~other].reset_index(drop=True),
        transfer=found,
        pairs=_beside_nnls(tables.pairs, tables.nnls),
    )


def _beside_nnls(pairs: pd.DataFrame | None, nnls: pd.DataFrame | None) -> pd.DataFrame | None:
    """`pairs` without the metric whose rows are those of `nnls`, so that nobody counts it twice; None for none left.

    Known by its rows: its key is the user's, and runs of earlier versions have no such metric.
    """
    if pairs is None or nnls is None:
        return pairs
    for metric in sorted(pairs["metric"].unique(), key=lambda metric: (metric != "nnls", metric)):
        same = pairs["metric"] == metric
        rows = pairs[same].drop(columns="metric").rename(columns={"value": "nnls"})
        if rows.reset_index(drop=True).equals(nnls.reset_index(drop=True)):
            return None if same.all() else pairs[~same].reset_index(drop=True)
    return pairs


def read_tables(run_folder: Path) -> Tables:
    """The tables of a finished run, read from its CSV files.

    Raises UserError where the folder is no run folder, the run has not finished, or a table cannot be read.
    """
    folder = run_folder / "tables"
    if not run_folder.is_dir():
        raise UserError(
            f"expected a run folder, but {run_folder} {'is a file' if run_folder.exists() else 'does not exist'}",
            "give the folder that `rra run` printed at its end: <outputs>/<date>/<time>_<experiment>",
        )
    if not folder.is_dir():
        # A folder of runs, of days or of sweeps; no deeper, for it may as well be a home folder.
        found = (run_folder.glob(f"{above}/tables/layers.csv") for above in ("*", "*/*", "*/*/*"))
        inside = sorted(path.parent.parent for paths in found for path in paths)
        hint = (
            f"run folders inside of it: {', '.join(str(path) for path in inside[-3:])}"
            if inside
            else "give the folder that `rra run` printed at its end, or run the experiment again: it goes on from there"
        )
        raise UserError(f"expected a run folder, but {run_folder} has no folder `tables` in it", hint)
    missing = [f"{name}.csv" for name in REQUIRED if not (folder / f"{name}.csv").is_file()]
    if missing:
        raise UserError(
            f"expected the tables of a finished run in {folder}, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            "the run has not finished: give the same command again and it goes on where it stopped",
        )
    frames = {name: read_table(folder, name) for name in TABLES if (folder / f"{name}.csv").is_file()}
    return Tables(**frames)


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One table from its CSV file, exactly as it was written. Raises UserError where it cannot be read."""
    import pandas as pd

    path, table = folder / f"{name}.csv", TABLES[name]
    try:
        size, free = path.stat().st_size, free_memory()
        if size * _GROWTH > free:
            raise ValueError(
                f"it has {format_bytes(size)}, too much for the {format_bytes(free)} of memory that are free"
            )
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        lost = [column for column in table.columns if column not in header and column not in table.optional]
        if lost:
            raise ValueError(f"its columns {', '.join(lost)} are missing")
        ragged = next((at for at, row in enumerate(rows, 2) if len(row) != len(header)), None)
        if ragged is not None:
            raise ValueError(f"row {ragged} has {len(rows[ragged - 2])} cells, the header {len(header)}")
        # Parsed here and not by pandas: its reader takes a layer called "NA" for nothing, and rounds the last digit.
        columns = zip(*rows, strict=True) if rows else [()] * len(header)
        cells = {column: _parsed(texts, column) for column, texts in zip(header, columns, strict=True)}
        return complete(pd.DataFrame(cells), table, name)
    except (ValueError, OverflowError, csv.Error, UnicodeDecodeError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as the table {name!r}: {error}",
            "run the experiment again to write it anew (what was computed is reused)",
        ) from error


def metrics_of(layers: pd.DataFrame) -> tuple[str, ...]:
    """The metrics of a layers table, in column order."""
    return metric_columns(tuple(str(column) for column in layers.columns))


def _parsed(texts: Iterable[str], column: str) -> list[Any]:
    if column in TEXT or column in LABELS:
        return list(texts)
    number = int if column in WHOLE else float
    return [None if text == "" else number(text) for text in texts]
