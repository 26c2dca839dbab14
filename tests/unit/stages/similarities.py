"""A small experiment with many metrics of activations, of pairs and of labellings, and what its run wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import Experiment, MetricSet, StoreConfig
from rra_cli.core.progress import silent
from rra_cli.core.store import Store
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.canonical import CCA, SVCCA
from rra_cli.metrics.decimation import Decimation
from rra_cli.metrics.gride import Gride
from rra_cli.metrics.hsic import CKA, HSIC
from rra_cli.metrics.hubness import Hubness
from rra_cli.metrics.imbalance import InformationImbalance
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import Metric
from rra_cli.metrics.neighborhood_overlap import NeighborhoodOverlap
from rra_cli.metrics.pca_dimension import PCADimension
from rra_cli.metrics.persistence import Persistence
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.lay_out import lay_out
from rra_cli.training.optimizer import SGD

N, K = 60, 5
METRICS: dict[str, Metric] = {
    "nnls": NNLS(),
    "cka": CKA(),
    "hsic": HSIC("unbiased"),
    "cca": CCA("mean_square"),
    "svcca": SVCCA(),
    "overlap": NeighborhoodOverlap(),
    "persistence": Persistence(),
    "information_imbalance": InformationImbalance(),
    "hubness": Hubness(),
    "luminance_overlap": LabelOverlap("luminance"),
    "id_decimation": Decimation(smallest=15),
    "id_gride": Gride(rank=2),
    "pca_dimension": PCADimension(),
}
PAIRS = [name for name, metric in METRICS.items() if metric.scope == "layers" and name != "nnls"]


class Quiet:
    """Shows nothing, and remembers what was said and begun."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.begun: list[str] = []

    def task(self, title: str) -> Any:
        self.begun.append(title)
        return nullcontext(silent)

    def note(self, message: str) -> None:
        self.said.append(message)

    warn = note


def experiment(root: Path, metrics: dict[str, Metric] = METRICS, **settings: Any) -> Experiment:
    base = Experiment(
        name="toy",
        seed=0,
        dataset=Digits(n_samples=N, balanced=True, splits=("test",)),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=K),
        metrics=MetricSet(metrics, per_sample=True),
        store=StoreConfig(str(root / "store")),
    )
    return replace(base, **settings)


@contextmanager
def no_report() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        yield


def run(folder: Path, asked: Experiment) -> Quiet:
    reporter = Quiet()
    config = {"metrics": {key: {"name": metric.name} for key, metric in asked.metrics.metrics.items()}}
    with no_report():
        pipeline.run(asked, folder, reporter, config=config)
    return reporter


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def activations(root: Path) -> dict[str, np.ndarray]:
    """Of every layer, as they lie in the store."""
    store, found = Store(root / "store"), {}
    for graph in lay_out(experiment(root)).graphs:
        found[graph.point.layer] = np.array(graph.source.open(store)[0])
    return found
