"""From a configured experiment to its stages. Everything that can be wrong with the request shows here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from rra_cli.config.experiment import Experiment
from rra_cli.data.alterations.alteration import alters_images
from rra_cli.data.dataset import SPLITS, ImageDataset, Split
from rra_cli.errors import UserError
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.invariance import Invariance
from rra_cli.stages.lay_out.choices import chosen_checkpoints, transfer_datasets, transfer_layers
from rra_cli.stages.lay_out.files import lay_out_files
from rra_cli.stages.lay_out.measurements import add_metrics, add_probes, add_to_last, note_no_probes
from rra_cli.stages.lay_out.network_layers import NetworkLayers
from rra_cli.stages.lay_out.notes import (
    alteration_notes,
    engine_notes,
    method_notes,
    preprocessing_notes,
    projection_notes,
)
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import Labelling
from rra_cli.stages.picture_study import add_pictures
from rra_cli.stages.point import Checkpoint
from rra_cli.stages.pullback.study import add_pullback
from rra_cli.stages.samples.study import add_sample_study
from rra_cli.stages.train import TrainStage
from rra_cli.stages.uncertainty.study import add_uncertainty
from rra_cli.stages.view import LayerView

Measured = Mapping[tuple[Checkpoint, Split], Sequence[GraphStage]]


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
        return _lay_out_images(experiment, experiment.dataset)
    return lay_out_files(experiment, read_only)


def _lay_out_images(experiment: Experiment, dataset: ImageDataset) -> Layout:
    """The layout of a network on images: all layers at all checkpoints, on all splits, at all scales."""
    images = Images(dataset, alteration=experiment.alter)
    if experiment.method.trains:
        experiment.optimizer.check_epochs(experiment.method.epochs)
    training = TrainStage(
        experiment.model, experiment.method, experiment.augment, experiment.optimizer, experiment.seed, images
    )
    training.check()
    layers = NetworkLayers(experiment, dataset, training)
    layout = Layout(experiment, training.spec.key[:12], images, training)
    layout.notes += alteration_notes(experiment)
    checkpoints = chosen_checkpoints(training, experiment.activations.checkpoints)
    measured = {
        (checkpoint, split): _measure(layout, layers, images, checkpoint, split)
        for checkpoint in checkpoints
        for split in dataset.splits
    }
    if len(dataset.splits) > 1:
        for checkpoint in checkpoints:
            train, test = ([graph.view for graph in measured[checkpoint, split]] for split in SPLITS)
            _probe(layout, train, test, images)
    else:
        note_no_probes(
            layout,
            f"a probe is fitted to the training split and judged by the test split, and dataset.splits is "
            f"[{dataset.splits[0]}]: use dataset.splits=[train,test]",
        )
    add_to_last(layout)
    add_sample_study(layout)
    add_pictures(layout)
    add_uncertainty(layout)
    _transfer(layout, layers, dataset, checkpoints)
    _invariance(layout, layers, images, measured)
    layout.captures += layers.captures.values()
    add_pullback(layout, checkpoints, layers.encoder)
    layout.notes += method_notes(experiment, layers.heads)
    layout.notes += projection_notes(layout.captures)
    layout.notes += engine_notes(experiment.neighbors, layout.graphs)
    layout.notes += preprocessing_notes(layout.graphs)
    return layout


def _measure(
    layout: Layout, layers: NetworkLayers, images: Images, checkpoint: Checkpoint, split: Split
) -> list[GraphStage]:
    """Everything that is measured at one checkpoint on one split."""
    graphs = layers.graphs(images, checkpoint, split)
    add_metrics(layout, graphs, graphs[0].point.k, _labelling(images, split))
    if layout.reads_graphs:
        for graph in graphs:
            assert isinstance(graph.capture, LayerCapture)
            graph.capture.readers.append(graph)
    return graphs


def _probe(layout: Layout, train: Sequence[LayerView], test: Sequence[LayerView], images: Images) -> None:
    """The probes of the same layers of both splits."""
    labellings = _labelling(images, "train"), _labelling(images, "test")
    add_probes(layout, train, test, labellings, len(images.dataset.class_names))


def _transfer(layout: Layout, layers: NetworkLayers, dataset: ImageDataset, checkpoints: Sequence[Checkpoint]) -> None:
    """The probes of other data sets, at the layers that were asked for."""
    experiment = layout.experiment
    chosen = transfer_layers(experiment, [request.layer for request in layers.requests], layers.encoder.representation)
    for name, other in transfer_datasets(experiment).items():
        images = layout.others[name] = Images(other, dataset, experiment.alter)
        for checkpoint in checkpoints:
            train, test = (layers.views(name, images, checkpoint, split, chosen) for split in SPLITS)
            _probe(layout, train, test, images)


def _invariance(layout: Layout, layers: NetworkLayers, images: Images, measured: Measured) -> None:
    """Altered copies of what is measured, beside it."""
    asked = layout.experiment.metrics.uncertainty
    study = Invariance(layout.layers, None if asked.intervals == "none" else asked.interval_level)
    for name, alteration in layout.experiment.invariance.items():
        altered = images.altered(alteration)
        for (checkpoint, split), graphs in measured.items():
            copies = layers.graphs(altered, checkpoint, split, name) if alters_images(alteration) else graphs
            study.add(name, alteration, graphs, copies, _labelling(altered, split))
    if study.parts:
        layout.add(study)


def _labelling(images: Images, split: Split) -> Labelling:
    return Labelling(images.labels_identity, partial(images.labels, split))
