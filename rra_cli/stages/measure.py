"""Measuring: one small artifact per metric, checkpoint and split, for all layers at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
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
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import PLAIN, LayerData, LayerMetric, LayerPairMetric, Metric, Workshop
from rra_cli.stages import metric_costs, results
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.point import Point
from rra_cli.stages.result_stage import ResultStage
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage


@dataclass(frozen=True)
class Labelling:
    """Labels of the measured samples. identity: what decides them beyond the samples (a user's file: its hash).

    labels: `(n,)` int64 classes; of a quantity float64.
    """

    identity: dict[str, Any]
    labels: Callable[[], NDArray[Any] | None]


NO_LABELS = Labelling({}, lambda: None)


class Measurement(ResultStage, ABC):
    """The results of a metric. metric: what is measured. key: its column."""

    key: str
    metric: Metric

    @property
    @abstractmethod
    def point(self) -> Point:
        """Of those that it looks at, the one in whose walk it is measured."""

    def warn_of_pairs(self, measured: Sequence[Measured], context: Context) -> None:
        """A line a reason for which pairs of layers have no value, with their number."""
        reasons = Counter(each.figures["reason"] for each in measured if each.figures["value"] is None)
        for reason, count in reasons.items():
            context.reporter.warn(f"{self.label}: no value at {count} of {len(measured)} pairs, {reason}")


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
        pooled = "" if self.point.pooling.pool == "none" else f" {self.point.pooling.title}"
        self.label = f"{key} of {what}{pooled} · {here}"

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

    @contextmanager
    def features(
        self, stage: GraphStage, context: Context, folder: Path
    ) -> Iterator[tuple[NDArray[np.floating] | None, str]]:
        """The activations that the metric reads, and why it cannot; beside a graph as that was searched in them."""
        if "activations" not in self.metric.inputs:
            yield None, ""
        elif "graph" in self.metric.inputs:
            with stage.opened(context, folder) as found:
                yield found
        else:
            yield stage.open(context)


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
        return [self._measure_one(stage, labels, context, folder) for stage in self.graphs]

    def _measure_one(self, stage: GraphStage, labels: NDArray[Any] | None, context: Context, folder: Path) -> Measured:
        graph, reason = None, ""
        search: dict[str, Any] = {"engine": "", "recall": None}
        if "graph" in self.metric.inputs:
            graph, reason, _ = stage.read(context, self.k)
            search["engine"] = stage.engine.name if graph is None else graph.engine
            search["recall"] = None if graph is None else graph.recall
        with self.features(stage, context, folder) as (activations, missing):
            reason = reason or missing
            if reason:
                estimate = Estimate(float("nan"), reason=reason)
            else:
                workshop = Workshop(context.device, context.memory, folder)
                estimate = self.metric.measure(LayerData(graph, labels, activations, workshop))
        if isnan(estimate.value):
            context.reporter.warn(f"{self.key} of {stage.point.title}: no value, {estimate.reason}")
        figures = {**results.figures_of(estimate), **search}
        return Measured(figures, results.arrays_of(estimate, per_sample=self.per_sample))

    def cost(self) -> Cost:
        return metric_costs.of_layers(self.metric, self.point.n_samples, [g.source.n_features for g in self.graphs])


class PairMeasure(Measure):
    """A metric of all ordered pairs of layers at one pooling scale."""

    def __init__(
        self, key: str, metric: LayerPairMetric, graphs: Sequence[GraphStage], k: int, per_sample: bool
    ) -> None:
        self.metric: LayerPairMetric = metric
        super().__init__(key, graphs, k, NO_LABELS, per_sample)

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        with ExitStack() as stack:
            loaded = [self._load(graph, context, folder / str(at), stack) for at, graph in enumerate(self.graphs)]
            usable = [place for place, (data, _) in enumerate(loaded) if data is not None]
            workshop = PLAIN
            if "activations" in self.metric.inputs:  # which takes long
                progress = stack.enter_context(context.reporter.task(self.title))
                workshop = Workshop(context.device, context.memory, folder, progress)
            data = [replace(each, workshop=workshop) for each, _ in loaded if each is not None]
            found = self.metric.measure(data) if data else {}
        pairs = {(usable[a], usable[b]): estimate for (a, b), estimate in found.items()}
        measured = []
        for a, b in product(range(len(loaded)), repeat=2):
            reason = loaded[a][1] or loaded[b][1]
            estimate = Estimate(float("nan"), reason=reason) if reason else pairs[a, b]
            # A symmetric pair's samples are kept once, and the diagonal's not at all.
            keep = self.per_sample and (a < b or (a > b and not self.metric.symmetric))
            arrays = results.arrays_of(estimate, per_sample=keep)
            measured.append(Measured({"a": a, "b": b, **results.figures_of(estimate)}, arrays))
        self.warn_of_pairs(measured, context)
        return measured

    def _load(
        self, stage: GraphStage, context: Context, folder: Path, stack: ExitStack
    ) -> tuple[LayerData | None, str]:
        """What the metric reads of a layer, as long as the stack is open; or None with the reason."""
        graph, reason = None, ""
        if "graph" in self.metric.inputs:
            graph, reason, _ = stage.read(context, self.k)
        if reason:
            return None, reason
        if "activations" in self.metric.inputs:
            files.make_folder(folder)
        activations, reason = stack.enter_context(self.features(stage, context, folder))
        return (None, reason) if reason else (LayerData(graph, None, activations), "")

    def cost(self) -> Cost:
        widths = [graph.source.n_features for graph in self.graphs]
        return metric_costs.of_pairs(self.metric, self.point.n_samples, widths, self.k)
