"""A measured value with everything needed to defend it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A value with its uncertainty and chance level; `float()` of it is the value.

    value: NaN where it could not be computed, and then `reason` says why. per_sample: `(n,)` float64 aligned with the
    graph's rows, NaN where a row was dropped; None where the metric has none. std_error: of the value, NaN where
    unknown. chance: the value expected of unrelated data, NaN where the metric has no chance level. n_used: rows that
    entered the value. details: named extra arrays or numbers (a fit's curve, a class table).
    """

    value: float
    per_sample: NDArray[np.float64] | None = None
    std_error: float = float("nan")
    chance: float = float("nan")
    reason: str = ""
    n_used: int = 0
    details: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if np.isnan(self.value) and not self.reason:
            raise ValueError("an estimate without a value needs a reason")

    def __float__(self) -> float:
        return float(self.value)
