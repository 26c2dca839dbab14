"""The script that searches a layer larger than memory: the same code on a small layer, under the kernel's own limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
# The layer takes 98 MB, what may be allocated for its search 48 MB, half of which is workspace.
SIZE, WORKSPACE, LIMIT = (1500, 16_384), 24_000_000, 48_000_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA and /proc are Linux")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import large_layer

    return large_layer


@pytest.mark.long
def test_a_layer_larger_than_the_memory_limit_is_searched(tmp_path: Path) -> None:
    n, d = SIZE
    assert 4 * n * d > 2 * LIMIT
    command = [sys.executable, str(BENCHMARKS / "large_layer.py"), "--folder", str(tmp_path), "--threads", "2"]
    command += ["--n", str(n), "--d", str(d), "--k", "20", "--rows", "4"]
    command += ["--memory", str(WORKSPACE), "--hard-limit", str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of 80 neighbours checked 0 are wrong" in done.stdout
    assert "measured / limit" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_limit_refuses_the_layer_as_an_array(tmp_path: Path) -> None:
    """Negative control: the kernel's limit is one."""
    path = tmp_path / "layer.npy"
    np.save(path, np.zeros(SIZE, np.float32))
    code = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
import numpy as np
import large_layer
large_layer.refuse_beyond({LIMIT})
layer = np.load({str(path)!r}, mmap_mode="r")
print("mapped", float(layer.sum()))
np.array(layer)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "mapped 0.0" in done.stdout
    assert "MemoryError" in done.stderr


def run_small(benchmark: ModuleType, folder: Path, *more: str) -> int:
    size = ["--n", "300", "--d", "500", "--k", "5", "--rows", "10"]
    return int(benchmark.main(["--folder", str(folder), *size, *more]))


@pytest.mark.long
def test_more_than_the_limit_is_a_failure(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_small(benchmark, tmp_path, "--limit", "100GB") == 0
    assert run_small(benchmark, tmp_path, "--limit", "1MB") == 1
    assert "limit 1.00 MB" in capsys.readouterr().out


@pytest.mark.long
def test_a_wrong_row_is_a_failure(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = benchmark.exact_neighbors
    # The neighbours of other data.
    monkeypatch.setattr(benchmark, "exact_neighbors", lambda data, k, **options: right(data[::-1], k, **options))
    assert run_small(benchmark, tmp_path, "--limit", "100GB") == 1
    assert "checked 0 are wrong" not in capsys.readouterr().out


@pytest.mark.long
def test_the_layer_is_kept_on_request_and_found_again(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "layer-300x500.npy"
    run_small(benchmark, tmp_path, "--keep")
    expected = benchmark.ActivationLike(500).array(300)
    assert np.array_equal(np.load(path), expected)
    assert "is there already" not in capsys.readouterr().out
    run_small(benchmark, tmp_path)
    assert "is there already" in capsys.readouterr().out
    assert not path.exists()


@pytest.mark.long
def test_a_layer_that_was_not_finished_is_not_left(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(benchmark.npy, "write_rows", full)
    with pytest.raises(OSError, match="No space left"):
        run_small(benchmark, tmp_path, "--keep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_an_interrupted_search_goes_on_and_its_time_is_not_taken_for_the_whole(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = benchmark.exact_neighbors

    def interrupted(data: Any, k: int, *, work: Path, **options: Any) -> Any:
        if not work.exists():
            work.mkdir()
            (work / "block").touch()
            raise KeyboardInterrupt
        return right(data, k, **options)

    monkeypatch.setattr(benchmark, "compile_kernels", lambda d: None)
    monkeypatch.setattr(benchmark, "exact_neighbors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_small(benchmark, tmp_path)
    assert "time is that of the rest" not in capsys.readouterr().out
    run_small(benchmark, tmp_path)
    assert "time is that of the rest" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_progress_is_a_line_a_minute(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(benchmark.time, "monotonic", lambda: now[0])
    lines = benchmark.Lines()
    for done in range(0, 101, 10):
        now[0] = 13.0 * done / 10
        lines(done, 100, "tiles" if done > 50 else "")
    assert capsys.readouterr().out == "  1:05: 50 %\n  2:10: 100 % tiles\n"
