"""What `rra compare` refuses, leaves out and explains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from comparing import runs_of, table

from rra_cli.__main__ import main

pytestmark = pytest.mark.long


def test_other_samples_are_refused_between_models_and_drawn_side_by_side(
    swept: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = swept / "sizes"
    mine = [str(run) for run in runs_of(swept, "0.001")]
    assert main(["compare", *mine, str(swept / "smaller"), "--out", str(folder), "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "refused: inter-model NNLS of dataset.n_samples=40 and dataset.n_samples=60, test: other samples: " in shown
    rows = table(folder, "refused")
    assert {(row["split"], row["reason"]) for row in rows} == {("test", "other samples: 40 and 60 of them")}
    assert {row["kind"] for row in table(folder, "nnls")} == {"within"}
    assert {row["dataset.n_samples"] for row in table(folder, "layers")} == {"40", "60"}
    assert table(folder, "differences") == [], "dimension depends on N: curves yes, differences no"


def test_runs_that_are_unfinished_missing_or_damaged_are_named_and_left_out(
    swept: Path, tmp_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, other, *_ = runs_of(swept, "0.001")
    bad: dict[str, Any] = {name: tmp_path / name for name in ("running", "cut", "no_table", "yaml")}
    for folder in bad.values():
        shutil.copytree(whole, folder)
    status = json.loads((bad["running"] / "status.json").read_text())
    status |= {"state": "failed", "stage": "train", "message": "disk full\nmore"}
    (bad["running"] / "status.json").write_text(json.dumps(status))
    path = bad["cut"] / "tables" / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-40])
    (bad["no_table"] / "tables" / "layers.csv").unlink()
    (bad["yaml"] / "config.yaml").write_text("{")
    folders = [str(folder) for folder in (*bad.values(), tmp_path / "nowhere")]
    out = tmp_path / "out"
    assert main(["compare", str(whole), str(other), *folders, "--out", str(out), "--threads", "1"]) == 0
    rows = table(out, "runs")
    assert len([row for row in rows if row["used"] == "yes"]) == 2
    reasons = {row["run"].rpartition("/")[2]: row["reason"] for row in rows if row["used"] == "no"}
    assert reasons["running"] == "unfinished: failed (at train: disk full)"
    assert "metrics.csv cannot be read as the table 'metrics'" in reasons["cut"]
    assert reasons["no_table"] == "tables/layers.csv missing"
    assert "config.yaml cannot be read" in reasons["yaml"]
    assert reasons["nowhere"] == "there is no such folder"
    capsys.readouterr()
    assert main(["compare", *folders, "--out", str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert "there is no finished run to compare" in told
    assert "nowhere: there is no such folder" in told
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "folders of runs are expected"),
        (["X", "--correlate", "nncs"], "--correlate nncs: expected two different columns"),
        (["X", "--level", "2"], "the level of intervals must lie between 0 and 1"),
        (["X", "--threads", "0"], "threads is 0; at least 1 is needed"),
        (["X", "--band", "iqr"], "--band"),
        (["X", "--wrong"], "--wrong"),
    ],
)
def test_a_wrong_command_is_explained(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_an_unknown_checkpoint_is_named(swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", str(swept / "sweep"), "--checkpoints", "epoch_0007", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "no run has measured 'epoch_0007'; known: epoch_0000, epoch_0001, last" in capsys.readouterr().err
