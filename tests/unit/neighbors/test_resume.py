"""A search that was interrupted goes on where it was, and takes nothing that is torn or another search's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import assert_exact, beginning_with, gaussian
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors, resume
from rra_cli.neighbors.exact import exact_rows
from rra_cli.neighbors.resume import BlockStore, Snapshots, fingerprint
from rra_cli.neighbors.tiles import direct
from rra_cli.neighbors.tiles.sweep import Sweep

N, D, K = 300, 200, 7


@pytest.fixture(autouse=True)
def _keeps_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search keeps its state after every step, and reads few columns at a time."""
    monkeypatch.setattr(resume, "RESUME_FROM", 0)
    monkeypatch.setattr(resume, "SNAPSHOT_EVERY", 0)
    monkeypatch.setattr(direct, "_CACHE", 1)
    monkeypatch.setattr(direct, "_PAGE", 1)


@pytest.fixture
def work_done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name for every tile and every slab of columns."""
    done: list[str] = []
    tile, add = Sweep._tile, direct.add_squares

    def count_tile(*given: Any) -> None:
        done.append("tile")
        tile(*given)

    def count_columns(*given: Any) -> None:
        done.append("columns")
        add(*given)

    monkeypatch.setattr(Sweep, "_tile", count_tile)
    monkeypatch.setattr(direct, "add_squares", count_columns)
    return done


def interrupted_after(calls: int) -> Callable[[int, int, str], None]:
    left = [calls]

    def progress(done: int, total: int, note: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return progress


def found(x: NDArray[Any], work: Path, plan: str = "int8", panel: int = 64, **options: Any) -> Any:
    with beginning_with(plan, panel=panel, tile=32):
        return exact_neighbors(x, K, work=work, **options)


def names(work: Path) -> set[str]:
    return {path.name.split("_")[0] for path in work.iterdir()}


@pytest.mark.parametrize("plan", ["int8", "2 x int8", "float64", "int8, 2 x int8, float64"])
def test_interrupted_at_any_point(tmp_path: Path, work_done: list[str], plan: str) -> None:
    x = gaussian(N, D)
    whole = found(x, tmp_path / "whole", plan)
    all_work, less = len(work_done), set()
    for calls in (0, 1, 4, 9, 14, 15, 16, 17):
        work = tmp_path / str(calls)
        with pytest.raises(KeyboardInterrupt):
            found(x, work, plan, progress=interrupted_after(calls))
        work_done.clear()
        again = found(x, work, plan)
        assert np.array_equal(again.indices, whole.indices)
        assert np.array_equal(again.distances, whole.distances)
        assert len(work_done) <= all_work
        less.add(len(work_done))
        assert names(work) == {"rows"}
    assert len(less) > 4  # the later it was interrupted, the less was left to do
    assert min(less) < all_work / 4
    work_done.clear()
    found(x, tmp_path / "whole", plan)
    assert not work_done


def test_interrupted_again_and_again(tmp_path: Path) -> None:
    x = gaussian(N, D)
    for _ in range(200):
        try:
            graph = found(x, tmp_path, progress=interrupted_after(1))
            break
        except KeyboardInterrupt:
            pass
    assert_exact(graph, x, K)
    assert names(tmp_path) == {"rows"}


@pytest.mark.parametrize("calls", [3, 9, 16])
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


@pytest.mark.parametrize("calls", [3, 9, 16])
@pytest.mark.parametrize("length", [0, 1, 100, 130, 500])
def test_torn_files_are_not_used(tmp_path: Path, calls: int, length: int) -> None:
    x = gaussian(N, D)
    with pytest.raises(KeyboardInterrupt):
        found(x, tmp_path, progress=interrupted_after(calls))
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:length] if path.stat().st_size > length else b"{")
    assert_exact(found(x, tmp_path), x, K)
    assert names(tmp_path) == {"rows"}
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:length])
    assert_exact(found(x, tmp_path), x, K)


@pytest.mark.parametrize("calls", [3, 16])
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


def test_kept_blocks_fit_into_other_blocks(tmp_path: Path, work_done: list[str]) -> None:
    """Rows that were found are not searched again where another memory budget cuts the rest otherwise."""
    x = gaussian(N, 3)
    with pytest.raises(KeyboardInterrupt):
        found(x, tmp_path, memory=1, progress=lambda done, total, note: interrupted_after(int(done <= 150))(0, 0, ""))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("rows_*")}
    assert kept
    assert_exact(found(x, tmp_path, memory=1 << 30), x, K)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    work_done.clear()
    assert_exact(found(x, tmp_path, memory=1 << 20), x, K)
    assert not work_done


def test_a_process_that_ended_just_after_its_last_block_leaves_nothing(tmp_path: Path) -> None:
    x = gaussian(N, D)
    found(x, tmp_path)
    block = next(tmp_path.iterdir())
    name = block.name.removeprefix("rows_").split("_")[0]
    BlockStore(tmp_path, name).snapshots("sums", 0, N).keep([np.zeros(3)], 4)
    BlockStore(tmp_path, "another").snapshots("sums", 0, N).keep([np.zeros(3)], 4)
    found(x, tmp_path)
    assert {path.name.split("_")[1] for path in tmp_path.iterdir()} == {name, "another"}


def test_snapshots(tmp_path: Path) -> None:
    one, two = Snapshots(tmp_path, "lists_a"), Snapshots(tmp_path, "lists_b")
    assert one.restore() is None
    one.keep([np.arange(3), np.array([True])], 5)
    one.keep([np.arange(4)], 6)
    two.keep([np.arange(2)], 1)
    kept = one.restore()
    assert kept is not None
    assert kept[0] == 6
    assert [part.tolist() for part in kept[1]] == [[0, 1, 2, 3]]
    assert len(list(tmp_path.iterdir())) == 4
    one.drop()
    assert one.restore() is None
    assert two.restore() is not None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"step": 6}', '{"step": "x", "arrays": 1}', '{"step": 7, "arrays": 1}']
)
def test_a_state_that_is_not_one(tmp_path: Path, text: str) -> None:
    snapshots = Snapshots(tmp_path, "lists_a")
    snapshots.keep([np.arange(4)], 6)
    (tmp_path / "lists_a.json").write_text(text)
    assert snapshots.restore() is None


def test_names_tell_searches_apart() -> None:
    a, b = np.arange(5, dtype=np.uint64), np.arange(1, 6, dtype=np.uint64)
    assert fingerprint(a, b, 3) == fingerprint(a.copy(), b.copy(), 3)
    assert len({fingerprint(a, b, 3), fingerprint(b, a, 3), fingerprint(a, a, 3), fingerprint(a, b, 4)}) == 4


def test_short_searches_keep_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "RESUME_FROM", 1e12)
    found(gaussian(N, D), tmp_path / "work")
    assert not (tmp_path / "work").exists()
