"""Capture: one forward pass per checkpoint and split serves every layer that something missing still needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from rra_cli.activations.projection import Projection
from rra_cli.activations.stream import Request, stream
from rra_cli.core.artifact import ArtifactGoneError, StoreError
from rra_cli.core.at_once import at_once
from rra_cli.core.fields import identity_of
from rra_cli.core.reproducibility import ieee_float32
from rra_cli.core.resources import check_disk
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.alterations.alteration import alters_images
from rra_cli.data.alterations.alteration import title as alteration_title
from rra_cli.data.dataset import Split
from rra_cli.stages import costs
from rra_cli.stages.images import Images
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.stage import Context, Cost, Stage
from rra_cli.stages.train import TrainStage

VERSION = 1


class CapturePass:
    """The forward pass of one checkpoint over one split. Without a training it is layer 0: the images themselves.

    heads: the modules among its layers that belong to the method's projector and predictor, behind the encoder.
    """

    def __init__(
        self,
        images: Images,
        split: Split,
        *,
        training: TrainStage | None,
        checkpoint: Checkpoint | None,
        batch_size: int,
        dtype: str,
        projection: Projection | None = None,
        heads: frozenset[str] = frozenset(),
    ) -> None:
        self.images, self.split = images, split
        self.training, self.checkpoint = training, checkpoint
        self.batch_size, self.dtype, self.projection = batch_size, dtype, projection
        self.heads = heads
        self.layers: list[LayerCapture] = []

    @cached_property
    def spec(self) -> Spec:
        """The pass itself; nothing is stored under it but the work in progress."""
        identity = {
            "dataset": self.images.measured_identity(self.split),
            "batch_size": self.batch_size,
            "dtype": self.dtype,
            "reduce": None if self.projection is None else identity_of(self.projection),
        }
        if self.training is None or self.checkpoint is None:
            return Spec("capture_pass", VERSION, {**identity, "checkpoint": None}, ())
        return Spec(
            "capture_pass", VERSION, {**identity, "checkpoint": self.checkpoint.entry}, (self.training.spec.key,)
        )

    def build(self, context: Context) -> None:
        """Captures every layer that a missing graph needs."""
        store = context.store
        with store.claim(self.spec, on_wait=context.reporter.note) as work:
            todo = [layer for layer in self.layers if not layer.done(store) and layer.wanted(store)]
            if not todo:
                return
            needed = sum(layer.n_bytes for layer in todo) - store.held(self.spec)
            check_disk(store.root, needed, f"capturing {len(todo)} layers")
            module, reference = self._network(store, todo)
            module.to(context.device)
            requests = {
                Request(layer.point.layer, reference(layer.point.module), layer.point.pooling): layer for layer in todo
            }
            n_samples = self.images.n_measured(self.split)
            where = "" if self.checkpoint is None else f" of {self.checkpoint.label}"
            other = "" if self.images.like is None else f" of {self.images.dataset.name}"
            other += f", {alteration_title(self.images.alteration)}" if alters_images(self.images.alteration) else ""
            title = f"capture {len(todo)} layers{where}, {self.split}{other}"
            with context.reporter.task(title) as progress, ieee_float32():
                captured = stream(
                    module,
                    partial(self._inputs, device=context.device),
                    n_samples,
                    list(requests),
                    work.path,
                    batch_size=self.batch_size,
                    device=context.device,
                    dtype=self.dtype,
                    projection=self.projection,
                    memory=context.memory,
                    progress=progress,
                )

            def publish(request: Request) -> None:
                result, point = captured[request], requests[request].point
                if result.nonfinite_rows:
                    context.reporter.warn(f"{point.title}: {result.nonfinite_rows} of {n_samples} rows are not finite")
                name = result.path.parent.relative_to(work.path).as_posix()
                work.publish(name, spec=point.activations, details={"nonfinite_rows": result.nonfinite_rows})

            at_once(publish, captured)

    def _network(self, store: Store, layers: Sequence[LayerCapture]) -> tuple[torch.nn.Module, Callable[[str], str]]:
        """What is run for these layers, and what it calls each layer's module."""
        if self.training is None or self.checkpoint is None:
            return torch.nn.Identity(), str
        if any(layer.point.module in self.heads for layer in layers):
            headed = self.training.load_headed(store, self.checkpoint)
            return headed, headed.reference
        return self.training.load(store, self.checkpoint).module, str

    def _inputs(self, start: int, stop: int, *, device: str) -> torch.Tensor:
        return self.images.batches(self.split, start, stop, device)


class LayerCapture(Stage):
    """The activations of one layer, made by the pass it belongs to."""

    name = "capture"

    def __init__(self, point: Point, capture_pass: CapturePass, shape: tuple[int, ...]) -> None:
        """shape: of one sample after pooling, before it is flattened."""
        self.point, self.capture_pass, self._shape = point, capture_pass, shape
        self.label = point.data_title
        self.readers: list[Stage] = []
        capture_pass.layers.append(self)

    @property
    def needs(self) -> Sequence[Stage]:
        return () if self.capture_pass.training is None else (self.capture_pass.training,)

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.point.activations,)

    @property
    def claims(self) -> Sequence[Spec]:
        return (self.capture_pass.spec,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample after pooling, before it is flattened."""
        return self._shape

    @property
    def n_features(self) -> int:
        """Numbers per sample as they are stored."""
        projection = self.capture_pass.projection
        return self.width if projection is None else projection.width(self.width)

    @property
    def width(self) -> int:
        """Numbers per sample that the layer itself has, after pooling."""
        return int(np.prod(self.shape))

    @property
    def is_projected(self) -> bool:
        """Whether it has more features than `activations.reduce` lets it keep."""
        return self.n_features < self.width

    @property
    def n_bytes(self) -> int:
        """Bytes of the layer in the store."""
        return self.point.n_samples * self.n_features * np.dtype(self.capture_pass.dtype).itemsize

    def done(self, store: Store) -> bool:
        return store.find(self.point.activations) is not None

    def wanted(self, store: Store) -> bool:
        """Whether something that reads it is still missing."""
        return any(not reader.done(store) for reader in self.readers)

    def look(self, store: Store) -> None:
        made_by = self.capture_pass
        if made_by.training is not None and made_by.checkpoint is not None and self.wanted(store):
            made_by.training.look_at(store, made_by.checkpoint)

    def build(self, context: Context) -> None:
        self.capture_pass.build(context)

    def cost(self) -> Cost:
        return costs.capture(self)

    def open(self, store: Store) -> tuple[NDArray[np.floating], str]:
        """The activations `(n, features)` as a memory map, and why they cannot be searched ("" when they can).

        Raises `ArtifactGoneError` where they are not there, or were moved aside, since they are not what was published.
        """
        artifact = store.find(self.point.activations)
        if artifact is None:
            raise ArtifactGoneError(f"the activations of {self.point.title} were freed by another run")
        rows = artifact.details["nonfinite_rows"]
        reason = f"{rows} of {self.point.n_samples} rows hold NaN or infinity" if rows else ""
        try:
            array = artifact.read_array("activations.npy")
            expected = (self.point.n_samples, self.n_features), np.dtype(self.capture_pass.dtype)
            if (array.shape, array.dtype) != expected:
                found = f"{array.shape} of {array.dtype}"
                raise artifact.strange("activations.npy", ValueError(f"{found}, expected {expected[0]} {expected[1]}"))
        except ArtifactGoneError:
            raise
        except StoreError:
            if store.find(self.point.activations, in_full=True) is None:
                raise ArtifactGoneError(f"the activations of {self.point.title} were damaged") from None
            raise
        return array, reason
