"""The script that times training steps: what it times is what it says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from rra_cli.data.augment_views import RandomViews

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SMALL = ("method.batch_size=8",)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training_step

    return training_step


@pytest.fixture
def peer(benchmark: ModuleType) -> ModuleType:
    import training_peer

    return training_peer


@pytest.fixture
def job(benchmark: ModuleType) -> Any:
    lenet = [text for text in benchmark.ROWS[1].overrides if not text.startswith("method.batch_size")]
    return benchmark.job_of((*lenet, *SMALL), 32)


def test_the_clock_runs_from_step_to_step_and_not_between(
    benchmark: ModuleType, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call of the loop's clock takes a second here; a hundred pass between."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    def between() -> None:
        now[0] += 100.0

    paced = benchmark.Paced(1, between, "cpu", benchmark.looks(job), 4)
    monkeypatch.setattr(benchmark.time, "perf_counter", tick)
    benchmark.train(job, "cpu", paced)
    assert paced.times == [1.0, 1.0, 1.0], "four steps of 8, the first of which starts the clock"


def test_an_epoch_of_ours_is_timed(peer: ModuleType, job: Any) -> None:
    assert 0 < peer.our_epoch(job) < 60


def test_the_usual_transforms_are_those_of_the_augmentation(benchmark: ModuleType, peer: ModuleType, job: Any) -> None:
    for row in benchmark.ROWS:
        one = benchmark.job_of(row.overrides, 512)
        transform = peer.torchvision_pipeline(one.augment, one)
        view = transform(torch.from_numpy(one.train.images[0]))
        assert view.dtype == torch.float32
        assert tuple(view.shape) == one.train.images.shape[1:]
    with pytest.raises(ValueError, match=r"\['solarize'\] are not translated"):
        peer.torchvision_pipeline(RandomViews(solarize=0.5), job)
