"""What is measured at every number of samples and of neighbours: metrics of layers, and of pairs of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS, chance_level, iou_table
from rra_cli.metrics.metric import LayerData
from rra_cli.metrics.sample_grid import Setting
from rra_cli.metrics.sample_purity import purity, purity_of_all, same_class_counts
from rra_cli.neighbors.overlap import all_pairs, overlap_parts
from rra_cli.stages import costs, results
from rra_cli.stages.measure import Labelling, Measurement
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.samples.lists import SampleList, SampleLists
from rra_cli.stages.samples.order import TWO
from rra_cli.stages.stage import Context, Cost, Stage


class _OfLists(Measurement):
    """A measurement of some layers' lists, which are freed once all that reads them is measured."""

    lists: Sequence[SampleLists]

    @property
    def needs(self) -> Sequence[Stage]:
        return self.lists

    def build(self, context: Context) -> None:
        super().build(context)
        for each in self.lists:
            each.tidy(context.store)


class SampleDimension(_OfLists):
    """The intrinsic dimension of one layer at every size."""

    name = "sample_dimension"

    def __init__(self, key: str, metric: TwoNN, lists: SampleLists, point: Point) -> None:
        self.key, self.lists, self.at = key, (lists,), point
        self.metric: TwoNN = metric
        self.label = f"{key} by N of {point.title}"

    @property
    def point(self) -> Point:
        return self.at

    @cached_property
    def spec(self) -> Spec:
        return Spec(self.name, self.metric.version, {"metric": identity_of(self.metric)}, (self.lists[0].spec.key,))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        measured = []
        for size in self.lists[0].sampling.sizes:
            found, reason = self.lists[0].read(context, size)
            estimate = undefined(reason) if found is None else self.metric.measure(LayerData(found.nearest, None))
            figures = {"n": size, "k": TWO, "by_definition": False, **results.figures_of(estimate)}
            measured.append(Measured(figures, results.arrays_of(estimate, per_sample=False)))
        return measured

    def cost(self) -> Cost:
        return Cost(seconds=0.1, disk_bytes=20_000)


class SamplePurity(_OfLists):
    """NNCS of one layer for every size and number of neighbours, from one pass over the lists of each size."""

    name = "sample_purity"

    def __init__(self, key: str, metric: NNCS, lists: SampleLists, point: Point, labelling: Labelling) -> None:
        self.key, self.lists, self.at, self.labelling = key, (lists,), point, labelling
        self.metric: NNCS = metric
        self.label = f"{key} by N and k of {point.title}"

    @property
    def point(self) -> Point:
        return self.at

    @cached_property
    def spec(self) -> Spec:
        sampling = self.lists[0].sampling
        identity: dict[str, Any] = {"metric": identity_of(self.metric), "labels": self.labelling.identity}
        identity["ks"] = [_ks(sampling.settings[size]) for size in sampling.sizes]
        return Spec(self.name, self.metric.version, identity, (self.lists[0].spec.key,))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        labels, sampling = self.labelling.labels(), self.lists[0].sampling
        assert labels is not None, "without labels there is no such stage"
        in_order, measured = np.unique(labels[sampling.order()], return_inverse=True)[1].astype(np.int64), []
        for size in sampling.sizes:
            codes, ks = in_order[:size], sampling.ks(size)
            found, reason = self.lists[0].read(context, size)
            counts = None if found is None else same_class_counts(found.indices, codes, ks)
            for k in _ks(sampling.settings[size]):
                balanced = self.metric.class_balanced
                if found is None or counts is None:
                    estimate = undefined(reason)
                elif k == size - 1:
                    estimate = purity_of_all(codes, class_balanced=balanced)
                elif found.collapsed(k):
                    estimate = undefined(found.collapsed(k))
                else:
                    estimate = purity(counts[:, ks.index(k)], codes, k, class_balanced=balanced)
                figures = {"n": size, "k": k, "by_definition": k == size - 1, **results.figures_of(estimate)}
                measured.append(Measured(figures, {}))
        return measured

    def cost(self) -> Cost:
        sampling = self.lists[0].sampling
        read = sum(size * reach for size, reach in zip(sampling.sizes, sampling.reaches, strict=True))
        return Cost(seconds=0.1 + 1e-8 * read, memory_bytes=100 << 20, disk_bytes=10_000)


