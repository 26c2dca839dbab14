"""The layers of a network, and their stages at any checkpoint, on any data set, at all pooling scales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rra_cli.activations.pooling import pooled_shape
from rra_cli.config.experiment import Experiment
from rra_cli.core.spec import Spec
from rra_cli.data.dataset import ImageDataset, Split
from rra_cli.errors import UserError
from rra_cli.stages.capture import CapturePass, LayerCapture
from rra_cli.stages.graphs.engines import LayerEngines
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.shards import check_shards
from rra_cli.stages.images import Images
from rra_cli.stages.keys import activations_spec, graph_k, graph_spec, neighbors_of
from rra_cli.stages.lay_out.choices import chosen_modules
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.train import TrainStage
from rra_cli.stages.view import LayerView

if TYPE_CHECKING:
    from torch import nn

    from rra_cli.activations.stream import Request
    from rra_cli.models.encoder import Layer


class NetworkLayers:
    """The layers that an experiment measures. captures: of all that was asked for, by the key of what is stored.

    Raises `UserError` where a layer is named that is not there, or a head has the name of a module.
    """

    def __init__(self, experiment: Experiment, dataset: ImageDataset, training: TrainStage) -> None:
        from rra_cli.activations.stream import Request, feature_shapes
        from rra_cli.models.headed import Headed, head_layers

        self.experiment, self.dataset, self.training = experiment, dataset, training
        self.encoder = encoder = training.fresh.encoder()
        self.named: dict[str, Layer] = {layer.module: layer for layer in encoder.layers}
        self.modules = chosen_modules(
            encoder.module, list(self.named), experiment.activations.layers, dataset.input_shape
        )
        self.heads = heads = training.fresh.heads() if experiment.activations.heads else {}
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

    def graphs(self, images: Images, checkpoint: Checkpoint, split: Split, alteration: str = "") -> list[GraphStage]:
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
        self.captures[point.activations.key] = LayerCapture(point, network_pass, self.shapes[request])
        return self.captures[point.activations.key]

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

    def views(
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


def check_heads(heads: Mapping[str, nn.Module], encoder: nn.Module) -> None:
    """Raises `UserError` where a module of the encoder has the name of a head, so that layers would be mixed up."""
    same = [name for name, _ in encoder.named_children() if name in heads]
    if same:
        raise UserError(
            f"the network has a module named {same[0]!r}, as the method's {same[0]} is called",
            "leave activations.heads out, or rename that module",
        )
