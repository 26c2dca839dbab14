"""Volume element and curvature of a checkpoint's layers along lines and planes through images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity_of
from rra_cli.core.progress import Progress
from rra_cli.core.reproducibility import ieee_float32
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.dataset import Samples
from rra_cli.metrics.pullback import Pullback
from rra_cli.stages.images import Images
from rra_cli.stages.point import Checkpoint
from rra_cli.stages.pullback.blocks import by_blocks, common_directions
from rra_cli.stages.pullback.costs import pullback_cost
from rra_cli.stages.pullback.notes import naming, tell
from rra_cli.stages.result_stage import ResultStage
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage
from rra_cli.stages.train import TrainStage

if TYPE_CHECKING:
    from torch import nn

    from rra_cli.models.encoder import Encoder
    from rra_cli.pullback.layer_map import LayerMaps
    from rra_cli.pullback.place import Place


class PullbackStage(ResultStage):
    """One pullback metric at one checkpoint: its results are those of all layers, and of the predictions beside them.

    layers: references of modules by the names of tables, in the network's order. price: what it costs, which takes
    seconds to tell and is the same at all checkpoints, so they may share it.
    """

    name = "pullback"

    def __init__(
        self, key: str, metric: Pullback, training: TrainStage, checkpoint: Checkpoint, layers: Mapping[str, str]
    ) -> None:
        self.key, self.metric, self.training, self.checkpoint = key, metric, training, checkpoint
        self.layers = dict(layers)
        self.price: Callable[[], Cost] = cache(partial(pullback_cost, self))
        more = f" and {metric.n_units - 1} more" if metric.more_points else ""
        self.label = f"{key} of {len(layers)} layers, {metric.n_points:,} points{more} · {checkpoint.label}"

    @property
    def images(self) -> Images:
        """What was trained on, and its test split."""
        return self.training.images

    @property
    def needs(self) -> Sequence[Stage]:
        return (self.training,)

    @cached_property
    def spec(self) -> Spec:
        """The metric, the layers in their order, the weights, and, through these, the samples."""
        identity: dict[str, Any] = {
            "metric": identity_of(self.metric),
            "layers": list(self.layers.values()),
            "checkpoint": self.checkpoint.entry,
        }
        return Spec(self.name, self.metric.version, identity, (self.training.spec.key,))

    def look(self, store: Store) -> None:
        self.training.look_at(store, self.checkpoint)

    @cached_property
    def place(self) -> Place:
        """Where the layers are looked at; reads the samples."""
        from rra_cli.pullback.place import Place

        return Place(self.metric, self.images.dataset, self.samples)

    @property
    def samples(self) -> Samples | None:
        """What anchors are taken from: the samples that are trained on, or the whole test split."""
        if self.metric.at == "grid":
            return None
        return self.images.trained if self.metric.split == "train" else self.images.test

    def maps(self, encoder: Encoder, device: str = "cpu", layers: Sequence[str] | None = None) -> LayerMaps:
        """Layers (all of them) as maps of the metric's points. Raises `UserError` where one has no derivative."""
        import torch

        from rra_cli.pullback.layer_map import LayerMaps
        from rra_cli.pullback.place import FromPixels

        module: nn.Module = encoder.module.eval()
        chosen = {name: ref for name, ref in self.layers.items() if layers is None or name in layers}
        wrapped = self.metric.space == "pixels"
        if wrapped:
            module = FromPixels(module, self.images.dataset)
        return LayerMaps(
            module.to(device),
            {name: f"network.{ref}" if wrapped and ref else ref for name, ref in chosen.items()},
            self.images.dataset.input_shape,
            features=self.metric.features,
            limit=self.metric.limit,
            dtype=getattr(torch, self.metric.dtype),
        )

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        """What all layers share first (`Place.arrays`, `probabilities`), then the layers in order (`log_volume` ...).

        folder: where finished blocks are kept.
        """
        from rra_cli.stages.pullback.predictions import predictions

        encoder = self.training.load(context.store, self.checkpoint)
        with context.reporter.task(self.title) as progress, ieee_float32(), naming(self.key):
            maps = self.maps(encoder, context.device)
            trained = None if self.training.n_outputs else self.images.trained
            predicted = predictions(self.place, maps.module, context.device, trained, self.metric.probe_samples)
            shared = Measured({}, self.place.arrays() | {"probabilities": predicted})
            volumes = self._levelled(encoder, context, folder, progress)
            curved = self._curvatures(maps, context, folder) if self.metric.curvature else None
            layers = []
            for number, layer in enumerate(maps.maps):
                log_volume, rank, directions = volumes[number]
                arrays: dict[str, NDArray[Any]] = {"log_volume": log_volume, "rank": rank}
                figures: dict[str, Any] = {"layer": layer.name, "n_inputs": maps.n_inputs, "directions": directions}
                figures |= {"n_features": layer.n_outputs, "window": list(layer.window), "curvature": ""}
                if curved is not None:
                    arrays |= {"curvature": curved[number, 0], "log_area": curved[number, 1]}
                    figures["curvature"] = of_curvature(arrays["curvature"], layer.n_outputs)
                layers.append(Measured(figures, arrays))
        tell(context.reporter, self.title, layers, self.metric)
        return [shared, *layers]

    def _volumes(
        self,
        encoder: Encoder,
        context: Context,
        folder: Path,
        progress: Progress,
        layers: tuple[str, ...] = (),
        top: int | None = None,
    ) -> NDArray[np.float64]:
        """`(layers, 3, points)`: log volume over at most `top` directions, rank, directions that entered it."""
        from rra_cli.pullback.volume import volume_elements
        from rra_cli.stages.pullback.predictions import points_for

        maps = self.maps(encoder, context.device, layers or None)

        def block(start: int, stop: int, watch: Progress) -> NDArray[np.float64]:
            points = points_for(self.place, maps.module, context.device, start, stop)
            found = volume_elements(maps, points, memory=context.memory, top=top, progress=watch)
            return np.array([[each.log_volume, each.rank, each.n_used] for each in found])

        name = "_".join(["volume", *(str(list(self.layers).index(layer)) for layer in layers)])
        return by_blocks(folder, name, len(self.place), block, progress)

    def _levelled(
        self, encoder: Encoder, context: Context, folder: Path, progress: Progress
    ) -> list[tuple[NDArray[np.float64], NDArray[np.int64], int]]:
        """Of every layer: log volumes over the same directions at all points (NaN where there are fewer), ranks, and
        how many directions these are.
        """
        found = []
        for name, volumes in zip(
            self.layers, self._volumes(encoder, context, folder, progress, top=self.metric.top), strict=True
        ):
            directions = common_directions(volumes[2])
            log_volume, rank = volumes[0], volumes[1].astype(np.int64)
            if (volumes[2] > directions).any() and directions:
                log_volume = self._volumes(encoder, context, folder, progress, (name,), directions)[0, 0]
            found.append((np.where(volumes[2] >= max(1, directions), log_volume, np.nan), rank, directions))
        return found

    def _curvatures(self, maps: LayerMaps, context: Context, folder: Path) -> NDArray[np.float64]:
        """`(layers, 2, points)`: scalar curvature of the surface that the first plane, or the grid, becomes in a layer,
        and the log of the magnification of its area; NaN at other points, and where the surface is degenerate.
        """
        from rra_cli.pullback.curvature import Curvatures, scalar_curvature
        from rra_cli.pullback.prepared import MEMORY
        from rra_cli.stages.pullback.predictions import points_for

        place, n = self.place, len(self.place.units[0].section)
        directions = place.directions()
        u, v = (None, None) if directions is None else directions

        def block(start: int, stop: int, watch: Progress) -> NDArray[np.float64]:
            points = points_for(self.place, maps.module, context.device, start, stop)
            memory = context.memory or MEMORY
            found = scalar_curvature(maps, points, u, v, dtype=maps.dtype, memory=memory, progress=watch)
            layers = [found] if isinstance(found, Curvatures) else found
            return np.array([[layer.value, layer.log_volume] for layer in layers])

        with context.reporter.task(f"curvature in {self.title}") as progress:
            found = by_blocks(folder, "curvature", n, block, progress)
        padded = np.full((*found.shape[:2], len(place)), np.nan)
        padded[:, :, :n] = np.where(np.isfinite(found), found, np.nan)
        return padded

    def cost(self) -> Cost:
        return self.price()


def of_curvature(values: NDArray[np.float64], n_outputs: int) -> str:
    """What is to be said of curvatures that are all zero, or of none; "" otherwise."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "no curvature: the surface is degenerate everywhere"
    if known.any():
        return ""
    if n_outputs == 2:
        return "two outputs: a surface in a plane is flat"
    return "piecewise linear: the curvature is zero almost everywhere"
