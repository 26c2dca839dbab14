"""All results of a run, each read once from the store, and the columns that say which layer or pair they are of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from rra_cli.core.store import Store
from rra_cli.report.tables.schema import SEARCH
from rra_cli.stages.across_scales import AcrossScales
from rra_cli.stages.graphs.graph import GraphStage, searched
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import LayerMeasure, PairMeasure
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.to_last import ToLast
from rra_cli.stages.transfer import TransferMeasure
from rra_cli.stages.uncertainty.study import uncertainty_of

Columns = dict[str, Any]
OfPairs = PairMeasure | AcrossScales | ToLast
OfLayers = LayerMeasure | TransferMeasure


class RunResults:
    """What was measured for a layout, with intervals and null distributions where they were asked for.

    Results only: no times, no paths, so equal runs give equal columns.
    """

    def __init__(self, layout: Layout, store: Store) -> None:
        self.layout, self.store = layout, store
        asked = uncertainty_of(layout)
        told = partial(asked.told, store=store) if asked else lambda _, results: results
        self._layers = [(stage, told(stage, stage.load(store))) for stage in layout.layers]
        pairs: list[OfPairs] = [*layout.pairs, *layout.across, *layout.to_last]
        self._pairs = [(stage, told(stage, stage.load(store))) for stage in pairs]
        self._probes = [(stage, told(stage, stage.load(store))[0]) for stage in layout.probes]
        self._searched: dict[Point, Columns] = {
            graph.point: own_search(measured)
            for stage, graph, measured in self.layers()
            if "graph" in stage.metric.inputs
        }

    def layers(self) -> Iterator[tuple[LayerMeasure, GraphStage, Measured]]:
        """Every value of a layer of the experiment's own data, with the layer's graph."""
        for stage, results in self._layers:
            for graph, measured in zip(stage.graphs, results, strict=True):
                yield stage, graph, measured

    def layers_with(self, array: str, *, once: bool = False) -> Iterator[tuple[LayerMeasure, GraphStage, Measured]]:
        """Those with that array; once: of every layer the first alone, where all metrics have the same."""
        seen: set[Point] = set()
        for stage, graph, measured in self.layers():
            if array in measured.arrays and not (once and graph.point in seen):
                seen.add(graph.point)
                yield stage, graph, measured

    def values(self) -> Iterator[tuple[OfLayers, Point, Measured]]:
        """Every value of a layer, with the point whose row it stands in; probes belong to the test split."""
        for stage, graph, measured in self.layers():
            yield stage, graph.point, measured
        for probe, measured in self._probes:
            yield probe, probe.point, measured

    def pairs(self) -> Iterator[tuple[OfPairs, Measured]]:
        """Every value of an ordered pair of layers."""
        for stage, results in self._pairs:
            for measured in results:
                yield stage, measured

    def place(self, point: Point) -> Columns:
        """The columns that all tables of layers share."""
        training = self.layout.training
        return {
            "checkpoint": point.checkpoint.label,
            "epoch": None if training is None else training.epoch_of(self.store, point.checkpoint),
            "split": point.split,
            "layer": point.layer,
            "index": point.index,
            "pool": point.pooling.pool,
            "scale": point.pooling.scale,
            "subset": 0,
            "n_samples": point.n_samples,
        }

    def place_of_metric(self, stage: LayerMeasure | OfPairs, graph: GraphStage) -> Columns:
        """The same with the neighbours asked for and the metric."""
        return {**self.place(graph.point), "k": graph.point.k, "metric": stage.key}

    def place_of_pair(self, stage: OfPairs, measured: Measured) -> Columns:
        """The columns that all tables of pairs of layers share."""
        sides = {side: stage.graphs[measured.figures[side]].point for side in ("a", "b")}
        columns: Columns = {}
        for side, point in sides.items():
            columns[f"model_{side}"] = self.layout.model
            columns[f"checkpoint_{side}"] = point.checkpoint.label
            columns[f"split_{side}"] = point.split
            columns[f"layer_{side}"] = point.layer
            columns[f"pool_{side}"] = point.pooling.pool
            columns[f"scale_{side}"] = point.pooling.scale
        return {**columns, "subset": 0, "n_samples": sides["a"].n_samples, "k": sides["a"].k}

    def search(self, graph: GraphStage) -> Columns:
        """How a graph was searched, as its results say; where only pairs of layers were measured, as the graph says.

        Where nothing reads graphs, none was searched.
        """
        found = self._searched.get(graph.point)
        if found is None and not self.layout.reads_graphs:
            found = self._searched[graph.point] = {"engine": "", "recall": None}
        if found is None:
            artifact = graph.find(self.store)
            engine, recall = (graph.engine.name, None) if artifact is None else searched(artifact.path, graph.engine)
            found = self._searched[graph.point] = {"engine": engine, "recall": recall}
        return found

    def searches(self, stage: OfPairs, measured: Measured) -> Columns:
        """The same of both sides of a pair; of a metric of activations alone, none."""
        if "graph" not in stage.metric.inputs:
            return {f"{name}_{side}": "" if name == "engine" else None for name in SEARCH for side in ("a", "b")}
        sides = {side: self.search(stage.graphs[measured.figures[side]]) for side in ("a", "b")}
        return {f"{name}_{side}": value for side, found in sides.items() for name, value in found.items()}


def own_search(measured: Measured) -> Columns:
    """How the graph was searched that a value rests on."""
    return {name: measured.figures[name] for name in SEARCH}
