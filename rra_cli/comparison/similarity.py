"""What two models may be compared by: NNLS, and the neighbourhood overlap, plain and rank-aware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rra_cli.errors import UserError, did_you_mean
from rra_cli.metrics.layer_similarity import chance_level, iou_table
from rra_cli.metrics.neighborhood_overlap import Weights, prefix_weights
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.overlap import overlap_parts

NNLS = "nnls"
# By the names that a run's columns have, with the settings of metrics=overlaps.
OVERLAPS: Mapping[str, Weights] = {
    "overlap": "top",
    "overlap_average": "average",
    "overlap_rank_biased": "rank_biased",
}
METRICS = (NNLS, *OVERLAPS)
P = 0.9
_MEMORY = 1 << 28  # bytes of values by sample at a time


def check_metrics(names: Sequence[str]) -> None:
    """Raises `UserError` where models are not compared by one of them, or there is none."""
    if not names:
        raise UserError("--metric names none", f"give one or several of {','.join(METRICS)}")
    for name in names:
        if name not in METRICS:
            raise UserError(
                f"--metric: models are not compared by {name!r}; {did_you_mean(name, METRICS)}",
                f"give one or several of {','.join(METRICS)}",
            )


def chance_of(metric: str, k: int, others: int) -> float:
    """The mean of two unrelated lists of k out of `others`, exact."""
    if metric == NNLS:
        return chance_level(k, others)
    return float(prefix_weights(k, OVERLAPS[metric], P) @ np.arange(1, k + 1)) / others


def similarities(
    metric: str, graphs: Sequence[NeighborGraph], pairs: NDArray[np.int64], k: int, threads: int | None
) -> dict[tuple[int, int], tuple[float, float]]:
    """Of every pair of places of graphs `(pairs, 2)` the mean over samples, and its standard error sd / sqrt(n)."""
    if not len(pairs):
        return {}
    if metric in (NNLS, "overlap"):
        table = iou_table(k) if metric == NNLS else np.arange(k + 1) / k
        found = {}
        for part in overlap_parts(graphs, pairs, threads=threads):
            means, errors = part.moments(table, k)
            for (a, b), mean, error in zip(part.pairs.tolist(), means.tolist(), errors.tolist(), strict=True):
                found[a, b] = (mean, error)
        return found
    share = prefix_weights(k, OVERLAPS[metric], P)
    at_once = max(1, _MEMORY // (8 * len(graphs[0])))
    found = {}
    for start in range(0, len(pairs), at_once):
        found |= _weighted(graphs, pairs[start : start + at_once], share, threads)
    return found


def _weighted(
    graphs: Sequence[NeighborGraph], pairs: NDArray[np.int64], share: NDArray[np.float64], threads: int | None
) -> dict[tuple[int, int], tuple[float, float]]:
    """The same of overlaps of all prefixes, each with its share: by sample, as prefixes of one list go together."""
    depths, n = [depth for depth in range(1, len(share) + 1) if share[depth - 1] > 0], len(graphs[0])
    place = {tuple(pair): at for at, pair in enumerate(pairs.tolist())}
    values = np.zeros((len(pairs), n))
    for part in overlap_parts(graphs, pairs, ks=depths, per_sample=True, threads=threads):
        assert part.counts is not None, "there are pairs"
        for depth, counts in zip(part.ks, part.counts, strict=True):
            for pair, shared in zip(part.pairs.tolist(), counts, strict=True):
                values[place[tuple(pair)]] += share[depth - 1] / depth * shared
    means = values.mean(axis=1)
    errors = values.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(pairs), np.nan)
    return {(int(a), int(b)): (float(means[at]), float(errors[at])) for (a, b), at in place.items()}
