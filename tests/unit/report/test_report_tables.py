"""Tables read back exactly, equal results give equal bytes, and what contradicts the contract is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rra_cli.errors import UserError
from rra_cli.report.tables.reading import read_table, read_tables
from rra_cli.report.tables.schema import COMMON, TABLES, metric_columns
from rra_cli.report.tables.writing import write_table


def common(**changes: Any) -> dict[str, Any]:
    return {
        **{"checkpoint": "last", "epoch": 3, "split": "test", "layer": "input", "index": 0, "pool": "none"},
        **{"scale": 1, "subset": 0, "n_samples": 100},
        **changes,
    }


def metric(**changes: Any) -> dict[str, Any]:
    measured = {"k": 5, "metric": "nncs", "value": 0.5, "std_error": 0.1, "chance": 0.1, "n_used": 100}
    return {**common(), **measured, "reason": "", "engine": "exact", "recall": 1.0, **changes}


def test_columns_are_the_contract() -> None:
    """The names and the order that the documentation promises."""
    assert ",".join(COMMON) == "checkpoint,epoch,split,layer,index,pool,scale,subset,n_samples"
    assert ",".join(TABLES["layers"].columns) == ",".join(COMMON) + ",n_features,k"
    assert ",".join(TABLES["metrics"].columns) == (
        ",".join(COMMON) + ",k,metric,value,std_error,chance,n_used,reason,engine,recall,dataset"
    )
    assert TABLES["layers"].trailing == ("stage", "engine", "recall", "dataset")
    assert ",".join(TABLES["nnls"].columns[:16]) == (
        "model_a,checkpoint_a,split_a,layer_a,pool_a,scale_a,model_b,checkpoint_b,split_b,layer_b,pool_b,scale_b,"
        "subset,n_samples,k,nnls"
    )
    assert TABLES["mu"].columns[:11] == (*COMMON, "quantile", "mu")
    assert TABLES["mu"].columns[11:] == ("engine", "recall")
    assert TABLES["nnls"].columns[-4:] == ("engine_a", "recall_a", "engine_b", "recall_b")


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('",\n;=\t'), max_size=12)
numbers = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layers=st.lists(st.sampled_from(["NA", "null", "1", "é", "a,b", '"']) | names, unique=True, max_size=4),
    data=st.data(),
)
def test_what_is_written_is_read_back_exactly(tmp_path: Path, layers: list[str], data: st.DataObject) -> None:
    """Every float to the last bit, every name to the last character, NaN as an empty cell; CSV and Parquet agree."""
    rows = []
    for at, layer in enumerate(layers):
        value = data.draw(numbers)
        reason = "none" if value != value else ""
        rows.append(metric(layer=layer, index=at, value=value, chance=data.draw(numbers), reason=reason))
    write_table(rows, tmp_path, "metrics")
    read = read_table(tmp_path, "metrics")
    assert read["layer"].tolist() == layers
    parquet = pq.read_table(tmp_path / "metrics.parquet").to_pydict()
    for column in ("value", "chance"):
        expected = np.array([row[column] for row in rows], dtype=np.float64)
        np.testing.assert_array_equal(read[column].to_numpy(), expected)
        assert [np.nan if v is None else v for v in parquet[column]] == pytest.approx(
            expected.tolist(), rel=0, nan_ok=True
        )
    assert parquet["layer"] == layers


def test_equal_results_give_equal_bytes_in_whatever_order_they_were_computed(tmp_path: Path) -> None:
    rows = [
        metric(layer=f"l{at}", index=at, split=split, value=at / 7) for at in range(12) for split in ("train", "test")
    ]
    shuffled = [rows[at] for at in np.random.default_rng(0).permutation(len(rows))]
    for name, given_rows in (("a", rows), ("b", pd.DataFrame(shuffled))):
        write_table(given_rows, tmp_path / name, "metrics")
    for suffix in ("csv", "parquet"):
        assert (tmp_path / f"a/metrics.{suffix}").read_bytes() == (tmp_path / f"b/metrics.{suffix}").read_bytes()
    # Negative control: one bit more gives other bytes.
    rows[3] = {**rows[3], "value": np.nextafter(rows[3]["value"], 1)}
    write_table(rows, tmp_path / "c", "metrics")
    assert (tmp_path / "a/metrics.csv").read_bytes() != (tmp_path / "c/metrics.csv").read_bytes()
    read = read_table(tmp_path / "a", "metrics")
    assert read["split"].tolist() == ["train"] * 12 + ["test"] * 12
    assert read["index"].tolist() == list(range(12)) * 2  # by position in the network, so l2 stands before l10


def test_zero_has_no_sign(tmp_path: Path) -> None:
    for name, zero in (("a", 0.0), ("b", -0.0)):
        write_table([metric(value=zero)], tmp_path / name, "metrics")
    assert (tmp_path / "a/metrics.csv").read_bytes() == (tmp_path / "b/metrics.csv").read_bytes()


def test_an_empty_value_is_an_empty_cell_with_its_reason(tmp_path: Path) -> None:
    write_table(
        [metric(value=float("nan"), std_error=None, epoch=None, reason="all points coincide")], tmp_path, "metrics"
    )
    with (tmp_path / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["value"], row["std_error"], row["epoch"], row["reason"]) == ("", "", "", "all points coincide")
    with pytest.raises(ValueError, match="without a reason"):
        write_table([metric(value=float("nan"))], tmp_path, "metrics")


@pytest.mark.parametrize(
    "column", ["checkpoint", "split", "layer", "pool", "scale", "subset", "n_samples", "k", "metric", "engine"]
)
def test_rows_are_unique_by_their_key_and_by_nothing_less(tmp_path: Path, column: str) -> None:
    other = (
        {"scale": 2, "subset": 1, "n_samples": 50, "k": 9}[column]
        if column in ("scale", "subset", "n_samples", "k")
        else "x"
    )
    write_table([metric(), metric(**{column: other})], tmp_path, "metrics")
    with pytest.raises(ValueError, match="two rows"):
        write_table([metric(), metric(value=0.25)], tmp_path, "metrics")


def test_layers_takes_a_column_per_metric_and_keeps_their_order_with_the_stage_last(tmp_path: Path) -> None:
    row = {**common(), "stage": "stage 1", "n_features": 64, "k": 5, "nncs": 0.5, "nncs_chance": 0.1, "id_twonn": 7.0}
    write_table([row], tmp_path, "layers")
    header = (tmp_path / "layers.csv").read_text().splitlines()[0]
    assert header == ",".join((*COMMON, "n_features", "k", "nncs", "nncs_chance", "id_twonn", "stage"))
    assert metric_columns(tuple(header.split(","))) == ("nncs", "id_twonn")
    # A metric may itself be called so: only a chance level beside its metric is none.
    assert metric_columns((*TABLES["layers"].columns, "pure_chance")) == ("pure_chance",)


def test_missing_and_unknown_columns_and_tables_are_refused(tmp_path: Path) -> None:
    incomplete = metric()
    del incomplete["recall"]
    with pytest.raises(ValueError, match=r"missing columns \['recall'\]"):
        write_table([incomplete], tmp_path, "metrics")
    with pytest.raises(ValueError, match=r"unknown columns \['seconds'\]"):
        write_table([metric(seconds=1.0)], tmp_path, "metrics")
    with pytest.raises(ValueError, match="no table named"):
        write_table([metric()], tmp_path, "../metrics")
    with pytest.raises(ValueError, match="'value' holds something that is no number"):
        write_table([metric(value="much")], tmp_path, "metrics")
    assert list(tmp_path.iterdir()) == []


def test_class_labels_are_numbers_or_names(tmp_path: Path) -> None:
    def rows(labels: list[Any]) -> list[dict[str, Any]]:
        measured = {"k": 5, "metric": "nncs", "value": 0.5, "chance": 0.1, "n_used": 10}
        return [{**common(), **measured, "class": label} for label in labels]

    write_table(rows([10, 2]), tmp_path, "per_class")
    assert read_table(tmp_path, "per_class")["class"].tolist() == [2, 10]
    write_table(rows(["dog", "02"]), tmp_path, "per_class")
    assert read_table(tmp_path, "per_class")["class"].tolist() == ["02", "dog"]


def test_a_folder_that_is_no_run_folder_is_the_users_fault(tmp_path: Path, make_run: Any) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_tables(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        read_tables(tmp_path / "file")
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="no folder `tables`"):
        read_tables(tmp_path / "other")
    run = make_run(layers=["input"], stages=None, splits=["test"])
    with pytest.raises(UserError) as outer:  # the folder above it: the hint names the run
        read_tables(tmp_path)
    assert outer.value.hint is not None
    assert str(run) in outer.value.hint
    (run / "tables/metrics.csv").unlink()
    with pytest.raises(UserError, match=r"metrics\.csv is missing"):
        read_tables(run)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace("n_samples", "n_images", 1), "columns n_samples are missing"),
        (lambda text: text.replace("0.5", "half"), "half"),
        (lambda text: text + "last,3\n", "row 3 has 2 cells"),
        (lambda text: "", "columns checkpoint"),
        (lambda text: text.replace("100", "100.5"), "100.5"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, damage: Any, told: str) -> None:
    write_table([metric()], tmp_path, "metrics")
    path = tmp_path / "metrics.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=told) as fault:
        read_table(tmp_path, "metrics")
    assert str(path) in fault.value.message
