"""The script that times curvature compares two ways that agree."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import curvature

    return curvature


def test_both_ways_agree_and_a_missed_target_fails(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "TARGET", 600.0)
    assert benchmark.main(["--side", "3", "--repeats", "1"]) == 0
    assert "3 x 3 points" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "TARGET", 0.0)
    monkeypatch.setattr(benchmark, "verdict", lambda value, target: "missed")
    assert benchmark.main(["--side", "3", "--repeats", "1"]) == 1
