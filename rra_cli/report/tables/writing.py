"""Writing the tables of a run folder: CSV for people, Parquet beside it for programs.

Equal results give equal bytes: rows are sorted, numbers are written in the shortest form that reads back exactly, and
nothing but results is written.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.core import files
from rra_cli.report.tables.frames import Rows, check, complete, frame_of, ordered
from rra_cli.report.tables.schema import LABELS, SEARCH_TIMES_COLUMNS, TABLES, TEXT, WHOLE

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def write_table(rows: pd.DataFrame | Rows, folder: Path, name: str) -> list[Path]:
    """Writes `<name>.csv` and `<name>.parquet` into `folder`, each atomically; returns both paths.

    NaN and None become empty cells. Raises ValueError where columns are missing or unknown, rows repeat, a number is
    no number, or an empty measured value has no reason.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table named {name!r}; known: {', '.join(TABLES)}")
    table = TABLES[name]
    frame = ordered(complete(frame_of(rows, table.columns), table, name))
    check(frame, table, name)
    columns = [str(column) for column in frame.columns]
    written = {folder / f"{name}.parquet": _parquet(frame, columns), folder / f"{name}.csv": _csv(frame, columns)}
    for path, data in written.items():
        files.write_bytes(path, data)
    return list(written)


def write_search_times(rows: Rows, path: Path) -> None:
    """Writes `search_times.csv`: a row a graph, seconds to three digits after the point, empty where not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, SEARCH_TIMES_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        seconds = row["seconds"]
        writer.writerow({**row, "seconds": "" if seconds is None else f"{seconds:.3f}"})
    files.write_bytes(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _csv(frame: pd.DataFrame, columns: list[str]) -> bytes:
    import pandas as pd

    def cells(column: str) -> list[str]:
        if column in TEXT or column in LABELS:
            return [str(value) for value in frame[column].tolist()]
        if column in WHOLE:
            return ["" if value is pd.NA else str(value) for value in frame[column].tolist()]
        # repr of a Python float is the shortest text that reads back to the same float.
        return ["" if value != value else repr(value) for value in frame[column].tolist()]

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(cells(column) for column in columns), strict=True))
    return text.getvalue().encode("utf-8")


def _parquet(frame: pd.DataFrame, columns: list[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def array(column: str) -> pa.Array:
        if column in TEXT or frame[column].dtype == object:
            return pa.array(frame[column].tolist(), pa.string())
        kind = pa.int64() if column in WHOLE or column in LABELS else pa.float64()
        return pa.Array.from_pandas(frame[column], type=kind)  # NaN and NA become null

    # Built without pandas' metadata, which would name the versions that happened to write it.
    data = pa.table({column: array(column) for column in columns})
    buffer = io.BytesIO()
    pq.write_table(data, buffer)
    return buffer.getvalue()
