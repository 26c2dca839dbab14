"""Layer similarity within each model, over seeds: the matrix that a run has by itself, averaged over a group's runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rra_cli.comparison.groups import Group
from rra_cli.comparison.runs import FinishedRun
from rra_cli.comparison.statistics import LEVEL, summarise
from rra_cli.errors import UserError
from rra_cli.report.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
_PLACE = ("checkpoint", "split", "pool", "scale")
# What tells one value of a run from another.
_KEY = (*_PLACE, "layer_a", "layer_b", "n_samples", "k")


@dataclass
class _Cell:
    values: dict[int | None, float] = field(default_factory=dict)
    chance: float = float("nan")
    reasons: dict[str, None] = field(default_factory=dict)


def intra_rows(group: Group, checkpoints: Collection[str] | None, level: float = LEVEL) -> tuple[list[Row], list[str]]:
    """A row an ordered pair of layers of one model, at one place: mean, sd and t interval over the seeds; and why runs
    have no say whose tables cannot be read. Runs that did not measure it have none, either.

    checkpoints: which; None for all.
    """
    cells: dict[tuple[Any, ...], _Cell] = {}
    indices: dict[str, int] = {}
    faults = []
    for run in group.runs:
        try:
            own = _own(run, checkpoints)
        except UserError as error:
            faults.append(error.message)
            continue
        indices |= dict(zip(run.layers["layer"].map(str), run.layers["index"].map(int), strict=True))
        for row in own.to_dict("records"):
            cell = cells.setdefault(tuple(row[column] for column in _KEY), _Cell())
            cell.values[run.seed] = float(row["nnls"])
            cell.chance = float(row["chance"])
            if row["reason"]:
                cell.reasons[str(row["reason"])] = None
    return list(_rows(group, cells, indices, level)), faults


def _rows(
    group: Group, cells: Mapping[tuple[Any, ...], _Cell], indices: Mapping[str, int], level: float
) -> Iterator[Row]:
    for key, cell in cells.items():
        named = dict(zip(_KEY, key, strict=True))
        found = summarise(cell.values.values(), level)
        yield {
            "group": group.label,
            **named,
            "index_a": indices[str(named["layer_a"])],
            "index_b": indices[str(named["layer_b"])],
            "mean": found.mean,
            "sd": found.sd,
            "n": found.n,
            "low": found.low,
            "high": found.high,
            "chance": cell.chance,
            "reason": "; ".join(cell.reasons),
        }


def _own(run: FinishedRun, checkpoints: Collection[str] | None) -> pd.DataFrame:
    """The rows of a run's nnls.csv that are of one place, of the whole measured set; no rows where it has no table."""
    import pandas as pd

    folder = run.folder / "tables"
    if not (folder / "nnls.csv").is_file():
        return pd.DataFrame(columns=[*_KEY, "nnls", "chance", "reason"])
    frame = read_table(folder, "nnls")
    same = frame["subset"] == 0
    for column in _PLACE:
        same &= frame[f"{column}_a"] == frame[f"{column}_b"]
    if checkpoints is not None:
        same &= frame["checkpoint_a"].isin(list(checkpoints))
    frame = frame[same].rename(columns={f"{column}_a": column for column in _PLACE})
    # An exact graph before an approximate one, where a run has both.
    return frame.sort_values("engine_a", kind="stable").drop_duplicates(list(_KEY)).sort_index()
