"""The script behind the figures of permutation nulls, on sizes that take no time."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rra_cli.metrics.permutation_moments import Moments, pearson_p


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    import nulls

    return nulls


def test_every_kind_of_layers_has_a_share_for_every_level(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "PERMUTATIONS", 400)
    benchmark.laws(24)
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(lines) == 2 * len(benchmark.kinds(24, np.random.default_rng(0)))
    shares = np.array([[float(cell) for cell in line[4:7]] for line in lines])
    assert (np.abs(shares[:, 0] - 0.05) < 0.06).all(), "what has a p of 0.05 is about as rare"


def test_the_value_beyond_which_a_share_lies_has_that_p(benchmark: ModuleType) -> None:
    moments = Moments(3.0, 2.0, 0.7)
    for level in benchmark.LEVELS:
        assert pearson_p(3.0 + benchmark.beyond(level, moments), moments) == pytest.approx(level)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_costs_are_told_of_every_width(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "WIDTHS", (5, 5, 3))
    benchmark.costs(60, 3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1:3] for line in lines[2:4]] == [[" 5 ", " 2 "], [" 3 ", " 1 "]]
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["all", "planned, seconds of 4 threads"]
