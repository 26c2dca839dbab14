"""Where a value of a run stands, and the values of a metric along the layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.tables.schema import WINDOWS


@dataclass(frozen=True)
class Checkpoint:
    """One state of the network. epoch: None where nothing was trained (a user's files)."""

    label: str
    epoch: int | None

    @property
    def title(self) -> str:
        """What a legend calls it."""
        if self.epoch is None:
            return self.label
        return f"epoch {self.epoch}" if self.label.startswith("epoch_") else f"{self.label} (epoch {self.epoch})"


@dataclass(frozen=True)
class Variant:
    """How a layer's map was pooled before its graph. scale: side of the window (1 = none, 0 = the whole map)."""

    pool: str
    scale: int

    @property
    def title(self) -> str:
        """What a legend calls it."""
        if self.is_spatial:
            return f"{self.pool} global" if self.scale == 0 else f"{self.pool} {self.scale}×{self.scale}"
        return "unpooled" if self.pool == "none" else self.pool

    @property
    def slug(self) -> str:
        """What a file name calls it; empty for no pooling."""
        if self.pool == "none":
            return ""
        if not self.is_spatial:
            return self.pool
        return f"{self.pool}_global" if self.scale == 0 else f"{self.pool}{self.scale}"

    @property
    def is_spatial(self) -> bool:
        """Whether it is a scale of maps."""
        return self.pool in WINDOWS


@dataclass(frozen=True)
class Series:
    """One metric along the layers of one checkpoint, split and pooling; arrays `(n_layers,)`, NaN for no value."""

    metric: str
    checkpoint: Checkpoint
    split: str
    variant: Variant
    value: NDArray[np.float64]
    std_error: NDArray[np.float64]
    chance: NDArray[np.float64]
    # Layers that were measured but have no value (a collapsed network), by position.
    empty: tuple[int, ...]
    # Ends of the intervals, where they were asked for.
    interval: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
