"""Neighbour lists of a layer for nested subsets of its samples: one pass, kept as ids, read block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.activations import npy
from rra_cli.core import files
from rra_cli.core.artifact import Artifact, ArtifactGoneError
from rra_cli.core.fields import identity_of
from rra_cli.core.progress import Progress
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.neighbors import cost_model
from rra_cli.neighbors.arguments import workspace
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.neighbors.subsets import exact_subset_blocks
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.point import Point
from rra_cli.stages.samples.order import TWO, Sampling
from rra_cli.stages.stage import Context, Cost, Stage, ensure

VERSION = 1
# Workspace of the search, however much is free: with what it leaves, the peak stays below 4 GB at N = 15,000.
MOST_MEMORY = 2 << 30
_FACTS = "lists.json"


@dataclass(frozen=True, eq=False)
class SampleList:
    """The neighbours of one subset, samples in the order of the draw.

    indices: `(n, reach)` int32 positions, nearest first, a memory map. near: `(n, 2)` distances to the two nearest.
    zeros: so many of the nearest neighbours of every sample are copies of it.
    """

    indices: NDArray[np.integer]
    near: NDArray[np.float64]
    zeros: int
    self_excluded: bool = True

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def k(self) -> int:
        """Neighbours that are listed."""
        return int(self.indices.shape[1])

    @property
    def n_reference(self) -> int:
        """Samples that neighbours come from."""
        return len(self.indices)

    @property
    def nearest(self) -> NeighborGraph:
        """The graph of the two nearest."""
        return NeighborGraph(np.ascontiguousarray(self.indices[:, :TWO]), self.near, 1.0, len(self))

    def collapsed(self, k: int) -> str:
        """Why k neighbours say nothing: all samples are one point. "" if they do."""
        if self.zeros < k:
            return ""
        return f"all {len(self)} samples coincide with their {k} nearest neighbours (a collapsed layer)"


class SampleLists(Stage):
    """The exact neighbours of one layer at every size of a sampling.

    frees: whether they are removed once everything that reads them is measured (`readers`): they are large.
    """

    name = "sample_lists"

    def __init__(self, graph: GraphStage, sampling: Sampling, frees: bool) -> None:
        self.graph, self.sampling, self.frees = graph, sampling, frees
        self.readers: list[Stage] = []
        sizes, reaches = sampling.sizes, sampling.reaches
        self.label = f"{self.point.data_title}, N = {sizes[0]} to {sizes[-1]}, k up to {reaches[-1]}"

    @property
    def point(self) -> Point:
        """The layer that is searched."""
        return self.graph.point

    @property
    def needs(self) -> Sequence[Stage]:
        return () if self.graph.capture is None else (self.graph.capture,)

    @cached_property
    def spec(self) -> Spec:
        """The layer, which of its samples, and how far the lists go."""
        sampling = self.sampling
        identity = {
            "engine": identity_of(self.graph.engine),
            "order": sampling.identity,
            "sizes": list(sampling.sizes),
            "reach": list(sampling.reaches),
        }
        return Spec(self.name, VERSION, identity, (self.point.activations.key,))

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.spec,)

    def done(self, store: Store) -> bool:
        """Whether they are there, or were freed as nothing needs them any more."""
        if store.find(self.spec) is not None:
            return True
        return self.frees and bool(self.readers) and all(reader.done(store) for reader in self.readers)

    def tidy(self, store: Store) -> None:
        """Frees them where everything that reads them is measured."""
        if self.frees and all(reader.done(store) for reader in self.readers):
            store.free(self.spec)

    def build(self, context: Context) -> None:
        with context.store.claim(self.spec, on_wait=context.reporter.note) as work:
            if context.store.find(self.spec) is not None:
                return
            out, blocks = work.path / "lists", work.path / "blocks"
            files.remove(out)  # what a killed build left
            files.make_folder(out)
            blocks.mkdir(exist_ok=True)
            with self.graph.opened(context, blocks) as (activations, reason):
                facts: dict[str, object] = {"reason": reason}
                if not reason:
                    with context.reporter.task(self.title) as progress:
                        facts["zeros"] = self._search(activations, context, out, blocks, progress)
            files.write_json(out / _FACTS, facts)
            work.publish(out.name)

    def _search(
        self, activations: NDArray[np.floating], context: Context, out: Path, blocks: Path, progress: Progress
    ) -> list[int]:
        """Writes the lists of every size as they are found; how many zero distances every sample of each has."""
        sizes, reaches = self.sampling.sizes, self.sampling.reaches
        near = [np.empty((size, TWO)) for size in sizes]
        zeros = list(reaches)
        with files.explained(out):
            for size, reach in zip(sizes, reaches, strict=True):
                npy.create(_path(out, size), (size, reach), np.int32)
            for block in exact_subset_blocks(
                activations,
                reaches,
                sizes,
                order=self.sampling.order(),
                device=context.device,
                memory=min(workspace(context.memory), MOST_MEMORY),
                progress=progress,
                work=blocks,
            ):
                if len(block.rows):
                    place = block.subset
                    _write(_path(out, sizes[place]), block.rows, block.indices.astype(np.int32, copy=False))
                    near[place][block.rows] = block.distances[:, :TWO]
                    zeros[place] = min(zeros[place], int((block.distances == 0).sum(axis=1).min()))
        for size, distances in zip(sizes, near, strict=True):
            files.write_array(out / f"near_{size}.npy", distances)
        return zeros

    def read(self, context: Context, size: int) -> tuple[SampleList | None, str]:
        """The lists of one size, or None with the reason; searched again where they turn out to be damaged or gone."""
        for _ in range(2):
            if context.store.find(self.spec, in_full=True) is None:
                for need in self.needs:
                    ensure(need, context)
                self.build(context)
            try:
                return self._load(context.store, size)
            except ArtifactGoneError:
                continue
        return self._load(context.store, size)

    def _load(self, store: Store, size: int) -> tuple[SampleList | None, str]:
        artifact = store.find(self.spec)
        if artifact is None:
            raise ArtifactGoneError(f"{self.title} is not in the store (any more)", "run the same command again")
        facts = artifact.read_json(_FACTS)
        try:
            reason = str(facts["reason"])
            if reason:
                return None, reason
            zeros = int(facts["zeros"][self.sampling.sizes.index(size)])
            near = np.array(artifact.read_array(f"near_{size}.npy"))
            return SampleList(_mapped(artifact, size), near, zeros), ""
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise artifact.strange(_FACTS, error) from error

    def cost(self) -> Cost:
        sizes, reaches, d = self.sampling.sizes, self.sampling.reaches, self.graph.source.n_features
        n, k = sizes[-1], reaches[-1]
        seconds = cost_model.exact_seconds(n, d, k)
        # Of smaller subsets what the next larger one does not do anyway: sorting, and half of the differences.
        for size, reach in zip(sizes[:-1], reaches[:-1], strict=True):
            seconds += size * reach * (d * cost_model.EXACT_DIRECT / 2 + cost_model.EXACT_LIST)
        memory = cost_model.exact_bytes(n, d, k) - cost_model.graph_bytes(n, k)
        disk = sum(size * (4 * reach + 16) for size, reach in zip(sizes, reaches, strict=True))
        return Cost(
            seconds, min(memory, MOST_MEMORY), disk, threaded=seconds, once={"compiled code": cost_model.KERNEL_LOAD}
        )


def _path(folder: Path, size: int) -> Path:
    return folder / f"indices_{size}.npy"


def _mapped(artifact: Artifact, size: int) -> NDArray[np.integer]:
    return artifact.read_array(f"indices_{size}.npy")


def _write(path: Path, rows: NDArray[np.int64], ids: NDArray[np.int32]) -> None:
    """Rows, ascending, at their places: ranges of them at once (of data with copies, rows lie apart)."""
    for part in _ranges(rows):
        npy.write_rows(path, int(rows[part.start]), ids[part])


def _ranges(rows: NDArray[np.int64]) -> Iterator[slice]:
    """Where rows follow each other."""
    ends = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    for start, stop in pairwise(ends):
        yield slice(start, stop)
