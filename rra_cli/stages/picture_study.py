"""Pictures of chosen layers: which there are, and their tables, turned so that samples can be followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.config.pictures import PicturesConfig
from rra_cli.core.store import Store
from rra_cli.data.dataset import Split
from rra_cli.embedding.procrustes import aligned, standardised
from rra_cli.embedding.umap_graph import check_library
from rra_cli.errors import UserError, did_you_mean
from rra_cli.stages.files import UserFiles
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.images import Images
from rra_cli.stages.labellings import PICTURES as ATTRIBUTES
from rra_cli.stages.layout import Layout
from rra_cli.stages.picture import PictureStage
from rra_cli.stages.point import Point
from rra_cli.stages.stage import Stage
from rra_cli.stages.study import Study, Target

Rows = list[dict[str, Any]]
DEFAULT_NEIGHBORS = 15
# Beyond so many rows a CSV table is a burden.
MANY_ROWS = 500_000


class PictureStudy(Study):
    """All pictures of a run. data: the measured samples."""

    def __init__(self, config: PicturesConfig, stages: Sequence[PictureStage], data: Images | UserFiles) -> None:
        self.config, self._stages, self.data = config, tuple(stages), data

    @property
    def stages(self) -> Sequence[Stage]:
        return self._stages

    @property
    def targets(self) -> Sequence[Target]:
        return [Target(stage.point.checkpoint.label, stage.point.split, stage) for stage in self._stages]

    def tables(self, store: Store, common: Callable[[Point], dict[str, Any]]) -> dict[str, Rows]:
        """`pictures`: a row a sample that is drawn; `picture_quality`: a row a picture."""
        pictures: Rows = []
        qualities: Rows = []
        turned: dict[PictureStage, NDArray[np.float64]] = {}
        for stage in self._stages:
            measured = stage.load(store)[0]
            before = self._before(stage)
            coordinates = measured.arrays["coordinates"]
            turned[stage] = standardised(coordinates) if before is None else aligned(coordinates, turned[before])
            row = {**common(stage.point), "k": stage.point.k, "method": stage.method}
            qualities.append({**row, "n_neighbors": stage.k, **_quality(measured.figures)})
            if not measured.figures["reason"]:
                search = {name: measured.figures[name] for name in ("engine", "recall")}
                pictures += self._samples({**row, **search}, stage.point.split, turned[stage])
        return {"pictures": pictures, "picture_quality": qualities}

    def _before(self, stage: PictureStage) -> PictureStage | None:
        """The picture that one is turned upon: of the layer before, or of the first layer at the checkpoint before."""
        mine = [each for each in self._stages if _series(each) == _series(stage)]
        here = [each for each in mine if each.point.checkpoint == stage.point.checkpoint]
        if here[0] is not stage:
            return here[here.index(stage) - 1]
        at = mine.index(stage)
        earlier = [each for each in mine[:at] if each.point.layer == stage.point.layer]
        return earlier[-1] if earlier else None

    def _samples(self, row: dict[str, Any], split: Split, picture: NDArray[np.float64]) -> Rows:
        ids, n = self.data.sample_ids(split), len(picture)
        random = np.random.RandomState(self.config.seed)  # its stream is frozen for good (NEP 19)
        shown = np.sort(random.permutation(n)[: self.config.n_samples])
        labels = self.data.labels(split) if isinstance(self.data, Images) or self.data.has_labels else None
        names = [None] * n if labels is None else _names(self.data, labels)
        attribute = self._attribute(split)
        return [
            {
                **row,
                "sample_id": int(ids[at]),
                "x": float(picture[at, 0]),
                "y": float(picture[at, 1]),
                "class": names[at],
                "attribute": None if attribute is None else float(attribute[at]),
            }
            for at in shown.tolist()
        ]

    def _attribute(self, split: Split) -> NDArray[Any] | None:
        if self.config.color_by is None:
            return None
        assert isinstance(self.data, Images), "checked when it was laid out"
        return ATTRIBUTES[self.config.color_by](self.data.measured(split).images)


def add_pictures(layout: Layout) -> None:
    """Adds the pictures that the experiment asks for, of layers whose graphs are laid out.

    Raises `UserError` where a layer or a checkpoint is not measured, the graphs hold too few neighbours, there are no
    images to take an attribute of, or umap-learn is missing.
    """
    config = layout.experiment.pictures
    if not config.layers:
        return
    if config.color_by is not None and not isinstance(layout.data, Images):
        raise UserError(
            f"pictures.color_by is {config.color_by!r}, an attribute of images, but dataset=activations has none",
            "leave it out",
        )
    if "umap" in config.methods:
        check_library()
    stages = []
    for graph in _chosen(config, layout.graphs):
        k = min(graph.point.k, DEFAULT_NEIGHBORS) if config.n_neighbors is None else config.n_neighbors
        if k > graph.k:
            raise UserError(
                f"pictures.n_neighbors is {k}, but the graphs hold {graph.k} neighbours of each sample",
                f"use pictures.n_neighbors={graph.k} or less, or a larger neighbors.k",
            )
        stages += [PictureStage(graph, method, config, k) for method in config.methods]
    shown = sum(min(config.n_samples, stage.point.n_samples) for stage in stages)
    if shown > MANY_ROWS:
        layout.notes.append(f"pictures.csv will have {shown:,} rows; see pictures.n_samples")
    layout.add(PictureStudy(config, stages, layout.data))


def _chosen(config: PicturesConfig, graphs: Sequence[GraphStage]) -> list[GraphStage]:
    """The graphs of the layers at the checkpoints that are asked for, in their order."""
    layers = list(dict.fromkeys(graph.point.layer for graph in graphs))
    for pattern in config.layers:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise UserError(
                f"pictures.layers names {pattern!r}, which matches no layer: {did_you_mean(pattern, layers)}",
                "names are those of layers.csv; [] draws none",
            )
    labels = list(dict.fromkeys(graph.point.checkpoint.label for graph in graphs))
    for checkpoint in config.checkpoints:
        if checkpoint not in (*labels, "all"):
            raise UserError(
                f"pictures.checkpoints names {checkpoint!r}, which is not measured: {did_you_mean(checkpoint, labels)}",
                "activations.checkpoints says which are measured; pictures.checkpoints=[all] draws them all",
            )
    asked = labels if "all" in config.checkpoints else config.checkpoints
    return [
        graph
        for graph in graphs
        if graph.point.checkpoint.label in asked
        and any(fnmatchcase(graph.point.layer, pattern) for pattern in config.layers)
    ]


def _series(stage: PictureStage) -> tuple[Any, ...]:
    """Pictures that are turned upon one another: of the same samples, by one method, at one pooling scale."""
    return stage.method, stage.point.split, stage.point.pooling


def _quality(figures: dict[str, Any]) -> dict[str, Any]:
    names = ("components", "left_out", "trustworthiness", "trustworthiness_error", "preservation", "preservation_error")
    found = {name: figures.get(name) for name in (*names, "chance", "variance", "engine", "recall")}
    reason = figures["reason"]
    if not reason and found["trustworthiness"] is None:
        reason = "too few samples are placed"
    return {**found, "reason": reason}


def _names(data: Images | UserFiles, labels: NDArray[np.int64]) -> list[str]:
    classes, codes = np.unique(labels, return_inverse=True)
    names = data.class_names(classes)
    return [names[code] for code in codes.tolist()]
