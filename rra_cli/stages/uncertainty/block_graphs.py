"""Neighbour graphs of disjoint blocks of a layer's samples: what intervals are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.artifact import ArtifactGoneError
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.metrics.uncertainty import block_rows
from rra_cli.neighbors import cost_model
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.point import Point
from rra_cli.stages.stage import Context, Cost, Stage, ensure

VERSION = 1
_FACTS = "blocks.json"


class BlockGraphs(Stage):
    """The exact graphs of disjoint random blocks of one layer's samples; ids are places within the block.

    B blocks cost a B-th of the distances of the whole, and no more memory than one of them. k: neighbours that the
    metrics read within a block. The layer's own graph, which may be an approximate one, is not looked at.
    """

    name = "block_graphs"

    def __init__(self, graph: GraphStage, blocks: int, k: int) -> None:
        self.graph, self.blocks, self.k = graph, blocks, k
        self.label = f"{self.point.data_title}, {blocks} blocks, k = {k}"

    @property
    def point(self) -> Point:
        """The layer that is searched."""
        return self.graph.point

    @property
    def concurrent(self) -> bool:
        return True

    @property
    def needs(self) -> Sequence[Stage]:
        return () if self.graph.capture is None else (self.graph.capture,)

    @cached_property
    def rows(self) -> list[NDArray[np.int64]]:
        """The samples of every block."""
        return block_rows(self.point.n_samples, self.blocks)

    @cached_property
    def spec(self) -> Spec:
        """The layer as it is searched, and how many blocks and neighbours."""
        identity = {"preprocess": self.graph.engine.preprocess, "blocks": self.blocks, "k": self.k}
        return Spec(self.name, VERSION, identity, (self.point.activations.key,))

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.spec,)

    def done(self, store: Store) -> bool:
        return store.find(self.spec) is not None

    def build(self, context: Context) -> None:
        with context.store.claim(self.spec, on_wait=context.reporter.note) as work:
            if self.done(context.store):
                return
            out, scratch = work.path / "blocks", work.path / "scratch"
            files.remove(out)  # what a killed build left
            files.make_folder(out)
            files.make_folder(scratch)
            with self.graph.opened(context, scratch) as (activations, reason):
                files.write_json(out / _FACTS, {"reason": reason})
                if not reason:
                    found = []
                    with context.reporter.task(self.title) as progress:
                        for place, rows in enumerate(self.rows):
                            progress(place, self.blocks, "")
                            found.append(self._search(activations, rows, context))
                        progress(self.blocks, self.blocks, "")
                    files.write_array(out / "indices.npy", np.stack([graph.indices for graph in found]))
                    files.write_array(out / "distances.npy", np.stack([graph.distances for graph in found]))
            work.publish(out.name)

    def _search(self, activations: NDArray[np.floating], rows: NDArray[np.int64], context: Context) -> NeighborGraph:
        part = np.ascontiguousarray(activations[rows])
        return exact_neighbors(part, self.k, device=context.device, memory=context.memory)

    def read(self, context: Context, k: int) -> tuple[list[NeighborGraph], str]:
        """The graph of k neighbours of every block, or none with the reason; built again where they are damaged."""
        for _ in range(2):
            ensure(self, context)
            try:
                return self._load(context.store, k)
            except ArtifactGoneError:
                continue
        return self._load(context.store, k)

    def _load(self, store: Store, k: int) -> tuple[list[NeighborGraph], str]:
        artifact = store.find(self.spec, in_full=True)
        if artifact is None:
            raise ArtifactGoneError(f"{self.title} is not in the store (any more)", "run the same command again")
        facts = artifact.read_json(_FACTS)
        try:
            if facts["reason"]:
                return [], str(facts["reason"])
            both = artifact.read_array("indices.npy"), artifact.read_array("distances.npy")
            return [
                NeighborGraph(np.array(ids[:, :k]), np.array(distances[:, :k]), 1.0, len(ids))
                for ids, distances in zip(*both, strict=True)
            ], ""
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise artifact.strange(_FACTS, error) from error

    def cost(self) -> Cost:
        n, d = self.point.n_samples // self.blocks, self.graph.source.n_features
        seconds = self.blocks * cost_model.exact_seconds(n, d, self.k)
        return Cost(
            seconds,
            cost_model.exact_bytes(n, d, self.k) + 4 * n * d,
            self.point.n_samples * self.k * 12,
            threaded=seconds - self.blocks * cost_model.EXACT_START,
            once={"compiled code": cost_model.KERNEL_LOAD},
        )
