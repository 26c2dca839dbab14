"""From stored results to the rows of a run folder's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import nan
from typing import Any

import numpy as np

from rra_cli.core.store import Store
from rra_cli.data.alterations.alteration import title
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import Metric
from rra_cli.report.per_sample import Block, in_order
from rra_cli.report.schema import ALTER, EXACT, SEARCH, UNCERTAINTY
from rra_cli.stages.across_scales import AcrossScales
from rra_cli.stages.compare import engine_rows, found_by
from rra_cli.stages.curve_tables import dimension_scale_rows, graph_list_rows, occurrence_rows
from rra_cli.stages.graph import GraphStage, searched
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import LayerMeasure, PairMeasure
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.scale_tables import ScaleValue, scale_tables
from rra_cli.stages.to_last import ToLast
from rra_cli.stages.transfer import TransferMeasure
from rra_cli.stages.uncertainty import uncertainty_of

Rows = list[dict[str, Any]]

PER_SAMPLE = "per_sample"  # the array of a result that holds a value for every sample


class Tabulator:
    """Reads every result once and gives the tables. Results only: no times, no paths, so equal runs give equal rows."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self.layout, self.store = layout, store
        asked = uncertainty_of(layout)
        told = partial(asked.told, store=store) if asked else lambda _, results: results
        self._layers = [(stage, told(stage, stage.load(store))) for stage in layout.layers]
        pairs: list[PairMeasure | AcrossScales | ToLast] = [*layout.pairs, *layout.across, *layout.to_last]
        self._pairs = [(stage, told(stage, stage.load(store))) for stage in pairs]
        self._probes = [(stage, stage.load(store)[0]) for stage in layout.probes]
        self._searched: dict[Point, dict[str, Any]] = {
            graph.point: _search(measured)
            for stage, graph, measured in self._measured_layers()
            if "graph" in stage.metric.inputs
        }
        # The key of the metric that nnls.csv is about: another NNLS, of other settings, is one of the pairs' metrics.
        self._nnls = next((stage.key for stage in layout.pairs if _is_nnls(stage.metric)), None)

    def tables(self) -> dict[str, Rows]:
        """All tables by name."""
        tables = {
            "layers": list(self._layer_rows()),
            "metrics": list(self._metric_rows()),
            "nnls": list(self._nnls_rows()),
            "mu": list(self._quantile_rows()),
        }
        if spectra := list(self._spectrum_rows()):
            tables["spectra"] = spectra
        for name, rows_of in (("dimension_scales", dimension_scale_rows), ("occurrences", occurrence_rows)):
            if rows := list(self._detail_rows(rows_of)):
                tables[name] = rows
        if lists := list(self._list_rows()):
            tables["graph_lists"] = lists
        if any(stage.key != self._nnls for stage in self.layout.pairs):
            tables["pairs"] = list(self._pair_rows())
        if self.layout.experiment.metrics.per_class:
            tables["per_class"] = list(self._class_rows())
            tables["class_neighbors"] = list(self._class_neighbor_rows())
        tables |= scale_tables(list(self._scale_values()))
        if self.layout.compared:
            tables["engines"] = list(self._engine_rows())
        for study in self.layout.studies:
            tables |= study.tables(self.store, self._common)
        alter = self.layout.experiment.alter
        if not alter.is_none:
            tables = {name: [{**row, ALTER: title(alter)} for row in rows] for name, rows in tables.items()}
        return tables

    def search_times(self) -> Rows:
        """What the searches of the compared engines and of the exact one took: a row a graph.

        Not among the tables: equal runs have other times.
        """
        searches = {(EXACT, graph): graph for each in self.layout.compared for graph in each.exact.values()}
        searches |= {(each.search, graph): graph for each in self.layout.compared for graph in each.graphs}
        rows = []
        for (search, _), graph in searches.items():
            row = {**self._common(graph.point), "n_features": graph.source.n_features, "k": graph.point.k}
            found = {"search": search, **found_by(graph, self.store), "seconds": graph.seconds(self.store)}
            rows.append({**row, **found})
        return rows

    def per_sample(self) -> dict[str, list[Block]]:
        """Values by sample, where they were asked for, by metric of layers; a block a layer.

        The values are mapped from the store: they take memory while they are read, not before.
        """
        blocks: dict[str, list[Block]] = {}
        for stage, point, measured in self._measured():
            if PER_SAMPLE in measured.arrays:
                columns = {**self._common(point), "k": _k(point, stage), **_search(measured), "dataset": point.dataset}
                blocks.setdefault(stage.key, []).append(self._block(point, columns, measured))
        return {key: in_order(found) for key, found in blocks.items()}

    def per_sample_pairs(self) -> dict[str, list[Block]]:
        """The same by metric of pairs of layers; a block a pair, each pair once."""
        blocks: dict[str, list[Block]] = {}
        for stage, measured in self._measured_pairs():
            if PER_SAMPLE in measured.arrays:
                columns = {**self._pair(stage, measured), **self._searches(stage, measured)}
                block = self._block(stage.graphs[0].point, columns, measured)
                blocks.setdefault(stage.key, []).append(block)
        return {key: in_order(found) for key, found in blocks.items()}

    def _block(self, point: Point, columns: dict[str, Any], measured: Measured) -> Block:
        return Block(columns, self.layout.images(point).sample_ids(point.split), measured.arrays[PER_SAMPLE])

    def _measured_layers(self) -> Iterator[tuple[LayerMeasure, GraphStage, Measured]]:
        for stage, results in self._layers:
            for graph, measured in zip(stage.graphs, results, strict=True):
                yield stage, graph, measured

    def _measured(self) -> Iterator[tuple[LayerMeasure | TransferMeasure, Point, Measured]]:
        """Every value of a layer, with the point whose row it stands in; probes belong to the test split."""
        for stage, graph, measured in self._measured_layers():
            yield stage, graph.point, measured
        for probe, measured in self._probes:
            yield probe, probe.point, measured

    def _measured_pairs(self) -> Iterator[tuple[PairMeasure | AcrossScales | ToLast, Measured]]:
        for stage, results in self._pairs:
            for measured in results:
                yield stage, measured

    def _common(self, point: Point) -> dict[str, Any]:
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

    def _layer_rows(self) -> Iterator[dict[str, Any]]:
        """One row a layer, one column a metric; those of other data sets behind the experiment's own."""
        values: dict[Point, dict[str, Any]] = {graph.point: {} for graph in self.layout.graphs}
        for stage, point, measured in self._measured():
            row = values.setdefault(point, {})
            row[stage.key] = measured.figures["value"]
            if measured.figures["chance"] is not None:
                row[f"{stage.key}_chance"] = measured.figures["chance"]
        places = [(graph.view, self._search(graph)) for graph in self.layout.graphs]
        others = {probe.point: probe.test for probe, _ in self._probes if probe.point.dataset}
        places += [(view, {"engine": "", "recall": None}) for view in others.values()]
        for view, search in places:
            point = view.point
            row = {**self._common(point), "n_features": view.source.n_features, "k": _k(point), **values[point]}
            yield {**row, "stage": point.stage, **search, "dataset": point.dataset}

    def _metric_rows(self) -> Iterator[dict[str, Any]]:
        """One row a layer and metric."""
        names = ("value", "std_error", "chance", "n_used", "reason", "engine", "recall")
        for stage, point, measured in self._measured():
            figures = {name: measured.figures[name] for name in names}
            row = {**self._common(point), "k": _k(point, stage), "metric": stage.key, **figures}
            yield {**row, "dataset": point.dataset, **_uncertainty(measured)}

    def _scale_values(self) -> Iterator[ScaleValue]:
        """Every metric of neighbour graphs, layer and scale."""
        for stage, graph, measured in self._measured_layers():
            if "graph" in stage.metric.inputs:
                point, figures = graph.point, measured.figures
                value, error = (nan if figures[name] is None else figures[name] for name in ("value", "std_error"))
                yield ScaleValue(
                    common={**self._common(point), "k": point.k, "metric": stage.key},
                    stage=point.stage,
                    pooling=point.pooling,
                    shape=graph.source.shape,
                    is_purity=stage.metric.name == NNCS.name,
                    value=value,
                    error=error,
                    reason=figures["reason"],
                    search=_search(measured),
                )

    def _nnls_rows(self) -> Iterator[dict[str, Any]]:
        """One row an ordered pair of layers."""
        for stage, measured in self._measured_pairs():
            if stage.key == self._nnls:
                figures = {name: measured.figures[name] for name in ("chance", "std_error", "reason")}
                row = {**self._pair(stage, measured), "nnls": measured.figures["value"], **figures}
                yield {**row, **self._searches(stage, measured), **_uncertainty(measured)}

    def _pair_rows(self) -> Iterator[dict[str, Any]]:
        """One row an ordered pair of layers and metric, of those that are not in nnls.csv."""
        for stage, measured in self._measured_pairs():
            if stage.key != self._nnls:
                figures = {name: measured.figures[name] for name in ("value", "chance", "std_error", "reason")}
                row = {**self._pair(stage, measured), "metric": stage.key, **figures}
                yield {**row, **self._searches(stage, measured), **_uncertainty(measured)}

    def _engine_rows(self) -> Iterator[dict[str, Any]]:
        """One row a compared engine, layer and metric."""
        for each in self.layout.compared:
            for row in engine_rows(each, self.store):
                graph = row.pop("graph")
                common = {**self._common(graph.point), "k": graph.point.k, "search": each.search}
                yield {**common, **row, **found_by(graph, self.store)}

    def _pair(self, stage: PairMeasure | AcrossScales | ToLast, measured: Measured) -> dict[str, Any]:
        sides = {side: stage.graphs[measured.figures[side]].point for side in ("a", "b")}
        columns: dict[str, Any] = {}
        for side, point in sides.items():
            columns[f"model_{side}"] = self.layout.model
            columns[f"checkpoint_{side}"] = point.checkpoint.label
            columns[f"split_{side}"] = point.split
            columns[f"layer_{side}"] = point.layer
            columns[f"pool_{side}"] = point.pooling.pool
            columns[f"scale_{side}"] = point.pooling.scale
        return {**columns, "subset": 0, "n_samples": sides["a"].n_samples, "k": sides["a"].k}

    def _search(self, graph: GraphStage) -> dict[str, Any]:
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

    def _searches(self, stage: PairMeasure | AcrossScales | ToLast, measured: Measured) -> dict[str, Any]:
        """The same of both sides of a pair; of a metric of activations alone, none."""
        if "graph" not in stage.metric.inputs:
            return {f"{name}_{side}": "" if name == "engine" else None for name in SEARCH for side in ("a", "b")}
        sides = {side: self._search(stage.graphs[measured.figures[side]]) for side in ("a", "b")}
        return {f"{name}_{side}": value for side, found in sides.items() for name, value in found.items()}

    def _quantile_rows(self) -> Iterator[dict[str, Any]]:
        """The distribution of the TwoNN ratio μ at fixed quantiles; the same whatever fit looked at it."""
        for _, graph, measured in self._first_with("mu_quantiles"):
            common = self._common(graph.point)
            quantiles = measured.arrays["mu_quantiles"]
            for level, mu in zip(np.linspace(0.0, 1.0, len(quantiles)), quantiles, strict=True):
                yield {**common, "quantile": float(level), "mu": float(mu), **self._search(graph)}

    def _spectrum_rows(self) -> Iterator[dict[str, Any]]:
        """Eigenvalues by rank, thinned out."""
        for stage, graph, measured in self._measured_layers():
            if "spectrum" not in measured.arrays:
                continue
            common, values = {**self._common(graph.point), "metric": stage.key}, measured.arrays["spectrum"]
            for rank in shown_ranks(int(np.count_nonzero(~np.isnan(values)))):
                yield {**common, "rank": rank, "eigenvalue": float(values[rank - 1])}

    def _detail_rows(self, rows_of: Callable[[dict[str, Any]], Iterable[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        """What a metric tells beside its value, of every layer; `rows_of` makes rows of its arrays."""
        for stage, graph, measured in self._measured_layers():
            common = {**self._common(graph.point), "k": graph.point.k, "metric": stage.key, **_search(measured)}
            for row in rows_of(measured.arrays):
                yield {**common, **row}

    def _list_rows(self) -> Iterator[dict[str, Any]]:
        """What variants of the graph made of its lists, by layer and metric."""
        pairs = (
            (stage, stage.graphs[measured.figures["a"]], measured)
            for stage, measured in self._measured_pairs()
            if "list_mean" in measured.arrays
        )
        for stage, graph, measured in (*self._measured_layers(), *pairs):
            common = {**self._common(graph.point), "k": graph.point.k, "metric": stage.key, **self._search(graph)}
            yield from graph_list_rows(stage.metric, common, measured.arrays)

    def _class_rows(self) -> Iterator[dict[str, Any]]:
        for stage, graph, measured in self._measured_layers():
            if "class_value" not in measured.arrays:
                continue
            common = {**self._common(graph.point), "k": graph.point.k, "metric": stage.key, **self._search(graph)}
            names = self.layout.data.class_names(measured.arrays["classes"])
            columns = [measured.arrays[name] for name in ("class_value", "class_chance", "class_size")]
            for name, value, chance, size in zip(names, *columns, strict=True):
                yield {**common, "class": name, "value": float(value), "chance": float(chance), "n_used": int(size)}

    def _class_neighbor_rows(self) -> Iterator[dict[str, Any]]:
        """Which classes the neighbours of a class belong to."""
        for _, graph, measured in self._first_with("class_neighbors"):
            common = {**self._common(graph.point), "k": graph.point.k, **self._search(graph)}
            names = self.layout.data.class_names(measured.arrays["classes"])
            for name, fractions in zip(names, measured.arrays["class_neighbors"], strict=True):
                for other, fraction in zip(names, fractions, strict=True):
                    yield {**common, "class": name, "neighbor_class": other, "fraction": float(fraction)}

    def _first_with(self, array: str) -> Iterator[tuple[LayerMeasure, GraphStage, Measured]]:
        """Per layer the first metric that has the array."""
        seen: set[Point] = set()
        for stage, graph, measured in self._measured_layers():
            if array in measured.arrays and graph.point not in seen:
                seen.add(graph.point)
                yield stage, graph, measured


def _is_nnls(metric: Metric) -> bool:
    """Whether nnls.csv is about it: NNLS of the k nearest; that of other graphs is one of the pairs' metrics."""
    return metric.name == NNLS.name and getattr(metric, "graph", "directed") == "directed"


def shown_ranks(n: int) -> list[int]:
    """The ranks of n values that a table shows: 1 to 64, then sixteen in every doubling, and the last."""
    steps = range(16 * max(0, n.bit_length() - 6))
    return sorted({rank for rank in (*range(1, 65), *(round(64 * 2 ** (step / 16)) for step in steps), n) if rank <= n})


def _uncertainty(measured: Measured) -> dict[str, Any]:
    """What was asked for beside a value: its interval and its null distribution."""
    return {name: measured.figures[name] for name in UNCERTAINTY if name in measured.figures}


def _search(measured: Measured) -> dict[str, Any]:
    """How the graph was searched that a value rests on."""
    return {name: measured.figures[name] for name in SEARCH}


def _k(point: Point, stage: LayerMeasure | TransferMeasure | None = None) -> int | None:
    """Neighbours that were asked for; of another data set no graphs are made. A probe reads none: it has its own k."""
    if isinstance(stage, TransferMeasure):
        return stage.metric.n_neighbors
    return None if point.dataset else point.k
