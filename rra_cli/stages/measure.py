"""Measuring: one small artifact per metric, checkpoint and split, for all layers at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import LayerData, LayerMetric, LayerPairMetric, Metric
from rra_cli.stages import costs, results
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage


@dataclass(frozen=True)
class Labelling:
    """Labels of the measured samples. identity: what decides them beyond the samples (a user's file: its hash)."""

    identity: dict[str, Any]
    labels: Callable[[], NDArray[np.int64] | None]


NO_LABELS = Labelling({}, lambda: None)


class Measurement(Stage, ABC):
    """A stage that ends in results: a few figures and small arrays. metric: what is measured. key: its column."""

    key: str
    metric: Metric

    @property
    @abstractmethod
    def point(self) -> Point:
        """Of those that it looks at, the one in whose walk it is measured."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What decides the results."""

    @abstractmethod
    def measure(self, context: Context, folder: Path) -> list[Measured]:
        """The estimates, in the order in which they are stored. folder: for work in progress."""

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.spec,)

    def done(self, store: Store) -> bool:
        return store.find(self.spec, in_full=True) is not None

    def load(self, store: Store) -> list[Measured]:
        """The stored results."""
        artifact = store.find(self.spec)
        assert artifact is not None, "a result was ensured before it is read"
        return results.load(artifact)

    def build(self, context: Context) -> None:
        with context.store.claim(self.spec, on_wait=context.reporter.note) as work:
            if self.done(context.store):
                return
            measured = self.measure(context, work.path)
            out = work.path / "result"
            files.remove(out)
            out.mkdir()
            results.save(out, measured)
            work.publish(out.name)


class Measure(Measurement, ABC):
    """A metric of the layers of one network, at one checkpoint and split.

    graphs: the layers, each with its graph and its activations; the metric's inputs say which of them are read. k:
    neighbours that it reads. per_sample: whether values by sample are kept.
    """

    name = "measure"

    def __init__(self, key: str, graphs: Sequence[GraphStage], k: int, labelling: Labelling, per_sample: bool) -> None:
        self.key, self.graphs, self.labelling, self.per_sample = key, tuple(graphs), labelling, per_sample
        self.k = self.metric.fixed_k or k
        here = f"{self.point.checkpoint.label} · {self.point.split}"
        what = f"{len(graphs)} layers" if len(graphs) > 1 else self.point.layer
        self.label = f"{key} of {what} · {here}"

    @property
    def point(self) -> Point:
        return self.graphs[0].point

    @property
    def needs(self) -> Sequence[Stage]:
        inputs = self.metric.inputs
        captures = [graph.capture for graph in self.graphs if graph.capture is not None]
        return [*(self.graphs if "graph" in inputs else ()), *(captures if "activations" in inputs else ())]

    @cached_property
    def spec(self) -> Spec:
        """The metric, what it reads of graphs, labels and activations, and the layers in their order."""
        inputs = self.metric.inputs
        identity: dict[str, Any] = {"metric": identity_of(self.metric), "per_sample": self.per_sample}
        upstream: list[str] = []
        if "graph" in inputs:
            identity["k"] = self.k
            upstream += [graph.point.graph.key for graph in self.graphs]
        if "activations" in inputs:
            upstream += [graph.point.activations.key for graph in self.graphs]
        if "labels" in inputs:
            identity["labels"] = self.labelling.identity
        return Spec(self.name, self.metric.version, identity, tuple(upstream))


class LayerMeasure(Measure):
    """A metric of every layer."""

    def __init__(
        self,
        key: str,
        metric: LayerMetric,
        graphs: Sequence[GraphStage],
        k: int,
        labelling: Labelling,
        per_sample: bool,
    ) -> None:
        self.metric: LayerMetric = metric
        super().__init__(key, graphs, k, labelling, per_sample)

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        labels = self.labelling.labels() if "labels" in self.metric.inputs else None
        return [self._measure_one(stage, labels, context) for stage in self.graphs]

    def _measure_one(self, stage: GraphStage, labels: NDArray[np.int64] | None, context: Context) -> Measured:
        graph, activations, reason = None, None, ""
        search: dict[str, Any] = {"engine": "", "recall": None}
        if "graph" in self.metric.inputs:
            graph, reason, _ = stage.read(context, self.k)
            search["engine"] = stage.engine.name if graph is None else graph.engine
            search["recall"] = None if graph is None else graph.recall
        if not reason and "activations" in self.metric.inputs:
            activations, reason = stage.open(context)
        if reason:
            estimate = Estimate(float("nan"), reason=reason)
        else:
            estimate = self.metric.measure(LayerData(graph, labels, activations))
        if isnan(estimate.value):
            context.reporter.warn(f"{self.key} of {stage.point.title}: no value, {estimate.reason}")
        figures = {**results.figures_of(estimate), **search}
        return Measured(figures, results.arrays_of(estimate, per_sample=self.per_sample))

    def cost(self) -> Cost:
        seconds, memory = 0.01 * len(self.graphs), 0
        if "activations" in self.metric.inputs:
            read = [costs.reading(stage.point.n_samples, stage.source.n_features) for stage in self.graphs]
            seconds += sum(cost.seconds for cost in read)
            memory = max(cost.memory_bytes for cost in read)
        return Cost(seconds=seconds, memory_bytes=memory, disk_bytes=20_000)


class PairMeasure(Measure):
    """A metric of all ordered pairs of layers at one pooling scale."""

    def __init__(
        self, key: str, metric: LayerPairMetric, graphs: Sequence[GraphStage], k: int, per_sample: bool
    ) -> None:
        self.metric: LayerPairMetric = metric
        super().__init__(key, graphs, k, NO_LABELS, per_sample)

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        loaded = [graph.read(context, self.k) for graph in self.graphs]
        usable = [place for place, (graph, _, _) in enumerate(loaded) if graph is not None]
        found = self.metric.measure([LayerData(graph, None) for graph, _, _ in loaded if graph is not None])
        pairs = {(usable[a], usable[b]): estimate for (a, b), estimate in found.items()}
        measured = []
        for a, b in product(range(len(loaded)), repeat=2):
            reason = loaded[a][1] or loaded[b][1]
            estimate = Estimate(float("nan"), reason=reason) if reason else pairs[a, b]
            # A symmetric pair's samples are kept once, and the diagonal's not at all.
            arrays = results.arrays_of(estimate, per_sample=self.per_sample and a < b)
            measured.append(Measured({"a": a, "b": b, **results.figures_of(estimate)}, arrays))
        return measured

    def cost(self) -> Cost:
        pairs = len(self.graphs) * (len(self.graphs) - 1) / 2
        return Cost(seconds=0.1 + costs.comparing(pairs, self.point.n_samples, self.k), disk_bytes=int(200 * pairs))
