"""What of a network is measured: at which checkpoints, which layers, and on which other data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rra_cli.config.experiment import Experiment
from rra_cli.data.dataset import SPLITS, ImageDataset
from rra_cli.errors import UserError, did_you_mean
from rra_cli.metrics.metric import TransferMetric
from rra_cli.stages.point import Checkpoint
from rra_cli.stages.train import TrainStage

if TYPE_CHECKING:
    from torch import nn


def chosen_checkpoints(training: TrainStage, wanted: Sequence[str]) -> list[Checkpoint]:
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


def chosen_modules(
    module: nn.Module, named: list[str], extra: Sequence[str], input_shape: tuple[int, int, int]
) -> list[str]:
    """The named layers and the extra ones asked for, in the order in which the network runs them; layer 0 first."""
    if not extra:
        return named
    from rra_cli.activations.layers import resolve_layers

    return ["", *resolve_layers(module, [*named[1:], *extra], input_shape=input_shape)]


def transfer_datasets(experiment: Experiment) -> Mapping[str, ImageDataset]:
    """The data sets of `transfer` by their names.

    Raises `UserError` where one is no data set of images with both splits, or where there is no probe to measure.
    """
    found: dict[str, ImageDataset] = {}
    for name, dataset in experiment.transfer.items():
        if not isinstance(dataset, ImageDataset) or not dataset.pictures:
            raise UserError(
                f"transfer.{name}.name is {dataset.name}, which has no images to apply the network to",
                "name a data set of images; `rra ls dataset` lists them",
            )
        if isinstance(experiment.dataset, ImageDataset) and not experiment.dataset.pictures:
            raise UserError(
                f"transfer applies a network to other pictures, but this one is trained on dataset="
                f"{experiment.dataset.name}, which has none",
                "leave transfer out, or train on a data set of pictures",
            )
        if set(dataset.splits) != set(SPLITS):
            raise UserError(
                f"transfer.{name}.splits is {list(dataset.splits)}, but a probe is fitted to the training split and "
                "judged by the test split",
                f"leave transfer.{name}.splits out",
            )
        found[name] = dataset
    if found and not any(isinstance(metric, TransferMetric) for metric in experiment.metrics.metrics.values()):
        raise UserError(
            f"transfer names {', '.join(found)}, but metrics has no probe, and only probes are measured there",
            "use metrics=probes, metrics=[rra,probes], or a single one such as metrics=knn_probe",
        )
    return found


def transfer_layers(experiment: Experiment, layers: Sequence[str], representation: str) -> list[str]:
    """The layers that the names and globs of `transfer_layers` pick, in the network's order; the representation where
    it is empty. Raises `UserError` for one that picks none.
    """
    patterns = experiment.transfer_layers or (representation,)
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise UserError(
                f"transfer_layers names {pattern!r}, which matches no layer: {did_you_mean(pattern, layers)}",
                "names are those of layers.csv; leave it empty for the representation",
            )
    return [layer for layer in dict.fromkeys(layers) if any(fnmatchcase(layer, pattern) for pattern in patterns)]