class SampleSimilarity(_OfLists):
    """NNLS of all pairs of layers at one size, for all its numbers of neighbours; a result's `a` < `b` are places."""

    name = "sample_similarity"

    def __init__(
        self, key: str, metric: NNLS, lists: Sequence[SampleLists], points: Sequence[Point], size: int
    ) -> None:
        self.key, self.lists, self.points, self.size = key, lists, points, size
        self.metric: NNLS = metric
        self.settings = lists[0].sampling.settings[size]
        here = f"{points[0].checkpoint.label} · {points[0].split}"
        pooled = "" if points[0].pooling.pool == "none" else f" {points[0].pooling.title}"
        self.label = f"{key} by k of {len(lists)} layers{pooled}, N = {size} · {here}"

    @property
    def point(self) -> Point:
        return self.points[0]

    @cached_property
    def spec(self) -> Spec:
        identity = {"metric": identity_of(self.metric), "n": self.size, "ks": _ks(self.settings)}
        return Spec(self.name, self.metric.version, identity, tuple(each.spec.key for each in self.lists))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        loaded = [each.read(context, self.size) for each in self.lists]
        pairs = all_pairs(len(loaded))
        usable = np.array([loaded[a][0] is not None and loaded[b][0] is not None for a, b in pairs], bool)
        ks = self.lists[0].sampling.ks(self.size)
        values: dict[tuple[int, int, int], Estimate] = {}
        if ks and usable.any():
            lists = [each for each, _ in loaded if each is not None]
            places = [place for place, (each, _) in enumerate(loaded) if each is not None]
            for at, k, estimate in _overlaps(lists, ks):
                values[places[at[0]], places[at[1]], k] = estimate
        measured = []
        for a, b in pairs.tolist():
            for k in _ks(self.settings):
                if loaded[a][1] or loaded[b][1]:
                    estimate = undefined(loaded[a][1] or loaded[b][1])
                elif k == self.size - 1:
                    estimate = Estimate(1.0, std_error=0.0, chance=1.0, n_used=self.size)
                else:
                    estimate = values[a, b, k]
                figures = {"a": a, "b": b, "k": k, "by_definition": k == self.size - 1, **results.figures_of(estimate)}
                measured.append(Measured(figures, {}))
        return measured

    def cost(self) -> Cost:
        n, reach = len(self.lists), max(self.lists[0].sampling.ks(self.size), default=1)
        return Cost(
            seconds=0.1 + costs.comparing(n * (n - 1) / 2, self.size, reach),
            memory_bytes=1 << 28,
            disk_bytes=200 * n * n * len(self.settings),
        )


def _overlaps(lists: Sequence[SampleList], ks: Sequence[int]) -> Iterator[tuple[tuple[int, int], int, Estimate]]:
    """NNLS of every pair and k; lists that differ in nothing but the layer."""
    n = len(lists[0])
    for part in overlap_parts(lists, ks=ks):
        for k in part.ks:
            means, errors = part.moments(iou_table(k), k)
            chance = chance_level(k, n - 1)
            for place, (a, b) in enumerate(part.pairs.tolist()):
                reason = lists[a].collapsed(k) or lists[b].collapsed(k)
                value = Estimate(float(means[place]), std_error=float(errors[place]), chance=chance, n_used=n)
                yield (a, b), k, undefined(reason) if reason else value


def _ks(settings: Sequence[Setting]) -> list[int]:
    """All numbers of neighbours, ascending, each once."""
    return sorted({cell.k for cell in settings})
