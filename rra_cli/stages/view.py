"""The activations of a layer, opened where something reads them; captured again where they were freed meanwhile."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.artifact import ArtifactGoneError
from rra_cli.core.store import Store
from rra_cli.stages.point import Point
from rra_cli.stages.stage import Context, Stage, ensure


class Source(Protocol):
    """Where the activations of a point come from: a capture, or a user's file."""

    @property
    def n_features(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample after pooling, before it is flattened."""

    def open(self, store: Store) -> tuple[NDArray[np.floating], str]:
        """`(n, features)`, and the reason why they cannot be searched ("" when they can)."""


@dataclass(frozen=True, eq=False)
class LayerView:
    """A layer's activations at one point. capture: the stage that makes them; None where they are there already."""

    point: Point
    source: Source
    capture: Stage | None

    def open(self, context: Context) -> tuple[NDArray[np.floating], str]:
        """`(n, features)`, and why they cannot be used; captured again where another run freed them in between."""
        for _ in range(3):
            if self.capture is not None:
                ensure(self.capture, context)
            with suppress(ArtifactGoneError):
                return self.source.open(context.store)
        return self.source.open(context.store)
