"""A search that was interrupted goes on where it was, and takes nothing that is torn or another search's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import assert_exact, beginning_with, gaussian
from numpy.typing import NDArray

from rra_cli.neighbors import exact_neighbors, resume
from rra_cli.neighbors.exact import exact_rows
from rra_cli.neighbors.resume import BlockStore, Snapshots, fingerprint
from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.tiles import dense, direct
from rra_cli.neighbors.tiles.products import Float, Int8, Product, TwiceInt8
from rra_cli.neighbors.tiles.sweep import Sweep

N, D, K = 200, 200, 7
CALLS = [3, 27, 29]  # of progress: in the sweep, at its end, among the differences


@pytest.fixture(autouse=True)
def _keeps_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search keeps its state after every step, and reads few columns at a time."""
    monkeypatch.setattr(resume, "EVERY", 0)
    monkeypatch.setattr(resume, "SHARE", np.inf)
    monkeypatch.setattr(direct, "_CACHE", 1)
    monkeypatch.setattr(direct, "_PAGE", 1)
    monkeypatch.setattr(dense, "_COLUMNS", 1)
    monkeypatch.setattr(dense, "_LONGEST", 1)


@pytest.fixture
def work_done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name for every tile and every slab of columns, however many threads share it."""
    done: list[str] = []
    tile, add, add_all = Sweep._tile, direct.add_squares, dense.add_all_squares

    def count_tile(*given: Any) -> None:
        done.append("tile")
        tile(*given)

    def count_columns(*given: Any) -> None:
        done.extend(["columns"] * (given[-2] == 0))  # rows from the first one on: one of the threads
        add(*given)

    def count_pairs(*given: Any) -> None:
        done.extend(["pairs"] * (given[-2] == 0))
        add_all(*given)

    monkeypatch.setattr(Sweep, "_tile", count_tile)
    monkeypatch.setattr(dense, "add_all_squares", count_pairs)
    monkeypatch.setattr(direct, "add_squares", count_columns)
    return done


def interrupted_after(calls: int) -> Callable[[int, int, str], None]:
    left = [calls]

    def progress(done: int, total: int, note: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    return progress


def found(
    x: NDArray[Any], work: Path, plan: str = "int8", panel: int = 64, spare: int | None = None, **options: Any
) -> Any:
    with beginning_with(plan, panel=panel, tile=32, spare=spare):
        return exact_neighbors(x, K, work=work, **options)


def names(work: Path) -> set[str]:
    return {path.name.split("_")[0] for path in work.iterdir()}


def calls_of(search: Callable[..., Any]) -> int:
    """How often it says how far it is."""
    calls: list[int] = []
    search(progress=lambda done, total, note: calls.append(done))
    return len(calls)


@pytest.mark.parametrize(
    "options",
    [
        {"plan": "int8"},
        {"plan": "float64"},
        {"plan": "int8", "panel": N},
        {"plan": "directly"},
        {"plan": "directly", "memory": 400_000},
        {"plan": "int8", "spare": 2},
        {"plan": "int8, 2 x int8, float64", "spare": 2},
    ],
    ids=lambda options: ", ".join(map(str, options.values())),
)
def test_interrupted_at_any_point(tmp_path: Path, work_done: list[str], options: dict[str, Any]) -> None:
    """Also where one panel holds all rows, where all pairs are compared, and where precisions leave rows undecided."""
    x, less = data_for(options), list[int]()
    last = calls_of(partial(found, x, tmp_path / "counted", **options))
    work_done.clear()
    whole = found(x, tmp_path / "whole", **options)
    all_work = len(work_done)
    for calls in sorted({round(last * part / 5) for part in range(5)} | {last - 1}):
        work = tmp_path / str(calls)
        with pytest.raises(KeyboardInterrupt):
            found(x, work, progress=interrupted_after(calls), **options)
        work_done.clear()
        again = found(x, work, **options)
        assert np.array_equal(again.indices, whole.indices)
        assert np.array_equal(again.distances, whole.distances)
        less.append(len(work_done))
        assert names(work) == {"rows"}
    assert less[0] == max(less) == all_work
    assert less == sorted(less, reverse=True), "the later it was interrupted, the less is left to do"
    assert less[-1] < all_work / 4
    work_done.clear()
    found(x, tmp_path / "whole", **options)
    assert not work_done


def data_for(options: dict[str, Any]) -> NDArray[Any]:
    """Gaussian rows, of many features where all are compared; for short lists, some that eight bits cannot decide."""
    x = gaussian(N, 1500 if options["plan"] == "directly" else D)
    if "spare" in options:
        x[: N // 3] = x[0] + 1e-4 * x[: N // 3]
    return x


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


def test_kept_blocks_fit_into_other_blocks(tmp_path: Path, work_done: list[str]) -> None:
    """Rows that were found are not searched again where another memory budget cuts the rest otherwise."""
    x = gaussian(N, 3)
    with pytest.raises(KeyboardInterrupt):
        found(
            x, tmp_path, memory=1, progress=lambda done, total, note: interrupted_after(int(done <= N // 2))(0, 0, "")
        )
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


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only passes as a test says."""
    time = [1000.0]
    monkeypatch.setattr(resume, "monotonic", lambda: time[0])
    monkeypatch.setattr(resume, "EVERY", 30.0)
    monkeypatch.setattr(resume, "SHARE", 0.05)
    return time


