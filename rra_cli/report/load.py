"""Reading a run folder: its tables, its training curve and what it says of itself."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.core.reading import MOST_JSON, read_bytes, read_json, read_yaml
from rra_cli.errors import UserError
from rra_cli.report.run import Run
from rra_cli.report.tables.reading import apart, read_tables
from rra_cli.report.tables.schema import SEARCH_TIMES, SEARCH_TIMES_COLUMNS

if TYPE_CHECKING:
    import pandas as pd


def load_run(run_folder: Path) -> Run:
    """Reads a run folder. Raises UserError where it is none, or a file in it cannot be read."""
    config = _read_yaml(run_folder / "config.yaml")
    return Run(
        name=_name(config, run_folder),
        tables=apart(read_tables(run_folder)),
        training=read_training(run_folder / "training.jsonl"),
        search_times=_read_search_times(run_folder / SEARCH_TIMES),
        config=config,
        provenance=_read_json(run_folder / "provenance.json"),
    )


def _name(config: Mapping[str, Any], run_folder: Path) -> str:
    given = config.get("experiment")
    if isinstance(given, str) and given:
        return given
    return run_folder.resolve().name.partition("_")[2] or run_folder.resolve().name


def read_training(path: Path) -> pd.DataFrame | None:
    import pandas as pd

    if not path.is_file():
        return None
    try:
        text = read_bytes(path, MOST_JSON).decode("utf-8")
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not lines:
            return None
        frame = pd.json_normalize(lines, sep="_")
        frame["epoch"] = frame["epoch"].astype(int)
        return frame.sort_values("epoch", kind="stable").reset_index(drop=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read: expected one JSON object with an `epoch` a line ({error})",
            "run the experiment again to write it anew (what was trained is reused)",
        ) from error


def _read_search_times(path: Path) -> pd.DataFrame | None:
    import pandas as pd

    if not path.is_file():
        return None
    try:
        # A layer may be called "NA"; only numbers may be missing.
        content = io.BytesIO(read_bytes(path, MOST_JSON))
        frame = pd.read_csv(content, keep_default_na=False, dtype=str)[list(SEARCH_TIMES_COLUMNS)]
        for column in ("index", "scale", "n_samples", "n_features", "k", "recall", "seconds"):
            frame[column] = pd.to_numeric(frame[column])
        return frame
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise UserError(f"{path} cannot be read: {error}", "run the experiment again to write it anew") from error


def _read_yaml(path: Path) -> Mapping[str, Any]:
    return _mapping(path, read_yaml)


def _read_json(path: Path) -> Mapping[str, Any]:
    return _mapping(path, read_json)


def _mapping(path: Path, read: Callable[[Path], Any]) -> Mapping[str, Any]:
    """What the file says of the run; it decorates the report, so a missing one is no error."""
    if not path.is_file():
        return {}
    try:
        value = read(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "run the experiment again to write it anew") from error
    return value if isinstance(value, Mapping) else {}
