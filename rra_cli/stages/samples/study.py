"""The study of sample sizes and numbers of neighbours (RRA thesis, ch. 5), laid out over all layers of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rra_cli.config.experiment import Experiment
from rra_cli.core.store import Store
from rra_cli.data.dataset import Split
from rra_cli.errors import UserError
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.stages.files import UserFiles
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import Labelling
from rra_cli.stages.point import Point
from rra_cli.stages.samples.lists import SampleLists
from rra_cli.stages.samples.measures import SampleDimension, SamplePurity, SampleSimilarity
from rra_cli.stages.samples.order import Sampling, sampling
from rra_cli.stages.samples.tables import sample_tables
from rra_cli.stages.stage import Stage
from rra_cli.stages.study import Study, Target

_FEW = 50  # samples below which a study says so


class SampleStudy(Study):
    """TwoNN, NNCS and NNLS among the run's metrics at several numbers of samples and of neighbours.

    lists: of every layer that differs, each once: layer 0 serves all checkpoints. dimensions, purities: of every point
    and metric; similarities: of all layers of a checkpoint, split and pooling, a stage a size.
    """

    def __init__(self) -> None:
        self.lists: dict[str, SampleLists] = {}
        self.dimensions: list[SampleDimension] = []
        self.purities: list[SamplePurity] = []
        self.similarities: list[SampleSimilarity] = []

    @property
    def stages(self) -> Sequence[Stage]:
        return [*self.lists.values(), *self._measures]

    @property
    def targets(self) -> Sequence[Target]:
        return [Target(each.point.checkpoint.label, each.point.split, each) for each in self._measures]

    @property
    def _measures(self) -> list[SampleDimension | SamplePurity | SampleSimilarity]:
        return [*self.dimensions, *self.purities, *self.similarities]

    def tables(self, store: Store, common: Callable[[Point], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        return sample_tables(self.dimensions, self.purities, self.similarities, store, common)

    def add(self, layout: Layout, graphs: Sequence[GraphStage], chosen: Sampling, labelling: Labelling | None) -> None:
        """Everything of one checkpoint, split and pooling."""
        lists = [self._lists_of(graph, chosen, layout.frees) for graph in graphs]
        points = [graph.point for graph in graphs]
        before = len(self.dimensions), len(self.purities), len(self.similarities)
        for key, metric in layout.experiment.metrics.metrics.items():
            if isinstance(metric, TwoNN):
                self.dimensions += [SampleDimension(key, metric, *each) for each in zip(lists, points, strict=True)]
            elif isinstance(metric, NNCS) and metric.graph == "directed" and labelling is not None:
                both = zip(lists, points, strict=True)
                self.purities += [SamplePurity(key, metric, each, point, labelling) for each, point in both]
            elif isinstance(metric, NNLS) and metric.graph == "directed" and len(lists) > 1:
                sizes = chosen.sizes
                self.similarities += [SampleSimilarity(key, metric, lists, points, size) for size in sizes]
        purities, similarities = self.purities[before[1] :], self.similarities[before[2] :]
        for stage in (*self.dimensions[before[0] :], *purities, *similarities):
            for each in stage.lists:
                each.readers.append(stage)

    def _lists_of(self, graph: GraphStage, chosen: Sampling, frees: bool) -> SampleLists:
        lists = SampleLists(graph, chosen, frees)
        return self.lists.setdefault(lists.spec.key, lists)


def add_sample_study(layout: Layout) -> None:
    """Adds the study to a layout that has all its graphs, where sizes are asked for; and notes of what is left out.

    Raises `UserError` where graphs are not searched exactly, or no metric of the run can be studied.
    """
    experiment, config = layout.experiment, layout.experiment.samples
    if not config.sizes:
        return
    _check(experiment)
    study, groups = SampleStudy(), dict[Any, list[GraphStage]]()
    for graph in (graph for graph in layout.graphs if not graph.point.dataset):
        groups.setdefault((graph.point.checkpoint, graph.point.split, graph.point.pooling), []).append(graph)
    chosen: dict[Split, Sampling] = {}
    for graphs in groups.values():
        point = graphs[0].point
        if point.split not in chosen:
            chosen[point.split] = sampling(layout.data, point.split, point.n_samples, config.sizes, config.steps)
            larger = [size for size in config.sizes if size > point.n_samples]
            if larger:
                named = ", ".join(f"{size:,}" for size in larger)
                layout.notes.append(
                    f"samples.sizes: {named} left out of {point.split}, of which {point.n_samples:,} are measured"
                )
            few = [size for size in config.sizes if size < _FEW and size <= point.n_samples]
            told = f"samples.sizes: of {', '.join(map(str, few))} samples values are mostly chance"
            note = f"{told}; {_FEW} or more say something"
            layout.notes += [note] if few and note not in layout.notes else []
        study.add(layout, graphs, chosen[point.split], _labelling(layout.data, point.split))
    if not study.targets:
        raise UserError(
            "samples.sizes has nothing to study: nncs needs labels, and nnls at least two layers",
            "use metrics=rra, which has twonn, or leave samples.sizes out",
        )
    layout.add(study)


def _check(experiment: Experiment) -> None:
    if not isinstance(experiment.neighbors, ExactEngine):
        raise UserError(
            f"samples.sizes compares exact graphs, but neighbors={experiment.neighbors.name}",
            "use neighbors=exact, or leave samples.sizes out",
        )
    metrics = experiment.metrics.metrics
    found = {key: metric for key, metric in metrics.items() if isinstance(metric, TwoNN | NNCS | NNLS)}
    if not found:
        raise UserError(
            "samples.sizes studies twonn, nncs and nnls, and metrics has none of them: " + ", ".join(metrics),
            "use metrics=rra, or leave samples.sizes out",
        )
    others = {key: metric.graph for key, metric in found.items() if not isinstance(metric, TwoNN)}
    if len(others) == len(found) and "directed" not in others.values():
        raise UserError(
            "samples.sizes studies nncs and nnls of directed graphs, and metrics has them of others only: "
            + ", ".join(f"{key} (graph={graph})" for key, graph in others.items()),
            "use metrics=rra, or leave samples.sizes out",
        )


def _labelling(data: Images | UserFiles, split: Split) -> Labelling | None:
    if isinstance(data, UserFiles) and not data.has_labels:
        return None
    return Labelling(data.labels_identity, partial(data.labels, split))
