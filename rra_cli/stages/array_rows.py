"""Rows of what metrics of layers tell beside their values: distributions, spectra, curves, lists and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.mean_interval import mean_interval
from rra_cli.report.tables.schema import INTERVAL
from rra_cli.stages.run_results import RunResults, own_search

Rows = Iterator[dict[str, Any]]
Arrays = Mapping[str, NDArray[Any]]


def array_tables(results: RunResults) -> dict[str, list[dict[str, Any]]]:
    """The tables by name: those with rows, of classes only where they were asked for."""
    tables = {
        "mu": list(quantile_rows(results)),
        "spectra": list(spectrum_rows(results)),
        "dimension_scales": list(dimension_scale_rows(results)),
        "occurrences": list(occurrence_rows(results)),
        "graph_lists": list(graph_list_rows(results)),
    }
    if results.layout.experiment.metrics.per_class:
        tables |= {"per_class": list(class_rows(results)), "class_neighbors": list(class_neighbor_rows(results))}
    return {name: rows for name, rows in tables.items() if rows}


def quantile_rows(results: RunResults) -> Rows:
    """The distribution of the TwoNN ratio μ at fixed quantiles; the same whatever fit looked at it."""
    for _, graph, measured in results.layers_with("mu_quantiles", once=True):
        place, quantiles = results.place(graph.point), measured.arrays["mu_quantiles"]
        for level, mu in zip(np.linspace(0.0, 1.0, len(quantiles)), quantiles, strict=True):
            yield {**place, "quantile": float(level), "mu": float(mu), **results.search(graph)}


def spectrum_rows(results: RunResults) -> Rows:
    """Eigenvalues by rank, thinned out."""
    for stage, graph, measured in results.layers_with("spectrum"):
        place, values = {**results.place(graph.point), "metric": stage.key}, measured.arrays["spectrum"]
        for rank in shown_ranks(int(np.count_nonzero(~np.isnan(values)))):
            yield {**place, "rank": rank, "eigenvalue": float(values[rank - 1])}


def shown_ranks(n: int) -> list[int]:
    """The ranks of n values that a table shows: 1 to 64, then sixteen in every doubling, and the last."""
    steps = range(16 * max(0, n.bit_length() - 6))
    return sorted({rank for rank in (*range(1, 65), *(round(64 * 2 ** (step / 16)) for step in steps), n) if rank <= n})


def dimension_scale_rows(results: RunResults) -> Rows:
    """A row a scale that has a value, of the details of `decimation` and `gride`; on request with intervals.

    Of the metric's own value its interval in metrics.csv, of means over disjoint blocks Student's t.
    """
    level = results.layout.experiment.metrics.uncertainty.interval_level
    whole = {"block_samples": "scale_samples", "neighbor_rank": "scale_rank", "blocks": "scale_blocks"}
    other = {"radius": "scale_radius", "value": "scale_value", "sd": "scale_sd", "std_error": "scale_error"}
    for stage, graph, measured in results.layers_with("scale_value"):
        place, arrays = results.place_of_metric(stage, graph), measured.arrays
        for at in np.flatnonzero(~np.isnan(arrays["scale_value"])):
            row: dict[str, Any] = {"blocks": 1, "sd": None}
            row |= {column: int(arrays[name][at]) for column, name in whole.items() if name in arrays}
            row |= {column: float(arrays[name][at]) for column, name in other.items() if name in arrays}
            if INTERVAL[0] in measured.figures:
                ends = mean_interval(row["value"], row["std_error"], row["blocks"], level, (0.0, None))
                row |= dict(zip(INTERVAL, ends, strict=True))
                if row["value"] == measured.figures["value"]:
                    row |= {name: measured.figures[name] for name in INTERVAL}
            yield {**place, **own_search(measured), **row}


def occurrence_rows(results: RunResults) -> Rows:
    """A row a number of occurrences, of the details of `hubness`, up to the first that no sample reaches."""
    for stage, graph, measured in results.layers_with("occurrence_counts"):
        place = {**results.place_of_metric(stage, graph), **own_search(measured)}
        columns = (measured.arrays[name] for name in ("occurrence_counts", "occurrence_share"))
        for at_least, share in zip(*columns, strict=True):
            yield {**place, "at_least": int(at_least), "share": float(share)}
            if share == 0:
                break


def graph_list_rows(results: RunResults) -> Rows:
    """A row a layer and metric: what a variant of the graph made of its lists (`graph_variants.told_of`)."""
    pairs = (
        (stage, stage.graphs[measured.figures["a"]], measured)
        for stage, measured in results.pairs()
        if "list_mean" in measured.arrays
    )
    for stage, graph, measured in (*results.layers_with("list_mean"), *pairs):
        arrays = measured.arrays
        radius = float(arrays["list_radius"])
        yield {
            **results.place_of_metric(stage, graph),
            **results.search(graph),
            "graph": getattr(stage.metric, "graph", ""),
            "neighbors": float(arrays["list_mean"]),
            "without_neighbors": int(arrays["list_none"]),
            "radius": None if radius != radius else radius,
            "censored": int(arrays["list_censored"]),
        }


def class_rows(results: RunResults) -> Rows:
    """The metric over the samples of each class alone."""
    for stage, graph, measured in results.layers_with("class_value"):
        place = {**results.place_of_metric(stage, graph), **results.search(graph)}
        columns = [measured.arrays[name] for name in ("class_value", "class_chance", "class_size")]
        for name, value, chance, size in zip(_class_names(results, measured.arrays), *columns, strict=True):
            yield {**place, "class": name, "value": float(value), "chance": float(chance), "n_used": int(size)}


def class_neighbor_rows(results: RunResults) -> Rows:
    """Which classes the neighbours of a class belong to."""
    for _, graph, measured in results.layers_with("class_neighbors", once=True):
        place = {**results.place(graph.point), "k": graph.point.k, **results.search(graph)}
        names = _class_names(results, measured.arrays)
        for name, fractions in zip(names, measured.arrays["class_neighbors"], strict=True):
            for other, fraction in zip(names, fractions, strict=True):
                yield {**place, "class": name, "neighbor_class": other, "fraction": float(fraction)}


def _class_names(results: RunResults, arrays: Arrays) -> list[str]:
    return results.layout.data.class_names(arrays["classes"])
