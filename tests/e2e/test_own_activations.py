"""A user's own files, with and without labels, and subsets that are balanced: the tables hold what sets give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from by_hand import digit_pixels, nncs_of, nnls_of, twonn_of
from shell import QUICK, refused, rra, run_ok, table
from user_files import own, write

pytestmark = pytest.mark.long


def test_balanced_subset_of_an_untrained_network(outputs: Path) -> None:
    """Ten of each class: the chance level is exactly 9 / 99, and the default k = max(2, round(100 / 100)) is 2."""
    balanced = ["dataset.n_samples=100", "dataset.balanced=true"]
    run = run_ok(*QUICK[:3], "method=none", *balanced, outputs=outputs)
    rows = table(run, "metrics")
    assert {(r["n_samples"], r["k"]) for r in rows} == {("100", "2")}
    chances = {float(r["chance"]) for r in rows if r["metric"] == "nncs"}
    assert max(chances) == pytest.approx(9 / 99, rel=1e-12) == min(chances)
    assert {r["epoch"] for r in rows} == {"0"}


def test_balance_that_classes_cannot_give_names_the_largest_number(tmp_path: Path) -> None:
    _, labels = digit_pixels("test")
    largest = 10 * int(np.bincount(labels).min())
    assert largest < len(labels)
    subset = f"dataset.n_samples={{train: 100, test: {largest + 10}}}"
    words = [str(largest), str(largest + 10)]
    refused([*QUICK[:-1], subset, "dataset.balanced=true"], tmp_path / "outputs", *words, ran=True)
    assert not any((tmp_path / "outputs" / "store").glob("train/*")), "found out only after the training"


def test_files_with_labels_give_what_sets_give(activations: Path, arrays: dict, outputs: Path) -> None:
    run = run_ok(*own(activations, "neighbors.k=5"), outputs=outputs)
    flat = {name: arrays[name].reshape(60, -1).astype(np.float64) for name in ("flat", "tokens", "maps")}
    rows = table(run, "layers")
    assert [(r["layer"], r["index"]) for r in rows] == [("flat", "0"), ("tokens", "1"), ("maps", "2")]
    for row in rows:
        x = flat[row["layer"]]
        assert (row["n_samples"], row["n_features"], row["k"]) == ("60", str(x.shape[1]), "5")
        assert float(row["id_twonn"]) == pytest.approx(twonn_of(x), rel=1e-6)
        assert float(row["nncs"]) == pytest.approx(nncs_of(x, arrays["labels"], 5), rel=1e-9)
    for row in table(run, "nnls"):
        assert float(row["nnls"]) == pytest.approx(nnls_of(flat[row["layer_a"]], flat[row["layer_b"]], 5), rel=1e-9)
    for row in table(run, "metrics"):
        if row["metric"] == "nncs":
            assert float(row["chance"]) == pytest.approx(19 / 59, rel=1e-9)


@pytest.mark.parametrize("pool", ["cls", "mean", "last"])
def test_pooling_of_tokens(pool: str, activations: Path, arrays: dict, outputs: Path) -> None:
    """cls is the first token, last the last, mean their mean; a layer without tokens is left alone."""
    run = run_ok(*own(activations, "neighbors.k=5", f"pooling={pool}"), outputs=outputs)
    tokens = arrays["tokens"]
    expected = {"cls": tokens[:, 0], "mean": tokens.mean(axis=1), "last": tokens[:, -1]}[pool]
    rows = {r["layer"]: r for r in table(run, "layers")}
    assert {r["pool"] for r in rows.values()} == {pool}
    assert float(rows["tokens"]["id_twonn"]) == pytest.approx(twonn_of(expected), rel=1e-5)
    assert rows["tokens"]["n_features"] == "6"
    assert float(rows["flat"]["id_twonn"]) == pytest.approx(twonn_of(arrays["flat"].astype(np.float64)), rel=1e-5)


def test_default_k_follows_from_the_labels(activations: Path, outputs: Path) -> None:
    """max(2, round(N / (10 C))) = round(60 / 30) = 2."""
    run = run_ok(*own(activations), outputs=outputs)
    assert {r["k"] for r in table(run, "layers")} == {"2"}


def test_files_without_labels_leave_nncs_out_and_need_k(arrays: dict, outputs: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "plain", {"a": arrays["flat"], "b": arrays["maps"]})
    run = run_ok(*own(folder, "neighbors.k=4"), outputs=outputs)
    rows = table(run, "layers")
    assert [r["layer"] for r in rows] == ["a", "b"]
    assert all(float(r["id_twonn"]) > 0 for r in rows)
    assert all(not r.get("nncs") for r in rows)
    assert all(not r["value"] for r in table(run, "metrics") if r["metric"] == "nncs")
    refused(own(folder), tmp_path / "outputs", "neighbors.k")


def test_a_sweep_finishes_all_jobs_and_exits_2_for_the_users_fault(activations: Path, tmp_path: Path) -> None:
    """Of 60 samples each has 59 neighbours, so k = 60 is refused; the job with k = 4 ends as if it were alone."""
    outputs = tmp_path / "outputs"
    done = rra("run", "-m", *own(activations, "neighbors.k=60,4"), outputs=outputs)
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    assert "Traceback" not in text
    written = [path for path in outputs.rglob("tables/layers.csv") if "store" not in path.relative_to(outputs).parts]
    assert len(written) == 1
    assert {row["k"] for row in table(written[0].parents[1], "layers")} == {"4"}
