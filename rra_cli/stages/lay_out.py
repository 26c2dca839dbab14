"""From a configured experiment to its stages. Everything that can be wrong with the request shows here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rra_cli.activations.pooling import pooled_shape
from rra_cli.config.experiment import Experiment
from rra_cli.core.spec import Spec
from rra_cli.data.alterations.alteration import alters_images, alters_labels
from rra_cli.data.alterations.alteration import title as alteration_title
from rra_cli.data.dataset import SPLITS, ImageDataset, Split
from rra_cli.errors import UserError, did_you_mean
from rra_cli.stages.capture import CapturePass, LayerCapture
from rra_cli.stages.engines import LayerEngines, engine_notes
from rra_cli.stages.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.invariance import Invariance
from rra_cli.stages.keys import activations_spec, graph_k, graph_spec, neighbors_of
from rra_cli.stages.lay_out_files import lay_out_files
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import Labelling
from rra_cli.stages.picture_study import add_pictures
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.preprocessing import preprocessing_notes, projection_notes
from rra_cli.stages.pullback_study import add_pullback
from rra_cli.stages.sample_study import add_sample_study
from rra_cli.stages.shards import check_shards
from rra_cli.stages.train import TrainStage
from rra_cli.stages.transfer_choice import transfer_datasets, transfer_layers
from rra_cli.stages.uncertainty import add_uncertainty
from rra_cli.stages.view import LayerView

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
    return lay_out_files(experiment, read_only)


class _ImageLayout:
    """Builds the layout of a network on images: all layers at all checkpoints, on all splits, at all scales."""

    def __init__(self, experiment: Experiment, dataset: ImageDataset) -> None:
        from rra_cli.activations.stream import Request, feature_shapes
        from rra_cli.models.headed import Headed, head_layers

        self.experiment, self.dataset = experiment, dataset
        self.images = Images(dataset, alteration=experiment.alter)
        if experiment.method.trains:
            experiment.optimizer.check_epochs(experiment.method.epochs)
        self.training = TrainStage(
            experiment.model, experiment.method, experiment.augment, experiment.optimizer, experiment.seed, self.images
        )
        self.training.check()
        encoder = self.training.fresh_encoder()
        self.named: dict[str, Layer] = {layer.module: layer for layer in encoder.layers}
        self.modules = _ordered_modules(
            encoder.module, list(self.named), experiment.activations.layers, dataset.input_shape
        )
        heads = self.training.fresh_heads() if experiment.activations.heads else {}
        check_heads(heads, encoder.module)
        self.head_layers = {layer.module: layer for layer in head_layers(heads)}
        self.named |= self.head_layers
        self.modules += self.head_layers
        self.requests = [
            Request(self.named[module].name if module in self.named else module, module, pooling)
            for pooling in experiment.pooling.values()
            for module in self.modules
        ]
        headed = Headed(encoder.module, heads) if heads else None
        inner = {name: Request(name, name if headed is None else headed.reference(name)) for name in self.modules}
        whole = feature_shapes(headed or encoder.module, list(inner.values()), dataset.input_shape)
        shapes = {name: whole[request] for name, request in inner.items()}
        self.shapes = {request: pooled_shape(shapes[request.module], request.pooling) for request in self.requests}
        # What is stored for a request: poolings that come to the same on a layer share it.
        self.stored = {
            request: replace(request, pooling=request.pooling.on(shapes[request.module])) for request in self.requests
        }
        self.captures: dict[str, LayerCapture] = {}
        self.input_passes: dict[tuple[Images, Split], CapturePass] = {}
        self.layout = Layout(experiment, self.training.spec.key[:12], self.images, self.training)
        self.layout.notes += alteration_notes(experiment)
        checkpoints = _checkpoints(self.training, experiment.activations.checkpoints)
        measured: dict[tuple[Checkpoint, Split], list[GraphStage]] = {}
        for checkpoint in checkpoints:
            graphs = {split: self._add(checkpoint, split) for split in dataset.splits}
            measured |= {(checkpoint, split): found for split, found in graphs.items()}
            if "train" in graphs and "test" in graphs:
                views = {split: [graph.view for graph in found] for split, found in graphs.items()}
                self._probe(views["train"], views["test"], self.images)
        if len(dataset.splits) == 1:
            self.layout.without_probes(
                f"a probe is fitted to the training split and judged by the test split, and dataset.splits is "
                f"[{dataset.splits[0]}]: use dataset.splits=[train,test]"
            )
        self.layout.compare_with_last()
        add_sample_study(self.layout)
        add_pictures(self.layout)
        add_uncertainty(self.layout)
        self._transfer(checkpoints, encoder.representation)
        self._invariance(measured)
        add_pullback(self.layout, checkpoints, encoder)
        self.layout.notes += method_notes(experiment, heads)
        self.layout.notes += projection_notes(self.layout.captures)
        self.layout.notes += engine_notes(experiment.neighbors, self.layout.graphs)
        self.layout.notes += preprocessing_notes(self.layout.graphs)

    def _transfer(self, checkpoints: Sequence[Checkpoint], representation: str) -> None:
        """The probes of other data sets, at the layers that were asked for."""
        layers = transfer_layers(self.experiment, [request.layer for request in self.requests], representation)
        for name, dataset in transfer_datasets(self.experiment).items():
            images = self.layout.others[name] = Images(dataset, self.dataset, self.experiment.alter)
            for checkpoint in checkpoints:
                train, test = (self._views(name, images, checkpoint, split, layers) for split in SPLITS)
                self._probe(train, test, images)

    def _probe(self, train: Sequence[LayerView], test: Sequence[LayerView], images: Images) -> None:
        labellings = tuple(Labelling(images.labels_identity, partial(images.labels, split)) for split in SPLITS)
        self.layout.probe(train, test, (labellings[0], labellings[1]), len(images.dataset.class_names))

    def _views(
        self, name: str, images: Images, checkpoint: Checkpoint, split: Split, layers: Sequence[str]
    ) -> list[LayerView]:
        """Layers at one checkpoint, on one split of another data set."""
        network_pass = self._pass(images, split, checkpoint)
        views = []
        for request in self.requests:
            if request.layer in layers:
                activations = self._activations(request, images, checkpoint, split)
                # Nothing is searched there: there are neither neighbours nor a graph of its own.
                point = self._point(request, images, checkpoint, split, 0, activations, activations, name)
                capture = self._capture(point, request, network_pass)
                views.append(LayerView(point, capture, capture))
        return views

    def _add(self, checkpoint: Checkpoint, split: Split) -> list[GraphStage]:
        """Everything that is measured at one checkpoint on one split."""
        graphs = self._graphs(self.images, checkpoint, split)
        self.layout.measure(graphs, graphs[0].point.k, self._labelling(self.images, split))
        if self.layout.reads_graphs:
            for graph in graphs:
                assert isinstance(graph.capture, LayerCapture)
                graph.capture.readers.append(graph)
        return graphs

    def _invariance(self, measured: Mapping[tuple[Checkpoint, Split], list[GraphStage]]) -> None:
        """Altered copies of what is measured, beside it."""
        study = Invariance(self.layout.layers)
        for name, alteration in self.experiment.invariance.items():
            images = self.images.altered(alteration)
            for (checkpoint, split), graphs in measured.items():
                labelling = self._labelling(images, split)
                copies = self._graphs(images, checkpoint, split, name) if alters_images(alteration) else graphs
                study.add(name, alteration, graphs, copies, labelling)
        if study.parts:
            self.layout.add(study)

    def _labelling(self, images: Images, split: Split) -> Labelling:
        return Labelling(images.labels_identity, partial(images.labels, split))

    def _graphs(self, images: Images, checkpoint: Checkpoint, split: Split, alteration: str = "") -> list[GraphStage]:
        """A graph a layer and scale. images: of the experiment's own data set, altered where an alteration is named."""
        experiment, n_samples = self.experiment, images.n_measured(split)
        k = neighbors_of(experiment.neighbors.k, n_samples, len(self.dataset.class_names))
        check_shards(experiment.neighbors, n_samples)
        network_pass = self._pass(images, split, checkpoint)
        engines = LayerEngines(experiment.neighbors, n_samples, graph_k(experiment, k))
        graphs = []
        for request in self.requests:
            width = math.prod(self.shapes[request])
            projection = experiment.activations.projection
            n_features = width if projection is None else projection.width(width)
            engine, start = engines.of(request.pooling, n_features)
            activations = self._activations(request, images, checkpoint, split)
            searched = graph_spec(engine, activations, engines.k, None if start is None else start.point.graph)
            point = self._point(request, images, checkpoint, split, k, activations, searched, alteration=alteration)
            capture = self._capture(point, request, network_pass)
            graph = GraphStage(point, capture, capture, engine, engines.k, start)
            engines.add(graph)
            graphs.append(graph)
        return graphs

    def _activations(self, request: Request, images: Images, checkpoint: Checkpoint, split: Split) -> Spec:
        config, width = self.experiment.activations, math.prod(self.shapes[request])
        return activations_spec(config, images, split, self.stored[request], width, self.training, checkpoint)

    def _point(
        self,
        request: Request,
        images: Images,
        checkpoint: Checkpoint,
        split: Split,
        k: int,
        activations: Spec,
        graph: Spec,
        dataset: str = "",
        alteration: str = "",
    ) -> Point:
        return Point(
            checkpoint=checkpoint,
            split=split,
            layer=request.layer,
            index=self.modules.index(request.module),
            module=request.module,
            stage=self.named[request.module].stage if request.module in self.named else "",
            pooling=request.pooling,
            n_samples=images.n_measured(split),
            k=k,
            activations=activations,
            graph=graph,
            dataset=dataset,
            alteration=alteration,
        )

    def _capture(self, point: Point, request: Request, network_pass: CapturePass) -> LayerCapture:
        # One capture serves all that is stored under one key: layer 0, which does not depend on the network, at all
        # checkpoints, and a layer without maps at all scales.
        known = self.captures.get(point.activations.key)
        if known is not None:
            return known
        if request.module == "":
            place = (network_pass.images, point.split)
            network_pass = self.input_passes.setdefault(place, self._pass(network_pass.images, point.split, None))
        capture = self.captures[point.activations.key] = LayerCapture(point, network_pass, self.shapes[request])
        self.layout.captures.append(capture)
        return capture

    def _pass(self, images: Images, split: Split, checkpoint: Checkpoint | None) -> CapturePass:
        config = self.experiment.activations
        training = None if checkpoint is None else self.training
        return CapturePass(
            images,
            split,
            training=training,
            checkpoint=checkpoint,
            batch_size=config.batch_size,
            dtype=config.dtype,
            projection=config.projection,
            heads=frozenset(self.head_layers),
        )


