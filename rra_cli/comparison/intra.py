"""Layer similarity within each model, over seeds: the matrix that a run has by itself, averaged over a group's runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from rra_cli.comparison.groups import Group
from rra_cli.comparison.runs import FinishedRun
from rra_cli.comparison.statistics import LEVEL, difference, summarise
from rra_cli.errors import UserError
from rra_cli.report.tables.reading import read_table

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


@dataclass(frozen=True)
class Intra:
    """What the runs of a group measured, by place, layers, N and k. faults: tables that cannot be read."""

    group: Group
    cells: Mapping[tuple[Any, ...], _Cell]
    indices: Mapping[str, int]
    faults: list[str]

    def place(self, key: tuple[Any, ...]) -> Row:
        """A key as tables call it, and where its layers stand."""
        named = dict(zip(_KEY, key, strict=True))
        return {**named, **{f"index_{side}": self.indices[str(named[f"layer_{side}"])] for side in "ab"}}


def read_intra(group: Group, checkpoints: Collection[str] | None) -> Intra:
    """The values of a group's runs, and why runs have no say whose tables cannot be read; runs that did not measure it
    have none, either. checkpoints: which; None for all.
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
    return Intra(group, cells, indices, faults)


def rows_of(intra: Intra, level: float = LEVEL) -> Iterator[Row]:
    """A row an ordered pair of layers of one model, at one place: mean, sd and t interval over the seeds."""
    for key, cell in intra.cells.items():
        found = summarise(cell.values.values(), level)
        yield {
            "group": intra.group.label,
            **intra.place(key),
            "mean": found.mean,
            "sd": found.sd,
            "n": found.n,
            "low": found.low,
            "high": found.high,
            "chance": cell.chance,
            "reason": "; ".join(cell.reasons),
        }


def intra_differences(found: Sequence[Intra], level: float = LEVEL) -> Iterator[Row]:
    """Every earlier group minus every later one, of every two layers once and of equal N and k."""
    for one, other in combinations(found, 2):
        for key, cell in one.cells.items():
            counterpart, place = other.cells.get(key), one.place(key)
            if counterpart is None or place["index_a"] >= place["index_b"]:
                continue
            test = difference(cell.values, counterpart.values, level)
            counts = [summarise(each.values.values()).n for each in (cell, counterpart)]
            yield {
                **{"group_a": one.group.label, "group_b": other.group.label, **place},
                **{"difference": test.value, "low": test.low, "high": test.high, "p": test.p},
                **{"n_a": counts[0], "n_b": counts[1], "paired": "by seed" if test.paired else "no"},
                "reason": test.reason,
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
