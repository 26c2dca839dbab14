"""From a configured experiment to its stages. Everything that can be wrong with the request shows here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import Experiment
from rra_cli.data.dataset import ImageDataset, Split
from rra_cli.errors import UserError, did_you_mean
from rra_cli.stages.capture import CapturePass, LayerCapture
from rra_cli.stages.engines import LayerEngines, engine_notes
from rra_cli.stages.files import FileSource, UserFiles
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.keys import activations_spec, graph_k, graph_spec, neighbors_of
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import Labelling
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.preprocessing import preprocessing_notes, projection_notes
from rra_cli.stages.shards import check_shards
from rra_cli.stages.train import TrainStage

if TYPE_CHECKING:
    from torch import nn

    from rra_cli.activations.stream import Request
    from rra_cli.models.encoder import Layer


def lay_out(experiment: Experiment, *, read_only: bool = False) -> Layout:
    """The stages of an experiment. Raises `UserError` where it asks for something impossible.

    read_only: not even the hashes of a user's files are remembered in the store.
    """
    if isinstance(experiment.dataset, ImageDataset):
        if experiment.activations.path is not None:
            raise UserError(
                f"activations.path is set, but dataset={experiment.dataset.name} is a data set of images",
                "use +experiment=from_activations to measure your files, or leave activations.path out",
            )
        return _ImageLayout(experiment, experiment.dataset).layout
    return _lay_out_files(experiment, read_only)


class _ImageLayout:
    """Builds the layout of a network on images: all layers at all checkpoints, on all splits, at all scales."""

    def __init__(self, experiment: Experiment, dataset: ImageDataset) -> None:
        from rra_cli.activations.stream import Request, feature_shapes

        self.experiment, self.dataset, self.images = experiment, dataset, Images(dataset)
        if experiment.method.trains:
            experiment.optimizer.check_epochs(experiment.method.epochs)
        self.training = TrainStage(
            experiment.model, experiment.method, experiment.augment, experiment.optimizer, experiment.seed, self.images
        )
        encoder = self.training.fresh_encoder()
        self.named: dict[str, Layer] = {layer.module: layer for layer in encoder.layers}
        self.modules = _ordered_modules(
            encoder.module, list(self.named), experiment.activations.layers, dataset.input_shape
        )
        self.requests = [
            Request(self.named[module].name if module in self.named else module, module, pooling)
            for pooling in experiment.pooling.values()
            for module in self.modules
        ]
        self.shapes = feature_shapes(encoder.module, self.requests, dataset.input_shape)
        self.inputs: dict[tuple[Split, Pooling], LayerCapture] = {}
        self.layout = Layout(experiment, self.training.spec.key[:12], self.images, self.training)
        for checkpoint in _checkpoints(self.training, experiment.activations.checkpoints):
            for split in dataset.splits:
                self._add(checkpoint, split)
        self.layout.notes += projection_notes(self.layout.captures)
        self.layout.notes += engine_notes(experiment.neighbors, self.layout.graphs)
        self.layout.notes += preprocessing_notes(self.layout.graphs)

    def _add(self, checkpoint: Checkpoint, split: Split) -> None:
        """Everything that is measured at one checkpoint on one split."""
        experiment, n_samples = self.experiment, self.images.n_measured(split)
        k = neighbors_of(experiment.neighbors.k, n_samples, len(self.dataset.class_names))
        check_shards(experiment.neighbors, n_samples)
        network_pass = self._pass(split, checkpoint)
        engines = LayerEngines(experiment.neighbors, n_samples, graph_k(experiment, k))
        graphs = []
        for request in self.requests:
            width = math.prod(self.shapes[request])
            projection = experiment.activations.projection
            n_features = width if projection is None else projection.width(width)
            engine, start = engines.of(request.pooling, n_features)
            activations = activations_spec(
                experiment.activations, self.images, split, request, width, self.training, checkpoint
            )
            point = Point(
                checkpoint=checkpoint,
                split=split,
                layer=request.layer,
                index=self.modules.index(request.module),
                module=request.module,
                stage=self.named[request.module].stage if request.module in self.named else "",
                pooling=request.pooling,
                n_samples=n_samples,
                k=k,
                activations=activations,
                graph=graph_spec(engine, activations, engines.k, None if start is None else start.point.graph),
            )
            capture = self._capture(point, request, network_pass)
            graph = GraphStage(point, capture, capture, engine, engines.k, start)
            engines.add(graph)
            capture.readers.append(graph)
            graphs.append(graph)
        self.layout.measure(graphs, k, Labelling({}, partial(self.images.labels, split)))

    def _capture(self, point: Point, request: Request, network_pass: CapturePass) -> LayerCapture:
        if request.module == "":
            # Layer 0 does not depend on the network: one capture serves all checkpoints.
            known = self.inputs.get((point.split, point.pooling))
            if known is not None:
                return known
            network_pass = self._pass(point.split, None)
        capture = LayerCapture(point, network_pass, self.shapes[request])
        self.layout.captures.append(capture)
        if request.module == "":
            self.inputs[point.split, point.pooling] = capture
        return capture

    def _pass(self, split: Split, checkpoint: Checkpoint | None) -> CapturePass:
        config = self.experiment.activations
        training = None if checkpoint is None else self.training
        return CapturePass(
            self.images,
            split,
            training=training,
            checkpoint=checkpoint,
            batch_size=config.batch_size,
            dtype=config.dtype,
            projection=config.projection,
        )


def _lay_out_files(experiment: Experiment, read_only: bool) -> Layout:
    """The layout of a user's folder: its layers are there already."""
    if experiment.activations.reduce is not None:
        raise UserError(
            f"activations.reduce={experiment.activations.reduce} projects layers while they are captured, "
            "but these files are there already and are searched as they are",
            f"leave it out, or write them anew by rra_cli.capture(..., reduce={experiment.activations.reduce})",
        )
    files = UserFiles(experiment, read_only=read_only)
    layout = Layout(experiment, files.key[:12], files)
    k = neighbors_of(experiment.neighbors.k, files.n_samples, files.n_classes)
    check_shards(experiment.neighbors, files.n_samples)
    engines = LayerEngines(experiment.neighbors, files.n_samples, graph_k(experiment, k))
    graphs = []
    for pooling in experiment.pooling.values():
        for layer in files.layers:
            source = FileSource(files, layer, pooling)
            engine, start = engines.of(pooling, source.n_features)
            point = Point(
                checkpoint=Checkpoint("last", "last", None),
                split=files.split,
                layer=layer.name,
                index=layer.index,
                module=layer.name,
                stage="",
                pooling=pooling,
                n_samples=files.n_samples,
                k=k,
                activations=source.spec,
                graph=graph_spec(engine, source.spec, engines.k, None if start is None else start.point.graph),
            )
            graphs.append(GraphStage(point, source, None, engine, engines.k, start))
            engines.add(graphs[-1])
    layout.measure(graphs, k, Labelling(files.labels_identity, files.labels) if files.has_labels else None)
    layout.notes += engine_notes(experiment.neighbors, layout.graphs)
    layout.notes += preprocessing_notes(layout.graphs)
    return layout


