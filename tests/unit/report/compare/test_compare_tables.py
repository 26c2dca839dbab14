"""Tables of a comparison: columns, kinds, equal bytes, and what is written where."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rra_cli.errors import UserError
from rra_cli.report.compare.rendering import check_folder
from rra_cli.report.compare.tables import NUMBERS, TABLES, WHOLE, column_name, columns_of, encode_table, frame_of

ROW = {"group": "lr=1", "optimizer.lr": "1", "metric": "nncs", "layer": "NA", "mean": 1 / 3, "sd": float("nan"), "n": 3}


def test_a_table_has_all_its_columns_and_those_of_the_groups_behind_the_group() -> None:
    frame = frame_of([ROW], "layers", ["optimizer.lr"])
    assert list(frame.columns)[:3] == ["group", "optimizer.lr", "metric"]
    assert set(TABLES["layers"]) <= set(frame.columns)
    assert columns_of("runs", ["optimizer.lr"]) == list(TABLES["runs"])


def test_a_setting_that_is_called_like_a_column_is_kept_apart() -> None:
    assert column_name("optimizer.lr") == "optimizer.lr"
    assert column_name("metric") == "config.metric"


def test_kinds_of_columns_do_not_overlap_and_every_column_is_known() -> None:
    assert not WHOLE & NUMBERS
    columns = {column for table in TABLES.values() for column in table}
    assert columns >= WHOLE | NUMBERS


def test_both_files_hold_the_same_exactly() -> None:
    encoded = encode_table(frame_of([ROW], "layers", ["optimizer.lr"]), "layers")
    (row,) = csv.DictReader(io.StringIO(encoded["csv"].decode()))
    assert float(row["mean"]) == 1 / 3
    assert (row["layer"], row["sd"], row["n"], row["k"]) == ("NA", "", "3", "")
    (stored,) = pq.read_table(io.BytesIO(encoded["parquet"])).to_pylist()
    assert (stored["mean"], stored["sd"], stored["n"], stored["k"], stored["layer"]) == (1 / 3, None, 3, None, "NA")
    again = encode_table(frame_of([ROW], "layers", ["optimizer.lr"]), "layers")
    assert again == encoded
    other = encode_table(frame_of([{**ROW, "mean": np.nextafter(1 / 3, 1)}], "layers", ["optimizer.lr"]), "layers")
    assert other["csv"] != encoded["csv"], "the control: the last bit is written"


def test_a_table_without_rows_keeps_its_columns_and_long_lists_are_for_programs() -> None:
    empty = frame_of([], "differences")
    assert isinstance(empty, pd.DataFrame)
    assert list(empty.columns) == list(TABLES["differences"])
    assert set(encode_table(frame_of([], "nnls_models"), "nnls_models")) == {"parquet"}


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="exists and holds other things than a comparison"):
        check_folder(tmp_path)
    with pytest.raises(UserError, match=r"mine.txt is a file"):
        check_folder(tmp_path / "mine.txt")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "runs.csv").write_text("run\n")
    check_folder(tmp_path)
    (tmp_path / "plots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="plots is a link, behind which nothing is written"):
        check_folder(tmp_path)
