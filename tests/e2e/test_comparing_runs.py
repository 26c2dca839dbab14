"""`rra compare` on a real sweep: digits, two learning rates x three seeds, from the shell."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli.__main__ import main
from rra_cli.cli.candidates import candidates

pytestmark = pytest.mark.long

# Seconds of work: a small net on some of the digits, two measured checkpoints.
TINY = [
    "+experiment=quickstart", "model=mlp", "method.epochs=2", "method.milestones=[0,1]", "method.batch_size=32",
    "dataset.train_size=100", "dataset.n_samples=60", "dataset.splits=[test]", "neighbors.k=4", "runtime.device=cpu",
    "runtime.threads=1",
]  # fmt: skip
# Several commands in one process, without the drawing of every run's own plots, which has tests of its own.
PLAIN = """
import json, sys
from rra_cli import pipeline
from rra_cli.__main__ import main
pipeline.render = lambda *args, **kwargs: []
sys.exit(max(main(arguments) for arguments in json.loads(sys.argv[1])))
"""


def write_files(folder: Path, name: str) -> None:
    """Activations of 60 samples: the same input, another layer."""
    folder.mkdir(parents=True)
    samples = np.random.RandomState(0).normal(size=(60, 4)).astype(np.float32)
    weights = np.random.RandomState(len(name) + ord(name[0])).normal(size=(4, 3)).astype(np.float32)
    np.save(folder / "00_input.npy", samples)
    np.save(folder / "01_hidden.npy", np.tanh(samples @ weights))
    np.save(folder / "labels.npy", (samples[:, 0] > 0).astype(np.int64))


def files_run(outputs: Path, name: str) -> list[str]:
    run = ["+experiment=from_activations", "neighbors.k=4", "runtime.threads=1", "runtime.device=cpu"]
    return [*run, f"activations.path={outputs / 'files' / name}", f"hydra.run.dir={outputs / f'files_{name}'}"]


def rra_run(outputs: Path, *commands: list[str]) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HYDRA_", "RRA_"))}
    environment = kept | {"RRA_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    whole = json.dumps([["run", *([] if "+experiment" in each[0] else TINY), *each] for each in commands])
    command = [sys.executable, "-c", PLAIN, whole]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of 2 x 3 jobs, one run that measured other samples, and two of a user's files."""
    folder = tmp_path_factory.mktemp("outputs")
    for name in ("one", "two"):
        write_files(folder / "files" / name, name)
    rra_run(
        folder,
        ["-m", "seed=range(3)", "optimizer.lr=0.001,0.01", f"hydra.sweep.dir={folder / 'sweep'}"],
        ["dataset.n_samples=40", f"hydra.run.dir={folder / 'smaller'}"],
        *(files_run(folder, name) for name in ("one", "two")),
    )
    return folder


