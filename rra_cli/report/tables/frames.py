"""Rows as a data frame that keeps the schema: all columns, of their kind, in an order of their own, no row twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.tables.schema import ALTER, LABELS, TEXT, WHOLE, Table

if TYPE_CHECKING:
    import pandas as pd

Rows = Iterable[Mapping[str, Any]]

_SPLIT_RANK = {"train": 0, "test": 1}
# Layers of tables of pairs have no index, so their pairs keep the writer's order.
_ROW_ORDER = (
    "dataset",  # empty for the experiment's own, which comes first
    *("epoch", "checkpoint", "split", "pool", "scale"),
    *("model_a", "checkpoint_a", "split_a", "pool_a", "scale_a"),
    *("model_b", "checkpoint_b", "split_b", "pool_b", "scale_b"),
    *("subset", "n_samples", "k", "index", "layer", "metric", "search", "engine"),
    *("class", "neighbor_class", "quantile", "block_samples", "neighbor_rank", "at_least"),
)


def frame_of(rows: pd.DataFrame | Rows, columns: tuple[str, ...]) -> pd.DataFrame:
    """The rows as a frame; without any, an empty one with these columns."""
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return rows
    rows = list(rows)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))


def complete(frame: pd.DataFrame, table: Table, name: str) -> pd.DataFrame:
    """The frame with all columns in file order and of their kind.

    Raises ValueError where columns are missing or unknown, or a number is no number.
    """
    import pandas as pd

    told = [ALTER] if ALTER in frame.columns else []
    given = [str(column) for column in frame.columns if column != ALTER]
    missing = [column for column in table.columns if column not in given and column not in table.optional]
    unknown = [] if table.open else [column for column in given if column not in (*table.columns, *table.trailing)]
    if missing or unknown:
        raise ValueError(f"table {name!r}: missing columns {missing}, unknown columns {unknown}")
    order = [*table.columns, *(column for column in given if column not in (*table.columns, *table.trailing))]
    order += [column for column in table.trailing if column in given]
    empty = [None] * len(frame)
    known = {*given, *told}
    cells = {column: frame[column] if column in known else empty for column in (*order, *told)}
    return pd.DataFrame({column: _typed(found, column) for column, found in cells.items()})


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in an order that does not depend on the order in which they were computed."""
    keys = [column for column in _ROW_ORDER if column in frame.columns]

    def rank(values: pd.Series[Any]) -> pd.Series[Any]:
        return values.map(_split_rank) if str(values.name).startswith("split") else values

    return frame.sort_values(keys, key=rank, kind="stable", na_position="last").reset_index(drop=True)


def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What rows with equal columns are sorted by to stand in the order of `ordered`."""
    columns = [column for column in _ROW_ORDER if column in row]
    ranks = [_split_rank(row[column]) if column.startswith("split") else row[column] for column in columns]
    return tuple((True, 0) if rank is None else (False, rank) for rank in ranks)


def _split_rank(split: str) -> str:
    """Train, test, then any other by name."""
    rank = _SPLIT_RANK[split] if split in _SPLIT_RANK else len(_SPLIT_RANK)
    return f"{rank}{split}"


def check(frame: pd.DataFrame, table: Table, name: str) -> None:
    """Raises ValueError where rows repeat, or an empty measured value has no reason."""
    key = [column for column in table.key if column in frame]
    repeated = frame.duplicated(key)
    if repeated.any():
        row = frame.loc[repeated, key].iloc[0].to_dict()
        raise ValueError(f"table {name!r} would hold two rows for {row}")
    if table.measured is not None:
        silent = frame[table.measured].isna() & (frame["reason"] == "")
        if silent.any():
            row = frame.loc[silent, key].iloc[0].to_dict()
            raise ValueError(f"table {name!r}: an empty value without a reason at {row}")


def text_of(value: Any) -> str:
    """The value as a file holds it: "" for nothing."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    # A file name that is not UTF-8 reaches us with lone surrogates, which no file format takes.
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _typed(values: Any, column: str) -> pd.Series[Any]:
    """The values as the column's kind: text ("" where empty), whole numbers (NA), class labels, or float64 (NaN)."""
    import pandas as pd

    series = pd.Series(values).reset_index(drop=True)
    if column in LABELS:
        text = [text_of(value) for value in series.tolist()]
        if all(re.fullmatch(r"0|-?[1-9][0-9]*", label) for label in text):
            return pd.Series([int(label) for label in text], dtype="Int64")
        return pd.Series(text, dtype=object)
    if column in TEXT:
        return pd.Series([text_of(value) for value in series.tolist()], dtype=object)
    try:
        if column in WHOLE:
            return pd.to_numeric(series).astype("Int64")
        numbers = pd.to_numeric(series.astype(object)).astype("float64")
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {column!r} holds something that is no number: {error}") from error
    return numbers + 0.0  # -0.0 becomes 0.0: equal values, equal bytes
