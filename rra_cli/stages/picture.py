"""A layer in two dimensions, with how far the picture can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.config.pictures import Method, PicturesConfig
from rra_cli.core.progress import Progress
from rra_cli.core.spec import Spec
from rra_cli.metrics.centred import Centred
from rra_cli.metrics.estimate import collapsed
from rra_cli.neighbors.graph import NeighborGraph
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.point import Point
from rra_cli.stages.result_stage import ResultStage
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage

VERSION = 2  # 2: UMAP of samples that lie on a line
# Orders of magnitude, on the machine of benchmarks/README.md.
_EDGE_SECONDS = 1.5e-7  # of a landmark's way over an edge
_UMAP_SECONDS = 1.2e-5  # of an edge over all epochs
_UMAP_START = 20.0  # compilation
_DOUBLE = 6.0e10
# Read by each: others do not change the result of a method.
_SETTINGS: dict[Method, tuple[str, ...]] = {"pca": (), "isomap": ("landmarks",), "umap": ("min_dist",)}


class PictureStage(ResultStage):
    """One layer by one method. k: stored neighbours that are read."""

    name = "picture"

    def __init__(self, graph: GraphStage, method: Method, config: PicturesConfig, k: int) -> None:
        self.graph, self.method, self.config, self.k = graph, method, config, k
        self.label = f"{method} of {graph.point.data_title}"

    @property
    def point(self) -> Point:
        """What is drawn."""
        return self.graph.point

    @property
    def needs(self) -> Sequence[Stage]:
        return [self.graph, *([] if self.graph.capture is None else [self.graph.capture])]

    @cached_property
    def spec(self) -> Spec:
        """The method with its own settings, and what its picture is held against: the graph, and by it the layer."""
        identity: dict[str, Any] = {"method": self.method, "k": self.k, "seed": self.config.seed}
        identity |= {name: getattr(self.config, name) for name in _SETTINGS[self.method]}
        return Spec(self.name, VERSION, identity, (self.point.graph.key,))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        """One result. figures: components, left_out, trustworthiness, preservation ..., `reason`; array `coordinates`
        `(n, 2)`.
        """
        graph, reason, _ = self.graph.read(context, self.k)
        engine = self.graph.engine.name if graph is None else graph.engine
        figures: dict[str, Any] = {"engine": engine, "recall": None if graph is None else graph.recall}
        coordinates = np.full((self.point.n_samples, 2), np.nan)
        with self.graph.opened(context, folder) as (activations, missing):
            reason = reason or missing or ("" if graph is None else collapsed(graph))
            if not reason and graph is not None:
                with context.reporter.task(self.title) as progress:
                    coordinates, found = self._placed(graph, Centred(activations), progress)
                figures |= found
                if np.isnan(coordinates).all():
                    reason = f"{self.method} gives no sample a place"
        if reason:
            context.reporter.warn(f"{self.title}: no picture, {reason}")
        return [Measured({**figures, "reason": reason}, {"coordinates": coordinates})]

    def _placed(
        self, graph: NeighborGraph, layer: Centred, progress: Progress
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """The coordinates and what is told of them."""
        from rra_cli.embedding.isomap import isomap
        from rra_cli.embedding.plane import principal_plane
        from rra_cli.embedding.quality import quality
        from rra_cli.embedding.umap_graph import umap_plane

        seed = self.config.seed
        figures: dict[str, Any] = {"components": None}
        if self.method == "isomap":
            found = isomap(graph, landmarks=self.config.landmarks, seed=seed, progress=progress)
            coordinates, figures["components"] = found.coordinates, found.components
        else:
            plane = principal_plane(layer, seed=seed, progress=progress)
            coordinates = plane.coordinates
            figures["variance"] = float(plane.share.sum())
            if self.method == "umap":
                progress(0, 1, "umap")
                coordinates = umap_plane(graph, coordinates, min_dist=self.config.min_dist, seed=seed)
                del figures["variance"]
        measured = vars(quality(graph, layer, coordinates, seed=seed, progress=progress))
        figures |= {name: None if value != value else value for name, value in measured.items()}
        figures["left_out"] = int(np.isnan(coordinates).any(axis=1).sum())
        return coordinates, figures

    def cost(self) -> Cost:
        n, d = self.point.n_samples, self.graph.source.n_features
        seconds = 0.1 + 2.0 * min(n, 1000) * n * d / _DOUBLE + n * 1e-4
        if self.method == "isomap":
            landmarks = n if self.config.landmarks is None else min(n, self.config.landmarks)
            seconds += landmarks * n * self.k * _EDGE_SECONDS
            return Cost(seconds=seconds, memory_bytes=16 * n * landmarks + 40 * n * self.k, disk_bytes=16 * n)
        seconds += 40 * 64.0 * n * d / _DOUBLE
        if self.method == "umap":
            seconds += n * self.k * _UMAP_SECONDS * 20
        once = {"umap-learn": _UMAP_START} if self.method == "umap" else {}
        return Cost(seconds=seconds, memory_bytes=700 << 20, disk_bytes=16 * n, once=once)
