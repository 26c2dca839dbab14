"""Correlations between columns: over runs, over the layers of a network, over the epochs of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rra_cli.comparison.correlate import Correlation, correlate
from rra_cli.comparison.groups import Group
from rra_cli.comparison.runs import FinishedRun
from rra_cli.comparison.statistics import LEVEL, NAN, summarise
from rra_cli.errors import UserError, did_you_mean
from rra_cli.report.run import Run, alteration_in
from rra_cli.report.tables.reading import Tables
from rra_cli.report.tables.schema import TABLES, metric_columns

Row = dict[str, Any]
# Of one measured layer; epoch and index follow from checkpoint and layer.
PLACE = ("split", "pool", "scale", "n_samples", "k")
Where = tuple[Any, ...]

ALL = ""
EPOCHS, LATER, LAYERS, RUNS = "epochs", "epochs>0", "layers", "runs"
_SERIES = {
    EPOCHS: "points are epochs of one training, which follow each other: p is too small, see p_effective",
    LATER: "epochs without the initialisation; they follow each other: p is too small, see p_effective",
    LAYERS: "points are layers of one network, each made from the one before: p is too small, see p_effective",
}
_POOLED = "runs of all groups: what groups have in common enters as well as what seeds have"


@dataclass(frozen=True)
class Point:
    """Where a value stands: checkpoint, its epoch, layer, its position, and `PLACE`."""

    checkpoint: str
    epoch: int | None
    layer: str
    index: int
    place: Where


Columns = dict[str, dict[Point, dict[int | None, float]]]  # column -> point -> seed -> value


def check_columns(pairs: Sequence[tuple[str, str]], runs: Sequence[FinishedRun]) -> None:
    """Raises `UserError` for a column that no run has, naming near matches."""
    known = sorted({column for run in runs for column in known_columns(run)})
    for column in dict.fromkeys(column for pair in pairs for column in pair):
        if column not in known:
            raise UserError(
                f"--correlate: no run has a column {column!r}; {did_you_mean(column, known)}",
                "columns are those of layers.csv and training.jsonl that hold numbers",
            )


def known_columns(run: FinishedRun) -> list[str]:
    """Columns of numbers: metrics, features and chance levels of layers, figures of the training."""
    fixed = {*TABLES["layers"].columns, *TABLES["layers"].trailing} - {"n_features", "index"}
    found = [str(column) for column in run.layers.columns if column not in fixed]
    return [*found, *(column for column in _training_columns(run) if column not in found)]


def default_pairs(runs: Sequence[FinishedRun]) -> list[tuple[str, str]]:
    """Every two metrics, and each metric with the network's accuracy on the test split."""
    metrics = list(dict.fromkeys(m for run in runs for m in metric_columns(tuple(map(str, run.layers.columns)))))
    accuracy = [column for column in ("test_accuracy",) if any(column in _training_columns(run) for run in runs)]
    if any(alteration_in(run.config) for run in runs):
        accuracy = []  # it is that of the samples as they are, and the metrics are not
    return list(combinations([*metrics, *accuracy], 2))


def correlation_rows(groups: Sequence[Group], pairs: Sequence[tuple[str, str]], level: float = LEVEL) -> Iterator[Row]:
    """Every two columns over runs, layers and epochs; what has fewer than three points is left out."""
    columns = list(dict.fromkeys(column for pair in pairs for column in pair))
    values = [columns_of(group, columns) for group in groups]
    mains = [main_checkpoint(group) for group in groups]
    for x, y in pairs:
        for where, over, group, place, found in _correlations(groups, values, mains, x, y, level):
            # Along the layers every figure of the training is constant, which is no finding.
            if found.n < 3 or (over == LAYERS and found.reason):
                continue
            note = "; ".join(part for part in (found.reason, _note(over, group, len(groups))) if part)
            yield {
                **{"x": x, "y": y, "over": over, "group": group, **where, **dict(zip(PLACE, place, strict=True))},
                **{"n": found.n, "r": found.r, "p": found.p, "low": found.low, "high": found.high},
                **{"rho": found.rho, "rho_p": found.rho_p, "n_effective": found.n_effective},
                **{"p_effective": found.p_effective, "note": note},
            }


