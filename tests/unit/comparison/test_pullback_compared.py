"""Volumes and decision boundaries of groups: seeds as units, equal points and equally many directions only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from rra_cli.comparison.groups import Group, group_runs
from rra_cli.comparison.pullback import compare_pullback
from rra_cli.comparison.runs import FinishedRun, read_run
from rra_cli.comparison.walk import Options, compare
from rra_cli.errors import UserError
from rra_cli.report.compare.pullback_text import pullback_summary
from rra_cli.report.tables.frames import complete
from rra_cli.report.tables.schema import COMMON, TABLES
from rra_cli.report.tables.writing import write_table
from rra_cli.reporters import make_reporter

LINE = {"name": "pullback", "at": "line", "space": "normalised", "n": 9, "n_units": 4, "unit_points": 6, "seed": 0}
Row = dict[str, Any]
Found = tuple[list[Row], list[Row], list[Row]]


def row(difference: float, directions: int = 10, layer: str = "hidden1", **more: Any) -> Row:
    """A layer at the last checkpoint, whose interval over its own lines is ± 1."""
    place = {"checkpoint": "last", "epoch": 3, "metric": "way", "at": "line", "layer": layer, "index": 0}
    place |= {"n_inputs": 64, "n_features": 32, "n_points": 40, "directions": directions, "rank_min": 10}
    own = {"difference": difference, "low": difference - 1, "high": difference + 1, "p": 0.25, "n_units": 4}
    rest = {"rank_max": 10, "log_volume": 5 * difference, "local_r": 0.1, "reason": ""}
    return dict.fromkeys(TABLES["pullback"].columns, float("nan")) | place | own | rest | more


def made(
    root: Path,
    seed: int,
    *rows: Row,
    anchors: Sequence[int] = (3, 7),
    samples: Any = None,
    metric: Any = None,
    dataset: Any = None,
    **config: Any,
) -> FinishedRun:
    """A run with these rows of pullback.csv, through these samples."""
    folder = root / f"run{next(_NUMBERS)}"
    settings = LINE | (metric or {})
    ends = [
        {
            "metric": "way",
            "split": "train",
            "unit": 0,
            "anchor": "abc"[at],
            "sample_id": sample,
            "class": "1",
            "x": at,
            "y": 0,
        }
        for at, sample in enumerate(anchors)
    ]
    whole = {"seed": seed, "dataset": {"name": "digits"} | (dataset or {}), "metrics": {"way": settings}, **config}
    table = complete(pd.DataFrame(rows), TABLES["pullback"], "pullback") if rows else None
    none = pd.DataFrame(columns=["metric"])
    known = samples or {"train": {"name": "digits", "n_samples": 5, "train_size": 100}}
    through = complete(pd.DataFrame(ends), TABLES["pullback_anchors"], "pullback_anchors")
    return FinishedRun(folder.name, folder, whole, seed, none, none, samples=known, pullback=table, anchors=through)


_NUMBERS = count()


def groups(*runs: FinishedRun) -> tuple[Group, ...]:
    return group_runs(runs).groups


def of(rows: list[Row], quantity: str) -> Row:
    (found,) = (each for each in rows if each["quantity"] == quantity)
    return found


def test_seeds_are_the_units_where_there_are_several(tmp_path: Path) -> None:
    """Of 1, 2, 3: mean 2, sd 1; t with 2 degrees of freedom is 2 sqrt 3, where P(|T| > t) = 1 - t / sqrt(2 + t²)."""
    found, differences, refused = compare_pullback(groups(*(made(tmp_path, s, row(s + 1.0)) for s in range(3))))
    told, t = of(found, "difference"), 2 * 3**0.5
    assert (told["mean"], told["sd"], told["n"], told["over"]) == (2.0, 1.0, 3, "seeds")
    assert told["high"] - 2.0 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert told["p"] == pytest.approx(1 - t / (2 + t * t) ** 0.5)
    ratio = of(found, "ratio")
    assert (ratio["mean"], ratio["high"]) == pytest.approx((np.exp(0.2), np.exp(told["high"] / 10)))
    assert np.isnan(ratio["sd"])
    assert of(found, "log_volume")["mean"] == 10.0
    assert np.isnan(of(found, "log_volume")["p"]), "nobody asks whether a volume is 0"
    assert not differences
    assert not refused


def test_one_run_has_the_interval_over_its_own_lines(tmp_path: Path) -> None:
    found, _, _ = compare_pullback(groups(made(tmp_path, 0, row(2.0))))
    told = of(found, "difference")
    assert (told["mean"], told["low"], told["high"], told["p"], told["n"], told["over"]) == (2, 1, 3, 0.25, 1, "lines")
    assert of(found, "ratio")["low"] == pytest.approx(np.exp(0.1))
    assert of(found, "log_volume")["over"] == "", "of which no run has an interval"


def test_an_empty_gain_has_its_own_reason_alone(tmp_path: Path) -> None:
    both = "one unit has no scatter; no gain: it is counted from this checkpoint, the first one"
    found, _, _ = compare_pullback(groups(made(tmp_path, 0, row(2.0, reason=both, local_r=float("nan")))))
    assert of(found, "gain")["reason"] == "no gain: it is counted from this checkpoint, the first one"
    assert of(found, "local_r")["reason"] == "one unit has no scatter", "the control: the other one"


def two_groups(root: Path, directions: tuple[int, int] = (10, 10), **other: Any) -> Found:
    """Two seeds each, of which the second group has 1 and 3 nats more; other: what its runs have of their own."""
    one = [made(root, seed, row(1.0, directions[0]), method={"lr": 1}) for seed in range(2)]
    two = [made(root, s, row(2.0 + 2 * s, directions[1]), method={"lr": 2}, **other) for s in range(2)]
    return compare_pullback(groups(*one, *two))


def test_groups_of_the_same_seeds_are_held_against_each_other_seed_by_seed(tmp_path: Path) -> None:
    rows, differences, refused = two_groups(tmp_path)
    told = of(differences, "difference")
    assert (told["difference"], told["n_a"], told["n_b"], told["paired"], told["reason"]) == (-2.0, 2, 2, "by seed", "")
    assert told["p"] == pytest.approx(0.2951672), "t = 2 with one degree of freedom: 1 - 2 atan(2) / pi"
    assert {each["inputs"] for each in rows} == {1}
    assert not refused


@pytest.mark.parametrize("directions", [(10, 12), (12, 10)])
def test_other_numbers_of_directions_are_not_compared(tmp_path: Path, directions: tuple[int, int]) -> None:
    _, differences, refused = two_groups(tmp_path, directions)
    told = of(differences, "difference")
    assert told["reason"] == f"volumes are over {directions[0]} and over {directions[1]} directions"
    assert np.isnan(told["difference"])
    assert of(differences, "local_r")["difference"] == 0.0, "a correlation is over no directions"
    (told,) = refused
    assert told["reason"] == (
        "volumes are over other numbers of directions in hidden1 (reason in pullback_differences.csv); "
        "metrics.way.top=10 makes them equal"
    )


def test_seeds_of_other_numbers_of_directions_have_no_mean_but_a_reason(tmp_path: Path) -> None:
    rows, _, refused = compare_pullback(groups(*(made(tmp_path, s, row(1.0, 10 + s)) for s in range(2))))
    for quantity in ("difference", "ratio", "log_volume"):
        assert np.isnan(of(rows, quantity)["mean"])
        assert of(rows, quantity)["reason"] == "the runs' volumes are over 10 and 11 directions"
    assert of(rows, "local_r")["mean"] == pytest.approx(0.1)
    assert [(each["group_a"], "in hidden1 (reason in pullback.csv)" in each["reason"]) for each in refused] == [
        ("all runs", True)
    ]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"metric": {"at": "plane", "extent": 2.0}}, ": at line and plane"),
        ({"metric": {"space": "pixels"}}, "space normalised and pixels"),
        ({"metric": {"n_units": 8}}, "n_units 4 and 8"),
        ({"anchors": (3, 8)}, "through other samples, the first through 3, 7 and 3, 8"),
        ({"dataset": {"name": "mnist"}}, "data set digits and mnist"),
        ({"dataset": {"pixel_mean": [0.5]}}, "pixel_mean – and [0.5]"),
        ({"samples": {"train": {"pictures": "abc"}}}, "pictures – and abc"),
    ],
)
def test_other_inputs_are_refused_and_say_how_they_differ(tmp_path: Path, other: Any, told: str) -> None:
    rows, differences, refused = two_groups(tmp_path, **other)
    assert not differences
    assert sorted({(each["group"], each["inputs"]) for each in rows}, key=lambda each: each[1])[1][1] == 2
    (reason,) = (each["reason"] for each in refused)
    assert reason.startswith("not comparable, the inputs are others: ")
    assert reason.endswith(told)
    assert refused[0]["quantity"] == "pullback metric way"


@pytest.mark.parametrize(
    "other",
    [
        {"metric": {"seed": 5}},  # which drew the same samples
        {"metric": {"layers": ["hidden*"]}},
        {"samples": {"train": {"name": "digits", "n_samples": 9, "train_size": 50}}},  # anchors are told by themselves
    ],
)
def test_what_leaves_the_points_as_they_are_is_no_other_input(tmp_path: Path, other: Any) -> None:
    _, differences, refused = two_groups(tmp_path, **other)
    assert differences
    assert not refused


# From folders


def folder(root: Path, name: str, seed: int, lr: float, *rows: Row) -> Path:
    """A finished run of pullback alone, as it lies on disk."""
    layer = {**dict.fromkeys(COMMON), "checkpoint": "last", "epoch": 3, "split": "test", "layer": "hidden1", "index": 0}
    layer |= {"pool": "none", "scale": 1, "subset": 0, "n_samples": 5, "n_features": 32, "k": 2}
    tables = root / name / "tables"
    write_table([layer], tables, "layers")
    write_table([], tables, "metrics")
    if rows:
        write_table(list(rows), tables, "pullback")
    config = {"seed": seed, "dataset": {"name": "digits"}, "method": {"lr": lr}, "metrics": {"way": LINE}}
    (root / name / "config.yaml").write_text(yaml.safe_dump(config))
    (root / name / "status.json").write_text(json.dumps({"state": "done", "stage": "", "message": ""}))
    return root / name


def test_a_run_of_nothing_but_pullback_is_read_and_one_of_nothing_is_not(tmp_path: Path) -> None:
    run = read_run("a", folder(tmp_path, "a", 0, 1.0, row(2.0)))
    assert run.pullback is not None
    assert len(run.pullback) == 1
    with pytest.raises(UserError, match=r"metrics\.csv has no rows, nor has pullback\.csv: it measured nothing"):
        read_run("b", folder(tmp_path, "b", 0, 1.0))


@pytest.mark.parametrize("cell", ["", "nan", "inf", "-1", "1.5", "1e300"])
@pytest.mark.parametrize("column", ["epoch", "index", "n_inputs", "n_features", "directions", "n_units"])
def test_a_number_that_no_run_writes_leaves_the_run_out(column: str, cell: str, tmp_path: Path) -> None:
    run = folder(tmp_path, "a", 0, 1.0, row(2.0))
    path = run / "tables" / "pullback.csv"
    header, line = (text.split(",") for text in path.read_text().splitlines())
    line[header.index(column)] = cell
    path.write_text(f"{','.join(header)}\n{','.join(line)}\n")
    with pytest.raises(UserError, match=rf"pullback\.csv.*({column} is|{cell})"):
        read_run("a", run)


def test_damaged_anchors_leave_their_run_out_and_no_other(tmp_path: Path) -> None:
    for lr in (1.0, 2.0, 3.0):
        folder(tmp_path, f"{lr}", 0, lr, row(lr))
    (tmp_path / "1.0" / "tables" / "pullback_anchors.csv").write_text("metric,split\nway,train\n")
    view = compare([tmp_path], Options(), make_reporter("none"))
    assert view.groups == ("method.lr=2.0", "method.lr=3.0")


def test_runs_of_a_group_that_looked_at_other_points_have_no_mean(tmp_path: Path) -> None:
    runs = [made(tmp_path, 0, row(1.0)), made(tmp_path, 1, row(2.0), anchors=(7, 7))]
    found, _, refused = compare_pullback(groups(*runs))
    assert found == []
    (told,) = refused
    assert told["reason"].startswith("its own runs: not comparable")


def test_a_comparison_of_such_runs_has_their_table_and_says_nothing_of_neighbours(tmp_path: Path) -> None:
    for lr, seed in ((1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)):
        folder(tmp_path, f"{lr}-{seed}", seed, lr, row(lr + seed))
    view = compare([tmp_path], Options(), make_reporter("none"))
    assert view.frames["refused"].empty
    assert view.repeated
    assert view.swept is not None
    assert view.swept.setting == "method.lr"
    summary = pullback_summary(view, last=True)
    assert [each[:6] for each in summary] == [
        ["way", f"method.lr={lr}", "hidden1", "1", "2", "10"] for lr in ("1.0", "2.0")
    ]
    assert [each[7].partition(" ")[0] for each in summary] == [f"{np.exp(d / 10):.3f}" for d in (1.5, 2.5)]


@pytest.mark.parametrize("cell", ["nan", "-1", "1.5", "1e300"])
@pytest.mark.parametrize("column", ["unit", "sample_id"])
def test_an_anchor_that_no_run_writes_leaves_the_run_out(column: str, cell: str, tmp_path: Path) -> None:
    run = folder(tmp_path, "a", 0, 1.0, row(2.0))
    line = {"metric": "way", "split": "train", "unit": "0", "anchor": "a", "sample_id": "3", "class": "1"}
    line |= {"pixels": "ab", "x": "0", "y": "0", column: cell}
    columns = TABLES["pullback_anchors"].columns
    text = f"{','.join(columns)}\n{','.join(line.get(name, '') for name in columns)}\n"
    (run / "tables" / "pullback_anchors.csv").write_text(text)
    with pytest.raises(UserError, match=rf"pullback_anchors\.csv.*({column} is|{cell})"):
        read_run("a", run)


@pytest.mark.parametrize("samples", [[], ["train"], {"train": 3}, {"train": {}, "test": ["x"]}])
def test_samples_of_another_form_say_so(samples: Any, tmp_path: Path) -> None:
    run = folder(tmp_path, "a", 0, 1.0, row(2.0))
    (run / "manifest.json").write_text(json.dumps({"store": "..", "samples": samples, "graphs": []}))
    found = read_run("a", run)
    assert "`samples` is not a mapping of mappings" in found.no_graphs
    assert found.samples == {}


def test_other_points_in_the_last_run_alone_are_seen(tmp_path: Path) -> None:
    runs = [made(tmp_path, 0, row(1.0)), made(tmp_path, 1, row(2.0)), made(tmp_path, 2, row(2.0), anchors=(7, 7))]
    found, _, (told,) = compare_pullback(groups(*runs))
    assert found == []
    assert told["reason"].startswith("its own runs: not comparable")
