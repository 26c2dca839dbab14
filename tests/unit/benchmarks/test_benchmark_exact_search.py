"""The benchmark against faiss runs, compares what it times, and fails where ours is wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faiss")

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import exact_search

    return exact_search


def test_the_rows_are_those_of_the_target_table(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, wide in ((True, 0.4), (False, 0.7)):
        monkeypatch.setattr(benchmark, "has_fast_low_precision", lambda fast=fast: fast)
        rows = {(row.n, row.d, row.k): row.target for row in benchmark.table([], 150)}
        assert rows == {
            (15_000, 16_384, 150): wide,
            (50_000, 1_024, 100): 0.5,
            (10_000, 64, 100): 1.0,
            (5_000, 4_096, 2_500): 0.5,
        }


@pytest.mark.long
def test_every_row_runs_small(benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = benchmark.ActivationLike(640).array(400).reshape(400, 10, 8, 8)
    (tmp_path / ("ab" * 32)).mkdir()
    layers = [tmp_path / "conv1.npy", tmp_path / ("ab" * 32) / "activations.npy"]
    for path in layers:
        np.save(path, maps)
    arguments = ["--small", "--repeats", "1", "--k", "50", "--activations", *map(str, layers)]
    arguments += ["--json", str(tmp_path / "rows.json")]
    for name in ("15000x16384", "50000x1024-gaussian", "10000x64", "5000x4096", "conv1", "ab" * 6):
        arguments += ["--only", name]
    assert benchmark.main(arguments) == 0
    written = json.loads((tmp_path / "rows.json").read_text())
    sizes = {row["name"]: (row["n"], row["d"], row["k"]) for row in written["rows"]}
    assert sizes == {
        "15000x16384": (1500, 1638, 15),
        "50000x1024-gaussian": (5000, 102, 10),
        "10000x64": (1000, 6, 10),
        "5000x4096": (500, 409, 250),
        "conv1": (40, 64, 5),
        "abababababab": (40, 64, 5),
    }
    for row in written["rows"]:
        assert row["ratio"] == row["seconds"] / row["seconds_faiss"] > 0
        assert row["limit_float32"] == 2 * row["n"] ** 2 * row["d"] / row["rate_float32"]
        assert row["limit_int8"] == row["n"] ** 2 * row["d"] / row["rate_int8"]
        assert all(0 < row[f"rate_{name}"] <= written["rates"][name] for name in ("float32", "int8"))
        assert row["wrong"] == row["worse"] == 0
        assert row["checked"] == 32 * row["k"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in sizes)
    assert "measured / limit" in printed
    assert written["machine"] in printed


@pytest.mark.long
def test_a_wrong_result_fails(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = benchmark.exact_neighbors

    def farther(data: Any, k: int, **options: Any) -> Any:
        graph = right(data, k + 1, **options)
        return dataclasses.replace(graph, indices=graph.indices[:, 1:], distances=graph.distances[:, 1:])

    def rough(data: Any, k: int, **options: Any) -> Any:
        graph = right(data, k, **options)
        return dataclasses.replace(graph, distances=graph.distances * (1 + 2e-6))

    arguments = ["--small", "--repeats", "1", "--only", "10000x64"]
    for wrong, code in ((right, 0), (farther, 1), (rough, 1)):
        monkeypatch.setattr(benchmark, "exact_neighbors", wrong)
        assert benchmark.main(arguments) == code


def test_an_unknown_row_is_named(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        benchmark.main(["--only", "15000x16385"])
    assert error.value.code == 2
    assert "no row 15000x16385; there are 15000x16384, 50000x1024," in capsys.readouterr().err


def test_the_sample_itself_is_taken_out_by_id(benchmark: ModuleType) -> None:
    ids = np.array([[0, 1, 2], [0, 1, 2], [1, 0, 3]])  # first, in the middle, crowded out by duplicates
    assert benchmark.without_self(ids).tolist() == [[1, 2], [0, 2], [1, 0]]
