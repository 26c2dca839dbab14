"""Small runs of pullback metrics on digits and on points of the plane, and what they wrote."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import Experiment, MetricSet, StoreConfig
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.methods.supervised import Supervised
from rra_cli.metrics.metric import Metric
from rra_cli.metrics.pullback import Pullback
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.pullback.stage import PullbackStage
from rra_cli.training.optimizer import SGD

LINE = Pullback(at="line", n=9, n_units=4, unit_points=6, dtype="float64", top=None)
PLANE = Pullback(at="plane", n=5, n_units=3, unit_points=4, dtype="float64", top=None, classes=(7, 6, 1))
GRID = Pullback(at="grid", n=12, bounds=(-1.0, 1.0), dtype="float64", curvature=True)


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def task(self, title: str) -> AbstractContextManager[Any]:
        return nullcontext(lambda done, total, note: None)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def experiment(root: Path, metrics: Mapping[str, Metric], **changes: Any) -> Experiment:
    base = Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=40),
        model=MLP(width=16, depth=2, activation="gelu"),
        method=Supervised(epochs=1, batch_size=64, milestones=1),
        augment=NoAugment(),
        optimizer=SGD(lr=0.1),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet(metrics),
        store=StoreConfig(str(root / "store")),
    )
    return replace(base, **changes)


def run(wanted: Experiment, folder: Path) -> tuple[dict[str, list[dict[str, str]]], Quiet]:
    reporter = Quiet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *_, **__: [])  # pictures have tests of their own
        pipeline.run(wanted, folder, reporter, config={})
    paths = (folder / "tables").glob("pullback*.csv")
    tables = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in paths}
    return tables, reporter


def stages(wanted: Experiment) -> list[PullbackStage]:
    return [stage for stage in lay_out(wanted).stages if isinstance(stage, PullbackStage)]
