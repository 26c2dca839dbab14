"""The base of all metrics: what it needs, what scope it measures, and what its numbers mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.component import Component
from rra_cli.core.progress import Progress, silent
from rra_cli.metrics.estimate import Estimate
from rra_cli.neighbors.graph import NeighborGraph

# One layer; all layers of one model at once (pairs); one layer of two splits (fitted to train, judged by test); the
# network itself, which is run on images (a study of its own).
Scope = Literal["layer", "layers", "transfer", "network"]
Input = Literal["graph", "labels", "activations", "encoder", "images"]


@dataclass(frozen=True)
class Workshop:
    """Where a metric that takes long may work; none of it changes the result.

    device: of products, "cpu" or "cuda:i". memory: bytes of workspace (None: a quarter of what is free). folder: for
    copies that are too large for memory; None is memory alone. progress: told how far it is.
    """

    device: str = "cpu"
    memory: int | None = None
    folder: Path | None = None
    progress: Progress = silent


PLAIN = Workshop()


@dataclass(frozen=True)
class LayerData:
    """What a metric of a layer may look at; what is not among its `inputs` is None.

    graph: of the layer. labels: `(n,)` int64, None where the data has none. activations: `(n, n_features)` float32 or
    float16, finite, read-only; as a rule a memory map that may be larger than memory: read it in blocks of rows.
    workshop: where it may work; the first layer's counts for a metric of pairs.
    """

    graph: NeighborGraph | None
    labels: NDArray[np.int64] | None
    activations: NDArray[np.floating] | None = None
    workshop: Workshop = PLAIN

    @property
    def neighbors(self) -> NeighborGraph:
        """The graph of a metric that has it among its `inputs`."""
        assert self.graph is not None, "the metric does not have `graph` among its inputs"
        return self.graph

    @property
    def features(self) -> NDArray[np.floating]:
        """The activations of a metric that has them among its `inputs`."""
        assert self.activations is not None, "the metric does not have `activations` among its inputs"
        return self.activations


@dataclass(frozen=True)
class SplitData:
    """One layer of one split: activations `(n, n_features)` as in `LayerData`, labels `(n,)` int64."""

    activations: NDArray[np.floating]
    labels: NDArray[np.int64]


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
    """One estimate for every pair of layers of a model. symmetric: whether (a, b) and (b, a) have the same values."""

    scope: ClassVar[Scope] = "layers"
    symmetric: ClassVar[bool] = True

    @abstractmethod
    def measure(self, layers: Sequence[LayerData]) -> dict[tuple[int, int], Estimate]:
        """The estimates by ordered pair of positions, all pairs (symmetric ones twice) and the diagonal."""


@dataclass(frozen=True)
class TransferMetric(Metric, ABC):
    """One estimate for every layer: something is fitted to its training split and judged by its test split (a probe).

    n_neighbors: training samples that vote on a test sample, None where none do. n_train: training samples that it
    needs at least. engine: the exact search that it rests on, "" for none.
    """

    scope: ClassVar[Scope] = "transfer"
    inputs: ClassVar[frozenset[Input]] = frozenset({"activations", "labels"})
    engine: ClassVar[str] = ""

    @property
    def n_neighbors(self) -> int | None:
        """Training samples that vote on a test sample: `k` in the tables. None where none do."""
        return None

    @property
    def n_train(self) -> int:
        """Training samples that it needs at least."""
        return self.n_neighbors or 1

    @abstractmethod
    def measure(self, train: SplitData, test: SplitData, workshop: Workshop = PLAIN) -> Estimate:
        """The estimate of one layer; a degenerate layer gives NaN with a reason, never an exception."""
