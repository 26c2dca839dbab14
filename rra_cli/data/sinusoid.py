"""Points above and below a sinusoid: the two-dimensional task of the paper on magnified decision boundaries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.data.dataset import Split
from rra_cli.data.points import PlanePoints, check_seed, stream


@dataclass(frozen=True)
class Sinusoid(PlanePoints):
    """Points uniform in [-1, 1]^2, in two classes divided by the curve y = 0.6 sin(7x - 1): 400 + 1,000.

    As in the code of Zavatone-Veth et al. 2023 ("Neural networks learn to magnify areas near decision boundaries"),
    where another task has frequency 3 and phase 1.2. It has no test split; here that is drawn by the same law.

    Class 1 lies above amplitude * sin(frequency * x + phase). train_points, test_points: how many. points_seed: draws
    them.
    """

    name: ClassVar[str] = "sinusoid"
    class_names: ClassVar[tuple[str, ...]] = ("below", "above")

    amplitude: float = identity(0.6)
    frequency: float = identity(7.0)
    phase: float = identity(-1.0)
    train_points: int = identity(400)
    test_points: int = identity(1000)
    points_seed: int = identity(0)

    def __post_init__(self) -> None:
        for field in ("amplitude", "frequency", "phase"):
            if not math.isfinite(getattr(self, field)):
                raise ValueError(f"{field} is {getattr(self, field)}; a finite number is needed")
        for field in ("train_points", "test_points"):
            if not 3 <= getattr(self, field) <= 10_000_000:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be from 3 to 10,000,000")
        check_seed(self.points_seed)
        super().__post_init__()

    @property
    def sizes(self) -> dict[Split, int]:
        """Points per split."""
        return {"train": self.train_points, "test": self.test_points}

    def draw(self, split: Split) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Points `(n, 2)`, each a float32, and their classes, which are those of the rounded points."""
        points = stream(self.points_seed, split).uniform(-1.0, 1.0, (self.sizes[split], 2))
        points = points.astype(np.float32).astype(np.float64)
        return points, is_above(points, self.amplitude, self.frequency, self.phase).astype(np.int64)


def is_above(points: NDArray[np.float64], amplitude: float, frequency: float, phase: float) -> NDArray[np.bool_]:
    """Which points `(n, 2)` have y > amplitude * sin(frequency * x + phase)."""
    above: NDArray[np.bool_] = points[:, 1] > amplitude * np.sin(frequency * points[:, 0] + phase)
    return above
