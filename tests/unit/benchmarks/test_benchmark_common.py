"""What the benchmark scripts share: timing is fair, memory is seen, data is the same for any cut, errors are caught."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.distance import cdist

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import common

    assert Path(common.__file__).parent == BENCHMARKS
    return common


def test_sides_take_turns_in_alternating_order_and_the_best_counts(
    common: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, calls = [0.0], []
    waits = {"ours": iter([3.0, 1.0, 2.0]), "theirs": iter([5.0, 7.0, 4.0])}

    def side(name: str) -> None:
        calls.append(name)
        now[0] += next(waits[name])

    monkeypatch.setattr(common.time, "perf_counter", lambda: now[0])
    best = common.best_times({name: lambda name=name: side(name) for name in waits}, 3)
    assert best == {"ours": 1.0, "theirs": 4.0}
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_rates_count_two_operations_per_multiply_add(common: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()  # every product takes a second
    monkeypatch.setattr(common.time, "perf_counter", lambda: float(next(ticks)))
    assert common.gemm_rates(32, 64, 48) == dict.fromkeys(("float32", "float64", "int8"), 2.0 * 32 * 64 * 48)


def test_memory_that_is_freed_within_the_block_is_seen(common: ModuleType) -> None:
    size = 64 << 20
    with common.PeakMemory(interval=0.001) as peak:
        array = np.ones(size, np.uint8)
        common.time.sleep(0.05)
        del array
    assert size <= peak.added <= 1.5 * size


def test_pages_of_a_mapped_file_do_not_count(common: ModuleType, tmp_path: Path) -> None:
    np.save(tmp_path / "layer.npy", np.ones((64, 1 << 20), np.uint8))
    layer = np.load(tmp_path / "layer.npy", mmap_mode="r")
    before = common.status_bytes("RssFile")
    with common.PeakMemory(interval=0.001) as peak:
        assert int(layer.sum(dtype=np.int64)) == layer.size
        assert common.status_bytes("RssFile") - before > layer.nbytes / 2  # they are resident all the same
    assert peak.added < layer.nbytes / 4


def test_an_unknown_field_of_the_status_is_an_error(common: ModuleType) -> None:
    with pytest.raises(KeyError, match="has no RssNothing"):
        common.status_bytes("RssNothing")


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("sse avx2 avx512_vnni", True), ("avx512f avx512_bf16", True), ("sse avx2 avx512f", False), ("", False)],
)
def test_the_target_follows_from_the_processor(common: ModuleType, tmp_path: Path, flags: str, fast: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: X\nflags\t\t: {flags}\n")
    assert common.has_fast_low_precision(tmp_path / "cpuinfo") is fast
    assert common.has_fast_low_precision(tmp_path / "missing") is False


def test_synthetic_activations_are_the_same_for_any_number_of_rows(common: ModuleType) -> None:
    rows = common.ActivationLike(24).array(600)
    assert np.array_equal(common.ActivationLike(24).array(300), rows[:300])
    assert not np.array_equal(common.ActivationLike(24, seed=1).array(600), rows)
    assert len(np.unique(rows, axis=0)) == 600
    assert rows.dtype == np.float32
    assert rows.min() == 0
    assert 0.4 < (rows == 0).mean() < 0.6


def test_direct_distances_are_those_of_scipy_for_any_threads(common: ModuleType) -> None:
    data = common.gaussian(700, 2000) + np.float32(50)
    rows = np.array([0, 3, 699])
    expected = cdist(data[rows].astype(np.float64), data.astype(np.float64))
    expected[np.arange(3), rows] = np.inf
    found = common.direct_rows(data, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert np.array_equal(common.direct_rows(data, rows, threads=3), found)


@pytest.fixture
def direct(common: ModuleType) -> np.ndarray:
    return common.direct_rows(common.gaussian(50, 5), np.arange(50))


def test_the_true_neighbours_agree(common: ModuleType, direct: np.ndarray) -> None:
    ids = np.argsort(direct, axis=1)[:, :4]
    found = common.agreement(ids, np.take_along_axis(direct, ids, 1), direct)
    assert found == common.Agreement(n_neighbors=200, missed=0, tied=0, worst=0.0)


def test_a_wrong_neighbour_a_repeated_one_and_a_wrong_distance_are_found(
    common: ModuleType, direct: np.ndarray
) -> None:
    order = np.argsort(direct, axis=1)
    ids = order[:, :4].copy()
    ids[7, 3] = order[7, 4]  # the fifth instead of the fourth
    assert common.agreement(ids, None, direct).missed == 1
    ids[7, 3] = order[7, 2]  # the third twice
    assert common.agreement(ids, None, direct).missed == 1
    distances = np.take_along_axis(direct, order[:, :4], 1)
    distances[0, 0] *= 1.001
    assert common.agreement(order[:, :4], distances, direct).worst == pytest.approx(1e-3)


def test_ties_are_no_faults(common: ModuleType) -> None:
    direct = np.array([[np.inf, 1.0, 1.0, 1.0 + 1e-15, 2.0]])
    found = common.agreement(np.array([[3, 2]]), None, direct)
    assert (found.missed, found.tied) == (0, 1)
    assert common.agreement(np.array([[4, 2]]), None, direct).missed == 1


def test_direct_differences_judge_where_two_graphs_differ(common: ModuleType) -> None:
    data = common.gaussian(40, 3)
    order = np.argsort(common.direct_rows(data, np.arange(40)), axis=1)
    right, wrong = order[:, :5], order[:, :5].copy()
    wrong[11, 4] = order[11, 5]
    wrong[12, 4] = order[12, 6]
    assert common.judge(data, right, right) == common.Judgement(0, 0, 0)
    assert common.judge(data, right, wrong) == common.Judgement(2, 2, 0)
    assert common.judge(data, wrong, right) == common.Judgement(2, 2, 2)
    assert common.judge(data, wrong, right, most_rows=1) == common.Judgement(2, 1, 1)


def test_a_verdict_says_by_how_much(common: ModuleType) -> None:
    assert common.verdict(0.4, 0.4) == "met"
    assert common.verdict(0.5, 0.4) == "missed by 25 %"


def test_the_line_of_the_machine_has_what_a_figure_needs(common: ModuleType) -> None:
    line = common.machine_line()
    assert all(word in line for word in ("cores used by", "threads", "GB of memory", "torch", "commit"))
