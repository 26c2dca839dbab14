"""A search that was interrupted goes on where it was, and loses seconds at most."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import assert_exact, gaussian
from resuming import D, K, N, calls_of, data_for, found, interrupted_after, keep_everything, names

from rra_cli.neighbors import resume
from rra_cli.neighbors.resume import BlockStore
from rra_cli.neighbors.rows import Rows
from rra_cli.neighbors.tiles import dense, direct
from rra_cli.neighbors.tiles.products import Float, Int8, Product, TwiceInt8
from rra_cli.neighbors.tiles.sweep import Sweep


@pytest.fixture(autouse=True)
def _keeps_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_everything(monkeypatch)


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


@pytest.mark.parametrize(
    "options",
    [
        {"plan": "int8"},
        {"plan": "float64"},
        {"plan": "int8", "panel": N},
        {"plan": "directly"},
        pytest.param({"plan": "directly", "memory": 400_000}, marks=pytest.mark.long),
        {"plan": "int8", "spare": 2},
        pytest.param({"plan": "int8, 2 x int8, float64", "spare": 2}, marks=pytest.mark.long),
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
