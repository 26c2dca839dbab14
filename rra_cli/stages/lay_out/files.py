"""From a configured experiment on a user's own activation files to its stages."""

from __future__ import annotations

from rra_cli.config.experiment import Experiment
from rra_cli.errors import UserError
from rra_cli.stages.files import FileSource, UserFiles
from rra_cli.stages.graphs.engines import LayerEngines
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.shards import check_shards
from rra_cli.stages.keys import graph_k, graph_spec, neighbors_of
from rra_cli.stages.lay_out.measurements import add_metrics, note_no_probes
from rra_cli.stages.lay_out.notes import engine_notes, preprocessing_notes
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import Labelling
from rra_cli.stages.picture_study import add_pictures
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.samples.study import add_sample_study
from rra_cli.stages.uncertainty.study import add_uncertainty


def lay_out_files(experiment: Experiment, read_only: bool) -> Layout:
    """The layout of a user's folder: its layers are there already."""
    if experiment.activations.reduce is not None:
        raise UserError(
            f"activations.reduce={experiment.activations.reduce} projects layers while they are captured, "
            "but these files are there already and are searched as they are",
            f"leave it out, or write them anew by rra_cli.capture(..., reduce={experiment.activations.reduce})",
        )
    if experiment.activations.heads:
        raise UserError(
            "activations.heads captures the projector and predictor of a method, but these layers are there already",
            "leave it out",
        )
    if experiment.transfer:
        raise UserError(
            f"transfer names {', '.join(experiment.transfer)}, but dataset=activations has no network to apply",
            "leave transfer out, or train a network on a data set of images",
        )
    if not experiment.alter.is_none or experiment.invariance:
        key = "invariance" if experiment.invariance else "alter"
        raise UserError(
            f"{key} alters images on their way into a network, but dataset=activations has neither",
            f"leave {key} out, or capture the altered images yourself and measure those files",
        )
    networks = [key for key, metric in experiment.metrics.metrics.items() if metric.scope == "network"]
    if networks:
        raise UserError(
            f"metrics.{networks[0]} looks at a network, but dataset=activations has none",
            f"leave metrics.{networks[0]} out, or train a network on a data set of images",
        )
    files = UserFiles(experiment, read_only=read_only)
    layout = Layout(experiment, files.key[:12], files)
    k = neighbors_of(experiment.neighbors.k, files.n_samples, files.n_classes)
    check_shards(experiment.neighbors, files.n_samples)
    engines = LayerEngines(experiment.neighbors, files.n_samples, graph_k(experiment, k))
    graphs = []
    for pooling in experiment.pooling.values():
        for layer in files.layers:
            source = FileSource(files, layer, pooling.on(layer.shape[1:]))
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
    add_metrics(layout, graphs, k, Labelling(files.labels_identity, files.labels) if files.has_labels else None)
    add_sample_study(layout)
    add_pictures(layout)
    add_uncertainty(layout)
    note_no_probes(layout, "a probe needs a training and a test split, and a folder of activations is one split")
    layout.notes += engine_notes(experiment.neighbors, layout.graphs)
    layout.notes += preprocessing_notes(layout.graphs)
    return layout
