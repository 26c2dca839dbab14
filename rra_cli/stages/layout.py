"""An experiment laid out as stages, in the order in which they are walked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rra_cli.config.experiment import Experiment
from rra_cli.core.fields import identity_of
from rra_cli.core.progress import Reporter
from rra_cli.core.store import Store
from rra_cli.data.dataset import Split
from rra_cli.errors import UserError
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import LayerMetric, LayerPairMetric, Metric, TransferMetric
from rra_cli.neighbors.engine import ShardedEngine
from rra_cli.stages.across_scales import AcrossScales, across_scales
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.compare import Compared, check_comparison, compare
from rra_cli.stages.files import UserFiles
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.labellings import labelling_of
from rra_cli.stages.measure import NO_LABELS, Labelling, LayerMeasure, Measurement, PairMeasure
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.shards import ShardStage
from rra_cli.stages.stage import Stage
from rra_cli.stages.study import Study, Target
from rra_cli.stages.to_last import ToLast, compared
from rra_cli.stages.train import TrainStage
from rra_cli.stages.transfer import TransferMeasure
from rra_cli.stages.view import LayerView


@dataclass(frozen=True)
class Walk:
    """What is measured, or built, at one checkpoint and split."""

    title: str
    targets: list[Stage]


@dataclass
class Layout:
    """All stages of an experiment.

    model: 12 hex digits that name the network in tables. data: the images, or the user's files; training: None for
    files. others: further data sets that the network is applied to, by their names in `transfer`. layers, pairs: the
    measurements. across: unpooled layers to pooled ones. to_last: every layer with itself at the last and the next one.
    probes: train to test, of all data sets. compared: other engines beside them. shards: one of every graph, where no
    more than that is asked for. studies: what is asked beside metrics of layers. labellings: of the samples, beside
    their classes. notes: what a person should know before they start.
    """

    experiment: Experiment
    model: str
    data: Images | UserFiles
    training: TrainStage | None = None
    others: dict[str, Images] = field(default_factory=dict)
    captures: list[LayerCapture] = field(default_factory=list)
    graphs: list[GraphStage] = field(default_factory=list)
    layers: list[LayerMeasure] = field(default_factory=list)
    pairs: list[PairMeasure] = field(default_factory=list)
    across: list[AcrossScales] = field(default_factory=list)
    to_last: list[ToLast] = field(default_factory=list)
    probes: list[TransferMeasure] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    shards: list[ShardStage] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
    labellings: list[Labelling] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def stages(self) -> list[Stage]:
        """All stages, each after what it needs."""
        training = [] if self.training is None else [self.training]
        others = [stage for each in self.compared for stage in (*each.graphs, *each.measures)]
        own = [*self.captures, *self.graphs, *self.shards, *self._measurements]
        studies = [stage for study in self.studies for stage in study.stages]
        return [*training, *own, *others, *studies]

    @property
    def _measurements(self) -> list[Measurement]:
        return [*self.layers, *self.pairs, *self.across, *self.to_last, *self.probes]

    @property
    def targets(self) -> Sequence[Stage]:
        """What a run is for: all measurements and studies, or one shard of every graph."""
        return [target.stage for target in self._placed]

    @property
    def _placed(self) -> list[Target]:
        """All targets with their walks. Of engines that are compared the graphs, too: recall and time are theirs."""
        if self.shards:
            return [self._at(shard.graphs[0].point, shard) for shard in self.shards]
        searches = [graph for each in self.compared for graph in (*each.exact.values(), *each.graphs)]
        others = [stage for each in self.compared for stage in each.measures]
        own: list[Measurement | GraphStage] = [*dict.fromkeys(searches), *self._measurements, *others]
        studies = [target for study in self.studies for target in study.targets]
        return [*(self._at(stage.point, stage) for stage in own), *studies]

    def _at(self, point: Point, stage: Stage) -> Target:
        return Target(point.checkpoint.label, point.dataset or point.split, stage)

    @property
    def reads_graphs(self) -> bool:
        """Whether anything looks at neighbour graphs: probes and metrics of activations alone do without."""
        metrics = self.experiment.metrics.metrics.values()
        return bool(self.shards) or any("graph" in metric.inputs for metric in metrics)

    @property
    def frees(self) -> bool:
        """Whether activations are removed once they are measured; a run that measures nothing leaves them."""
        return self.experiment.activations.keep == "until_measured" and not self.shards

    @property
    def walks(self) -> list[Walk]:
        """The targets checkpoint by checkpoint: of every split, then of the other data sets, then of studies of others.

        Probes look at both splits, which then make one walk.
        """
        probed = any(not probe.point.dataset for probe in self.probes)
        splits = list(dict.fromkeys(graph.point.split for graph in self.graphs))
        parts: list[str] = [", ".join(splits)] if probed else [*splits]
        parts += self.others
        parts += dict.fromkeys(target.part for target in self._placed if target.part not in (*splits, *parts))
        checkpoints = dict.fromkeys(graph.point.checkpoint.label for graph in self.graphs)
        found: dict[tuple[str, str], list[Stage]] = {(label, part): [] for label in checkpoints for part in parts}
        for target in self._placed:
            part = parts[0] if probed and target.part in splits else target.part
            found[target.checkpoint, part].append(target.stage)
        return [Walk(f"{label} · {part}", targets) for (label, part), targets in found.items() if targets]

    def images(self, point: Point) -> Images | UserFiles:
        """The data set that a point belongs to."""
        return self.others[point.dataset] if point.dataset else self.data

    def check(self, store: Store, reporter: Reporter) -> None:
        """Reads what is measured of all data sets. Raises `UserError` where it is not what it must be."""
        for data in (self.data, *self.others.values()):
            data.check(store, reporter)
        for labelling in self.labellings:
            labelling.labels()
        for study in self.studies:
            study.check()

    def checksums(self) -> dict[str, str]:
        """Of every file that is read; those of other data sets with their names."""
        found = self.data.checksums()
        for name, images in self.others.items():
            found |= {f"{name}/{file}": checksum for file, checksum in images.checksums().items()}
        return found

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
        poolings = dict.fromkeys(graph.point.pooling for graph in graphs)
        by_pooling = [[graph for graph in graphs if graph.point.pooling == pooling] for pooling in poolings]
        keep = self.experiment.metrics.per_sample
        for key, metric in self.experiment.metrics.metrics.items():
            if isinstance(metric, TransferMetric):
                continue  # of both splits: `probe`
            labels = labelling
            if isinstance(metric, LabelOverlap):
                labels = labelling_of(key, metric, self.data, graphs[0].point.split, labelling)
                self.labellings += [] if labels is None or labels is labelling else [labels]
            if "labels" in metric.inputs and labels is None:
                self.notes.append(f"{key} is left out: there are no labels (labels.npy)")
            elif isinstance(metric, LayerMetric):
                # What reads activations is measured layer by layer, so that layer 0 is read once for all checkpoints;
                # the rest by pooling, so that a run with more of them finds what there is.
                rows = [[graph] for graph in graphs] if "activations" in metric.inputs else by_pooling
                self.layers += [LayerMeasure(key, metric, row, k, labels or NO_LABELS, keep) for row in rows]
            elif isinstance(metric, LayerPairMetric):
                same = [pair.key for pair in self.pairs if pair.key != key and _equal(pair.metric, metric)]
                if same:
                    raise UserError(
                        f"metrics.{key} measures the same as metrics.{same[0]}: {metric.name} with equal settings",
                        f"leave metrics.{key} out, or give it other settings",
                    )
                self.pairs += [PairMeasure(key, metric, row, k, keep) for row in by_pooling]
                if isinstance(metric, NNLS):
                    self.across += across_scales(key, metric, graphs, k)
        measures: list[LayerMeasure | PairMeasure] = [*self.layers[before[0] :], *self.pairs[before[1] :]]
        self._read_by(measures)
        measures = [measure for measure in measures if "activations" not in measure.metric.inputs]
        self.compared += compare(comparison, graphs, measures, k)

    def probe(
        self,
        train: Sequence[LayerView],
        test: Sequence[LayerView],
        labellings: tuple[Labelling, Labelling],
        n_classes: int,
    ) -> None:
        """Adds all probes of the same layers of both splits at one checkpoint, a layer's one after the other."""
        keep, dataset, n_train = self.experiment.metrics.per_sample, train[0].point.dataset, train[0].point.n_samples
        found, of = [], f" of transfer.{dataset}" if dataset else ""
        for key, metric in self.experiment.metrics.metrics.items():
            if not isinstance(metric, TransferMetric):
                continue
            if metric.n_train > n_train:
                raise UserError(
                    f"metrics.{key} needs {metric.n_train:,} training samples, but only {n_train:,} are measured{of}",
                    f"use a smaller metrics.{key}.k, or a larger {f'transfer.{dataset}' if dataset else 'dataset'}"
                    ".n_samples",
                )
            if metric.n_train > max(1, n_train // n_classes):
                note = (
                    f"{key} asks {metric.n_train:,} neighbours{of}, where a class has {n_train / n_classes:.0f} "
                    f"training samples on average: the others lie in other classes; see metrics.{key}.k"
                )
                self.notes += [] if note in self.notes else [note]
        for one, other in zip(train, test, strict=True):
            for key, metric in self.experiment.metrics.metrics.items():
                if isinstance(metric, TransferMetric):
                    found.append(TransferMeasure(key, metric, one, other, labellings, n_classes, keep))
        self._read_by(found)
        self.probes += found

    def without_probes(self, why: str) -> None:
        """Notes that probes are left out."""
        for key, metric in self.experiment.metrics.metrics.items():
            if isinstance(metric, TransferMetric):
                self.notes.append(f"{key} is left out: {why}")

    def compare_with_last(self) -> None:
        """Adds the similarity of every layer to itself at the last and the next checkpoint, where there are several."""
        checkpoints = list(dict.fromkeys(graph.point.checkpoint for graph in self.graphs))
        here: dict[tuple[Checkpoint, Split], list[GraphStage]] = {}
        for graph in self.graphs:
            here.setdefault((graph.point.checkpoint, graph.point.split), []).append(graph)
        for key, metric in self.experiment.metrics.metrics.items():
            # Activations of an earlier checkpoint may be gone when the last one is measured.
            if isinstance(metric, LayerPairMetric) and "activations" not in metric.inputs:
                for earlier, later in compared(checkpoints):
                    for split in dict.fromkeys(split for _, split in here):
                        one, other = here[earlier, split], here[later, split]
                        self.to_last.append(ToLast(key, metric, one, other, one[0].point.k))

    def add(self, study: Study) -> None:
        """Adds a study of the layers that were added before."""
        self.studies.append(study)
        self._read_by(study.stages)

    def _read_by(self, stages: Sequence[Stage]) -> None:
        """Tells the captures who reads them."""
        for stage in stages:
            for need in stage.needs:
                if isinstance(need, LayerCapture):
                    need.readers.append(stage)


def _equal(one: Metric, other: Metric) -> bool:
    """Whether two metrics give the same results."""
    return identity_of(one) == identity_of(other)
