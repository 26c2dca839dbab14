"""A small experiment whose stages are planned, and who runs it where so much disk is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.progress import Progress, silent
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.training.optimizer import SGD

FREED = ActivationsConfig(keep="until_measured")


@dataclass
class Watcher:
    """A reporter that remembers the notes."""

    notes: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        yield silent

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None: ...


def experiment(root: Path) -> Experiment:
    """On digits, without training: one metric of 300 and 200 samples."""
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples={"train": 300, "test": 200}),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet({"id_twonn": TwoNN()}),
        activations=ActivationsConfig(),
        store=StoreConfig(str(root / "store")),
    )


def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watcher]:
    """Runs an experiment without plots, with so much free disk."""
    monkeypatch.setattr("rra_cli.pipeline.render", lambda *args, **kwargs: [])

    def call(experiment: Experiment, name: str = "run", *, free: int = 10**15) -> Watcher:
        watcher = Watcher()
        monkeypatch.setattr("rra_cli.core.resources.free_disk", lambda path: free)
        pipeline.run(experiment, tmp_path / name, watcher, config={"keep": experiment.activations.keep})
        return watcher

    return call