def test_time_decides_when_a_state_is_kept(now: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = BlockStore(tmp_path, "a").clock
    now[0] += 29.9
    assert not clock.due
    assert not clock.lasting
    now[0] += 0.2
    assert clock.due
    assert clock.lasting
    clock.kept(now[0] - 0.5)
    now[0] += 29.9
    assert not clock.due
    assert clock.lasting
    now[0] += 0.2
    assert clock.due
    clock.kept(now[0] - 60)  # which at every half a minute would be most of the time
    now[0] += 60 / 0.05 - 1
    assert not clock.due
    now[0] += 2
    assert clock.due


@pytest.mark.parametrize("seconds", [0.1, 5.0])
@pytest.mark.parametrize("options", [{"panel": N}, {"plan": "directly"}, {"plan": "directly", "memory": 400_000}])
def test_no_more_than_the_time_between_two_states_is_lost(
    tmp_path: Path, now: list[float], options: dict[str, Any], seconds: float, work_done: list[str]
) -> None:
    """Every tile and every step of columns takes 5 s, in which only 30 s and one step of work may be lost; control:
    where they take 0.1 s the search is a short one, and keeps nothing."""
    x = data_for({"plan": "", **options})
    last = calls_of(partial(found, x, tmp_path / "counted", **options))
    work_done.clear()

    def timed(stop_after: int) -> Callable[[int, int, str], None]:
        stop = interrupted_after(stop_after)

        def progress(done: int, total: int, note: str) -> None:
            stop(done, total, note)
            now[0] += seconds

        return progress

    with pytest.raises(KeyboardInterrupt):
        found(x, tmp_path / "work", progress=timed(last - 2), **options)
    before = len(work_done)
    assert (tmp_path / "work").exists() is (seconds * last > 30)
    work_done.clear()
    found(x, tmp_path / "work", **options)
    again = len(work_done) - 2
    assert again <= 30 / 5 + 2 if seconds * last > 30 else again >= before - 3


def test_names_tell_searches_apart() -> None:
    a, b = np.arange(5, dtype=np.uint64), np.arange(1, 6, dtype=np.uint64)
    assert fingerprint(a, b, 3) == fingerprint(a.copy(), b.copy(), 3)
    assert len({fingerprint(a, b, 3), fingerprint(b, a, 3), fingerprint(a, a, 3), fingerprint(a, b, 4)}) == 4


def test_short_searches_keep_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "EVERY", 1000)
    found(gaussian(N, D), tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("product", [Int8(), TwiceInt8(), Float(np.float32), Float(np.float64)], ids=lambda p: p.name)
@pytest.mark.parametrize("features", [1, 1000, 16_384, 131_072, 10**6])
def test_a_tile_is_a_matter_of_seconds(product: Product, features: int) -> None:
    """Whatever the memory: at 4e10 multiply-adds of bytes a second, which is a slow thread. Control: squares of 4,096
    rows, the most there are, would take minutes."""
    rows = Rows(np.zeros((1, features)), 1.0, np.zeros(features))
    for memory in (1, 10**9, 10**12):
        tile = Sweep(product, rows, rows, np.zeros(1, np.int64), 0, memory).tile_rows
        assert tile == 64 or tile**2 * features * product.bytes / 4e10 < 15
        assert 64 <= tile <= 4096
    assert tile == 4096 or 4096**2 * features * product.bytes / 4e10 > 50 / 4
