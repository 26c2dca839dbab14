"""One experiment as a typed, frozen object: what the YAML becomes at the edge, and all that the pipeline sees of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from rra_cli.core.fields import execution, identity, location, selection

if TYPE_CHECKING:
    from rra_cli.data.augment import Augment
    from rra_cli.data.dataset import Dataset
    from rra_cli.methods.method import Method
    from rra_cli.metrics.metric import Metric
    from rra_cli.models.model import Model
    from rra_cli.neighbors.engine import Engine
    from rra_cli.training.optimizer import Optimizer

POOLINGS = ("none", "cls", "mean", "last")
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

_BYTES = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_CHECKPOINT = re.compile(r"milestones|last|best|epoch_\d{4,}")


@dataclass(frozen=True)
class ActivationsConfig:
    """Which layers of which checkpoints are captured, how, and how long they are kept.

    path: folder of a user's files (dataset=activations). keep: `until_measured` frees each layer when nothing planned
    still needs it. dtype: of the stored numbers. batch_size: samples per forward pass. layers: dotted names or globs
    of inner modules, captured beside the model's named layers. checkpoints: which are measured.
    """

    path: str | None = location(None)
    keep: Literal["always", "until_measured"] = execution("always")
    dtype: Literal["float32", "float16"] = identity("float32")
    batch_size: int = identity(256)
    layers: tuple[str, ...] = selection(())
    checkpoints: tuple[str, ...] = selection(("milestones", "last"))

    def __post_init__(self) -> None:
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


@dataclass(frozen=True)
class Runtime:
    """How the work is done, never what comes out.

    device: auto (cuda where there is one), cpu, cuda or cuda:i. threads: of the CPU libraries; None is all cores this
    process may use. memory: workspace of a neighbour search, such as "4GB"; None is a quarter of what is free.
    progress: auto (bars on a terminal, else lines), bars, lines or none.
    """

    device: str = execution("auto")
    threads: int | None = execution(None)
    memory: int | str | None = execution(None)
    progress: Literal["auto", "bars", "lines", "none"] = execution("auto")

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device is {self.device!r}; expected auto, cpu, cuda or cuda:<number>")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}; at least 1 is needed (null takes all)")
        if self.memory is not None and parse_bytes(self.memory) < 1:
            raise ValueError(f"memory is {self.memory}; expected a positive size such as 4GB (null is a quarter)")

    @property
    def memory_bytes(self) -> int | None:
        """The memory budget in bytes; None where it is left to what is free."""
        return None if self.memory is None else parse_bytes(self.memory)


@dataclass(frozen=True)
class StoreConfig:
    """Where artifacts lie. root: a folder; None is `store` in the outputs folder."""

    root: str | None = location(None)


@dataclass(frozen=True)
class MetricSet:
    """The metrics by the name of their column, and what is written beside their values.

    per_sample: a value of every sample as Parquet. per_class: values by class and the class x class table.
    """

    metrics: Mapping[str, Metric] = selection()
    per_sample: bool = selection(False)
    per_class: bool = selection(False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))


@dataclass(frozen=True)
class Experiment:
    """Everything that a run is made of. pooling: names, each measured on its own."""

    name: str = location()
    seed: int = identity()
    dataset: Dataset = identity()
    model: Model = identity()
    method: Method = identity()
    augment: Augment = identity()
    optimizer: Optimizer = identity()
    pooling: tuple[str, ...] = selection()
    neighbors: Engine = identity()
    metrics: MetricSet = selection()
    activations: ActivationsConfig = identity(default_factory=ActivationsConfig)
    runtime: Runtime = execution(default_factory=Runtime)
    store: StoreConfig = location(default_factory=StoreConfig)

    @property
    def store_root(self) -> Path:
        """The folder of the artifacts."""
        return outputs_root() / "store" if self.store.root is None else Path(self.store.root)


def outputs_root() -> Path:
    """The folder that run folders and the store lie in: RRA_OUTPUTS, else `outputs` in the working directory."""
    return Path(os.environ.get("RRA_OUTPUTS") or "outputs").expanduser().absolute()


def parse_bytes(size: int | str) -> int:
    """`4GB`, `512 MiB` or a number of bytes as bytes. Raises ValueError for anything else."""
    if isinstance(size, int):
        return size
    match = _BYTES.fullmatch(size)
    if match is None or match[2].upper() not in UNITS:
        raise ValueError(f"memory is {size!r}; expected a size such as 4GB, 512MiB or a number of bytes")
    return int(float(match[1]) * UNITS[match[2].upper()])
