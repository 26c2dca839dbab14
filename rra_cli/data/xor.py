"""Exclusive or: the four corners of a square, or normal clouds around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.data.dataset import Split
from rra_cli.data.points import PlanePoints, check_seed, stream

CORNERS = np.array([(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)])
LABELS = np.array([0, 1, 1, 0], np.int64)
MOST_VARIANCE = 1e6


@dataclass(frozen=True)
class Xor(PlanePoints):
    """The corners of [-1, 1]^2, class 1 where x and y differ in sign; by option clouds of points around them.

    As in the code of Zavatone-Veth et al. 2023, "Neural networks learn to magnify areas near decision boundaries": four
    points, or with `variance=0.15 per_corner=100` its 400 noisy ones, normal around each corner, which keep the class
    of their corner wherever they fall. Points go by turns around the corners. It has no test split; here that is drawn
    by the same law, so without variance it holds the same points. points_seed: draws them.
    """

    name: ClassVar[str] = "xor"
    class_names: ClassVar[tuple[str, ...]] = ("same sign", "other sign")

    variance: float = identity(0.0)
    per_corner: int = identity(1)
    points_seed: int = identity(0)

    def __post_init__(self) -> None:
        if not 0.0 <= self.variance <= MOST_VARIANCE:
            raise ValueError(f"variance is {self.variance}; it must be from 0 to {MOST_VARIANCE:g}")
        if not 1 <= self.per_corner <= 1_000_000:
            raise ValueError(f"per_corner is {self.per_corner}; it must be from 1 to 1,000,000")
        if self.per_corner > 1 and self.variance == 0:
            raise ValueError(
                f"per_corner is {self.per_corner} and variance 0: points of a corner would all be equal; "
                "set variance (the paper's code: 0.15) or per_corner=1"
            )
        check_seed(self.points_seed)
        super().__post_init__()

    @property
    def sizes(self) -> dict[Split, int]:
        """Points per split."""
        return {"train": 4 * self.per_corner, "test": 4 * self.per_corner}

    def draw(self, split: Split) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Points `(n, 2)` and their classes."""
        noise = stream(self.points_seed, split).normal(size=(4 * self.per_corner, 2))
        return np.tile(CORNERS, (self.per_corner, 1)) + np.sqrt(self.variance) * noise, np.tile(LABELS, self.per_corner)
