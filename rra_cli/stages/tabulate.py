"""From stored results to the rows of a run folder's tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from rra_cli.core.store import Store
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.layout import Layout
from rra_cli.stages.point import Point

Rows = list[dict[str, Any]]


def tabulate(layout: Layout, store: Store) -> dict[str, Rows]:
    """All tables by name. Results only: no times and no paths, so equal runs give equal rows."""
    tables = {
        "layers": _layers(layout, store),
        "metrics": _metrics(layout, store),
        "nnls": _pairs(layout, store),
        "mu": _quantiles(layout, store),
    }
    if layout.experiment.metrics.per_class:
        tables["per_class"] = _per_class(layout, store)
        tables["class_neighbors"] = _class_neighbors(layout, store)
    return tables


def per_sample(layout: Layout, store: Store) -> dict[str, Rows]:
    """Values by sample id, a table per metric."""
    tables: dict[str, Rows] = {}
    for stage in layout.layers:
        values = stage.load(store).arrays.get("per_sample")
        if values is None:
            continue
        common = _common(layout, store, stage.graph.point)
        ids = layout.data.sample_ids(stage.graph.point.split)
        tables.setdefault(stage.key, []).extend(
            {"sample_id": int(i), **common, "k": stage.k, "value": float(v)} for i, v in zip(ids, values, strict=True)
        )
    return tables


def _common(layout: Layout, store: Store, point: Point) -> dict[str, Any]:
    training = layout.training
    epoch = None if training is None else training.epoch_of(store, point.checkpoint)
    return {
        "checkpoint": point.checkpoint.label,
        "epoch": epoch,
        "split": point.split,
        "layer": point.layer,
        "index": point.index,
        "pool": point.pooling.pool,
        "scale": point.pooling.scale,
        "subset": 0,
        "n_samples": point.n_samples,
    }


def _layers(layout: Layout, store: Store) -> Rows:
    """One row a layer, one column a metric."""
    rows: dict[Any, dict[str, Any]] = {}
    for graph in layout.graphs:
        point = graph.point
        rows[point] = {
            **_common(layout, store, point),
            "n_features": graph.source.n_features,
            "k": point.k,
            "stage": point.stage,
        }
    for stage in layout.layers:
        figures = stage.load(store).figures
        rows[stage.graph.point][stage.key] = figures["value"]
        if figures["chance"] is not None:
            rows[stage.graph.point][f"{stage.key}_chance"] = figures["chance"]
    return list(rows.values())


def _metrics(layout: Layout, store: Store) -> Rows:
    """One row a layer and metric."""
    rows = []
    for stage in layout.layers:
        figures = stage.load(store).figures
        names = ("value", "std_error", "chance", "n_used", "reason", "engine", "recall")
        point = stage.graph.point
        rows.append(
            {
                **_common(layout, store, point),
                "k": point.k,
                "metric": stage.key,
                **{name: figures[name] for name in names},
            }
        )
    return rows


def _pairs(layout: Layout, store: Store) -> Rows:
    """One row an ordered pair of layers."""
    rows = []
    for stage in layout.pairs:
        point = stage.graphs[0].point
        for pair in stage.load(store).figures["pairs"]:
            rows.append(
                {
                    **_side(layout, stage.graphs[pair["a"]], "a"),
                    **_side(layout, stage.graphs[pair["b"]], "b"),
                    "subset": 0,
                    "n_samples": point.n_samples,
                    "k": stage.k,
                    "nnls": pair["value"],
                    "chance": pair["chance"],
                    "std_error": pair["std_error"],
                    "reason": pair["reason"],
                }
            )
    return rows


def _side(layout: Layout, graph: GraphStage, side: str) -> dict[str, Any]:
    point = graph.point
    columns = {
        "model": layout.model,
        "checkpoint": point.checkpoint.label,
        "split": point.split,
        "layer": point.layer,
        "pool": point.pooling.pool,
        "scale": point.pooling.scale,
    }
    return {f"{name}_{side}": value for name, value in columns.items()}


def _quantiles(layout: Layout, store: Store) -> Rows:
    """The distribution of the TwoNN ratio μ, at fixed quantiles."""
    rows: Rows = []
    seen = set()
    for stage in layout.layers:
        quantiles = stage.load(store).arrays.get("mu_quantiles")
        if quantiles is None or stage.graph.point in seen:
            continue
        seen.add(stage.graph.point)
        common = _common(layout, store, stage.graph.point)
        levels = np.linspace(0.0, 1.0, len(quantiles))
        rows += [{**common, "quantile": float(q), "mu": float(mu)} for q, mu in zip(levels, quantiles, strict=True)]
    return rows


def _per_class(layout: Layout, store: Store) -> Rows:
    rows: Rows = []
    for stage in layout.layers:
        arrays = stage.load(store).arrays
        if "class_value" not in arrays:
            continue
        common = _common(layout, store, stage.graph.point)
        names = layout.data.class_names(arrays["classes"])
        columns = zip(names, arrays["class_value"], arrays["class_chance"], arrays["class_size"], strict=True)
        rows += [
            {**common, "k": stage.k, "metric": stage.key, "class": name, "value": value, "chance": chance, "n_used": n}
            for name, value, chance, n in columns
        ]
    return rows


def _class_neighbors(layout: Layout, store: Store) -> Rows:
    """Which classes the neighbours of a class belong to; the same whatever metric looked at it."""
    rows: Rows = []
    seen = set()
    for stage in layout.layers:
        arrays = stage.load(store).arrays
        if "class_neighbors" not in arrays or stage.graph.point in seen:
            continue
        seen.add(stage.graph.point)
        common = _common(layout, store, stage.graph.point)
        names = layout.data.class_names(arrays["classes"])
        fractions = arrays["class_neighbors"]
        rows += [
            {**common, "k": stage.k, "class": a, "neighbor_class": b, "fraction": float(fractions[i, j])}
            for i, a in enumerate(names)
            for j, b in enumerate(names)
        ]
    return rows
