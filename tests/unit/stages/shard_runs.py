"""Runs whose graphs are built in shards, by an engine that notes what it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.augment import NoAugment
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.engine import ShardedEngine
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.stage import Context
from rra_cli.training.optimizer import SGD

N, K = 22, 6


@dataclass
class Watcher:
    """A reporter that remembers titles and notes."""

    titles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        self.titles.append(title)
        yield silent

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None: ...


@dataclass(frozen=True)
class Counting(ShardedEngine):
    """The exact search, which notes what it was asked for; `before` is called with the rows of every shard."""

    name: ClassVar[str] = "counting"
    searched: ClassVar[list[tuple[int, int]]] = []
    before: ClassVar[Any] = None

    @property
    def prefix_stable(self) -> bool:
        return True

    def search(self, activations: np.ndarray, k: int, **others: Any) -> NeighborGraph:
        self.searched.append((0, len(activations)))
        return replace(exact_neighbors(activations, k), engine=self.name)

    def search_rows(
        self, activations: np.ndarray, k: int, start: int, stop: int, **others: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        if Counting.before is not None:
            Counting.before(start, stop, others["work"])
        self.searched.append((start, stop))
        graph = exact_neighbors(activations, k)
        return graph.indices[start:stop], graph.distances[start:stop]


def forgetting() -> Iterator[None]:
    """What the engine noted is forgotten, before a test and after it."""
    Counting.searched.clear()
    Counting.before = None
    yield
    Counting.before = None


def tied_points() -> np.ndarray:
    """A grid of whole numbers: many equal distances; every row of the first ten comes again near the end."""
    points = np.random.default_rng(0).integers(0, 4, size=(N, 3)).astype(np.float32)
    points[-12:-2] = points[:10]
    return points


def experiment(tmp_path: Path) -> Experiment:
    """Two small layers with ties and duplicates, searched by `Counting`."""
    folder = tmp_path / "layers"
    folder.mkdir()
    points = tied_points()
    np.save(folder / "000_grid.npy", points)
    np.save(folder / "001_wide.npy", np.random.default_rng(1).normal(size=(N, 8)) + points[:, :1])
    return Experiment(
        name="test",
        seed=0,
        dataset=ActivationFiles(splits=("test",)),
        model=MLP(),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=Counting(k=K),
        metrics=MetricSet({"id_twonn": TwoNN()}),
        activations=ActivationsConfig(path=str(folder)),
        store=StoreConfig(str(tmp_path / "store")),
    )


def graphs(of: Experiment) -> list[GraphStage]:
    return lay_out(of).graphs


def context(of: Experiment, watcher: Watcher | None = None) -> Context:
    return Context(Store(of.store_root), watcher or Watcher(), "cpu", None)


def sharded(of: Experiment, shards: int, shard: int | None = None) -> Experiment:
    return replace(of, neighbors=replace(of.neighbors, shards=shards, shard=shard))


def elsewhere(of: Experiment, name: str) -> Experiment:
    return replace(of, store=StoreConfig(f"{of.store.root}-{name}"))


def stored(of: Experiment, stage: str) -> dict[str, bytes]:
    """Every file of a stage, by path."""
    root = of.store_root / stage
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def run(of: Experiment, folder: Path, monkeypatch: pytest.MonkeyPatch, watcher: Watcher | None = None) -> Path:
    monkeypatch.setattr(pipeline, "render", lambda *args, **kwargs: [])
    pipeline.run(of, folder, watcher or Watcher(), config={"neighbors": repr(of.neighbors)})
    return folder
