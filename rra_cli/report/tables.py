"""Writing and reading the tables of a run folder: CSV for people, Parquet beside it for programs.

Equal results give equal bytes: rows are sorted, numbers are written in the shortest form that reads back exactly, and
nothing but results is written.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.errors import UserError
from rra_cli.report.schema import COMMON, LABELS, PAIR, REQUIRED, TABLES, TEXT, WHOLE, Table, metric_columns

if TYPE_CHECKING:
    import pandas as pd

Rows = Iterable[Mapping[str, Any]]

_SPLIT_RANK = {"train": 0, "test": 1}
# Layers of nnls.csv have no index, so their pairs keep the writer's order.
_ROW_ORDER = (
    *("epoch", "checkpoint", "split", "pool", "scale"),
    *("model_a", "checkpoint_a", "split_a", "pool_a", "scale_a"),
    *("model_b", "checkpoint_b", "split_b", "pool_b", "scale_b"),
    *("subset", "n_samples", "k", "index", "layer", "metric", "engine"),
    *("class", "neighbor_class", "quantile", "sample_id"),
)


@dataclass(frozen=True)
class Tables:
    """The tables of a run; those that were not asked for are None. Columns and kinds are those of `schema`."""

    layers: pd.DataFrame
    metrics: pd.DataFrame
    nnls: pd.DataFrame | None = None
    mu: pd.DataFrame | None = None
    per_class: pd.DataFrame | None = None
    class_neighbors: pd.DataFrame | None = None


def write_table(rows: pd.DataFrame | Rows, folder: Path, name: str) -> list[Path]:
    """Writes `<name>.csv` and `<name>.parquet` into `folder`, each atomically; returns both paths.

    NaN and None become empty cells. Raises ValueError where columns are missing or unknown, rows repeat, a number is
    no number, or an empty measured value has no reason.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table named {name!r}; known: {', '.join(TABLES)}")
    table = TABLES[name]
    frame = _ordered(_complete(_frame(rows, table.columns), table, name))
    _check(frame, table, name)
    columns = [str(column) for column in frame.columns]
    return [
        _write(folder / f"{name}.parquet", _parquet(frame, columns)),
        _write(folder / f"{name}.csv", _csv(frame, columns)),
    ]


def write_per_sample(rows: pd.DataFrame | Rows, folder: Path, metric: str, *, pairs: bool = False) -> Path:
    """Writes `per_sample/<metric>.parquet`: `sample_id`, the common columns, k and `value` of every sample.

    pairs: the metric belongs to pairs of layers, so the columns are those of nnls.csv. Raises ValueError where
    `metric` is no plain name or rows repeat.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", metric):
        raise ValueError(f"{metric!r} is no plain name to call a file by")
    columns = ("sample_id", *((*PAIR, "subset", "n_samples") if pairs else COMMON), "k", "value")
    table = Table(columns, tuple(column for column in columns if column not in ("epoch", "index", "value")))
    frame = _ordered(_complete(_frame(rows, columns), table, metric))
    _check(frame, table, metric)
    return _write(folder / "per_sample" / f"{metric}.parquet", _parquet(frame, list(columns)))


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
        return _complete(pd.DataFrame(cells), table, name)
    except (ValueError, csv.Error, UnicodeDecodeError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as the table {name!r}: {error}",
            "run the experiment again to write it anew (what was computed is reused)",
        ) from error


def metrics_of(layers: pd.DataFrame) -> tuple[str, ...]:
    """The metrics of a layers table, in column order."""
    return metric_columns(tuple(str(column) for column in layers.columns))


def _frame(rows: pd.DataFrame | Rows, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return rows
    rows = list(rows)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))


def _complete(frame: pd.DataFrame, table: Table, name: str) -> pd.DataFrame:
    """The frame with all columns in file order and of their kind."""
    import pandas as pd

    given = [str(column) for column in frame.columns]
    missing = [column for column in table.columns if column not in given and column not in table.optional]
    unknown = [] if table.open else [column for column in given if column not in table.columns]
    if missing or unknown:
        raise ValueError(f"table {name!r}: missing columns {missing}, unknown columns {unknown}")
    order = [*table.columns, *(column for column in given if column not in (*table.columns, "stage"))]
    if "stage" in given:
        order.append("stage")
    empty = [None] * len(frame)
    return pd.DataFrame({column: _typed(frame[column] if column in given else empty, column) for column in order})


def _typed(values: Any, column: str) -> pd.Series[Any]:
    """The values as the column's kind: text ("" where empty), whole numbers (NA), class labels, or float64 (NaN)."""
    import pandas as pd

    series = pd.Series(values).reset_index(drop=True)
    if column in LABELS:
        text = [_text(value) for value in series.tolist()]
        if all(re.fullmatch(r"0|-?[1-9][0-9]*", label) for label in text):
            return pd.Series([int(label) for label in text], dtype="Int64")
        return pd.Series(text, dtype=object)
    if column in TEXT:
        return pd.Series([_text(value) for value in series.tolist()], dtype=object)
    try:
        if column in WHOLE:
            return pd.to_numeric(series).astype("Int64")
        return (
            pd.to_numeric(series.astype(object)).astype("float64") + 0.0
        )  # -0.0 becomes 0.0: equal values, equal bytes
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {column!r} holds something that is no number: {error}") from error


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    # A file name that is not UTF-8 reaches us with lone surrogates, which no file format takes.
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _parsed(texts: Iterable[str], column: str) -> list[Any]:
    if column in TEXT or column in LABELS:
        return list(texts)
    number = int if column in WHOLE else float
    return [None if text == "" else number(text) for text in texts]


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in an order that does not depend on the order in which they were computed."""
    keys = [column for column in _ROW_ORDER if column in frame.columns]

    def rank(values: pd.Series[Any]) -> pd.Series[Any]:
        if not str(values.name).startswith("split"):
            return values
        return values.map(lambda split: f"{_SPLIT_RANK.get(split, 2)}{split}")

    return frame.sort_values(keys, key=rank, kind="stable", na_position="last").reset_index(drop=True)


def _check(frame: pd.DataFrame, table: Table, name: str) -> None:
    repeated = frame.duplicated(list(table.key))
    if repeated.any():
        row = frame.loc[repeated, list(table.key)].iloc[0].to_dict()
        raise ValueError(f"table {name!r} would hold two rows for {row}")
    if table.measured is not None:
        silent = frame[table.measured].isna() & (frame["reason"] == "")
        if silent.any():
            row = frame.loc[silent, list(table.key)].iloc[0].to_dict()
            raise ValueError(f"table {name!r}: an empty value without a reason at {row}")


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


def _write(path: Path, data: bytes) -> Path:
    from rra_cli.core import files

    files.write_bytes(path, data)
    return path
