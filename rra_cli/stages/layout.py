"""From a configured experiment to its stages: what will be looked at, and under which keys it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rra_cli.activations.pooling import Pooling
from rra_cli.config import Experiment
from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.data.dataset import ImageDataset, Split
from rra_cli.errors import UserError, did_you_mean
from rra_cli.metrics.metric import LayerMetric, LayerPairMetric
from rra_cli.neighbors.engine import Engine
from rra_cli.stages.capture import VERSION as CAPTURE_VERSION
from rra_cli.stages.capture import CapturePass, LayerCapture
from rra_cli.stages.files import FileSource, UserFiles
from rra_cli.stages.graph import VERSION as GRAPH_VERSION
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.measure import Labelling, LayerMeasure, PairMeasure
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.stage import Stage
from rra_cli.stages.train import TrainStage


@dataclass
class Layout:
    """All stages of an experiment, in the order in which they are walked.

    model: 12 hex digits that name the network in tables. data: the images or the user's files. training: None for
    files. layers, pairs: the measurements; `notes` what a person should know before they start.
    """

    experiment: Experiment
    model: str
    data: Images | UserFiles
    training: TrainStage | None = None
    captures: list[LayerCapture] = field(default_factory=list)
    graphs: list[GraphStage] = field(default_factory=list)
    layers: list[LayerMeasure] = field(default_factory=list)
    pairs: list[PairMeasure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def stages(self) -> list[Stage]:
        """All stages, each after what it needs, checkpoint by checkpoint."""
        training = [] if self.training is None else [self.training]
        return [*training, *self.captures, *self.graphs, *self.layers, *self.pairs]

    @property
    def walks(self) -> list[tuple[str, list[Stage], list[LayerCapture]]]:
        """Per checkpoint and split: its measurements and the captures they read."""
        found = []
        for checkpoint, split in dict.fromkeys((g.point.checkpoint.label, g.point.split) for g in self.graphs):

            def here(point: Point, checkpoint: str = checkpoint, split: Split = split) -> bool:
                return point.checkpoint.label == checkpoint and point.split == split

            # Graphs before pairs: a pair of layers needs all graphs, a layer's metrics only one.
            targets: list[Stage] = [stage for stage in self.layers if here(stage.graph.point)]
            targets += [stage for stage in self.pairs if here(stage.graphs[0].point)]
            captures = [stage for stage in self.captures if here(stage.point)]
            found.append((f"{checkpoint} · {split}", targets, captures))
        return found


def lay_out(experiment: Experiment) -> Layout:
    """The stages of an experiment. Raises `UserError` where it asks for something impossible."""
    if isinstance(experiment.dataset, ImageDataset):
        return _lay_out_images(experiment, experiment.dataset)
    return _lay_out_files(experiment)


def default_k(n_samples: int, n_classes: int) -> int:
    """max(2, round(N / (10 C))): the neighbour density of the RRA thesis, ch. 5.4."""
    return max(2, round(n_samples / (10 * n_classes)))


def _lay_out_images(experiment: Experiment, dataset: ImageDataset) -> Layout:
    from rra_cli.activations.capture import Request, feature_shapes

    images = Images(dataset)
    training = TrainStage(
        experiment.model, experiment.method, experiment.augment, experiment.optimizer, experiment.seed, images
    )
    layout = Layout(experiment, training.spec.key[:12], images, training)
    encoder = training.fresh_encoder()
    named = {layer.module: layer for layer in encoder.layers}
    modules = _ordered_modules(encoder.module, list(named), experiment.activations.layers, dataset.input_shape)
    requests = [Request(named[m].name if m in named else m, m, p) for p in experiment.pooling.values() for m in modules]
    shapes = feature_shapes(encoder.module, requests, dataset.input_shape)
    inputs: dict[tuple[Split, Pooling], LayerCapture] = {}
    options = {"batch_size": experiment.activations.batch_size, "dtype": experiment.activations.dtype}
    for checkpoint in _checkpoints(training, experiment.activations.checkpoints):
        for split in dataset.splits:
            n_samples = images.n_measured(split)
            k = _neighbors(experiment.neighbors.k, n_samples, len(dataset.class_names))
            network_pass = CapturePass(images, split, training=training, checkpoint=checkpoint, **options)
            row: list[GraphStage] = []
            for request in requests:
                index = modules.index(request.module)
                activations = _activations_spec(experiment, images, split, request, training, checkpoint)
                point = Point(
                    checkpoint=checkpoint,
                    split=split,
                    layer=request.layer,
                    index=index,
                    module=request.module,
                    stage=named[request.module].stage if request.module in named else "",
                    pooling=request.pooling,
                    n_samples=n_samples,
                    k=k,
                    activations=activations,
                    graph=_graph_spec(experiment.neighbors, activations.key, _graph_k(experiment, k)),
                )
                if index == 0:
                    # Layer 0 does not depend on the network: one capture serves all checkpoints.
                    if (split, request.pooling) not in inputs:
                        input_pass = CapturePass(images, split, training=None, checkpoint=None, **options)
                        inputs[split, request.pooling] = LayerCapture(point, input_pass, shapes[request])
                        layout.captures.append(inputs[split, request.pooling])
                    capture = inputs[split, request.pooling]
                else:
                    capture = LayerCapture(point, network_pass, shapes[request])
                    layout.captures.append(capture)
                graph = GraphStage(point, capture, capture, experiment.neighbors, _graph_k(experiment, k))
                capture.readers.append(graph)
                row.append(graph)
            labelling: Labelling = ({}, lambda split=split: images.labels(split))  # type: ignore[misc]
            _add_measurements(layout, row, k, labelling)
    return layout


def _lay_out_files(experiment: Experiment) -> Layout:
    files = UserFiles(experiment)
    layout = Layout(experiment, files.key[:12], files)
    checkpoint = Checkpoint("last", "last", None)
    k = _neighbors(experiment.neighbors.k, files.n_samples, files.n_classes)
    row = []
    for pooling in experiment.pooling.values():
        for index, layer in enumerate(files.layers):
            source = FileSource(files, layer, pooling)
            point = Point(
                checkpoint=checkpoint,
                split=files.split,
                layer=layer.name,
                index=index,
                module=layer.name,
                stage="",
                pooling=pooling,
                n_samples=files.n_samples,
                k=k,
                activations=source.spec,
                graph=_graph_spec(experiment.neighbors, source.spec.key, _graph_k(experiment, k)),
            )
            row.append(GraphStage(point, source, None, experiment.neighbors, _graph_k(experiment, k)))
    labelling: Labelling | None = (files.labels_identity, files.labels) if files.has_labels else None
    _add_measurements(layout, row, k, labelling)
    return layout


def _add_measurements(layout: Layout, graphs: Sequence[GraphStage], k: int, labelling: Labelling | None) -> None:
    """The metrics of one checkpoint and split; those that need labels are left out where there are none."""
    layout.graphs.extend(graphs)
    metrics = layout.experiment.metrics
    for key, metric in metrics.metrics.items():
        if "labels" in metric.inputs and labelling is None:
            layout.notes.append(f"{key} is left out: there are no labels (labels.npy)")
            continue
        if isinstance(metric, LayerMetric):
            layout.layers += [
                LayerMeasure(key, metric, graph, k, labelling or ({}, lambda: None), metrics.per_sample)
                for graph in graphs
            ]
        elif isinstance(metric, LayerPairMetric):
            for pooling in layout.experiment.pooling.values():
                row = [graph for graph in graphs if graph.point.pooling == pooling]
                layout.pairs.append(PairMeasure(key, metric, row, k, metrics.per_sample))


def _checkpoints(training: TrainStage, wanted: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints to measure, in the order of their epochs, each once."""
    known = {point.label: point for point in (*training.milestones, training.best, training.last)}
    chosen: dict[str, Checkpoint] = {}
    for name in wanted:
        if name == "milestones":
            chosen.update({point.label: point for point in training.milestones})
        elif name == training.last.entry:
            chosen["last"] = training.last
        elif name in known:
            chosen[name] = known[name]
        else:
            raise UserError(
                f"activations.checkpoints names {name!r}, which this training does not keep: "
                + did_you_mean(name, ["milestones", *known]),
                "epochs are kept by method.milestones=[0,10,...]",
            )
    if not chosen:
        raise UserError("activations.checkpoints is empty: nothing would be measured", "use [milestones,last] or [best]")
    return [known[label] for label in known if label in chosen]


