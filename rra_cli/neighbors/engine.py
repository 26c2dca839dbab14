"""The base of all neighbour engines: how a graph is searched, as a configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.component import Component
from rra_cli.core.fields import execution, identity, selection
from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import parse_bytes
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.preprocess import Preprocess


@dataclass(frozen=True)
class Engine(Component, ABC):
    """How the graph of a layer is searched.

    k: neighbours per sample; null is max(2, round(N / (10 C))). preprocess: what is done to the activations before, and
    memory: workspace such as "4GB" (null: `runtime.memory`), both by whoever calls `search`.
    """

    # Whether a search runs on the device that it is given, so that several may run at once on several devices.
    uses_device: ClassVar[bool] = False

    k: int | None = selection(None)
    preprocess: Preprocess = identity("none")
    memory: int | str | None = execution(None)

    def __post_init__(self) -> None:
        if self.memory is not None:
            try:
                parse_bytes(self.memory)
            except ValueError as error:
                raise ValueError(f"memory cannot be read: {error}") from None
        if self.k is not None and self.k < 1:
            raise ValueError(f"k is {self.k}; at least 1 is needed (null chooses by the number of samples and classes)")

    @property
    def memory_bytes(self) -> int | None:
        """The workspace in bytes; None where it is left to `runtime.memory`."""
        return None if self.memory is None else parse_bytes(self.memory)

    @property
    @abstractmethod
    def prefix_stable(self) -> bool:
        """Whether the graph of k is a prefix of the graph of a larger k (so that one may serve for the other)."""

    @abstractmethod
    def search(
        self,
        activations: NDArray[np.floating],
        k: int,
        *,
        device: str = "cpu",
        memory: int | None = None,
        work: Path | None = None,
        progress: Progress = silent,
    ) -> NeighborGraph:
        """The graph of `activations` `(n, features)` against itself, self excluded.

        memory: bytes of workspace (default: a quarter of what is free). work: a folder in which a search that takes
        long keeps finished blocks, so that it can be resumed.
        """


@dataclass(frozen=True)
class ShardedEngine(Engine):
    """An exact engine that can search some rows alone, so that a graph can be built in blocks of rows.

    shards: how many blocks of rows; separate processes share them out, and the graph is the same. shard: None, or the
    only one of them that is built, from 0; the run then ends, as a task of a job array does.
    """

    shards: int = execution(1)
    shard: int | None = execution(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards < 1:
            raise ValueError(f"shards is {self.shards}; at least 1 is needed (1 builds the graph in one piece)")
        if self.shard is not None and self.shards == 1:
            raise ValueError(f"shard is {self.shard}, but shards is 1; give the number of shards as well")
        if self.shard is not None and not 0 <= self.shard < self.shards:
            raise ValueError(f"shard is {self.shard}; it must lie in 0..{self.shards - 1}, as shards is {self.shards}")

    @abstractmethod
    def search_rows(
        self,
        activations: NDArray[np.floating],
        k: int,
        start: int,
        stop: int,
        *,
        device: str = "cpu",
        memory: int | None = None,
        work: Path | None = None,
        progress: Progress = silent,
    ) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
        """Rows `start` to `stop` of the graph that `search` finds, to the last bit: ids and distances,
        `(stop - start, k)` each. The other arguments are those of `search`.
        """
