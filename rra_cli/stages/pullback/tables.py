"""Tables of the pullback metrics: what was found at every point, and whether boundaries are magnified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.store import Store
from rra_cli.metrics.pullback import Pullback
from rra_cli.pullback.boundary import (
    NO_GAIN,
    Contrast,
    entropy,
    local_correlation,
    margin,
    near_and_far,
    over_samples,
    over_units,
    stretch,
    unit_difference,
)
from rra_cli.stages.pullback.blocks import by_rounding
from rra_cli.stages.pullback.stage import PullbackStage
from rra_cli.stages.results import Measured

Rows = list[dict[str, Any]]


def pullback_tables(stages: Sequence[PullbackStage], store: Store) -> dict[str, Rows]:
    """`pullback`: a row a checkpoint, metric and layer. `pullback_points`: a row for every point beside that.
    `pullback_anchors`: the samples that lines and planes go through.
    """
    tables: dict[str, Rows] = {"pullback": [], "pullback_points": [], "pullback_anchors": []}
    first: dict[str, list[Measured]] = {}  # of each metric, its earliest checkpoint
    for stage in stages:
        measured = stage.load(store)
        before = first.setdefault(stage.key, measured)
        place = {"checkpoint": stage.checkpoint.label, "epoch": stage.training.epoch_of(store, stage.checkpoint)}
        place |= {"metric": stage.key, "at": stage.metric.at}
        shared, names = measured[0].arrays, stage.images.dataset.class_names
        uncertainty = uncertainty_of(shared["probabilities"], stage.metric.boundary)
        sides = sides_of(uncertainty, shared, stage.metric.near)
        for index, (layer, earlier) in enumerate(zip(measured[1:], before[1:], strict=True)):
            here = place | {"layer": layer.figures["layer"], "index": index}
            row = layer_row(layer, shared, uncertainty, stage.metric, None if before is measured else earlier)
            tables["pullback"].append(here | row)
            tables["pullback_points"] += [here | point for point in point_rows(layer, shared, names, sides)]
        if before is measured:
            key = {"metric": stage.key, "split": stage.metric.split}
            tables["pullback_anchors"] += [key | row for row in anchor_rows(shared, names)]
    return {name: rows for name, rows in tables.items() if rows or name == "pullback"}


def uncertainty_of(probabilities: NDArray[np.float64], boundary: str) -> NDArray[np.float64]:
    """`(n,)`, the higher the nearer to a decision boundary."""
    return entropy(probabilities) if boundary == "entropy" else -margin(probabilities)


def layer_row(
    layer: Measured,
    shared: dict[str, NDArray[Any]],
    uncertainty: NDArray[np.float64],
    metric: Pullback,
    earlier: Measured | None,
) -> dict[str, Any]:
    """What is said of a layer as a whole. earlier: the same layer at the first checkpoint, None for that one itself.

    Extrapolated points are left out, except on a grid, where nothing is.
    """
    near, samples = metric.near, metric.at == "points"  # of samples each is a unit
    volume, rank, inside = layer.arrays["log_volume"], layer.arrays["rank"], shared["inside"]
    directions = int(layer.figures["directions"])
    contrast = contrast_of(volume, uncertainty, shared["unit"], inside, near, samples=samples)
    known = np.isfinite(volume) & inside
    row: dict[str, Any] = {"n_inputs": layer.figures["n_inputs"], "n_features": layer.figures["n_features"]}
    row |= {"n_points": int(known.sum()), "directions": directions}
    row |= {"rank_min": int(rank.min()), "rank_max": int(rank.max())}
    row |= {"log_volume": _mean(volume[known]), "difference": contrast.difference, "std_error": contrast.std_error}
    row |= {"low": contrast.low, "high": contrast.high, "p": contrast.p, "p_free": contrast.p_free}
    row["n_units"] = contrast.n_units
    for name, value in (("ratio", contrast.difference), ("ratio_low", contrast.low), ("ratio_high", contrast.high)):
        row[name] = stretch(value, directions)
    gained = Contrast(nan)
    if earlier is not None and same_directions(layer, earlier):
        change = volume - earlier.arrays["log_volume"]
        gained = contrast_of(change, uncertainty, shared["unit"], inside, near, samples=samples)
    row |= {"gain": gained.difference, "gain_low": gained.low, "gain_high": gained.high, "gain_p": gained.p}
    local = over_units(local_correlations(volume, uncertainty, shared, samples=samples))
    row |= {"local_r": local.difference, "local_low": local.low, "local_high": local.high, "local_p": local.p}
    row["curvature"] = nan
    if "curvature" in layer.arrays:
        curvature = layer.arrays["curvature"]
        row["curvature"] = _median(curvature[np.isfinite(curvature) & inside])
    reasons = [contrast.reason, _of_rank(rank, directions), of_directions(layer, metric), of_gain(layer, earlier)]
    reasons.append(layer.figures["curvature"])
    return row | {"reason": "; ".join(reason for reason in reasons if reason)}


def contrast_of(
    volume: NDArray[np.float64],
    uncertainty: NDArray[np.float64],
    unit: NDArray[np.int64],
    inside: NDArray[np.bool_],
    near: float,
    *,
    samples: bool,
) -> Contrast:
    """Near against far from boundaries, over the units (lines, planes) or over samples."""
    if samples:
        return over_samples(volume, uncertainty, near)
    differences = []
    for number in range(int(unit.max()) + 1):
        here = (unit == number) & inside
        differences.append(unit_difference(volume[here], uncertainty[here], near))
    return over_units(np.array(differences))


def of_directions(layer: Measured, metric: Pullback) -> str:
    """What is to be said of a number of directions that the rounding error decides; "" where something else does."""
    n, d, directions = (int(layer.figures[name]) for name in ("n_features", "n_inputs", "directions"))
    if not by_rounding(directions, d, n, metric.top):
        return ""
    return (
        f"only {directions} of {min(n, d):,} directions are above the rounding error of {metric.dtype}: another dtype "
        f"may have others, and then other volumes and ratios (set top to at most {directions})"
    )


def of_gain(layer: Measured, earlier: Measured | None) -> str:
    """Why there is no gain since the first checkpoint; "" where there is one."""
    if earlier is None:
        return f"{NO_GAIN}: it is counted from this checkpoint, the first one"
    if same_directions(layer, earlier):
        return ""
    here, first = (int(each.figures["directions"]) for each in (layer, earlier))
    return f"{NO_GAIN}: volumes are over {here} directions here and over {first} at the first checkpoint"


def same_directions(one: Measured, other: Measured) -> bool:
    """Whether volumes of two checkpoints may be compared."""
    return bool(one.figures["directions"] == other.figures["directions"])


def sides_of(uncertainty: NDArray[np.float64], shared: dict[str, NDArray[Any]], share: float) -> list[str]:
    """`near`, `far` or "" of every point, within its unit; extrapolated ones are neither."""
    sides = np.full(len(uncertainty), "", dtype="<U4")
    for number in range(int(shared["unit"].max()) + 1):
        here = np.flatnonzero((shared["unit"] == number) & shared["inside"])
        near, far = near_and_far(uncertainty[here], share)
        sides[here[near]], sides[here[far]] = "near", "far"
    return [str(side) for side in sides]


def local_correlations(
    volume: NDArray[np.float64], uncertainty: NDArray[np.float64], shared: dict[str, NDArray[Any]], *, samples: bool
) -> NDArray[np.float64]:
    """One correlation a unit; none of samples, which have no place in a picture."""
    if samples:
        return np.empty(0)
    coordinates = shared["coordinates"]
    coordinates = coordinates[:, ~np.isnan(coordinates).all(axis=0)]
    units = [(shared["unit"] == number) & shared["inside"] for number in range(int(shared["unit"].max()) + 1)]
    return np.array([local_correlation(volume[here], uncertainty[here], coordinates[here]) for here in units])


def point_rows(
    layer: Measured, shared: dict[str, NDArray[Any]], names: Sequence[str], sides: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """One row a point, in the order of the units."""
    probabilities, unit = shared["probabilities"], shared["unit"]
    of, closeness = entropy(probabilities), margin(probabilities)
    predicted, volume = probabilities.argmax(axis=1), layer.arrays["log_volume"] / np.log(10.0)
    counts = np.arange(len(unit)) - np.searchsorted(unit, unit)
    none = np.full(len(unit), nan)
    curvature, area = (layer.arrays.get(name, none) for name in ("curvature", "log_area"))
    ids = shared.get("sample_ids")
    for at in range(len(unit)):
        x, y = shared["coordinates"][at]
        yield {
            "unit": int(unit[at]),
            "point": int(counts[at]),
            "x": float(x),
            "y": float(y),
            "inside": int(shared["inside"][at]),
            "sample_id": None if ids is None else int(ids[at]),
            "prediction": names[int(predicted[at])],
            "entropy": float(of[at]),
            "margin": float(closeness[at]),
            "side": sides[at],
            "log10_volume": float(volume[at]),
            "rank": int(layer.arrays["rank"][at]),
            "curvature": float(curvature[at]),
            "log10_area": float(area[at] / np.log(10.0)),
        }


def anchor_rows(shared: dict[str, NDArray[Any]], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row an anchor; the picture of those of the first unit as hexadecimal digits."""
    if "anchors" not in shared:
        return
    pictures = shared.get("thumbnails")
    for (unit, anchor), sample in np.ndenumerate(shared["anchors"]):
        row = {"unit": unit, "anchor": "abc"[anchor], "sample_id": int(sample)}
        row["class"] = names[int(shared["anchor_labels"][unit, anchor])]
        x, y = shared["anchor_places"][anchor]
        row |= {"x": float(x), "y": float(y)}
        if unit or pictures is None:
            yield row
        else:
            sides = zip(("channels", "height", "width"), pictures.shape[1:], strict=True)
            yield row | dict(sides) | {"pixels": pictures[anchor].tobytes().hex()}


def _of_rank(rank: NDArray[np.int64], directions: int) -> str:
    told = []
    for missing, why in (
        (rank < 0, "the Jacobian is not finite"),
        (rank == 0, "rank 0, the layer is constant"),
        ((rank > 0) & (rank < directions), f"rank below {directions}"),
    ):
        if missing.any():
            told.append(f"{why} at {int(missing.sum()):,} points, which have no volume")
    return "; ".join(told)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else nan


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else nan