def check_heads(heads: Mapping[str, nn.Module], encoder: nn.Module) -> None:
    """Raises `UserError` where a module of the encoder has the name of a head, so that layers would be mixed up."""
    same = [name for name, _ in encoder.named_children() if name in heads]
    if same:
        raise UserError(
            f"the network has a module named {same[0]!r}, as the method's {same[0]} is called",
            "leave activations.heads out, or rename that module",
        )


def alteration_notes(experiment: Experiment) -> list[str]:
    """That measured samples are altered. Raises `UserError` where they would be altered twice."""
    alter, named = experiment.alter, experiment.invariance
    if alter.is_none:
        return []
    if named:
        raise UserError(
            f"invariance compares samples with their altered copies ({', '.join(named)}), but alter={alter.name} "
            "alters the samples themselves",
            "leave one of the two out",
        )
    what = "labels" if alters_labels(alter) else "images"
    return [f"the measured {what} are altered ({alteration_title(alter)}); training sees none of it"]


def method_notes(experiment: Experiment, heads: Mapping[str, nn.Module]) -> list[str]:
    """What is unusual about the method here."""
    method, notes = experiment.method, []
    if experiment.activations.heads and not heads:
        notes.append(f"activations.heads adds no layers: method={method.name} has neither projector nor predictor")
    if method.trains and method.n_views > 1 and experiment.augment.name == "none":
        notes.append(
            f"method={method.name} compares {method.n_views} views of an image, which augment=none makes equal"
        )
    return notes


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
