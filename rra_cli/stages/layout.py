"""An experiment laid out as stages, in the order in which they are walked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rra_cli.config.experiment import Experiment
from rra_cli.core.fields import identity_of
from rra_cli.data.dataset import Split
from rra_cli.errors import UserError
from rra_cli.metrics.metric import LayerMetric, LayerPairMetric, Metric
from rra_cli.neighbors.engine import ShardedEngine
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.compare import Compared, check_comparison, compare
from rra_cli.stages.files import UserFiles
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.measure import NO_LABELS, Labelling, LayerMeasure, PairMeasure
from rra_cli.stages.point import Point
from rra_cli.stages.shards import ShardStage
from rra_cli.stages.stage import Stage
from rra_cli.stages.train import TrainStage


@dataclass(frozen=True)
class Walk:
    """What is measured, or built, at one checkpoint and split."""

    title: str
    targets: list[Stage]


@dataclass
class Layout:
    """All stages of an experiment.

    model: 12 hex digits that name the network in tables. data: the images, or the user's files; training: None for
    files. layers, pairs: the measurements. compared: other engines beside them. shards: one of every graph, where no
    more than that is asked for. notes: what a person should know before they start.
    """

    experiment: Experiment
    model: str
    data: Images | UserFiles
    training: TrainStage | None = None
    captures: list[LayerCapture] = field(default_factory=list)
    graphs: list[GraphStage] = field(default_factory=list)
    layers: list[LayerMeasure] = field(default_factory=list)
    pairs: list[PairMeasure] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    shards: list[ShardStage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def stages(self) -> list[Stage]:
        """All stages, each after what it needs."""
        training = [] if self.training is None else [self.training]
        others = [stage for each in self.compared for stage in (*each.graphs, *each.measures)]
        return [*training, *self.captures, *self.graphs, *self.shards, *self.layers, *self.pairs, *others]

    @property
    def targets(self) -> Sequence[LayerMeasure | PairMeasure | ShardStage]:
        """What a run is for: all measurements, or one shard of every graph."""
        others = [stage for each in self.compared for stage in each.measures]
        return self.shards or [*self.layers, *self.pairs, *others]

    @property
    def frees(self) -> bool:
        """Whether activations are removed once they are measured; a run that measures nothing leaves them."""
        return self.experiment.activations.keep == "until_measured" and not self.shards

    @property
    def walks(self) -> list[Walk]:
        """The targets of every checkpoint and split, checkpoint by checkpoint."""
        places = dict.fromkeys((graph.point.checkpoint.label, graph.point.split) for graph in self.graphs)
        return [self._walk(_at(*place), " · ".join(place)) for place in places]

    def _walk(self, here: Callable[[Point], bool], title: str) -> Walk:
        return Walk(title, [stage for stage in self.targets if here(stage.graphs[0].point)])

    def measure(self, graphs: Sequence[GraphStage], k: int, labelling: Labelling | None) -> None:
        """Adds the graphs of one checkpoint and split with all their metrics.

        Metrics that need labels are left out, with a note, where there are none (labelling is None).
        """
        self.graphs.extend(graphs)
        engine = self.experiment.neighbors
        if isinstance(engine, ShardedEngine) and engine.shard is not None:
            self.shards.extend(ShardStage(graph, engine.shard) for graph in graphs)
        comparison = self.experiment.compare
        if comparison.engines:
            check_comparison(comparison, engine, [graph.point.layer for graph in graphs])
        before = len(self.layers), len(self.pairs)
        keep = self.experiment.metrics.per_sample
        for key, metric in self.experiment.metrics.metrics.items():
            if "labels" in metric.inputs and labelling is None:
                self.notes.append(f"{key} is left out: there are no labels (labels.npy)")
            elif isinstance(metric, LayerMetric):
                self.layers.append(LayerMeasure(key, metric, graphs, k, labelling or NO_LABELS, keep))
            elif isinstance(metric, LayerPairMetric):
                same = [pair.key for pair in self.pairs if pair.key != key and _equal(pair.metric, metric)]
                if same:
                    raise UserError(
                        f"metrics.{key} measures the same as metrics.{same[0]}: {metric.name} with equal settings",
                        f"leave metrics.{key} out, or give it other settings",
                    )
                for pooling in dict.fromkeys(graph.point.pooling for graph in graphs):
                    row = [graph for graph in graphs if graph.point.pooling == pooling]
                    self.pairs.append(PairMeasure(key, metric, row, k, keep))
        measures: list[LayerMeasure | PairMeasure] = [*self.layers[before[0] :], *self.pairs[before[1] :]]
        self.compared += compare(comparison, graphs, measures, k, labelling or NO_LABELS)


def _equal(one: Metric, other: Metric) -> bool:
    """Whether two metrics give the same results."""
    return identity_of(one) == identity_of(other)


def _at(checkpoint: str, split: Split) -> Callable[[Point], bool]:
    return lambda point: point.checkpoint.label == checkpoint and point.split == split
