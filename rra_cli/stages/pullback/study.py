"""The pullback metrics of a run as a study: which layers and checkpoints, and the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rra_cli.core.store import Store
from rra_cli.errors import UserError, did_you_mean
from rra_cli.metrics.pullback import Pullback
from rra_cli.stages.layout import Layout
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.pullback.notes import naming
from rra_cli.stages.pullback.stage import PullbackStage
from rra_cli.stages.pullback.tables import pullback_tables
from rra_cli.stages.stage import Stage
from rra_cli.stages.study import Study, Target

if TYPE_CHECKING:
    from rra_cli.models.encoder import Encoder

_PART = "pullback"
# Stages of layers that are left out where none are named: the input, and what follows the last stage of the network.
_ENDS = ("input", "head")


@dataclass(frozen=True)
class PullbackStudy(Study):
    """All pullback metrics of a run. measured: those of one metric after the other, each at all checkpoints."""

    measured: tuple[PullbackStage, ...]

    @property
    def stages(self) -> Sequence[Stage]:
        return self.measured

    @property
    def targets(self) -> Sequence[Target]:
        return [Target(stage.checkpoint.label, _PART, stage) for stage in self.measured]

    def check(self) -> None:
        """Draws the anchors: whether there are enough samples, and whether these span lines and planes."""
        for stage in {stage.key: stage for stage in self.measured}.values():
            with naming(stage.key):
                assert len(stage.place)

    def tables(self, store: Store, common: Callable[[Point], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        return pullback_tables(self.measured, store)


def add_pullback(layout: Layout, checkpoints: Sequence[Checkpoint], encoder: Encoder) -> None:
    """Adds the study where the metrics name one. Raises `UserError` for layers, classes or data that do not fit."""
    training = layout.training
    assert training is not None, "a network is looked at"
    stages = []
    for key, metric in layout.experiment.metrics.metrics.items():
        if isinstance(metric, Pullback):
            layers = chosen_layers(key, metric, encoder, training.images.dataset.input_shape)
            found = [PullbackStage(key, metric, training, checkpoint, layers) for checkpoint in checkpoints]
            check(key, found[0], encoder)
            for stage in found[1:]:
                stage.price = found[0].price
            stages += found
    if not stages:
        return
    if not layout.experiment.alter.is_none:
        raise UserError(
            f"alter={layout.experiment.alter.name} alters the samples that are measured, but metrics.{stages[0].key} "
            "goes between the samples themselves",
            "leave one of the two out",
        )
    layout.add(PullbackStudy(tuple(stages)))


def check(key: str, stage: PullbackStage, encoder: Encoder) -> None:
    """Raises `UserError` for what is wrong before anything is trained; the samples are not read for it."""
    from rra_cli.pullback.inputs import class_codes

    metric, dataset = stage.metric, stage.images.dataset
    n_inputs = dataset.input_shape[0] * dataset.input_shape[1] * dataset.input_shape[2]
    if metric.at == "grid" and n_inputs != 2:
        raise UserError(
            f"metrics.{key}.at is grid, which is for two-dimensional data, but an image of {dataset.name} has "
            f"{n_inputs:,} numbers",
            f"use metrics.{key}.at=plane, through three images",
        )
    if metric.at == "plane" and n_inputs == 2:
        raise UserError(
            f"metrics.{key}.at is plane, but {dataset.name} is a plane itself", f"use metrics.{key}.at=grid"
        )
    with naming(key):
        class_codes(metric.classes, dataset.class_names)
        stage.maps(encoder)


def chosen_layers(key: str, metric: Pullback, encoder: Encoder, input_shape: tuple[int, int, int]) -> Mapping[str, str]:
    """References of the layers that names or globs pick, by name, in the network's order.

    Without any the last layer of every stage between input and head. Raises `UserError` for one that picks none.
    """
    known = {layer.name: layer.module for layer in encoder.layers}
    if not metric.layers:
        last = {layer.stage: layer.name for layer in encoder.layers if layer.stage not in _ENDS}
        return {name: known[name] for name in last.values()} or {encoder.layers[-1].name: encoder.layers[-1].module}
    from rra_cli.activations.layers import resolve_layers

    chosen: dict[str, str] = {}
    inner: list[str] = []
    for pattern in metric.layers:
        found = [name for name in known if fnmatchcase(name, pattern)]
        chosen |= {name: known[name] for name in found}
        if not found:
            try:
                inner += resolve_layers(encoder.module, [pattern], input_shape=input_shape)
            except UserError as error:
                raise UserError(
                    f"metrics.{key}.layers names {pattern!r}, which matches no layer: {did_you_mean(pattern, known)}",
                    "names are those of layers.csv, or dotted names of modules",
                ) from error
    chosen |= {name: name for name in inner}
    order = resolve_layers(encoder.module, [m for m in chosen.values() if m], input_shape=input_shape)
    ranks = {module: rank for rank, module in enumerate(["", *order])}
    return dict(sorted(chosen.items(), key=lambda item: ranks[item[1]]))
