"""From folders to runs: sweeps, days, what has not begun, what has not ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rra_cli.comparison.find import find_runs, names_of, unfinished
from rra_cli.comparison.runs import read_runs
from rra_cli.core.sweepdir import Sweep, SweepJob


def run(folder: Path, state: str = "done", **status: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "status.json").write_text(json.dumps({"state": state, "stage": "", "message": "", **status}))
    return folder


def test_runs_are_found_in_days_and_sweeps_and_each_once(tmp_path: Path) -> None:
    alone = run(tmp_path / "2026-11-21" / "10_one")
    jobs = [run(tmp_path / "2026-11-21" / "11_sweep" / f"seed={seed}") for seed in range(2)]
    run(tmp_path / "store" / "graph" / "abc")
    run(tmp_path / "2026-11-21" / ".hidden" / "x")
    (tmp_path / "2026-11-21" / "12_compare" / "tables").mkdir(parents=True)
    expected = [alone, *jobs]
    assert [found.folder for found in find_runs([tmp_path])] == expected
    assert [found.folder for found in find_runs([jobs[1], tmp_path, alone])] == expected
    assert names_of(expected) == ["10_one", "11_sweep/seed=0", "11_sweep/seed=1"]


def test_jobs_that_a_sweep_has_not_come_to_are_named(tmp_path: Path) -> None:
    jobs = tuple(SweepJob(number, f"seed={number}") for number in range(2))
    sweep = Sweep(tmp_path / "sweep", "x", "0" * 64, "rra run", "/", "0", "basic", (), jobs)
    (tmp_path / "sweep").mkdir()
    sweep.write()
    run(sweep.folder(jobs[0]))
    first, second = find_runs([tmp_path])
    assert first.reason == ""
    assert second.folder == sweep.folder(jobs[1])
    assert second.reason == "it has not begun: its sweep has not come to it"


def test_what_is_not_finished_says_why(tmp_path: Path) -> None:
    assert unfinished(run(tmp_path / "a")) == ""
    failed = run(tmp_path / "b", "failed", stage="train x", message="disk full\nsecond line")
    assert unfinished(failed) == "unfinished: failed (at train x: disk full)"
    assert unfinished(run(tmp_path / "c", "running", stage="report")) == "unfinished: running (at report)"
    begun = run(tmp_path / "d")
    (begun / "status.json").unlink()
    assert unfinished(begun) == "it has not begun: status.json is missing"
    broken = run(tmp_path / "e")
    (broken / "status.json").write_text("{")
    assert unfinished(broken).startswith("status.json cannot be read: ")
    assert unfinished(tmp_path / "nowhere") == "there is no such folder"
    (tmp_path / "file").write_text("")
    assert unfinished(tmp_path / "file") == "it is a file, not a run folder"
    (tmp_path / "empty").mkdir()
    assert unfinished(tmp_path / "empty") == "it holds no run"


@pytest.mark.parametrize(
    ("text", "told"), [("[1]", "expected a mapping"), ("seed: x", "the seed is 'x'"), ("{", "read")]
)
def test_a_damaged_configuration_leaves_the_run_out(tmp_path: Path, text: str, told: str) -> None:
    folder = run(tmp_path / "a")
    (folder / "config.yaml").write_text(text)
    tables = folder / "tables"
    tables.mkdir()
    common = "checkpoint,epoch,split,layer,index,pool,scale,subset,n_samples"
    (tables / "layers.csv").write_text(f"{common},n_features,k\n")
    row = "last,0,test,input,0,none,1,0,10,2,nncs,0.5,,,10,,exact,1.0"
    (tables / "metrics.csv").write_text(
        f"{common},k,metric,value,std_error,chance,n_used,reason,engine,recall\n{row}\n"
    )
    runs, (left_out,) = read_runs(find_runs([folder]))
    assert runs == []
    assert told in left_out.reason
    (folder / "config.yaml").write_text("seed: 3\n")
    (whole,), none = read_runs(find_runs([folder]))
    assert (whole.seed, none) == (3, [])
    assert (
        whole.no_graphs == "manifest.json is missing: the same `rra run` again completes it; nothing is computed anew"
    )
    (folder / "manifest.json").write_text('{"store": "s", "artifacts": []}')
    (older,), _ = read_runs(find_runs([folder]))
    assert "an earlier version of rra wrote it" in older.no_graphs
