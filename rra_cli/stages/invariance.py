"""Where a network becomes invariant: altered copies of the measured samples, held against the samples themselves.

Copies are captured and searched like any other images. In every layer three questions are asked of them: do they keep
their sample's neighbours (NNLS and overlap of the two graphs), how far do they lie from it, and what are the metrics of
the altered set by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.alterations.alteration import Alteration
from rra_cli.metrics.copies import compare_copies
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.metrics.layer_similarity import nnls
from rra_cli.metrics.mean_interval import mean_interval
from rra_cli.metrics.neighborhood_overlap import neighborhood_overlap
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.report.tables.schema import INTERVAL, SEARCH
from rra_cli.stages import costs, results
from rra_cli.stages.compare import found_by
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.measure import Labelling, LayerMeasure, Measurement
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage
from rra_cli.stages.study import Study, Target

VERSION = 1
OVERLAPS: dict[str, Callable[[NeighborGraph, NeighborGraph], Estimate]] = {
    "copy_nnls": nnls,
    "copy_overlap": neighborhood_overlap,
}
DISTANCES = ("copy_distance", "copy_distance_median", "copy_cosine")
# What each of them is where the copies are the samples.
EQUAL = {"copy_nnls": 1.0, "copy_overlap": 1.0, "copy_distance": 0.0, "copy_distance_median": 0.0, "copy_cosine": 1.0}


class CopyMeasure(Measurement):
    """How the copies of one layer lie to their samples: overlap of neighbourhoods, distance and cosine.

    A stage a layer, so that layer 0, which all checkpoints share, is measured once.
    """

    name = "copies"
    key = "copies"

    def __init__(self, samples: GraphStage, copies: GraphStage) -> None:
        self.samples, self.copies = samples, copies
        self.k = copies.point.k
        self.label = copies.point.data_title

    @property
    def point(self) -> Point:
        return self.copies.point

    @property
    def needs(self) -> Sequence[Stage]:
        captures = [graph.capture for graph in (self.samples, self.copies) if graph.capture is not None]
        return [self.samples, self.copies, *captures]

    @cached_property
    def spec(self) -> Spec:
        """The neighbours that are read, and the graphs and activations of both."""
        both = self.samples.point, self.copies.point
        upstream = (*(point.graph.key for point in both), *(point.activations.key for point in both))
        return Spec(self.name, VERSION, {"k": self.k}, upstream)

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        found = {**self._overlaps(context), **self._distances(context)}
        return [Measured({"metric": key, **results.figures_of(estimate)}, {}) for key, estimate in found.items()]

    def _overlaps(self, context: Context) -> dict[str, Estimate]:
        (one, reason, _), (other, other_reason, _) = (
            graph.read(context, self.k) for graph in (self.samples, self.copies)
        )
        if one is None or other is None:
            return {key: Estimate(float("nan"), reason=reason or other_reason) for key in OVERLAPS}
        return {key: measure(one, other) for key, measure in OVERLAPS.items()}

    def _distances(self, context: Context) -> dict[str, Estimate]:
        (one, reason), (other, other_reason) = self.samples.open(context), self.copies.open(context)
        if reason or other_reason:
            return {key: Estimate(float("nan"), reason=reason or other_reason) for key in DISTANCES}
        with context.reporter.task(self.title) as progress:
            return compare_copies(one, other, progress)

    def cost(self) -> Cost:
        n, d = self.point.n_samples, self.copies.source.n_features
        seconds = 0.05 + costs.comparing(2, n, self.k) + 16.0 * n * d / costs.DISK_BYTES
        return Cost(seconds=seconds, memory_bytes=9 * 8 * min(n * d, 1 << 22), disk_bytes=1_000)


@dataclass(frozen=True)
class Altered:
    """One alteration at one checkpoint and split.

    copies: per layer, empty where no image is altered. metrics: of the unaltered set, and the same of the altered one.
    """

    name: str
    alteration: Alteration
    graphs: tuple[GraphStage, ...]
    copies: tuple[CopyMeasure, ...]
    metrics: tuple[tuple[LayerMeasure, LayerMeasure], ...]


class Invariance(Study):
    """Everything about altered copies.

    measured: the run's own metrics of layers, of which the altered set has some. level: of the intervals of what is a
    mean over independent samples (`copy_cosine`: a sample and its copy alone); None where none were asked for.
    """

    def __init__(self, measured: Sequence[LayerMeasure], level: float | None = None) -> None:
        self.level = level
        self.measured = [stage for stage in measured if _of_graphs(stage)]
        self.parts: list[Altered] = []

    def add(
        self,
        name: str,
        alteration: Alteration,
        samples: Sequence[GraphStage],
        copies: Sequence[GraphStage],
        labelling: Labelling,
    ) -> None:
        """Adds an alteration. samples, copies: graphs of the same layers in the same order, at one checkpoint and
        split; the same ones where no image is altered. labelling: of the altered set.
        """
        copy_of = dict(zip(samples, copies, strict=True))
        changed = [(one, copy) for one, copy in copy_of.items() if one is not copy]
        metrics = []
        for own in self.measured:
            if own.graphs[0] in copy_of:
                row = [copy_of[graph] for graph in own.graphs]
                k = row[0].point.k
                altered = LayerMeasure(own.key, own.metric, row, k, labelling, own.per_sample)
                altered.label += f", {name}"
                metrics.append((own, altered))
        graphs = tuple(copy for _, copy in changed)
        stages = tuple(CopyMeasure(one, copy) for one, copy in changed)
        self.parts.append(Altered(name, alteration, graphs, stages, tuple(metrics)))

    @property
    def stages(self) -> Sequence[Stage]:
        return [
            stage
            for part in self.parts
            for stage in (*part.graphs, *part.copies, *(altered for _, altered in part.metrics))
        ]

    @property
    def targets(self) -> Sequence[Target]:
        """A walk for every alteration, so that the disk holds the samples and one kind of copies at a time."""
        return [
            Target(stage.point.checkpoint.label, _part(part, stage.point), stage)
            for part in self.parts
            for stage in (*part.copies, *(altered for _, altered in part.metrics))
        ]

    def tables(self, store: Store, common: Callable[[Point], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """`invariance`: a row per checkpoint, split, layer, alteration and metric."""
        rows = []
        for part in self.parts:
            told = {"alteration": part.name, "kind": part.alteration.name, "strength": part.alteration.strength}
            for graph, values in self._values(part, store):
                row = {**common(graph.point), "k": graph.point.k, **told, **values}
                rows.append(row if self.level is None else {**row, **_interval(values, self.level)})
        return {"invariance": rows}

    def _values(self, part: Altered, store: Store) -> Iterator[tuple[GraphStage, dict[str, Any]]]:
        names = ("value", "std_error", "chance", "n_used", "reason")
        for copies in part.copies:
            found = found_by(copies.copies, store)
            search = {name: found[name] for name in SEARCH}
            for measured in copies.load(store):
                metric, figures = measured.figures["metric"], {name: measured.figures[name] for name in names}
                engine = search if metric in OVERLAPS else {"engine": "", "recall": None}
                yield copies.copies, {"metric": metric, **figures, "clean": EQUAL[metric], **engine}
        for own, altered in part.metrics:
            for graph, before, after in zip(altered.graphs, own.load(store), altered.load(store), strict=True):
                figures = {name: after.figures[name] for name in (*names, *SEARCH)}
                yield graph, {"metric": own.key, **figures, "clean": before.figures["value"]}


def _interval(values: dict[str, Any], level: float) -> dict[str, float | None]:
    """Both ends; None for all but `copy_cosine`: neighbours and the samples of random pairs are shared."""
    if values["metric"] != "copy_cosine" or values["value"] is None or values["std_error"] is None:
        return dict.fromkeys(INTERVAL)
    ends = mean_interval(values["value"], values["std_error"], values["n_used"], level, (-1.0, 1.0))
    return dict(zip(INTERVAL, ends, strict=True))


def _of_graphs(stage: LayerMeasure) -> bool:
    """Whether a metric is measured of altered sets, too: of neighbours and classes, not of what is seen in pictures."""
    return "activations" not in stage.metric.inputs and not isinstance(stage.metric, LabelOverlap)


def _part(part: Altered, point: Point) -> str:
    """The walk: where labels alone are altered, that of the samples."""
    return f"{point.split} · {part.name}" if part.copies else point.split
