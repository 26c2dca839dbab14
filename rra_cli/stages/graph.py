"""Graphs: one k-nearest-neighbour graph per layer, computed once and read by every neighbour metric."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.artifact import Artifact, ArtifactGoneError
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.io import load_graph, save_graph
from rra_cli.stages import costs
from rra_cli.stages.point import Point
from rra_cli.stages.stage import Context, Cost, Stage, ensure

VERSION = 1
UNAVAILABLE = "unavailable.json"


class Source(Protocol):
    """Where the activations of a point come from: a capture, or a user's file."""

    @property
    def n_features(self) -> int: ...

    def open(self, store: Store) -> tuple[NDArray[np.floating], str]:
        """`(n, features)`, and the reason why they cannot be searched ("" when they can)."""


class GraphStage(Stage):
    """The neighbour graph of one layer. An entry `k=K` serves every smaller k where the engine's lists nest."""

    name = "graph"

    def __init__(self, point: Point, source: Source, capture: Stage | None, engine: Engine, k: int) -> None:
        self.point, self.source, self.engine, self.k = point, source, engine, k
        self.capture = capture
        self.label = f"{point.data_title}, k = {k}"

    @property
    def needs(self) -> Sequence[Stage]:
        return () if self.capture is None else (self.capture,)

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.point.graph,)

    def find(self, store: Store) -> Artifact | None:
        """The smallest stored graph that holds k neighbours."""
        for k in sorted(int(entry.removeprefix("k=")) for entry in store.entries(self.point.graph)):
            if k == self.k or (k > self.k and self.engine.prefix_stable):
                artifact = store.find(self.point.graph, f"k={k}")
                if artifact is not None:
                    return artifact
        return None

    def done(self, store: Store) -> bool:
        return self.find(store) is not None

    def artifacts(self, store: Store) -> list[Artifact]:
        found = self.find(store)
        return [] if found is None else [found]

    def build(self, context: Context) -> None:
        store, k = context.store, self.k
        with store.claim(self.point.graph, on_wait=context.reporter.note) as work:
            if self.done(store):
                return
            out = work.path / "graph"
            files.remove(out)  # what a killed build of another k may have left
            out.mkdir()
            activations, reason = self._open(context)
            if reason:
                (out / UNAVAILABLE).write_text(json.dumps({"reason": reason}))
            else:
                blocks = work.path / f"blocks-{k}"
                blocks.mkdir(exist_ok=True)
                with context.reporter.task(self.title) as progress:
                    graph = self.engine.search(
                        activations, k, device=context.device, memory=context.memory, work=blocks, progress=progress
                    )
                save_graph(graph, out)
            work.publish(out.name, entry=f"k={k}", details={"n_features": int(activations.shape[1])})

    def _open(self, context: Context) -> tuple[NDArray[np.floating], str]:
        """The activations; captured again where another run freed them between the look and the opening."""
        for _ in range(3):
            if self.capture is not None:
                ensure(self.capture, context)
            with suppress(ArtifactGoneError):
                return self.source.open(context.store)
        return self.source.open(context.store)

    def load(self, store: Store, k: int) -> tuple[NeighborGraph | None, str, int]:
        """The graph of k neighbours, or None with the reason why there is none; and the layer's number of features."""
        artifact = self.find(store)
        assert artifact is not None, "the graph was ensured before it is read"
        n_features = int(artifact.details["n_features"])
        reason = unavailable(artifact.path)
        return (None, reason, n_features) if reason else (load_graph(artifact.path, k), "", n_features)

    def cost(self) -> Cost:
        return costs.graph(self)


def unavailable(folder: Path) -> str:
    """Why a stored entry holds no graph; "" where it holds one."""
    path = folder / UNAVAILABLE
    if not path.exists():
        return ""
    reason: str = json.loads(path.read_text())["reason"]
    return reason
