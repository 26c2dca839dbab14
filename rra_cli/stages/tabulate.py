"""From stored results to the rows of a run folder's tables."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Any

from rra_cli.core.store import Store
from rra_cli.data.alterations.alteration import title
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import Metric
from rra_cli.report.tables.per_sample import Block, in_order
from rra_cli.report.tables.schema import ALTER, EXACT, UNCERTAINTY
from rra_cli.stages.array_rows import array_tables
from rra_cli.stages.basis_rows import basis_rows
from rra_cli.stages.compare import engine_rows, found_by
from rra_cli.stages.layout import Layout
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.run_results import OfLayers, RunResults, own_search
from rra_cli.stages.scale_tables import ScaleValue, scale_tables
from rra_cli.stages.transfer import TransferMeasure

Rows = list[dict[str, Any]]

PER_SAMPLE = "per_sample"  # the array of a result that holds a value for every sample


class Tabulator:
    """Reads every result once and gives the tables. Results only: no times, no paths, so equal runs give equal rows."""

    def __init__(self, layout: Layout, store: Store) -> None:
        self.layout, self.store = layout, store
        self.results = RunResults(layout, store)
        # The key of the metric that nnls.csv is about: another NNLS, of other settings, is one of the pairs' metrics.
        self._nnls = next((stage.key for stage in layout.pairs if _is_nnls(stage.metric)), None)

    def tables(self) -> dict[str, Rows]:
        """All tables by name; beside the two that every run has, those of what was measured."""
        tables = {
            "layers": list(self._layer_rows()),
            "metrics": list(self._metric_rows()),
        }
        if self._nnls is not None:
            tables["nnls"] = list(self._pair_rows(of_nnls=True))
        if any(stage.key != self._nnls for stage in self.layout.pairs):
            tables["pairs"] = list(self._pair_rows(of_nnls=False))
        bases = list(basis_rows(self.results))
        tables |= {"svcca_bases": bases} if bases else {}
        tables |= array_tables(self.results)
        tables |= scale_tables(list(self._scale_values()))
        if self.layout.compared:
            tables["engines"] = list(self._engine_rows())
        for study in self.layout.studies:
            tables |= study.tables(self.store, self.results.place)
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
            row = {**self.results.place(graph.point), "n_features": graph.source.n_features, "k": graph.point.k}
            found = {"search": search, **found_by(graph, self.store), "seconds": graph.seconds(self.store)}
            rows.append({**row, **found})
        return rows

    def per_sample(self) -> dict[str, list[Block]]:
        """Values by sample, where they were asked for, by metric of layers; a block a layer.

        The values are mapped from the store: they take memory while they are read, not before.
        """
        blocks: dict[str, list[Block]] = {}
        for stage, point, measured in self.results.values():
            if PER_SAMPLE in measured.arrays:
                columns = {**self.results.place(point), "k": _k(point, stage), **own_search(measured)}
                columns["dataset"] = point.dataset
                blocks.setdefault(stage.key, []).append(self._block(point, columns, measured))
        return {key: in_order(found) for key, found in blocks.items()}

    def per_sample_pairs(self) -> dict[str, list[Block]]:
        """The same by metric of pairs of layers; a block a pair, each pair once."""
        blocks: dict[str, list[Block]] = {}
        for stage, measured in self.results.pairs():
            if PER_SAMPLE in measured.arrays:
                columns = {**self.results.place_of_pair(stage, measured), **self.results.searches(stage, measured)}
                block = self._block(stage.graphs[0].point, columns, measured)
                blocks.setdefault(stage.key, []).append(block)
        return {key: in_order(found) for key, found in blocks.items()}

    def _block(self, point: Point, columns: dict[str, Any], measured: Measured) -> Block:
        return Block(columns, self.layout.images(point).sample_ids(point.split), measured.arrays[PER_SAMPLE])

    def _layer_rows(self) -> Iterator[dict[str, Any]]:
        """One row a layer, one column a metric; those of other data sets behind the experiment's own."""
        values: dict[Point, dict[str, Any]] = {graph.point: {} for graph in self.layout.graphs}
        for stage, point, measured in self.results.values():
            row = values.setdefault(point, {})
            row[stage.key] = measured.figures["value"]
            if measured.figures["chance"] is not None:
                row[f"{stage.key}_chance"] = measured.figures["chance"]
        views = [(graph.view, self.results.search(graph)) for graph in self.layout.graphs]
        others = {probe.point: probe.test for probe in self.layout.probes if probe.point.dataset}
        views += [(view, {"engine": "", "recall": None}) for view in others.values()]
        for view, search in views:
            point = view.point
            row = {**self.results.place(point), "n_features": view.source.n_features, "k": _k(point), **values[point]}
            yield {**row, "stage": point.stage, **search, "dataset": point.dataset}

    def _metric_rows(self) -> Iterator[dict[str, Any]]:
        """One row a layer and metric."""
        names = ("value", "std_error", "chance", "n_used", "reason", "engine", "recall")
        for stage, point, measured in self.results.values():
            figures = {name: measured.figures[name] for name in names}
            row = {**self.results.place(point), "k": _k(point, stage), "metric": stage.key, **figures}
            yield {**row, "dataset": point.dataset, **_uncertainty(measured)}

    def _pair_rows(self, *, of_nnls: bool) -> Iterator[dict[str, Any]]:
        """One row an ordered pair of layers: those of nnls.csv, or those of every metric, NNLS among them."""
        for stage, measured in self.results.pairs():
            if stage.key == self._nnls or not of_nnls:
                value = measured.figures["value"]
                told = {"nnls": value} if of_nnls else {"metric": stage.key, "value": value}
                figures = {name: measured.figures[name] for name in ("chance", "std_error", "reason")}
                row = {**self.results.place_of_pair(stage, measured), **told, **figures}
                yield {**row, **self.results.searches(stage, measured), **_uncertainty(measured)}

    def _scale_values(self) -> Iterator[ScaleValue]:
        """Every metric, layer and scale."""
        for stage, graph, measured in self.results.layers():
            point, figures = graph.point, measured.figures
            value, error = (nan if figures[name] is None else figures[name] for name in ("value", "std_error"))
            yield ScaleValue(
                common=self.results.place_of_metric(stage, graph),
                stage=point.stage,
                pooling=point.pooling,
                shape=graph.source.shape,
                is_purity=stage.metric.name == NNCS.name,
                value=value,
                error=error,
                reason=figures["reason"],
                search=own_search(measured),
            )

    def _engine_rows(self) -> Iterator[dict[str, Any]]:
        """One row a compared engine, layer and metric."""
        for each in self.layout.compared:
            for row in engine_rows(each, self.store):
                graph = row.pop("graph")
                place = {**self.results.place(graph.point), "k": graph.point.k, "search": each.search}
                yield {**place, **row, **found_by(graph, self.store)}


def _is_nnls(metric: Metric) -> bool:
    """Whether nnls.csv is about it: NNLS of the k nearest; that of other graphs is one of the pairs' metrics."""
    return metric.name == NNLS.name and getattr(metric, "graph", "directed") == "directed"


def _uncertainty(measured: Measured) -> dict[str, Any]:
    """What was asked for beside a value: its interval and its null distribution."""
    return {name: measured.figures[name] for name in UNCERTAINTY if name in measured.figures}


def _k(point: Point, stage: OfLayers | None = None) -> int | None:
    """Neighbours that were asked for; of another data set no graphs are made. A probe reads none: it has its own k."""
    if isinstance(stage, TransferMeasure):
        return stage.metric.n_neighbors
    return None if point.dataset else point.k
