"""A small experiment with altered samples or altered copies of them, and what its run wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.progress import Progress, silent
from rra_cli.data.alterations.alteration import Alteration
from rra_cli.data.alterations.augmented import Augmented
from rra_cli.data.alterations.noise import Noise
from rra_cli.data.augment import NoAugment
from rra_cli.data.augment_views import RandomViews
from rra_cli.data.digits import Digits
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.metric import Metric
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.layout import Layout
from rra_cli.training.optimizer import SGD

FREED = ActivationsConfig(keep="until_measured")
NOISE = Noise(level=0.02)  # digits use a 16th of the range of pixels
FLIP = Augmented(augment=RandomViews(flip=1.0))
METRICS: dict[str, Metric] = {"id_twonn": TwoNN(), "nncs": NNCS()}
COPIES = {"copy_nnls", "copy_overlap", "copy_distance", "copy_distance_median", "copy_cosine"}


@dataclass
class Watcher:
    """A reporter that remembers the tasks and notes."""

    told: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.told.append(title)
        yield silent

    def note(self, message: str) -> None:
        self.told.append(message)

    def warn(self, message: str) -> None:
        self.told.append(message)

    def begun(self, what: str) -> list[str]:
        return [told for told in self.told if told.startswith(what)]


def experiment(root: Path) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=120, splits=("test",)),
        model=MLP(width=16, depth=1),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=5),
        metrics=MetricSet(METRICS),
        activations=ActivationsConfig(),
        store=StoreConfig(str(root / "store")),
    )


def with_copies(base: Experiment, **alterations: Alteration) -> Experiment:
    return replace(base, invariance=alterations)


def run(chosen: Experiment, name: str = "run") -> tuple[Path, Watcher]:
    """The tables of a run without plots, and what was told."""
    folder, watcher = Path(chosen.store_root).parent / name, Watcher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(chosen, folder, watcher, config={"name": name})
    return folder / "tables", watcher


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def captured(layout: Layout) -> dict[str, str]:
    """Layer -> key of its activations."""
    return {graph.point.layer: graph.point.activations.key for graph in layout.graphs}
