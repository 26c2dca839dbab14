"""An experiment laid out as stages, in the order in which they are walked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rra_cli.config.experiment import Experiment
from rra_cli.core.progress import Reporter
from rra_cli.core.store import Store
from rra_cli.stages.across_scales import AcrossScales
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.compare import Compared
from rra_cli.stages.files import UserFiles
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.shards import ShardStage
from rra_cli.stages.images import Images
from rra_cli.stages.measure import Labelling, LayerMeasure, Measurement, PairMeasure
from rra_cli.stages.point import Point
from rra_cli.stages.stage import Stage
from rra_cli.stages.study import Study, Target
from rra_cli.stages.to_last import ToLast
from rra_cli.stages.train import TrainStage
from rra_cli.stages.transfer import TransferMeasure


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

    def add(self, study: Study) -> None:
        """Adds a study of the layers that were added before."""
        self.studies.append(study)
        self.read_by(study.stages)

    def read_by(self, stages: Sequence[Stage]) -> None:
        """Tells the captures who reads them."""
        for stage in stages:
            for need in stage.needs:
                if isinstance(need, LayerCapture):
                    need.readers.append(stage)