@pytest.fixture(scope="module")
def compared(outputs: Path) -> Path:
    """What `rra compare` of the sweep wrote."""
    assert main(["compare", str(outputs / "sweep"), "--out", str(outputs / "compared"), "--threads", "1"]) == 0
    return outputs / "compared"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plots, for tests about tables."""
    monkeypatch.setattr("rra_cli.report.compare_rendering.draw_all", lambda plots, progress: [])


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def runs_of(outputs: Path, rate: str) -> list[Path]:
    """The run folders of one learning rate, by seed."""
    folders = [path for path in (outputs / "sweep").iterdir() if (path / "config.yaml").is_file()]
    chosen = [path for path in folders if f"lr={rate}" in path.name.split(",")[-1] or f"lr={rate}," in path.name]
    return sorted(chosen, key=lambda path: path.name)


def neighbours(run: Path, split: str, layer: str) -> list[list[int]]:
    """The neighbour lists of the last checkpoint, read without our code."""
    manifest = json.loads((run / "manifest.json").read_text())
    (row,) = [
        row for row in manifest["graphs"] if (row["checkpoint"], row["split"], row["layer"]) == ("last", split, layer)
    ]
    path = run / manifest["store"] / row["path"] / "indices.npy"
    found: list[list[int]] = np.load(path)[:, : row["k"]].tolist()
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_sweep_is_two_groups_of_three_seeds(compared: Path) -> None:
    rows = table(compared, "runs")
    assert {row["used"] for row in rows} == {"yes"}
    assert sorted((row["group"], row["seed"]) for row in rows) == [
        (f"optimizer.lr={rate}", str(seed)) for rate in ("0.001", "0.01") for seed in range(3)
    ]
    assert {(row["setting"], row["value"]) for row in table(compared, "groups")} == {
        ("optimizer.lr", "0.001"), ("optimizer.lr", "0.01"),
    }  # fmt: skip
    assert (compared / "report.html").is_file()
    names = {path.name for path in (compared / "plots").iterdir()}
    assert {"nncs_layers.png", "nncs_layers.svg", "id_twonn_layers.png", "training.png"} <= names
    assert "nnls_diagonal_last_test.png" in names


def test_accuracies_are_those_of_the_last_epoch_and_differences_those_of_networks(
    outputs: Path, compared: Path
) -> None:
    logged = [
        [json.loads((run / "training.jsonl").read_text().splitlines()[-1]) for run in runs_of(outputs, rate)]
        for rate in ("0.001", "0.01")
    ]
    rows = {(row["optimizer.lr"], row["metric"]): row for row in table(compared, "accuracies")}
    gaps = [line["train_clean_accuracy"] - line["test_accuracy"] for line in logged[1]]
    assert float(rows["0.01", "gap"]["mean"]) == pytest.approx(np.mean(gaps))
    (row,) = (row for row in table(compared, "accuracy_differences") if row["metric"] == "test_accuracy")
    assert (row["group_a"][-5:], row["group_b"][-5:], row["n_a"], row["paired"]) == ("=0.01", "0.001", "3", "by seed")
    lower, higher = (np.mean([line["test_accuracy"] for line in lines]) for lines in logged)
    assert float(row["difference"]) == pytest.approx(higher - lower)
    names = {path.stem for path in (compared / "tables").iterdir()}
    assert {"contrasts", "contrast_differences", "nnls_intra_differences"} <= names
    assert (compared / "plots" / "accuracies.png").is_file()


def test_means_and_deviations_are_those_of_the_runs_own_tables(outputs: Path, compared: Path) -> None:
    rows = [row for row in table(compared, "layers") if row["checkpoint"] == "last" and row["group"].endswith("0.01")]
    assert rows
    of_runs = [table(run, "metrics") for run in runs_of(outputs, "0.01")]
    assert len(of_runs) == 3
    for row in rows:
        values = [
            float(each["value"])
            for run in of_runs
            for each in run
            if all(each[key] == row[key] for key in ("metric", "checkpoint", "split", "layer"))
        ]
        assert row["n"] == "3"
        assert float(row["mean"]) == pytest.approx(np.mean(values), rel=1e-12)
        assert float(row["sd"]) == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        # t(0.975, 2) = 4.302653
        half = 4.302652729911275 * np.std(values, ddof=1) / np.sqrt(3)
        assert float(row["high"]) - float(row["mean"]) == pytest.approx(half, abs=1e-9)
        assert row["optimizer.lr"] == "0.01"


def test_similarity_between_models_is_its_definition_by_sets(outputs: Path, compared: Path) -> None:
    cells = [row for row in table(compared, "nnls") if row["kind"] == "between" and row["split"] == "test"]
    layers = list(dict.fromkeys(row["layer_a"] for row in cells))
    assert len(cells) == len(layers) ** 2
    cell = next(row for row in cells if row["layer_a"] == layers[1] and row["layer_b"] == layers[-1])
    pairs = []
    same_seed = []
    for i, one in enumerate(runs_of(outputs, "0.001")):
        for j, other in enumerate(runs_of(outputs, "0.01")):
            a, b = neighbours(one, "test", layers[1]), neighbours(other, "test", layers[-1])
            shares = [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(a, b, strict=True)]
            (same_seed if i == j else pairs).append(np.mean(shares))
    assert (float(cell["same_seed"]), cell["same_seed_n"]) == (pytest.approx(np.mean(same_seed), abs=1e-12), "3")
    assert (cell["n_pairs"], cell["n_a"], cell["n_b"]) == ("6", "3", "3")
    assert float(cell["mean"]) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert float(cell["sd"]) == pytest.approx(np.std(pairs, ddof=1), abs=1e-12)
    inputs = next(row for row in cells if row["layer_a"] == row["layer_b"] == "input")
    assert (inputs["mean"], inputs["sd"]) == ("1.0", "0.0")
    deep = next(row for row in cells if row["layer_a"] == row["layer_b"] == layers[-1])
    assert float(deep["mean"]) < 1.0, "the control: models with other seeds do differ"


def test_the_same_runs_in_another_order_write_the_same_bytes(
    outputs: Path, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(run) for run in (outputs / "sweep").iterdir() if (run / "config.yaml").is_file()]
    again = outputs / "again"
    order = sorted(runs, reverse=True)
    assert main(["compare", *order, runs[0], "--out", str(again), "--threads", "1"]) == 0
    assert digests(again) == digests(compared)
    assert "optimizer.lr=0.01" in capsys.readouterr().out


def test_a_second_comparison_replaces_the_first_and_other_folders_are_left_alone(
    outputs: Path, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, one = outputs / "twice", str(runs_of(outputs, "0.01")[0])
    (folder / "tables").mkdir(parents=True)
    (folder / "note.txt").write_text("mine")
    assert main(["compare", one, "--out", str(folder)]) == 2
    assert "exists and holds other things than a comparison" in capsys.readouterr().err
    shutil.rmtree(folder)
    shutil.copytree(compared, folder)
    assert main(["compare", one, "--out", str(folder)]) == 0
    assert not list((folder / "plots").glob("nnls_*")), "one run has no other to be compared with"
    assert {row["n"] for row in table(folder, "layers")} == {"1"}
    assert {row["sd"] for row in table(folder, "layers")} == {""}


def test_models_are_compared_at_every_checkpoint_where_that_is_asked_for(
    outputs: Path, tmp_path: Path, undrawn: None
) -> None:
    runs = [str(run) for run in runs_of(outputs, "0.01")[:2]]
    assert main(["compare", *runs, "--out", str(tmp_path / "out"), "--checkpoints", "all", "--threads", "1"]) == 0
    diagonal = table(tmp_path / "out", "nnls_diagonal")
    assert {row["checkpoint"] for row in diagonal} == {"epoch_0000", "epoch_0001", "last"}
    assert {(row["n_pairs"], row["low"]) for row in diagonal} == {("1", "")}, "two seeds have no interval"


def test_other_samples_are_refused_between_models_and_drawn_side_by_side(
    outputs: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = outputs / "sizes"
    mine = [str(run) for run in runs_of(outputs, "0.001")]
    assert main(["compare", *mine, str(outputs / "smaller"), "--out", str(folder), "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "refused: inter-model NNLS of dataset.n_samples=40 and dataset.n_samples=60, test: other samples: " in shown
    rows = table(folder, "refused")
    assert {(row["split"], row["reason"]) for row in rows} == {("test", "other samples: 40 and 60 of them")}
    assert {row["kind"] for row in table(folder, "nnls")} == {"within"}
    assert {row["dataset.n_samples"] for row in table(folder, "layers")} == {"40", "60"}
    assert table(folder, "differences") == [], "dimension depends on N: curves yes, differences no"


def test_a_users_files_are_compared_where_their_labels_are_the_same(
    outputs: Path, tmp_path: Path, undrawn: None
) -> None:
    runs = [str(outputs / f"files_{name}") for name in ("one", "two")]
    assert main(["compare", *runs, "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    assert table(tmp_path / "out", "refused") == []
    shared = {row["layer"]: float(row["mean"]) for row in table(tmp_path / "out", "nnls_diagonal")}
    assert shared["input"] == 1.0
    assert shared["hidden"] < 1.0
    assert {row["epoch"] for row in table(tmp_path / "out", "layers")} == {""}


def test_runs_that_are_unfinished_missing_or_damaged_are_named_and_left_out(
    outputs: Path, tmp_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, other, *_ = runs_of(outputs, "0.001")
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


def test_two_columns_are_correlated_over_runs_layers_and_epochs(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    sweep = str(outputs / "sweep")
    asked = ["--correlate", "id_twonn,nncs", "--correlate", "nncs,test_accuracy", "--checkpoints", "none"]
    assert main(["compare", sweep, "--out", str(out), *asked]) == 0
    rows = table(out, "correlations")
    assert {(row["x"], row["y"]) for row in rows} == {("id_twonn", "nncs"), ("nncs", "test_accuracy")}
    assert {row["over"] for row in rows} == {"runs", "layers", "epochs"}
    pooled = [row for row in rows if row["over"] == "runs" and row["group"] == "" and row["x"] == "id_twonn"]
    assert {row["n"] for row in pooled} == {"6"}
    for row in rows:
        assert ("follow each other" in row["note"] or "made from the one before" in row["note"]) == (
            row["over"] != "runs"
        )
    one = next(row for row in pooled if row["split"] == "test" and row["layer"] == "logits")
    points = [
        [float(next(r for r in table(run, "layers") if (r["checkpoint"], r["split"], r["layer"]) == where)[column])
         for rate in ("0.001", "0.01") for run in runs_of(outputs, rate)]
        for column in ("id_twonn", "nncs")
        for where in [("last", "test", "logits")]
    ]  # fmt: skip
    assert float(one["r"]) == pytest.approx(np.corrcoef(points)[0, 1], abs=1e-12)
    assert (out / "plots" / "correlation_id_twonn_nncs.png").is_file()
    capsys.readouterr()
    assert main(["compare", sweep, "--correlate", "id_twonn,ncns", "--out", str(tmp_path / "no")]) == 2
    assert "no run has a column 'ncns'; did you mean 'nncs'?" in capsys.readouterr().err


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


def test_an_unknown_checkpoint_is_named(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", str(outputs / "sweep"), "--checkpoints", "epoch_0007", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "no run has measured 'epoch_0007'; known: epoch_0000, epoch_0001, last" in capsys.readouterr().err


def test_the_shell_completes_flags_and_folders(outputs: Path) -> None:
    assert "compare " in candidates("rra comp")
    assert candidates("rra compare --corr") == ["--correlate "]
    assert candidates("rra compare X --band ") == ["interval ", "sd "]
    assert f"{outputs}/sweep/" in candidates(f"rra compare {outputs}/sw")