def _checkpoints(training: TrainStage, wanted: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints to measure, in the order of their epochs, each once."""
    known = {point.label: point for point in (*training.milestones, training.best, training.last)}
    chosen: set[str] = set()
    for name in wanted:
        if name == "milestones":
            chosen.update(point.label for point in training.milestones)
        elif name == training.last.entry:
            chosen.add("last")
        elif name in known:
            chosen.add(name)
        else:
            raise UserError(
                f"activations.checkpoints names {name!r}, which this training does not keep: "
                + did_you_mean(name, ["milestones", *known]),
                "epochs are kept by method.milestones=[0,10,...]",
            )
    if not chosen:
        raise UserError(
            f"activations.checkpoints={list(wanted)} leaves nothing to measure: this training keeps no milestones",
            "use [milestones,last] or [best]",
        )
    return [known[label] for label in known if label in chosen]


def _ordered_modules(
    module: nn.Module, named: list[str], extra: Sequence[str], input_shape: tuple[int, int, int]
) -> list[str]:
    """The named layers and the extra ones asked for, in the order in which the network runs them; layer 0 first."""
    if not extra:
        return named
    from rra_cli.activations.layers import resolve_layers

    return ["", *resolve_layers(module, [*named[1:], *extra], input_shape=input_shape)]
