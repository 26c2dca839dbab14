"""What TwoNN and Gride give for uniform balls of known dimension, from ball_bias.json (benchmarks/ball_bias.py).

Finite N makes both low, the more the higher the dimension and the rank: most samples of a ball lie near its surface.
Beside the curve of a layer these tell a change that any set of that dimension shows from one that comes with the
scale. Values between the measured N are interpolated in log N. N or N - 1 in the estimate: less than 1 % apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

# What `discard` was in linear and mle_censored.
DISCARD = 0.1
_MOST_CURVES = 4


@dataclass(frozen=True, eq=False)
class Balls:
    """Means over balls of radius 1, standard errors below 1 %; D dimensions, S numbers of samples, R ranks.

    dimensions `(D,)`, sizes `(S,)`, ranks `(R,)`: ascending. twonn: by fit, `(D, S)`. gride, radius `(D, S, R)`: the
    estimate from that rank, and the mean distance to that neighbour; NaN for ranks above half of the samples.
    """

    dimensions: NDArray[np.int64]
    sizes: NDArray[np.int64]
    ranks: NDArray[np.int64]
    twonn: Mapping[str, NDArray[np.float64]]
    gride: NDArray[np.float64]
    radius: NDArray[np.float64]


@cache
def balls() -> Balls:
    """The table, read once."""
    told = json.loads((files("rra_cli.report.details") / "ball_bias.json").read_text(encoding="utf-8"))
    dimensions = [int(dimension) for dimension in told["gride"]]
    most = len(told["ranks"])

    def by_rank(name: str) -> NDArray[np.float64]:
        rows = [[row + [np.nan] * (most - len(row)) for row in told[name][str(d)]] for d in dimensions]
        return np.array(rows, np.float64)

    twonn = {
        name.removeprefix("twonn_"): np.array([part[str(d)] for d in dimensions], np.float64)
        for name, part in told.items()
        if name.startswith("twonn_")
    }
    whole = {name: np.array(told[name], np.int64) for name in ("sizes", "ranks")}
    return Balls(np.array(dimensions, np.int64), **whole, twonn=twonn, gride=by_rank("gride"), radius=by_rank("radius"))


def sample_curves(
    low: float, high: float, n_low: float, n_high: float, fit: str = "mle"
) -> dict[int, NDArray[np.float64]]:
    """By dimension, of a few balls whose estimates lie between low and high: `(2, m)`, samples and TwoNN.

    Within n_low..n_high samples, and within what was measured. Empty where no curve has two points there.
    """
    table = balls()
    first, last = max(n_low, table.sizes[0]), min(n_high, table.sizes[-1])
    if first >= last:
        return {}
    sizes = np.array([first, *(size for size in table.sizes if first < size < last), last])
    found = {}
    for dimension, means in zip(table.dimensions.tolist(), table.twonn[fit], strict=True):
        values = np.interp(np.log(sizes), np.log(table.sizes), means)
        if low <= values[-1] <= high:
            found[dimension] = np.stack([sizes, values])
    return _few(found)


def rank_curves(low: float, high: float, n: float, last: float) -> dict[int, NDArray[np.float64]]:
    """By dimension, of a few balls of n samples whose Gride at rank 2 lies between low and high: `(2, m)`.

    Ranks up to `last`, and the estimates from them. Empty for an n that was not measured, and below two ranks.
    """
    table = balls()
    found = {}
    for dimension, values in zip(table.dimensions.tolist(), _at(table.gride, n), strict=True):
        known = np.isfinite(values) & (table.ranks <= last)
        if known.sum() > 1 and low <= values[0] <= high:
            found[dimension] = np.stack([table.ranks[known], values[known]])
    return _few(found)


def through_rank(value: float, radius: float, n: float, last: float) -> NDArray[np.float64] | None:
    """The ball of n samples that has this estimate and this mean distance at rank 2: `(2, m)`, radii and Gride.

    Its dimension, between the measured ones, is the one that gives `value`; its size, the one that gives `radius`. The
    first point is (radius, value), the others are those of ranks 4, 8, ... up to `last`. None for an n or a value that
    was not measured.
    """
    table = balls()
    known = table.ranks <= last
    return _through(value, radius, _at(table.gride, n)[:, known], _at(table.radius, n)[:, known])


def through_samples(
    value: float, radius: float, n: NDArray[np.float64], fit: str = "mle"
) -> NDArray[np.float64] | None:
    """The ball that has this TwoNN and this mean distance to the second neighbour at n[0] samples: `(2, m)`.

    As `through_rank`, with a point for each number of samples `(m,)` instead of each rank.
    """
    table = balls()
    values = np.stack([_at(table.twonn[fit], each) for each in n], axis=1)
    return _through(value, radius, values, np.stack([_at(table.radius, each)[:, 0] for each in n], axis=1))


def measured(n: float) -> bool:
    """Whether balls of n samples were measured, or of fewer and of more."""
    sizes = balls().sizes
    return bool(sizes[0] <= n <= sizes[-1])


def _at(table: NDArray[np.float64], n: float) -> NDArray[np.float64]:
    """`(D, S, ..)` -> `(D, ..)` at n samples, interpolated in log N; NaN where n was not measured."""
    sizes = balls().sizes
    if not measured(n):
        return np.full((len(table), *table.shape[2:]), np.nan)
    above = min(max(int(np.searchsorted(sizes, n)), 1), len(sizes) - 1)
    share = np.log(n / sizes[above - 1]) / np.log(sizes[above] / sizes[above - 1])
    if share == 1.0:  # the smaller size may lack a rank that this one has
        return np.asarray(table[:, above])
    return np.asarray((1.0 - share) * table[:, above - 1] + share * table[:, above])


def _through(
    value: float, radius: float, values: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The curve of a dimension between the rows `(D, m)`; distances grow as rank^(1/d), so 1/d is what is linear."""
    known: NDArray[np.bool_] = np.all(np.isfinite(values + radii), axis=0)
    if not known[0] or known.sum() < 2 or not values[0, 0] <= value <= values[-1, 0]:
        return None
    values, radii = values[:, known], radii[:, known]
    inverse = 1.0 / values[::-1, 0]
    grown = np.log(radii / radii[:, :1])[::-1]
    columns = range(values.shape[1])
    x = [np.exp(np.interp(1.0 / value, inverse, grown[:, at])) for at in columns]
    return np.stack([radius * np.array(x), [np.interp(value, values[:, 0], values[:, at]) for at in columns]])


def _few(found: dict[int, NDArray[np.float64]]) -> dict[int, NDArray[np.float64]]:
    kept = list(found)[:: -(-len(found) // _MOST_CURVES)] if found else []
    return {dimension: found[dimension] for dimension in kept}
