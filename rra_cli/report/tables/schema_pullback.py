"""Columns of the tables of the pullback metrics (see `schema`); plain, so that `schema` can merge them."""

from __future__ import annotations

from typing import Any

# `epoch` follows from `checkpoint`, `index` (the layer's place among those measured) from `layer`.
_PLACE = ("checkpoint", "epoch", "metric", "at", "layer", "index")
_KEY = ("checkpoint", "metric", "layer")

PULLBACK: dict[str, dict[str, Any]] = {
    # One row per checkpoint, metric and layer. directions: singular values that enter every volume,
    # as many as 95 % of the points have, at most `top`; `reason` says where the rounding error decides them.
    # log_volume: mean log sqrt(det g), in nats, of points between the anchors. difference: near minus far from a
    # decision boundary, a mean over n_units lines or planes, with its 95 % interval; p by t, p_free without assuming
    # normality. ratio: by how much more each direction is stretched near it, exp(difference / directions). gain: the
    # difference in what log_volume has gained since the first checkpoint; empty of that one itself, and where
    # directions differ (see reason). curvature: median scalar curvature of the points between the anchors.
    # local_r: mean correlation within units of log volume and uncertainty, both without their quadratic trend in place.
    "pullback": {
        "columns": (
            *(*_PLACE, "n_inputs", "n_features", "n_points", "directions", "rank_min", "rank_max", "log_volume"),
            *("difference", "std_error", "low", "high", "p", "p_free", "n_units", "ratio", "ratio_low", "ratio_high"),
            *("gain", "gain_low", "gain_high", "gain_p", "local_r", "local_low", "local_high", "local_p", "curvature"),
            "reason",
        ),
        "key": _KEY,
        "measured": "difference",
    },
    # One row per point. unit 0 is what is drawn. x: t of a line. entropy: in decimal digits, 0 to log10 C.
    # side: `near` or `far` from a boundary where the point entered the difference.
    "pullback_points": {
        "columns": (
            *(*_PLACE, "unit", "point", "x", "y", "inside", "sample_id", "prediction", "entropy", "margin"),
            *("side", "log10_volume", "rank", "curvature", "log10_area"),
        ),
        "key": (*_KEY, "unit", "point"),
    },
    # The samples that lines and planes go through, the same at all checkpoints; pixels: of unit 0, uint8 as hexadecimal
    # digits, channel by channel and row by row.
    "pullback_anchors": {
        "columns": (
            *("metric", "split", "unit", "anchor", "sample_id", "class", "x", "y", "channels", "height", "width"),
            "pixels",
        ),
        "key": ("metric", "unit", "anchor"),
        "optional": frozenset({"channels", "height", "width", "pixels"}),
    },
}
PULLBACK_WHOLE = frozenset(
    {"unit", "point", "inside", "n_inputs", "n_points", "rank_min", "rank_max", "n_units", "channels"}
)
PULLBACK_TEXT = frozenset({"at", "prediction", "anchor", "pixels", "side"})
