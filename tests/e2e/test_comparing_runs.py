"""`rra compare` on a real sweep: digits, two learning rates x three seeds, from the shell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from comparing import digests, neighbours, runs_of, table

from rra_cli.__main__ import main
from rra_cli.cli.candidates import candidates

pytestmark = pytest.mark.long


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


def test_accuracies_are_those_of_the_last_epoch_and_differences_those_of_networks(swept: Path, compared: Path) -> None:
    logged = [
        [json.loads((run / "training.jsonl").read_text().splitlines()[-1]) for run in runs_of(swept, rate)]
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


def test_means_and_deviations_are_those_of_the_runs_own_tables(swept: Path, compared: Path) -> None:
    rows = [row for row in table(compared, "layers") if row["checkpoint"] == "last" and row["group"].endswith("0.01")]
    assert rows
    of_runs = [table(run, "metrics") for run in runs_of(swept, "0.01")]
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


def test_similarity_between_models_is_its_definition_by_sets(swept: Path, compared: Path) -> None:
    cells = [row for row in table(compared, "nnls") if row["kind"] == "between" and row["split"] == "test"]
    layers = list(dict.fromkeys(row["layer_a"] for row in cells))
    assert len(cells) == len(layers) ** 2
    cell = next(row for row in cells if row["layer_a"] == layers[1] and row["layer_b"] == layers[-1])
    pairs = []
    same_seed = []
    for i, one in enumerate(runs_of(swept, "0.001")):
        for j, other in enumerate(runs_of(swept, "0.01")):
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
    swept: Path, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(run) for run in (swept / "sweep").iterdir() if (run / "config.yaml").is_file()]
    again = swept / "again"
    order = sorted(runs, reverse=True)
    assert main(["compare", *order, runs[0], "--out", str(again), "--threads", "1"]) == 0
    assert digests(again) == digests(compared)
    assert "optimizer.lr=0.01" in capsys.readouterr().out


def test_a_second_comparison_replaces_the_first_and_other_folders_are_left_alone(
    swept: Path, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, one = swept / "twice", str(runs_of(swept, "0.01")[0])
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
    swept: Path, tmp_path: Path, undrawn: None
) -> None:
    runs = [str(run) for run in runs_of(swept, "0.01")[:2]]
    assert main(["compare", *runs, "--out", str(tmp_path / "out"), "--checkpoints", "all", "--threads", "1"]) == 0
    diagonal = table(tmp_path / "out", "nnls_diagonal")
    assert {row["checkpoint"] for row in diagonal} == {"epoch_0000", "epoch_0001", "last"}
    assert {(row["n_pairs"], row["low"]) for row in diagonal} == {("1", "")}, "two seeds have no interval"


def test_a_users_files_are_compared_where_their_labels_are_the_same(swept: Path, tmp_path: Path, undrawn: None) -> None:
    runs = [str(swept / f"files_{name}") for name in ("one", "two")]
    assert main(["compare", *runs, "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    assert table(tmp_path / "out", "refused") == []
    shared = {row["layer"]: float(row["mean"]) for row in table(tmp_path / "out", "nnls_diagonal")}
    assert shared["input"] == 1.0
    assert shared["hidden"] < 1.0
    assert {row["epoch"] for row in table(tmp_path / "out", "layers")} == {""}


def test_two_columns_are_correlated_over_runs_layers_and_epochs(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    sweep = str(swept / "sweep")
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
         for rate in ("0.001", "0.01") for run in runs_of(swept, rate)]
        for column in ("id_twonn", "nncs")
        for where in [("last", "test", "logits")]
    ]  # fmt: skip
    assert float(one["r"]) == pytest.approx(np.corrcoef(points)[0, 1], abs=1e-12)
    assert (out / "plots" / "correlation_id_twonn_nncs.png").is_file()
    capsys.readouterr()
    assert main(["compare", sweep, "--correlate", "id_twonn,ncns", "--out", str(tmp_path / "no")]) == 2
    assert "no run has a column 'ncns'; did you mean 'nncs'?" in capsys.readouterr().err


def test_the_shell_completes_flags_and_folders(swept: Path) -> None:
    assert "compare " in candidates("rra comp")
    assert candidates("rra compare --corr") == ["--correlate "]
    assert candidates("rra compare X --band ") == ["interval ", "sd "]
    assert f"{swept}/sweep/" in candidates(f"rra compare {swept}/sw")
