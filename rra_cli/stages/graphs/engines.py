"""Which engine searches a layer, and from which graph a warm start begins."""

from __future__ import annotations

from collections.abc import Sequence

from rra_cli.activations.pooling import Pooling
from rra_cli.core import numba_threads
from rra_cli.neighbors.auto import engine_for
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.stage import Stage


class LayerEngines:
    """The engines of the layers of one checkpoint and split, asked for and added in the layers' order."""

    def __init__(self, engine: Engine, n_samples: int, k: int) -> None:
        self.engine, self.n_samples, self.k = engine, n_samples, k
        self._last: dict[Pooling, GraphStage] = {}

    def of(self, pooling: Pooling, n_features: int) -> tuple[Engine, GraphStage | None]:
        """The engine of the next layer at this pooling, and the graph that its search starts from."""
        before = self._last.get(pooling)
        engine = engine_for(self.engine, self.n_samples, n_features, self.k, first=before is None).engine
        return engine, before if isinstance(engine, PynndescentEngine) and engine.warm_start else None

    def add(self, graph: GraphStage) -> None:
        """The graph of the layer that was asked for last: the next layer's may start from it."""
        self._last[graph.point.pooling] = graph


def reserve_threads(stages: Sequence[Stage]) -> None:
    """Before anything is compiled: lets numba run as many threads as the approximate searches among these ask for."""
    engines = [stage.engine for stage in stages if isinstance(stage, GraphStage)]
    for n_jobs in {engine.n_jobs for engine in engines if isinstance(engine, PynndescentEngine)}:
        numba_threads.reserve(n_jobs)