def _ordered_modules(
    module: object, named: list[str], extra: Sequence[str], input_shape: tuple[int, int, int]
) -> list[str]:
    """The named layers and the extra ones asked for, in the order in which the network runs them; layer 0 first."""
    if not extra:
        return named
    from rra_cli.activations.capture import resolve_layers

    wanted = set(named) | set(resolve_layers(module, extra))  # type: ignore[arg-type]
    ordered = [name for name in resolve_layers(module, ["*"], input_shape=input_shape) if name in wanted]  # type: ignore[arg-type, call-arg]
    return ["", *[name for name in ordered if name != ""]]


def _activations_spec(
    experiment: Experiment, images: Images, split: Split, request: object, training: TrainStage, checkpoint: Checkpoint
) -> Spec:
    """What decides the bytes of a layer's activations; layer 0 knows nothing of the network."""
    from rra_cli.activations.capture import Request

    assert isinstance(request, Request)
    identity = {
        "dataset": images.measured_identity(split),
        "module": request.module,
        "pooling": {"pool": request.pooling.pool, "scale": request.pooling.scale},
        "dtype": experiment.activations.dtype,
    }
    if request.module == "":
        return Spec("capture", CAPTURE_VERSION, identity, ())
    identity |= {"checkpoint": checkpoint.entry, "batch_size": experiment.activations.batch_size}
    return Spec("capture", CAPTURE_VERSION, identity, (training.spec.key,))


def _graph_spec(engine: Engine, activations_key: str, k: int) -> Spec:
    """The graph's key holds k only where the graph of a smaller k is not a prefix of it."""
    identity = {"engine": identity_of(engine)}
    if not engine.prefix_stable:
        identity["k"] = k  # type: ignore[assignment]
    return Spec("graph", GRAPH_VERSION, identity, (activations_key,))


def _graph_k(experiment: Experiment, k: int) -> int:
    """Neighbours that the graph holds: k, or more where a metric always reads more (TwoNN reads two)."""
    return max([k, *(metric.fixed_k or 1 for metric in experiment.metrics.metrics.values())])


def _neighbors(asked: int | None, n_samples: int, n_classes: int | None) -> int:
    """The k asked for, or the default; a `UserError` where the data has no more than k samples."""
    if asked is None and n_classes is None:
        raise UserError(
            "neighbors.k must be given: without labels there is no default (it is N / (10 classes))",
            f"add neighbors.k=K with 2 <= K < {n_samples}",
        )
    k = default_k(n_samples, n_classes or 1) if asked is None else asked
    if k < 1:
        raise UserError(f"neighbors.k is {k}; at least 1 is needed", "use neighbors.k=10, or null for the default")
    if k >= n_samples:
        raise UserError(
            f"neighbors.k is {k}, but only {n_samples} samples are measured, so each has {n_samples - 1} neighbours",
            f"use neighbors.k <= {n_samples - 1}, or measure more samples (dataset.n_samples)",
        )
    return k
