"""Engines beside exact search: the same layers searched by each, and measured by the same metrics.

The graphs and the results of a compared engine are the artifacts that a run with that engine alone has, so that
nothing is searched or measured twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import isnan
from typing import Any

import numpy as np

from rra_cli.config.experiment import Comparison
from rra_cli.core.store import Store
from rra_cli.errors import UserError, did_you_mean
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.report.tables.schema import EXACT
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.graphs.engines import LayerEngines
from rra_cli.stages.graphs.graph import GraphStage, searched
from rra_cli.stages.keys import graph_spec
from rra_cli.stages.measure import LayerMeasure, PairMeasure

Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """What one engine finds in the layers of one checkpoint and split.

    search: its name in `compare.engines`. exact: of each of its graphs, that of exact search. layers, pairs: its
    measurements, each with the one of the exact graphs.
    """

    search: str
    exact: Mapping[GraphStage, GraphStage]
    layers: tuple[tuple[LayerMeasure, LayerMeasure], ...]
    pairs: tuple[tuple[PairMeasure, PairMeasure], ...]

    @property
    def graphs(self) -> tuple[GraphStage, ...]:
        """Its graphs, in the layers' order."""
        return tuple(self.exact)

    @property
    def measures(self) -> list[LayerMeasure | PairMeasure]:
        """Its measurements."""
        return [*(mine for mine, _ in self.layers), *(mine for mine, _ in self.pairs)]


def check_comparison(comparison: Comparison, engine: Engine, layers: Sequence[str]) -> None:
    """Raises `UserError` where there is nothing exact to compare with, or where more than the search would differ."""
    if not isinstance(engine, ExactEngine):
        raise UserError(
            f"compare.engines are compared with exact search, but neighbors={engine.name}",
            "use neighbors=exact, and put the other engine into compare.engines",
        )
    for name, other in comparison.engines.items():
        if name == EXACT:
            raise UserError(
                f"compare.engines.{name} has the name of what it is compared with", "give it another name of yours"
            )
        if other.k not in (None, engine.k):
            asked = engine.k or "N / (10 C)"
            raise UserError(
                f"compare.engines.{name}.k is {other.k}, but graphs of k = {asked} are compared",
                "leave it out and set neighbors.k, which holds for all of them",
            )
        if other.preprocess != engine.preprocess:
            raise UserError(
                f"compare.engines.{name}.preprocess is {other.preprocess}, but neighbors.preprocess is "
                f"{engine.preprocess}: their graphs would differ by more than the search",
                "give both the same preprocessing",
            )
    for pattern in comparison.layers:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise UserError(
                f"compare.layers names {pattern!r}, which matches no layer: {did_you_mean(pattern, layers)}",
                "names are those of layers.csv; leave it empty for all layers",
            )


def compare(
    comparison: Comparison,
    graphs: Sequence[GraphStage],
    measures: Sequence[LayerMeasure | PairMeasure],
    k: int,
) -> list[Compared]:
    """All engines beside exact search. graphs, measures: of the exact engine at one checkpoint and split."""
    wanted = [graph for graph in graphs if _is_wanted(comparison, graph.point.layer)]
    found = []
    for name, engine in comparison.engines.items():
        exact = _searched_by(name, engine, wanted)
        layers, pairs = [], []
        for measure in measures:
            row = [graph for graph in exact if exact[graph] in measure.graphs]
            if isinstance(measure, LayerMeasure):
                layers.append((LayerMeasure(measure.key, measure.metric, row, k, measure.labelling, False), measure))
                continue
            pairs.append((PairMeasure(measure.key, measure.metric, row, k, False), measure))
        found.append(Compared(name, exact, tuple(layers), tuple(pairs)))
        for stage in found[-1].measures:
            stage.label = f"{name}: {stage.label}"
    return found


def _is_wanted(comparison: Comparison, layer: str) -> bool:
    return not comparison.layers or any(fnmatchcase(layer, pattern) for pattern in comparison.layers)


def _searched_by(name: str, engine: Engine, graphs: Sequence[GraphStage]) -> dict[GraphStage, GraphStage]:
    """The graphs of another engine, each with the one that is there."""
    engines = LayerEngines(engine, graphs[0].point.n_samples, graphs[0].k)
    found = {}
    for graph in graphs:
        mine, start = engines.of(graph.point.pooling, graph.source.n_features)
        upstream = None if start is None else start.point.graph
        point = replace(graph.point, graph=graph_spec(mine, graph.point.activations, graph.k, upstream))
        stage = GraphStage(point, graph.source, graph.capture, mine, graph.k, start)
        if isinstance(graph.capture, LayerCapture):
            graph.capture.readers.append(stage)
        stage.label = f"{name}: {stage.label}"
        engines.add(stage)
        found[stage] = graph
    return found


def engine_rows(compared: Compared, store: Store) -> Rows:
    """Of every layer, metric and graph of the engine: values, and how far they are from those of the exact graph.

    A metric of pairs has the means over the layer's pairs with the other compared layers, and as error the mean of
    the absolute differences. Each row comes with its graph, for the columns that all tables share.
    """
    for mine, theirs in compared.layers:
        values, exact = _layer_values(mine, store), _layer_values(theirs, store)
        for graph in mine.graphs:
            value, reason = values[graph]
            reference = compared.exact[graph]
            true = exact[reference][0]
            yield {
                "graph": graph,
                "metric": mine.key,
                "value": value,
                "exact": true,
                "error": value - true,
                "reason": reason or exact[reference][1],
            }
    for pair_mine, pair_theirs in compared.pairs:
        pairs, exact_pairs = _pair_values(pair_mine, store), _pair_values(pair_theirs, store)
        for graph in pair_mine.graphs:
            others = [other for other in pair_mine.graphs if other is not graph]
            here = [pairs[graph, other] for other in others]
            there = [exact_pairs[compared.exact[graph], compared.exact[other]] for other in others]
            whole = [at for at in range(len(others)) if not isnan(here[at]) and not isnan(there[at])]
            yield {
                "graph": graph,
                "metric": pair_mine.key,
                "value": _mean([here[at] for at in whole]),
                "exact": _mean([there[at] for at in whole]),
                "error": _mean([abs(here[at] - there[at]) for at in whole]),
                "reason": "" if whole else "no other compared layer has a value",
            }


def found_by(graph: GraphStage, store: Store) -> dict[str, Any]:
    """The layer whose graph the search started from ("" for none), the engine that built the graph, and its recall."""
    artifact = graph.find(store)
    assert artifact is not None, "the graph was ensured before it is read"
    engine, recall = searched(artifact.path, graph.engine)
    warm = isinstance(graph.engine, PynndescentEngine) and graph.start is not None
    start = graph.start.point.layer if warm and graph.start is not None else ""
    return {"start": start, "engine": engine, "recall": recall}


def _layer_values(stage: LayerMeasure, store: Store) -> dict[GraphStage, tuple[float, str]]:
    results = stage.load(store)
    return {
        graph: (_number(measured.figures["value"]), measured.figures["reason"])
        for graph, measured in zip(stage.graphs, results, strict=True)
    }


def _pair_values(stage: PairMeasure, store: Store) -> dict[tuple[GraphStage, GraphStage], float]:
    return {
        (stage.graphs[measured.figures["a"]], stage.graphs[measured.figures["b"]]): _number(measured.figures["value"])
        for measured in stage.load(store)
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
