"""Rows of what a metric tells of a layer beside its value: a curve over scales, a distribution of occurrences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.metrics.metric import Metric

Rows = Iterator[dict[str, Any]]


def dimension_scale_rows(arrays: Mapping[str, NDArray[Any]]) -> Rows:
    """A row a scale that has a value, of the details of `decimation` and `gride`; none without them."""
    if "scale_value" not in arrays:
        return
    whole = {"block_samples": "scale_samples", "neighbor_rank": "scale_rank", "blocks": "scale_blocks"}
    other = {"radius": "scale_radius", "value": "scale_value", "sd": "scale_sd", "std_error": "scale_error"}
    for at in np.flatnonzero(~np.isnan(arrays["scale_value"])):
        row: dict[str, Any] = {"blocks": 1, "sd": None}
        row |= {column: int(arrays[name][at]) for column, name in whole.items() if name in arrays}
        row |= {column: float(arrays[name][at]) for column, name in other.items() if name in arrays}
        yield row


def graph_list_rows(metric: Metric, common: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Rows:
    """A row of what a variant of the graph made of a layer's lists (`graph_variants.told_of`); none without one."""
    if "list_mean" in arrays:
        radius = float(arrays["list_radius"])
        yield {
            **common,
            "graph": getattr(metric, "graph", ""),
            "neighbors": float(arrays["list_mean"]),
            "without_neighbors": int(arrays["list_none"]),
            "radius": None if radius != radius else radius,
            "censored": int(arrays["list_censored"]),
        }


def occurrence_rows(arrays: Mapping[str, NDArray[Any]]) -> Rows:
    """A row a number of occurrences, of the details of `hubness`, up to the first that no sample reaches."""
    if "occurrence_counts" not in arrays:
        return
    for at_least, share in zip(arrays["occurrence_counts"], arrays["occurrence_share"], strict=True):
        yield {"at_least": int(at_least), "share": float(share)}
        if share == 0:
            return
