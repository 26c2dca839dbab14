"""What a run at several pooling scales adds to its tables; pure functions of values that are in the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from rra_cli.activations.pooling import SPATIAL, WHOLE_MAP, Pooling
from rra_cli.metrics.scales import best_scale, curve_correlation, difference, mean_and_error

Rows = list[dict[str, Any]]
LAYER, STAGE = "layer", "stage"
_PLACE = ("checkpoint", "epoch", "split", "subset", "n_samples", "k", "metric")


@dataclass(frozen=True)
class ScaleValue:
    """One metric of one layer at one scale.

    common: the columns that tables of layers share, with `k` and `metric`. shape: of one sample after pooling.
    is_purity: whether the metric is one whose largest value names a scale (NNCS). value, error: NaN where there is
    none, with a reason. search: engine and recall.
    """

    common: dict[str, Any]
    stage: str
    pooling: Pooling
    shape: tuple[int, ...]
    is_purity: bool
    value: float
    error: float
    reason: str
    search: dict[str, Any]

    @property
    def sides(self) -> dict[str, int | None]:
        """Height and width of the map that is left; None for a layer without maps."""
        height, width = self.shape[1:] if len(self.shape) == 3 else (None, None)
        return {"height": height, "width": width}


def fine_to_coarse(pooling: Pooling) -> tuple[bool, int, str]:
    """Sorts scales; of what is equal the finer one comes first."""
    return pooling.scale == WHOLE_MAP, pooling.scale, pooling.pool


def scale_tables(values: Sequence[ScaleValue]) -> dict[str, Rows]:
    """The tables `scales`, `best_scales` and `scale_correlations`, empty ones left out; none without windows."""
    if not any(value.pooling.is_spatial for value in values):
        return {}
    groups: dict[tuple[Any, ...], list[ScaleValue]] = {}
    for value in values:
        if value.pooling.is_spatial or value.pooling == Pooling():
            groups.setdefault(tuple(value.common[column] for column in _PLACE), []).append(value)
    tables: dict[str, Rows] = {
        "scales": [row for group in groups.values() for row in _scale_rows(group)],
        "best_scales": [row for group in groups.values() if group[0].is_purity for row in _best_rows(group)],
        "scale_correlations": [row for group in groups.values() for row in _correlation_rows(group)],
    }
    return {name: rows for name, rows in tables.items() if rows}


def _scale_rows(group: Sequence[ScaleValue]) -> Iterator[dict[str, Any]]:
    """One row a layer and scale, beside the layer's unpooled value."""
    unpooled = {value.common["layer"]: value for value in group if value.pooling == Pooling()}
    for value in group:
        whole = unpooled.get(value.common["layer"])
        local = (None, None) if whole is None else difference(whole.value, value.value, whole.error, value.error)
        yield {
            **value.common,
            **value.sides,
            "value": value.value,
            "std_error": value.error,
            "unpooled": None if whole is None else whole.value,
            "local": local[0],
            "local_std_error": local[1],
            "reason": value.reason,
            **value.search,
        }


def _best_rows(group: Sequence[ScaleValue]) -> Iterator[dict[str, Any]]:
    """The best scale of every layer of maps and of every stage, among windows of means, of maxima, and of both."""
    maps = [value for value in group if value.sides["height"] is not None]
    for among in (*SPATIAL, "all"):
        scales = [value for value in maps if value.pooling == Pooling() or among in ("all", value.pooling.pool)]
        if not any(value.pooling.is_spatial for value in scales):
            continue
        for level, column in ((LAYER, "layer"), (STAGE, "stage")):
            places: dict[str, list[ScaleValue]] = {}
            for value in scales:
                name = value.common["layer"] if level == LAYER else value.stage
                if name:
                    places.setdefault(name, []).append(value)
            for name, own in places.items():
                row = {"level": level, "among": among, "layer": "", "stage": own[0].stage, column: name}
                yield {**_best_row(own), **row}


def _best_row(own: Sequence[ScaleValue]) -> dict[str, Any]:
    """The best scale of a layer, or of the mean over the layers of a stage."""
    by_scale: dict[Pooling, list[ScaleValue]] = {}
    for value in sorted(own, key=lambda value: fine_to_coarse(value.pooling)):
        by_scale.setdefault(value.pooling, []).append(value)
    n_layers = max(map(len, by_scale.values()))
    row = {column: own[0].common[column] for column in _PLACE} | {"index": own[0].common["index"], "n_layers": n_layers}
    # A mean over fewer layers than there are would be another stage's.
    whole = {
        pooling: mean_and_error([value.value for value in found], [value.error for value in found])
        for pooling, found in by_scale.items()
        if len(found) == n_layers and not any(isnan(value.value) for value in found)
    }
    if not whole:
        reason = next((value.reason for value in own if value.reason), "no scale has a value in all layers")
        return {**row, "best_pool": "", "reason": reason}
    scales = list(whole)
    best, as_good = best_scale(*zip(*whole.values(), strict=True))
    highest, its_error = whole[scales[best]]
    sides = {tuple(found.sides.values()) for found in by_scale[scales[best]]}
    height, width = sides.pop() if len(sides) == 1 else (None, None)
    return {
        **row,
        "best_pool": scales[best].pool,
        "best_scale": scales[best].scale,
        "height": height,
        "width": width,
        "value": highest,
        "std_error": its_error,
        "unpooled": whole[Pooling()][0] if Pooling() in whole else None,
        "as_good": " ".join(scales[place].title for place in as_good if place != best),
        "reason": "",
    }


def _correlation_rows(group: Sequence[ScaleValue]) -> Iterator[dict[str, Any]]:
    """How the curves of means and of maxima over equal windows, so of equal maps, agree along the layers."""
    curves: dict[Pooling, dict[str, float]] = {}
    for value in group:
        curves.setdefault(value.pooling, {})[value.common["layer"]] = value.value
    layers = list(dict.fromkeys(value.common["layer"] for value in group))
    for pooling in sorted(curves, key=fine_to_coarse):
        other = Pooling("max", pooling.scale) if pooling.pool == "avg" else None
        if other is None or other not in curves:
            continue
        one, two = ([curves[scale].get(layer, float("nan")) for layer in layers] for scale in (pooling, other))
        r, n = curve_correlation(one, two)
        reason = "" if isfinite(r) else "a curve is constant" if n >= 3 else f"{n} layers; at least 3 are needed"
        row = {column: group[0].common[column] for column in _PLACE}
        row |= {"pool_a": pooling.pool, "pool_b": other.pool, "window": pooling.scale}
        yield {**row, "n_layers": n, "r": r, "reason": reason}
