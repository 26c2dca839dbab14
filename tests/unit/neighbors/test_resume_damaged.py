"""A search takes up nothing that is torn or another search's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import assert_exact, beginning_with, gaussian
from resuming import CALLS, D, K, N, found, interrupted_after, keep_everything, names

from rra_cli.neighbors import exact_neighbors, resume
from rra_cli.neighbors.exact import exact_rows
from rra_cli.neighbors.resume import BlockStore, Snapshots, fingerprint


@pytest.fixture(autouse=True)
def _keeps_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_everything(monkeypatch)


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize(
    "other", [{"plan": "2 x int8"}, {"plan": "float64"}, {"panel": 128}, {"panel": 32}, {"memory": 50_000}]
)
def test_another_precision_or_memory_does_not_take_up_the_state(
    tmp_path: Path, calls: int, other: dict[str, Any]
) -> None:
    """Which precision is fastest, and how much memory is free, may differ in the next process."""
    x = gaussian(N, D)
    with pytest.raises(KeyboardInterrupt):
        found(x, tmp_path, progress=interrupted_after(calls))
    assert {"lists", "sums"} & names(tmp_path)
    assert_exact(found(x, tmp_path, **other), x, K)
    assert names(tmp_path) == {"rows"}


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :]


@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize(("damaged", "parts"), [(cut, (0, 1e-3, 0.5, 0.999)), (flip, (0, 1e-3, 0.3, 0.5, 0.7, 0.9999))])
def test_damaged_files_are_searched_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    calls: int,
    damaged: Callable[[bytes, int], bytes],
    parts: tuple[float, ...],
) -> None:
    """Cut short or with one bit flipped, wherever: one line that names the file, and the graph is what it has to be."""
    x = gaussian(N, D)
    whole = found(x, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        found(x, tmp_path / "kept", progress=interrupted_after(calls))
    for folder in (tmp_path / "kept", tmp_path / "whole"):
        for path, part in product(sorted(folder.iterdir()), parts):
            work = tmp_path / "work"
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(folder, work)
            content = path.read_bytes()
            (work / path.name).write_bytes(damaged(content, int(part * len(content))))
            caplog.clear()
            graph = found(x, work)
            assert np.array_equal(graph.indices, whole.indices)
            assert np.array_equal(graph.distances, whole.distances)
            (line,) = [record.getMessage() for record in caplog.records]
            assert f"{path.name} is damaged (its checksum differs): it is removed" in line
            assert names(work) == {"rows"}


def test_without_the_checksum_a_flipped_bit_is_a_wrong_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above."""
    x = gaussian(N, D)
    whole = found(x, tmp_path)
    monkeypatch.setattr(resume, "_checked_end", lambda file, path: path.stat().st_size - 16)
    (path,) = tmp_path.iterdir()
    path.write_bytes(flip(path.read_bytes(), path.stat().st_size - 16 - 8))  # of the last distance, its last bits
    assert found(x, tmp_path).distances[-1, -1] != whole.distances[-1, -1]


def test_a_file_under_another_name_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x = gaussian(N, 3)
    whole = found(x, tmp_path, memory=1)
    one, other = sorted(tmp_path.iterdir())[:2]
    assert one.stat().st_size == other.stat().st_size
    other.write_bytes(one.read_bytes())
    again = found(x, tmp_path, memory=1)
    assert np.array_equal(again.indices, whole.indices)
    assert [other.name in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("calls", [3, 29])
def test_state_of_other_data_is_not_used(tmp_path: Path, calls: int) -> None:
    x, y = gaussian(N, D), gaussian(N, D)
    y[N // 2, D - 1] += 1e-9
    with pytest.raises(KeyboardInterrupt):
        found(x, tmp_path, progress=interrupted_after(calls))
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert_exact(found(y, tmp_path), y, K)
    with beginning_with("int8", panel=64):
        assert_exact(exact_neighbors(x, K + 1, work=tmp_path), x, K + 1)
        ids, _ = exact_rows(x, K, 10, 90, work=tmp_path)
    assert {path: path.read_bytes() for path in kept} == kept
    graph = found(x, tmp_path)
    assert_exact(graph, x, K)
    assert np.array_equal(ids, graph.indices[10:90])


def test_a_process_that_ended_just_after_its_last_block_leaves_nothing(tmp_path: Path) -> None:
    x = gaussian(N, D)
    found(x, tmp_path)
    block = next(tmp_path.iterdir())
    name = block.name.removeprefix("rows_").split("_")[0]
    BlockStore(tmp_path, name).snapshots("sums", 0, N).keep([np.zeros(3)])
    BlockStore(tmp_path, "another").snapshots("sums", 0, N).keep([np.zeros(3)])
    found(x, tmp_path)
    assert {path.name.split("_")[1] for path in tmp_path.iterdir()} == {name, "another"}


def test_snapshots(tmp_path: Path) -> None:
    one, two = Snapshots(tmp_path, "lists_a"), Snapshots(tmp_path, "lists_b")
    assert one.restore() is None
    assert not one.held
    one.keep([np.arange(3), np.array([True])])
    one.keep([np.arange(4), np.empty((0, 2)), np.array(["int8"]), np.array(5)])
    two.keep([])
    kept = one.restore()
    assert kept is not None
    assert [part.tolist() for part in kept] == [[0, 1, 2, 3], [], ["int8"], 5]
    assert two.restore() == []
    assert len(list(tmp_path.iterdir())) == 2
    one.drop()
    assert one.restore() is None
    assert two.held


@pytest.mark.parametrize("content", [b"", b"{", b"16 bytes, no more", bytes(1000)])
def test_a_state_that_is_not_one(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    snapshots = Snapshots(tmp_path, "lists_a")
    snapshots.keep([np.arange(4)])
    (tmp_path / "lists_a.state").write_bytes(content)
    assert snapshots.restore() is None
    assert not snapshots.held
    assert len(caplog.records) == 1


def test_names_tell_searches_apart() -> None:
    a, b = np.arange(5, dtype=np.uint64), np.arange(1, 6, dtype=np.uint64)
    assert fingerprint(a, b, 3) == fingerprint(a.copy(), b.copy(), 3)
    assert len({fingerprint(a, b, 3), fingerprint(b, a, 3), fingerprint(a, a, 3), fingerprint(a, b, 4)}) == 4
