"""The run folder of a quick start: what a person reads, and tables that slow versions confirm."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from by_hand import digit_pixels, nncs_of, twonn_of
from shell import COLUMNS, COMMON, KEYS, ROW, table, table_bytes

pytestmark = pytest.mark.long


def test_run_folder_holds_what_a_person_reads(quick: Path, outputs: Path) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", quick.parent.name)
    assert re.fullmatch(r"\d\d-\d\d-\d\d-\d{6}_quickstart", quick.name)
    for name in (".hydra", "config.yaml", "run.log", "status.json", "provenance.json", "manifest.json", "report.html"):
        assert (quick / name).exists(), name
    plots = [path for path in (quick / "plots").iterdir() if not path.name.startswith(".")]
    assert {p.suffix for p in plots} == {".png", ".svg"}
    assert {p.stem for p in plots if p.suffix == ".png"} == {p.stem for p in plots if p.suffix == ".svg"}
    for name in ("status.json", "provenance.json", "manifest.json"):
        json.loads((quick / name).read_text())
    assert not list(quick.rglob("*.tmp")), "temporary files are left"
    assert not list((outputs / "store").rglob("*.work")), "unfinished work is left"


def test_training_history_has_one_line_an_epoch(quick: Path) -> None:
    lines = [json.loads(line) for line in (quick / "training.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["epoch"] > 0]
    assert [line["epoch"] for line in trained] == [1]


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_tables_have_the_published_columns(quick: Path, name: str) -> None:
    """In this order, where the order is published; more may follow."""
    rows = table(quick, name)
    assert rows
    columns = list(rows[0])
    assert [c for c in columns if c in COLUMNS[name]] == COLUMNS[name]
    assert columns[: len(COMMON)] == COMMON or name == "nnls"


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_rows_are_unique(quick: Path, name: str) -> None:
    counts = Counter(tuple(row[c] for c in KEYS[name]) for row in table(quick, name))
    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_parquet_beside_each_csv_says_the_same(quick: Path, name: str) -> None:
    import pandas as pd

    parquet = pd.read_parquet(quick / "tables" / f"{name}.parquet")
    rows = table(quick, name)
    assert list(parquet.columns) == list(rows[0])
    assert len(parquet) == len(rows)
    for column in parquet.columns:
        texts = [row[column] for row in rows]
        for value, text in zip(parquet[column], texts, strict=True):
            if text == "":
                assert value == "" or pd.isna(value)
            elif isinstance(value, str):
                assert value == text
            else:
                assert float(value) == pytest.approx(float(text), rel=1e-9)


def test_tables_hold_results_only(quick: Path, outputs: Path) -> None:
    for name, content in table_bytes(quick).items():
        assert str(outputs).encode() not in content, name
        assert str(Path.home()).encode() not in content, name
    for name, row in ((n, r) for n in ("layers", "metrics") for r in table(quick, n)):
        assert re.fullmatch(r"epoch_\d{4}|best|last", row["checkpoint"]), name
        assert row["split"] in ("train", "test")
        assert row["pool"] == "none"
        assert row["scale"] == "1"
        assert row["subset"] == "0"
        assert row["k"] == "10"
    assert {row["checkpoint"] for row in table(quick, "layers")} >= {"last"}
    for row in table(quick, "nnls"):
        assert re.fullmatch(r"[0-9a-f]{12}", row["model_a"])
        assert row["model_a"] == row["model_b"], "an intra-model table"


def test_layers_are_numbered_from_the_input(quick: Path) -> None:
    rows = table(quick, "layers")
    for group in {(row["checkpoint"], row["split"]) for row in rows}:
        mine = [row for row in rows if (row["checkpoint"], row["split"]) == group]
        assert [int(row["index"]) for row in mine] == list(range(len(mine)))
        assert mine[0]["layer"] == "input"
        assert mine[0]["n_features"] == "64"
        assert mine[-1]["n_features"] == "10"


@pytest.mark.parametrize("split", ["train", "test"])
def test_layer_0_is_the_pixels(quick: Path, split: str) -> None:
    """TwoNN and NNCS of the input row equal those of the raw digits; normalisation with one mean changes neither."""
    x, labels = digit_pixels(split)
    rows = [r for r in table(quick, "layers") if r["layer"] == "input" and r["split"] == split]
    assert rows
    for row in rows:
        assert float(row["id_twonn"]) == pytest.approx(twonn_of(x), rel=1e-5)
        # Ties at the tenth place of integer data may fall either way after normalisation in float32.
        assert float(row["nncs"]) == pytest.approx(nncs_of(x, labels, 10), abs=2e-3)


def test_metrics_table_agrees_with_the_layers_table(quick: Path) -> None:
    tidy = {(*[r[c] for c in ROW], r["metric"]): r for r in table(quick, "metrics")}
    layers = table(quick, "layers")
    for row in layers:
        for metric in ("id_twonn", "nncs"):
            entry = tidy[(*[row[c] for c in ROW], metric)]
            assert float(entry["value"]) == pytest.approx(float(row[metric]), rel=1e-12)
            assert entry["reason"] == ""
            assert entry["engine"] == "exact"
            assert float(entry["recall"]) == 1.0
            assert 0 < int(entry["n_used"]) <= int(row["n_samples"])
            assert float(entry["std_error"]) > 0
        chance = float(tidy[(*[row[c] for c in ROW], "nncs")]["chance"])
        assert chance == pytest.approx(0.1, abs=0.005), "ten nearly equal classes"
        assert tidy[(*[row[c] for c in ROW], "id_twonn")]["chance"] == ""
        assert 0 <= float(row["nncs"]) <= 1
        assert float(row["id_twonn"]) > 0


def test_layer_similarity_is_symmetric_with_ones_on_the_diagonal(quick: Path) -> None:
    rows = table(quick, "nnls")
    value = {tuple(r[c] for c in COLUMNS["nnls"][:12]): float(r["nnls"]) for r in rows}
    layers = {r["layer"] for r in table(quick, "layers")}
    groups = {(r["checkpoint_a"], r["split_a"]) for r in rows}
    assert len(rows) == len(groups) * len(layers) ** 2
    for key, similarity in value.items():
        assert similarity == pytest.approx(value[key[6:] + key[:6]], rel=1e-12)
        assert 0 <= similarity <= 1
        assert similarity == 1.0 or key[:6] != key[6:]
    assert min(value.values()) < 0.99


def test_ratio_quantiles_ascend_from_one(quick: Path) -> None:
    rows = table(quick, "mu")
    for group in {tuple(r[c] for c in COMMON) for r in rows}:
        mine = [r for r in rows if tuple(r[c] for c in COMMON) == group]
        quantiles, values = ([float(r[c]) for r in mine] for c in ("quantile", "mu"))
        assert len(mine) == 201
        np.testing.assert_allclose(quantiles, np.linspace(0, 1, 201), atol=1e-9)
        assert values == sorted(values)
        assert values[0] >= 1
