"""What a person should know of an experiment before anything of it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rra_cli.config.experiment import Experiment
from rra_cli.data.alterations.alteration import alters_labels, title
from rra_cli.errors import UserError
from rra_cli.neighbors.auto import AutoEngine, explain
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.graph import InputError
from rra_cli.neighbors.transforms.whitening import check_size
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.graphs.graph import GraphStage

if TYPE_CHECKING:
    from torch import nn


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
    return [f"the measured {what} are altered ({title(alter)}); training sees none of it"]


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


def engine_notes(engine: Engine, graphs: Sequence[GraphStage]) -> list[str]:
    """What was chosen for an experiment's graphs and why, where the choice was left to `neighbors=auto`."""
    if not isinstance(engine, AutoEngine):
        return []
    units = {graph.unit: graph for graph in graphs}.values()
    return explain(engine, [(graph.point.n_samples, graph.source.n_features, graph.k) for graph in units])


def preprocessing_notes(graphs: Sequence[GraphStage]) -> list[str]:
    """What a person should know of layers that are to be whitened, before anything is built.

    Raises `UserError` where one is too large for that.
    """
    few: dict[str, None] = {}
    for graph in graphs:
        if graph.engine.preprocess == "whitening":
            n, features = graph.point.n_samples, graph.source.n_features
            try:
                check_size(n, features)
            except InputError as error:
                raise UserError(f"layer {graph.point.layer!r}: {error.message}", error.hint) from None
            if features >= n - 1:
                few[graph.point.layer] = None
    if not few:
        return []
    return [
        f"whitening leaves no neighbourhoods in layers with as many independent features as samples, which these may "
        f"have: {', '.join(few)}; they then get no values"
    ]


def projection_notes(captures: Sequence[LayerCapture]) -> list[str]:
    """Which layers are projected, for a person who reads their numbers."""
    layers = {capture.point.layer: capture for capture in captures}
    projected = [capture for capture in layers.values() if capture.is_projected]
    if not projected:
        return []
    largest = max(projected, key=lambda capture: capture.width)
    return [
        f"{len(projected)} of {len(layers)} layers are projected to {largest.n_features:,} dimensions "
        f"(the largest has {largest.width:,} features), which changes what is measured: see docs/neighbors.md"
    ]
