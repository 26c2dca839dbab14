"""Shards: blocks of rows of one graph as pieces of the store, which separate processes build and one of them merges.

Every process that runs the same command takes a shard that nobody holds, as long as there is one, and then waits for
the others. Whoever then claims the graph writes the shards one below the other, publishes the graph and removes them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.artifact import Artifact, ArtifactGoneError
from rra_cli.core.lease import POLL, LeaseHeldError
from rra_cli.core.progress import Progress
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.errors import UserError
from rra_cli.neighbors.engine import Engine, ShardedEngine
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.io import save_description
from rra_cli.stages.stage import Context, Cost, Stage

if TYPE_CHECKING:
    from rra_cli.stages.graphs.graph import GraphStage

VERSION = 1
NAME = "graph_shard"
# Bytes of a neighbour on disk: id and distance.
NEIGHBOUR = 12
# Neighbours that are in memory at once while a graph is merged.
_MERGED_AT_ONCE = 1 << 20


def rows_of_shard(n: int, shards: int, shard: int) -> tuple[int, int]:
    """First and last row + 1 of a shard, numbered from 0: all n rows, none twice, sizes that differ by 1 at most."""
    return shard * n // shards, (shard + 1) * n // shards


def check_shards(engine: Engine, n_samples: int) -> None:
    """Raises `UserError` where there are more shards than samples."""
    if isinstance(engine, ShardedEngine) and engine.shards > n_samples:
        raise UserError(
            f"neighbors.shards is {engine.shards}, but only {n_samples} samples are measured",
            f"use neighbors.shards={n_samples} or less; a shard should take minutes",
        )


class Shards:
    """The shards of one graph. count: how many; 1 where it is searched in one piece."""

    def __init__(self, graph: GraphStage) -> None:
        self.graph = graph
        self.count = graph.engine.shards if isinstance(graph.engine, ShardedEngine) else 1

    @cached_property
    def spec(self) -> Spec:
        """What all shards are published under, each as an entry, so that all go at once, whatever their number was."""
        return Spec(NAME, VERSION, {"k": self.graph.k}, (self.graph.point.graph.key,))

    @cached_property
    def claims(self) -> Sequence[Spec]:
        """What is claimed while a shard is built, shard by shard; nothing is published under these."""
        key = self.graph.point.graph.key
        return [
            Spec(NAME, VERSION, {"k": self.graph.k, "rows": self.rows(shard)}, (key,)) for shard in range(self.count)
        ]

    @property
    def n_bytes(self) -> int:
        """What all shards take on disk until the graph is merged."""
        return 0 if self.count == 1 else self.graph.point.n_samples * self.graph.k * NEIGHBOUR

    def held(self, store: Store) -> int:
        """What those that are there take on disk."""
        found = [] if self.count == 1 else [self.find(store, shard) for shard in range(self.count)]
        return sum(artifact.size for artifact in found if artifact is not None)

    def rows(self, shard: int) -> tuple[int, int]:
        """First and last row + 1."""
        return rows_of_shard(self.graph.point.n_samples, self.count, shard)

    def title(self, shard: int) -> str:
        """What a person reads."""
        start, stop = self.rows(shard)
        return f"{self.graph.title}, shard {shard} of {self.count} (rows {start} to {stop - 1})"

    def find(self, store: Store, shard: int, *, in_full: bool = False) -> Artifact | None:
        """The published shard."""
        return store.find(self.spec, self._entry(shard), in_full=in_full)

    def build(self, context: Context) -> bool:
        """Builds what is missing and nobody else builds, and waits for the rest, or for the graph itself.

        False where the layer cannot be searched.
        """
        store, told = context.store, set[str]()
        # Look for the shards first and then for the graph: they are removed only once it is there.
        while (todo := self._missing(store)) and not self.graph.done(store):
            # Free ones first: it takes seconds to learn that an owner on another machine lives.
            todo.sort(key=lambda shard: store.busy(self.claims[shard]))
            for shard in todo:
                try:
                    if not self.build_one(shard, context, wait=False):
                        return False
                    break
                except LeaseHeldError as held:
                    if held.owner.id not in told:
                        context.reporter.note(f"{self.title(shard)}: waiting for {held.owner}")
                        told.add(held.owner.id)
            else:
                time.sleep(POLL[1])
        return True

    def build_one(self, shard: int, context: Context, *, wait: bool = True) -> bool:
        """Builds one shard unless it, or the graph, is there. False where the layer cannot be searched.

        wait=False: raises `LeaseHeldError` where another process is at it.
        """
        store, engine, k = context.store, self.graph.engine, self.graph.k
        assert isinstance(engine, ShardedEngine)
        with store.claim(self.claims[shard], on_wait=context.reporter.note, wait=wait) as work:
            if self.find(store, shard) is not None or self.graph.done(store):
                return True
            blocks = files.make_folder(work.path / "blocks")
            with self.graph.opened(context, blocks) as (activations, reason):
                if reason:
                    return False
                with context.reporter.task(self.title(shard)) as progress:
                    indices, distances = engine.search_rows(
                        activations,
                        k,
                        *self.rows(shard),
                        device=context.device,
                        memory=context.memory,
                        work=blocks,
                        progress=progress,
                    )
            out = work.path / "shard"
            files.remove(out)
            files.write_array(out / "indices.npy", np.asarray(indices, self._id_type))
            files.write_array(out / "distances.npy", np.asarray(distances))
            work.publish(out.name, entry=self._entry(shard), spec=self.spec)
        return True

    def merge(self, store: Store, out: Path, progress: Progress) -> None:
        """Writes the graph into `out`, which is made, in the bytes of an unsharded search.

        Raises `ArtifactGoneError` where a shard is not there (any more), or was moved aside, since a byte of it is not
        what was published: build it and merge again.
        """
        n, k, shards = self.graph.point.n_samples, self.graph.k, []
        for shard in range(self.count):
            progress(shard, self.count, "checking")
            shards.append(self._there(store, shard))
        files.write_stacked(out / "indices.npy", self._parts(shards, "indices.npy", progress), n, k, self._id_type)
        distances = self._parts(shards, "distances.npy", progress)
        files.write_stacked(out / "distances.npy", distances, n, k, np.dtype(np.float64))
        ids, lengths = (np.load(out / f"{name}.npy", mmap_mode="r") for name in ("indices", "distances"))
        save_description(NeighborGraph(ids, lengths, 1.0, n, True, engine=self.graph.engine.name), out)

    @property
    def _id_type(self) -> np.dtype[Any]:
        return np.dtype(np.int32 if self.graph.point.n_samples <= np.iinfo(np.int32).max else np.int64)

    def _entry(self, shard: int) -> str:
        start, stop = self.rows(shard)
        return f"rows={start}-{stop}"

    def _missing(self, store: Store) -> list[int]:
        return [shard for shard in range(self.count) if self.find(store, shard) is None]

    def _there(self, store: Store, shard: int) -> Artifact:
        artifact = self.find(store, shard, in_full=True)
        if artifact is None:
            raise ArtifactGoneError(f"{self.title(shard)} was removed", "run the same command again")
        return artifact

    def _parts(self, shards: Sequence[Artifact], name: str, progress: Progress) -> Iterator[NDArray[Any]]:
        """Blocks of rows of all shards in their order, mapped."""
        step = max(1, _MERGED_AT_ONCE // self.graph.k)
        for at, shard in enumerate(shards):
            progress(at, self.count, name.removesuffix(".npy"))
            part = shard.read_array(name)
            for start in range(0, len(part), step):
                yield part[start : start + step]
        progress(self.count, self.count, "")


class ShardStage(Stage):
    """One shard of a graph, where a run is asked for nothing else."""

    name = NAME

    def __init__(self, graph: GraphStage, shard: int) -> None:
        self.graph, self.shard = graph, shard
        self.graphs = (graph,)
        self.label = f"{graph.label}, shard {shard} of {graph.shards.count}"

    @property
    def needs(self) -> Sequence[Stage]:
        return self.graph.needs

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.graph.shards.spec,)

    @property
    def claims(self) -> Sequence[Spec]:
        return (self.graph.shards.claims[self.shard],)

    def done(self, store: Store) -> bool:
        # In this order: shards are removed only once the graph is there.
        return self.graph.shards.find(store, self.shard) is not None or self.graph.done(store)

    def artifacts(self, store: Store) -> list[Artifact]:
        found = self.graph.shards.find(store, self.shard)
        return [] if found is None else [found]

    def build(self, context: Context) -> None:
        if not self.graph.shards.build_one(self.shard, context):
            self.graph.build(context)  # which says why there is no graph

    def cost(self) -> Cost:
        whole, count = self.graph.cost(), self.graph.shards.count  # of a graph in shards: the time of all of them
        return replace(
            whole,
            seconds=whole.seconds / count,
            threaded=whole.threaded / count,
            disk_bytes=-(-self.graph.shards.n_bytes // count),
        )
