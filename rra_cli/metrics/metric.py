"""The base of all metrics: what it needs, what scope it measures, and what its numbers mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.component import Component
from rra_cli.metrics.estimate import Estimate
from rra_cli.neighbors.graph import NeighborGraph

Scope = Literal["layer", "layers"]  # one layer; all layers of one model at once (pairs)
Input = Literal["graph", "labels"]


@dataclass(frozen=True)
class LayerData:
    """What a metric of a layer may look at; `labels` `(n,)` int64 is None where the data has none."""

    graph: NeighborGraph
    labels: NDArray[np.int64] | None


@dataclass(frozen=True)
class Metric(Component, ABC):
    """Frozen: fields are parameters. Class variables say what the numbers mean.

    version: raised when the result changes. scope: what one value belongs to. inputs: what is needed; where the data
    has none of it (no labels), the metric is left out. fixed_k: neighbours that it reads, whatever k is asked for
    (None: all k of them); the graph has at least as many. Detail arrays have the same shape for all layers of a model.
    unit, low, high: of the value (None: unbounded). higher_is: what a higher value says.
    """

    scope: ClassVar[Scope]
    inputs: ClassVar[frozenset[Input]] = frozenset({"graph"})
    fixed_k: ClassVar[int | None] = None
    unit: ClassVar[str] = ""
    low: ClassVar[float | None] = None
    high: ClassVar[float | None] = None
    higher_is: ClassVar[str] = ""


@dataclass(frozen=True)
class LayerMetric(Metric, ABC):
    """One estimate for every layer."""

    scope: ClassVar[Scope] = "layer"

    @abstractmethod
    def measure(self, layer: LayerData) -> Estimate:
        """The estimate of one layer; a degenerate layer gives NaN with a reason, never an exception."""


@dataclass(frozen=True)
class LayerPairMetric(Metric, ABC):
    """One estimate for every pair of layers of a model."""

    scope: ClassVar[Scope] = "layers"

    @abstractmethod
    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        """The estimates by ordered pair of positions, all pairs (symmetric ones twice) and the diagonal."""
