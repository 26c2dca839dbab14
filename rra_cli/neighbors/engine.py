"""The base of all neighbour engines: how a graph is searched, as a configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.component import Component
from rra_cli.core.fields import selection
from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.graph import NeighborGraph


@dataclass(frozen=True)
class Engine(Component, ABC):
    """How the graph of a layer is searched. k: neighbours per sample; null is max(2, round(N / (10 C)))."""

    k: int | None = selection(None)

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ValueError(f"k is {self.k}; at least 1 is needed (null chooses by the number of samples and classes)")

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