def point_rows(groups: Sequence[Group], pairs: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Every point of these pairs of columns: a row a run and measured layer."""
    for group in groups:
        values = columns_of(group, list(dict.fromkeys(column for pair in pairs for column in pair)))
        for x, y in pairs:
            for point, of_x in values[x].items():
                of_y = values[y].get(point, {})
                common = {"x": x, "y": y, "group": group.label, "checkpoint": point.checkpoint, "epoch": point.epoch}
                common |= {"layer": point.layer, "index": point.index, **dict(zip(PLACE, point.place, strict=True))}
                for seed in of_x:
                    if seed in of_y:
                        yield {**common, "seed": seed, "x_value": of_x[seed], "y_value": of_y[seed]}


def _correlations(
    groups: Sequence[Group],
    values: Sequence[Columns],
    mains: Sequence[str],
    x: str,
    y: str,
    level: float,
) -> Iterator[tuple[Row, str, str, Where, Correlation]]:
    pooled: dict[tuple[str, Where], list[tuple[float, float]]] = {}
    own: list[tuple[Row, str, str, Where, Correlation]] = []
    for group, columns, main in zip(groups, values, mains, strict=True):
        means: dict[Point, tuple[float, float]] = {}
        for point in columns[x]:
            if point not in columns[y]:
                continue
            of_x, of_y = columns[x][point], columns[y][point]
            seeds = [seed for seed in of_x if seed in of_y]
            means[point] = (summarise(of_x.values()).mean, summarise(of_y.values()).mean)
            if point.checkpoint == main:
                both = [(of_x[seed], of_y[seed]) for seed in seeds]
                where = {"checkpoint": main, "layer": point.layer}
                pooled.setdefault((point.layer, point.place), []).extend(both)
                own.append((where, RUNS, group.label, point.place, _of(both, level)))
        own += _series(group, means, main, level)
    if len(groups) > 1:
        checkpoint = mains[0] if len(set(mains)) == 1 else "last"
        for (layer, place), both in pooled.items():
            yield {"checkpoint": checkpoint, "layer": layer}, RUNS, ALL, place, _of(both, level)
    yield from own


def _series(
    group: Group, means: dict[Point, tuple[float, float]], main: str, level: float
) -> Iterator[tuple[Row, str, str, Where, Correlation]]:
    """Over the layers of the main checkpoint, and over the epochs of every layer; of the means over seeds."""
    for place in dict.fromkeys(point.place for point in means):
        here = {point: both for point, both in means.items() if point.place == place}
        along = sorted((point for point in here if point.checkpoint == main), key=lambda point: point.index)
        found = _of([here[point] for point in along], level, ordered=True)
        yield {"checkpoint": main, "layer": ""}, LAYERS, group.label, place, found
        for layer in dict.fromkeys(point.layer for point in here):
            # `best` is a choice among the epochs, and would count one of them twice.
            epochs = {p.epoch: p for p in here if p.layer == layer and p.epoch is not None and p.checkpoint != "best"}
            for over, first in ((EPOCHS, 0), (LATER, 1)):
                chosen = [here[epochs[epoch]] for epoch in sorted(epochs) if epoch >= first]
                if over == EPOCHS or 0 in epochs:
                    where = {"checkpoint": "", "layer": layer}
                    yield where, over, group.label, place, _of(chosen, level, ordered=True)


def _of(points: Sequence[tuple[float, float]], level: float, *, ordered: bool = False) -> Correlation:
    return correlate([x for x, _ in points], [y for _, y in points], ordered=ordered, level=level)


def _note(over: str, group: str, n_groups: int) -> str:
    if over == RUNS:
        return _POOLED if group == ALL and n_groups > 1 else ""
    return _SERIES[over]


def columns_of(group: Group, columns: Sequence[str]) -> Columns:
    """The values of these columns at every measured layer; those of the training stand at all layers of their epoch."""
    import pandas as pd

    found: Columns = {column: {} for column in columns}
    for run in group.runs:
        frame = run.layers[run.layers["subset"] == 0]
        frame = frame[frame["dataset"] == ""] if "dataset" in frame else frame
        logged = _training(run, columns)
        for row in frame.to_dict("records"):
            epoch = None if pd.isna(row["epoch"]) else int(row["epoch"])
            place = tuple(None if pd.isna(row[column]) else row[column] for column in PLACE)
            point = Point(str(row["checkpoint"]), epoch, str(row["layer"]), int(row["index"]), place)
            for column in columns:
                value = row.get(column, logged.get((column, epoch), NAN))
                if not pd.isna(value):
                    found[column].setdefault(point, {})[run.seed] = float(value)
    return found


def main_checkpoint(group: Group) -> str:
    """`last`, else the latest that its first run measured."""
    run = group.runs[0]
    return Run(run.name, Tables(run.layers, run.metrics)).main_checkpoint.label


def _training_columns(run: FinishedRun) -> list[str]:
    if run.training is None:
        return []
    return [str(c) for c in run.training.columns if c != "epoch" and run.training[c].dtype.kind in "fi"]


def _training(run: FinishedRun, columns: Sequence[str]) -> dict[tuple[str, int | None], float]:
    """Figures of the training by column and epoch."""
    wanted = [column for column in columns if column in _training_columns(run)]
    if run.training is None or not wanted:
        return {}
    return {
        (column, int(row["epoch"])): float(row[column])
        for row in run.training.to_dict("records")
        for column in wanted
        if row[column] == row[column]
    }
