"""What a run of pullback metrics ends on in the terminal."""

from __future__ import annotations

import csv
from math import log
from pathlib import Path

import pytest

from rra_cli.cli.summary import show_summary
from rra_cli.cli.summary_pullback import pullback_summary, summary_row
from rra_cli.report.tables.schema import COMMON, TABLES

FOUND = {"log_volume": repr(2.5 * log(10.0)), "directions": "10.0", "ratio": "1.0044", "ratio_low": "0.99"}
FOUND |= {"ratio_high": "1.0188", "p": "0.000123", "n_units": "20"}


def write(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def volumes(folder: Path) -> None:
    place = {"metric": "way", "at": "line", "layer": "stage1"}
    rows = [{**place, **FOUND, "checkpoint": checkpoint} for checkpoint in ("epoch_0000", "last")]
    write(folder / "tables" / "pullback.csv", TABLES["pullback"].columns, rows)


def layers(folder: Path, **metrics: str) -> None:
    row = {"checkpoint": "last", "split": "train", "layer": "stage1", "index": "1", "n_samples": "400", "k": "20"}
    columns = tuple(dict.fromkeys((*COMMON, "k", *TABLES["layers"].columns, *metrics)))
    write(folder / "tables" / "layers.csv", columns, [row | metrics])


def test_volumes_are_listed_in_place_of_bare_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers(tmp_path)
    volumes(tmp_path)
    show_summary(tmp_path)
    out = capsys.readouterr().out
    assert "way (line, 20 lines)" in out
    rows = [line.split() for line in out.splitlines()]
    for checkpoint in ("epoch_0000", "last"):
        assert [checkpoint, "stage1", "10", "2.50", "1.004", "[0.990,", "1.019]", "0.00012"] in rows
    assert "k = 20" not in out, "there is no graph"


def test_other_metrics_keep_their_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers(tmp_path, nncs="0.25")
    volumes(tmp_path)
    show_summary(tmp_path)
    out = capsys.readouterr().out
    assert "n = 400, k = 20" in out
    assert "way (line, 20 lines)" in out


def test_what_is_empty_stays_empty(tmp_path: Path) -> None:
    empty = dict.fromkeys(FOUND, "") | {"checkpoint": "last", "layer": "stage1"}
    assert summary_row(empty) == ("last", "stage1", "", "", "", "")
    alone = empty | {"ratio": "1.5", "directions": "2.0", "log_volume": "0.0"}
    assert summary_row(alone) == ("last", "stage1", "2", "0.00", "1.500", "")
    assert pullback_summary(tmp_path / "none.csv") == []
