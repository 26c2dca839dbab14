"""Graphs: one k-nearest-neighbour graph per layer, computed once and read by every neighbour metric."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.artifact import Artifact, ArtifactGoneError, StoreError
from rra_cli.core.reading import read_json
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.neighbors.descent import library as descent_library
from rra_cli.neighbors.engine import Engine
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.io import load_graph, save_graph
from rra_cli.neighbors.nn_descent import PynndescentEngine, missed_recall
from rra_cli.stages import costs
from rra_cli.stages.graphs.preprocessing import searchable
from rra_cli.stages.graphs.shards import Shards
from rra_cli.stages.point import Point
from rra_cli.stages.stage import Context, Cost, Stage, ensure
from rra_cli.stages.view import LayerView, Source

T = TypeVar("T")

VERSION = 1
UNAVAILABLE = "unavailable.json"
APPROXIMATE = "approximate.json"  # the recall that was too low, beside the exact graph that took its place


class GraphStage(Stage):
    """The neighbour graph of one layer. An entry `k=K` serves every smaller k where the engine's lists nest."""

    name = "graph"

    def __init__(
        self,
        point: Point,
        source: Source,
        capture: Stage | None,
        engine: Engine,
        k: int,
        start: GraphStage | None = None,
    ) -> None:
        """start: the graph of the layer before, where the engine's search starts from it."""
        self.point, self.source, self.engine, self.k = point, source, engine, k
        self.capture, self.start = capture, start
        self.label = f"{point.data_title}, k = {k}"
        self.shards = Shards(self)

    @property
    def concurrent(self) -> bool:
        return self.engine.uses_device

    @property
    def shared(self) -> bool:
        return self.shards.count > 1

    @property
    def needs(self) -> Sequence[Stage]:
        return [need for need in (self.capture, self.start) if need is not None]

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.point.graph,) if self.shards.count == 1 else (self.point.graph, self.shards.spec)

    @property
    def claims(self) -> Sequence[Spec]:
        return (self.point.graph,) if self.shards.count == 1 else (self.point.graph, *self.shards.claims)

    def find(self, store: Store, *, in_full: bool = False) -> Artifact | None:
        """The smallest stored graph that holds k neighbours. in_full: see `Store.find`."""
        for k in sorted(int(entry.removeprefix("k=")) for entry in store.entries(self.point.graph)):
            if k == self.k or (k > self.k and self.engine.prefix_stable):
                artifact = store.find(self.point.graph, f"k={k}", in_full=in_full)
                if artifact is not None:
                    return artifact
        return None

    def done(self, store: Store) -> bool:
        return self.find(store) is not None

    def artifacts(self, store: Store) -> list[Artifact]:
        found = self.find(store)
        return [] if found is None else [found]

    def build(self, context: Context) -> None:
        store = context.store
        while not self.done(store):
            can_search = self.shards.count == 1 or self.shards.build(context)
            with store.claim(self.point.graph, on_wait=context.reporter.note) as work:
                if self.done(store):
                    break
                out = work.path / "graph"
                files.remove(out)  # what a killed build of another k may have left
                if self.shards.count == 1 or not can_search:
                    self._search(context, out, work.path / f"blocks-{self.k}")
                else:
                    with context.reporter.task(f"{self.title}, merging") as progress:
                        try:
                            self.shards.merge(store, out, progress)
                        except ArtifactGoneError:
                            continue  # damaged and moved aside, or removed with the graph of a larger k
                work.publish(out.name, entry=f"k={self.k}", details={"n_features": self.source.n_features})
        self.tidy(store)

    def tidy(self, store: Store) -> None:
        """Removes the shards, which nobody needs where the graph is there."""
        if store.folder(self.shards.spec).exists() and self.done(store):
            store.free(self.shards.spec)

    def _search(self, context: Context, out: Path, blocks: Path) -> None:
        """Writes the graph, or why there is none, into `out`; and how long the search took, compilation excluded.

        There is no time where the search went on with what another one had left, or shared the processor with others.
        """
        blocks.mkdir(exist_ok=True)
        resumed = any(blocks.iterdir())
        with self.opened(context, blocks) as (activations, reason):
            if reason:
                out.mkdir()
                (out / UNAVAILABLE).write_text(json.dumps({"reason": reason}))
                return
            with context.reporter.task(self.title) as progress:
                search = self._searcher(context)
                if isinstance(self.engine, PynndescentEngine):
                    descent_library.compile_once(descent_library.load(self.engine.n_jobs), progress)
                began = time.perf_counter()
                graph = search(
                    activations, self.k, device=context.device, memory=context.memory, work=blocks, progress=progress
                )
                seconds = time.perf_counter() - began
        save_graph(graph, out)
        recall = missed_recall(blocks)
        if recall is not None:
            files.write_json(out / APPROXIMATE, {"recall": recall})
            context.reporter.note(f"{self.label}: an approximate graph had a recall of {recall:.4f}; searched exactly")
        if context.alone and not resumed:
            files.write_json(self._time_file(context.store), {"seconds": seconds})

    def _searcher(self, context: Context) -> Callable[..., NeighborGraph]:
        """The engine's search, from the graph of the layer before where it is to start there."""
        if self.start is None:
            return self.engine.search
        assert isinstance(self.engine, PynndescentEngine)
        return partial(self.engine.search_from, self.start.read(context, self.k)[0])

    @contextmanager
    def opened(self, context: Context, work: Path) -> Iterator[tuple[NDArray[np.floating], str]]:
        """The activations as the engine is to search them, and why they cannot be ("" when they can)."""
        activations, reason = self.open(context)
        with searchable(self.engine.preprocess, activations, reason, context, work, self.label) as found:
            yield found

    def open(self, context: Context) -> tuple[NDArray[np.floating], str]:
        """The activations, and why they cannot be searched."""
        return self.view.open(context)

    @property
    def view(self) -> LayerView:
        """What is searched."""
        return LayerView(self.point, self.source, self.capture)

    def _time_file(self, store: Store) -> Path:
        """Not part of the artifact: equal graphs are equal to the byte. It may be deleted at any time."""
        return store.cache("search_times") / f"{self.point.graph.key}-{self.k}.json"

    def seconds(self, store: Store) -> float | None:
        """Wall-clock seconds of the search that found the graph; None where they are not known."""
        try:
            return float(read_json(self._time_file(store))["seconds"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def read(self, context: Context, k: int) -> tuple[NeighborGraph | None, str, int]:
        """What `load` gives, for what is made from it: a graph that turns out to be damaged is built again before."""
        ensure(self, context)
        try:
            return self.load(context.store, k)
        except ArtifactGoneError:
            ensure(self, context)
            return self.load(context.store, k)

    def load(self, store: Store, k: int) -> tuple[NeighborGraph | None, str, int]:
        """The graph of k neighbours, or None with the reason why there is none; and the layer's number of features.

        Raises `ArtifactGoneError` where it is not there, or was moved aside, since a byte is not what was published.
        """
        artifact = self.find(store, in_full=True)
        if artifact is None:
            raise ArtifactGoneError(f"{self.title} is not in the store (any more)", "run the same command again")
        n_features = int(artifact.details["n_features"])
        reason = unavailable(artifact.path)
        if reason:
            return None, reason, n_features
        try:
            return load_graph(artifact.path, k), "", n_features
        except ValueError as error:  # of a graph that is no graph
            raise artifact.strange("indices.npy", error) from error

    def cost(self) -> Cost:
        return costs.graph(self)


def unavailable(folder: Path) -> str:
    """Why a stored entry holds no graph; "" where it holds one."""
    path = folder / UNAVAILABLE
    return _told(path, lambda told: str(told["reason"])) if path.exists() else ""


def searched(folder: Path, engine: Engine) -> tuple[str, float | None]:
    """The engine that built a stored graph, and its recall; None where the entry holds none."""
    if unavailable(folder):
        return engine.name, None
    return _told(folder / "graph.json", lambda told: (str(told["engine"]), _fraction(told["recall"])))


def _fraction(value: Any) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{value} is no fraction")
    return float(value)


def _told(path: Path, take: Callable[[Any], T]) -> T:
    """What a file beside a graph says. Raises `StoreError` where nobody but a person can have written it."""
    try:
        return take(read_json(path))
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise StoreError(
            f"{path} is not what rra writes: {error}",
            "somebody made or changed it; remove its folder (it is built again), or set store.root to another",
        ) from error
