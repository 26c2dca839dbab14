"""One experiment as a typed, frozen object: what the YAML becomes at the edge, and all that the pipeline sees of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from rra_cli.activations.projection import Projection
from rra_cli.config.pictures import PicturesConfig
from rra_cli.config.samples import SampleStudyConfig
from rra_cli.config.uncertainty import UncertaintyConfig
from rra_cli.core.fields import execution, identity, location, selection
from rra_cli.core.resources import parse_bytes

if TYPE_CHECKING:
    from rra_cli.activations.pooling import Pooling
    from rra_cli.data.alterations.alteration import Alteration
    from rra_cli.data.augment import Augment
    from rra_cli.data.dataset import Dataset
    from rra_cli.methods.method import Method
    from rra_cli.metrics.metric import Metric
    from rra_cli.models.model import Model
    from rra_cli.neighbors.engine import Engine
    from rra_cli.training.optimizer import Optimizer

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
MAX_THREADS = 1024
# What a user's own activations are measured without.
TRAINING_KEYS = ("seed", "model", "method", "augment", "optimizer")
_CHECKPOINT = re.compile(r"milestones|last|best|epoch_\d{4,}")


@dataclass(frozen=True)
class ActivationsConfig:
    """Which layers of which checkpoints are captured, how, and how long they are kept.

    path: folder of a user's files (dataset=activations). keep: `until_measured` frees each layer when nothing planned
    still needs it. dtype: of the stored numbers. reduce: layers of more features than this number become as many by a
    random projection, so that larger ones are never written; null keeps all features. reduce_seed: of its matrix.
    batch_size: samples per forward pass. layers: dotted names or globs of inner modules, captured beside the model's
    named layers. heads: whether the layers of the method's projector and predictor are captured, too. checkpoints:
    which are measured.
    """

    path: str | None = location(None)
    keep: Literal["always", "until_measured"] = execution("always")
    dtype: Literal["float32", "float16"] = identity("float32")
    reduce: int | None = identity(None)
    reduce_seed: int = identity(0)
    batch_size: int = identity(256)
    layers: tuple[str, ...] = selection(())
    heads: bool = selection(False)
    checkpoints: tuple[str, ...] = selection(("milestones", "last"))

    def __post_init__(self) -> None:
        Projection(1 if self.reduce is None else self.reduce, self.reduce_seed)  # checks both
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; at least 1 is needed")
        if not self.checkpoints:
            raise ValueError("checkpoints names none; give at least one of milestones, last, best, epoch_NNNN")
        for checkpoint in self.checkpoints:
            if not _CHECKPOINT.fullmatch(checkpoint):
                raise ValueError(
                    f"checkpoints holds {checkpoint!r}; expected milestones, last, best or epoch_NNNN "
                    "(four digits, such as epoch_0010)"
                )

    @property
    def projection(self) -> Projection | None:
        """Of layers that have more features than `reduce`; None keeps all."""
        return None if self.reduce is None else Projection(self.reduce, self.reduce_seed)


@dataclass(frozen=True)
class Runtime:
    """How the work is done, never what comes out.

    device: auto (cuda where there is one), cpu, cuda or cuda:i. threads: of the CPU libraries; None is all cores this
    process may use. gpus_per_job: of jobs that run side by side (hydra/launcher=joblib): a whole number, or a fraction
    such as 0.5 where jobs share a GPU; None is 1. memory: workspace of a neighbour search, such as "4GB"; None is a
    quarter of what is free.
    save_every: minutes between two saves of a training, which is also saved after every epoch and when a signal ends
    it. progress: auto (bars on a terminal, else lines), bars, lines or none. report: whether plots and report.html are
    drawn at the end; `rra report FOLDER` draws them from the tables at any time.
    """

    device: str = execution("auto")
    threads: int | None = execution(None)
    gpus_per_job: float | None = execution(None)
    memory: int | str | None = execution(None)
    save_every: float = execution(1.0)
    progress: Literal["auto", "bars", "lines", "none"] = execution("auto")
    report: bool = execution(True)

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device is {self.device!r}; expected auto, cpu, cuda or cuda:<number>")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; at least 1 is needed (null takes all)")
        if self.threads is not None and self.threads > MAX_THREADS:
            raise ValueError(f"threads is {self.threads}; at most {MAX_THREADS} are supported (null takes all)")
        if self.gpus_per_job is not None and not _shareable(self.gpus_per_job):
            raise ValueError(
                f"gpus_per_job is {self.gpus_per_job:g}; expected a whole number from 1, or the share of a GPU that a "
                "whole number of jobs fills: 0.5, 0.25 ..."
            )
        if not 0.0 <= self.save_every < float("inf"):
            raise ValueError(f"save_every is {self.save_every}; expected a number of minutes, 0 for every step")
        if self.memory is not None:
            try:
                parse_bytes(self.memory)
            except ValueError as error:
                raise ValueError(f"memory cannot be read: {error}") from None

    @property
    def memory_bytes(self) -> int | None:
        """The memory budget in bytes; None where it is left to what is free."""
        return None if self.memory is None else parse_bytes(self.memory)


def _shareable(gpus: float) -> bool:
    """Whether so many GPUs a job can be handed out: some whole ones, or one to some whole number of jobs."""
    if gpus >= 1.0:
        return gpus == int(gpus) if gpus < 2**20 else False
    return gpus >= 0.01 and abs(1.0 / gpus - round(1.0 / gpus)) < 0.02


@dataclass(frozen=True)
class StoreConfig:
    """Where artifacts lie. root: a folder; None is `store` in the outputs folder."""

    root: str | None = location(None)


@dataclass(frozen=True)
class MetricSet:
    """The metrics by the name of their column, and what is written beside their values.

    per_sample: a value of every sample as Parquet. per_class: values by class and the class x class table.
    uncertainty: intervals and null distributions (its keys are keys of `metrics`).
    """

    metrics: Mapping[str, Metric] = selection()
    per_sample: bool = selection(False)
    per_class: bool = selection(False)
    uncertainty: UncertaintyConfig = selection(default_factory=UncertaintyConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))


@dataclass(frozen=True)
class Comparison:
    """Other engines whose graphs are compared with the exact ones: their recall, what they do to the metrics, and time.

    engines: by a name for tables and plots. layers: names or globs of those that are compared; empty: all.
    """

    engines: Mapping[str, Engine] = selection(default_factory=dict)
    layers: tuple[str, ...] = selection(())

    def __post_init__(self) -> None:
        object.__setattr__(self, "engines", MappingProxyType(dict(self.engines)))


def _unaltered() -> Alteration:
    from rra_cli.data.alterations.alteration import NoAlteration

    return NoAlteration()


@dataclass(frozen=True)
class Experiment:
    """Everything that a run is made of. pooling: by name, each measured on its own.

    transfer: other data sets, by names for tables, to which the trained network is applied: the probes among the
    metrics are measured there, too. transfer_layers: names or globs of the layers; empty: the representation alone.
    alter: what is done to all that is measured; training sees none of it. invariance: alterations by names for tables,
    whose copies of the measured samples are compared with the samples themselves, layer by layer.
    """

    name: str = location()
    seed: int = identity()
    dataset: Dataset = identity()
    model: Model = identity()
    method: Method = identity()
    augment: Augment = identity()
    optimizer: Optimizer = identity()
    pooling: Mapping[str, Pooling] = selection()
    neighbors: Engine = identity()
    metrics: MetricSet = selection()
    activations: ActivationsConfig = identity(default_factory=ActivationsConfig)
    samples: SampleStudyConfig = selection(default_factory=SampleStudyConfig)
    pictures: PicturesConfig = selection(default_factory=PicturesConfig)
    compare: Comparison = selection(default_factory=Comparison)
    transfer: Mapping[str, Dataset] = selection(default_factory=dict)
    transfer_layers: tuple[str, ...] = selection(())
    alter: Alteration = identity(default_factory=_unaltered)
    invariance: Mapping[str, Alteration] = selection(default_factory=dict)
    runtime: Runtime = execution(default_factory=Runtime)
    store: StoreConfig = location(default_factory=StoreConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pooling", MappingProxyType(dict(self.pooling)))
        object.__setattr__(self, "transfer", MappingProxyType(dict(self.transfer)))
        object.__setattr__(self, "invariance", MappingProxyType(dict(self.invariance)))

    @property
    def store_root(self) -> Path:
        """The folder of the artifacts."""
        return outputs_root() / "store" if self.store.root is None else Path(self.store.root)


def outputs_root() -> Path:
    """The folder that run folders and the store lie in: RRA_OUTPUTS, else `outputs` in the working directory."""
    return Path(os.environ.get("RRA_OUTPUTS") or "outputs").expanduser().absolute()
