"""Measuring: small results, one artifact per metric and layer (or set of layers)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import LayerData, LayerMetric, LayerPairMetric
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.stage import Context, Cost, Stage


@dataclass(frozen=True)
class Labelling:
    """Labels of the measured samples. identity: what decides them beyond the samples (a user's file: its hash)."""

    identity: dict[str, Any]
    labels: Callable[[], NDArray[np.int64] | None]


@dataclass(frozen=True)
class Measured:
    """A stored estimate: JSON figures and named arrays."""

    figures: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class LayerMeasure(Stage):
    """One metric of one layer."""

    name = "measure"

    def __init__(
        self, key: str, metric: LayerMetric, graph: GraphStage, k: int, labelling: Labelling, keep_arrays: bool
    ) -> None:
        self.key, self.metric, self.graph, self.labelling = key, metric, graph, labelling
        self.k = metric.fixed_k or k
        self.keep_arrays = keep_arrays
        self.label = f"{key} {graph.point.title}"

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.graph,)

    @cached_property
    def spec(self) -> Spec:
        """The metric, the neighbours that it reads, the labels and the graph."""
        identity = {"metric": identity_of(self.metric), "k": self.k, "per_sample": self.keep_arrays}
        if "labels" in self.metric.inputs:
            identity["labels"] = self.labelling.identity
        return Spec(self.name, self.metric.version, identity, (self.graph.point.graph.key,))

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.spec,)

    def done(self, store: Store) -> bool:
        return store.find(self.spec) is not None

    def build(self, context: Context) -> None:
        store = context.store
        with store.claim(self.spec, on_wait=context.reporter.note) as work:
            if self.done(store):
                return
            graph, reason, n_features = self.graph.load(store, self.k)
            if graph is None:
                estimate = Estimate(float("nan"), reason=reason)
            else:
                labels = self.labelling.labels() if "labels" in self.metric.inputs else None
                estimate = self.metric.measure(LayerData(graph, labels))
            if isnan(estimate.value):
                context.reporter.warn(f"{self.label}: no value, {estimate.reason}")
            out = work.path / "result"
            out.mkdir(exist_ok=True)
            figures = {
                **_figures(estimate),
                "n_features": n_features,
                "k": self.k,
                "engine": graph.engine if graph else self.graph.engine.name,
                "recall": graph.recall if graph else None,
            }
            arrays = {name: value for name, value in estimate.details.items() if isinstance(value, np.ndarray)}
            if self.keep_arrays and estimate.per_sample is not None:
                arrays["per_sample"] = estimate.per_sample
            _save(out, figures, arrays)
            work.publish(out.name)

    def load(self, store: Store) -> Measured:
        """The stored result."""
        return _load(store, self.spec)

    def cost(self) -> Cost:
        return Cost(seconds=0.05, disk_bytes=10_000)


class PairMeasure(Stage):
    """One metric of all pairs of layers of one model, at one checkpoint, split and pooling scale."""

    name = "measure"

    def __init__(
        self, key: str, metric: LayerPairMetric, graphs: Sequence[GraphStage], k: int, keep_arrays: bool
    ) -> None:
        self.key, self.metric, self.graphs, self.k, self.keep_arrays = key, metric, tuple(graphs), k, keep_arrays
        point = graphs[0].point
        self.label = f"{key} {point.checkpoint.label} · {point.split}, {len(graphs)} layers"

    @property
    def needs(self) -> Sequence[Stage]:
        return self.graphs

    @cached_property
    def spec(self) -> Spec:
        """The metric, k and the graphs in their order."""
        identity = {"metric": identity_of(self.metric), "k": self.k, "per_sample": self.keep_arrays}
        return Spec(self.name, self.metric.version, identity, tuple(graph.point.graph.key for graph in self.graphs))

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.spec,)

    def done(self, store: Store) -> bool:
        return store.find(self.spec) is not None

    def build(self, context: Context) -> None:
        store = context.store
        with store.claim(self.spec, on_wait=context.reporter.note) as work:
            if self.done(store):
                return
            loaded = [graph.load(store, self.k) for graph in self.graphs]
            usable = [position for position, (graph, _, _) in enumerate(loaded) if graph is not None]
            layers = [LayerData(graph, None) for graph, _, _ in loaded if graph is not None]
            estimates = self.metric.measure(layers)
            pairs = {(usable[a], usable[b]): estimate for (a, b), estimate in estimates.items()}
            figures: list[dict[str, Any]] = []
            arrays: dict[str, NDArray[Any]] = {}
            for a in range(len(loaded)):
                for b in range(len(loaded)):
                    reason = loaded[a][1] or loaded[b][1]
                    estimate = Estimate(float("nan"), reason=reason) if reason else pairs[a, b]
                    figures.append({"a": a, "b": b, **_figures(estimate)})
                    if self.keep_arrays and a < b and estimate.per_sample is not None:
                        arrays[f"per_sample_{a}_{b}"] = estimate.per_sample
            out = work.path / "result"
            out.mkdir(exist_ok=True)
            _save(out, {"pairs": figures, "k": self.k}, arrays)
            work.publish(out.name)

    def load(self, store: Store) -> Measured:
        """The stored result."""
        return _load(store, self.spec)

    def cost(self) -> Cost:
        pairs = len(self.graphs) * (len(self.graphs) - 1) / 2
        n, k = self.graphs[0].point.n_samples, self.k
        return Cost(seconds=0.1 + pairs * n * k * 2e-8, disk_bytes=int(200 * pairs))


def _figures(estimate: Estimate) -> dict[str, Any]:
    """The scalar part of an estimate as JSON holds it: NaN becomes null."""
    figures: dict[str, Any] = {
        "value": estimate.value,
        "std_error": estimate.std_error,
        "chance": estimate.chance,
    }
    figures = {name: None if isnan(value) else float(value) for name, value in figures.items()}
    return {**figures, "reason": estimate.reason, "n_used": int(estimate.n_used)}


def _save(folder: Path, figures: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    (folder / "result.json").write_text(json.dumps(figures, allow_nan=False))
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _load(store: Store, spec: Spec) -> Measured:
    artifact = store.find(spec)
    assert artifact is not None, "a result was ensured before it is read"
    arrays = {path.stem: np.load(path, allow_pickle=False) for path in sorted(artifact.path.glob("*.npy"))}
    return Measured(json.loads((artifact.path / "result.json").read_text()), arrays)
