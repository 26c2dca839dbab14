"""The tables of a run's pullback metrics, with counts that are there and are whole, as a comparison reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.errors import UserError
from rra_cli.report.tables.reading import read_table

if TYPE_CHECKING:
    import pandas as pd

PULLBACK, ANCHORS = "pullback", "pullback_anchors"
_WHOLE = {
    PULLBACK: ("epoch", "index", "n_inputs", "n_features", "directions", "n_units"),
    ANCHORS: ("unit", "sample_id"),
}
_MOST = 1e9


def read_pullback(folder: Path) -> dict[str, Any]:
    """Tables `pullback` and `anchors` of a run folder, None where it has none. UserError where one is damaged."""
    return {"pullback": _read(folder / "tables", PULLBACK), "anchors": _read(folder / "tables", ANCHORS)}


def _read(tables: Path, name: str) -> pd.DataFrame | None:
    if not (tables / f"{name}.csv").is_file():
        return None
    frame = read_table(tables, name)
    for column in _WHOLE[name]:
        for row, value in enumerate(frame[column].tolist(), 2):
            if not _is_count(value):
                raise UserError(f"tables/{name}.csv is damaged: {column} is {value} in line {row}")
    return frame


def _is_count(value: Any) -> bool:
    """Whether it is a whole number that a table of ours can hold; empty cells and NaN are none."""
    return isinstance(value, (int, float)) and 0 <= value <= _MOST and value == int(value)
