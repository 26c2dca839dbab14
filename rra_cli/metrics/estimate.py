"""A measured value with everything needed to defend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.neighbors.graph import NeighborGraph


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with its uncertainty and chance level; `float()` of it is the value.

    value: NaN where it could not be computed, and then `reason` says why. per_sample: `(n,)` float64 aligned with the
    graph's rows, NaN where a row was dropped; None where the metric has none. std_error: of the value, NaN where
    unknown. chance: the value expected of unrelated data, NaN where the metric has no chance level. n_used: rows that
    entered the value. details: named extra arrays or numbers (a fit's curve, a class table), read-only.

    Estimates compare by identity: they hold arrays and NaN. Compare their values.
    """

    value: float
    per_sample: NDArray[np.float64] | None = field(default=None, repr=False)
    std_error: float = float("nan")
    chance: float = float("nan")
    reason: str = ""
    n_used: int = 0
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def __post_init__(self) -> None:
        if np.isnan(self.value) and not self.reason:
            raise ValueError("an estimate without a value needs a reason")
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))

    def __float__(self) -> float:
        return float(self.value)


def undefined(
    reason: str,
    *,
    per_sample: NDArray[np.float64] | None = None,
    n_used: int = 0,
    details: Mapping[str, Any] = MappingProxyType({}),
) -> Estimate:
    """An estimate without a value, and why."""
    return Estimate(float("nan"), per_sample=per_sample, reason=reason, n_used=n_used, details=details)


def collapsed(graph: NeighborGraph) -> str:
    """Why a graph says nothing of neighbourhoods: all samples are one point, any other is as near. "" if it does."""
    if graph.distances[:, -1].any():
        return ""
    return f"all {len(graph)} samples coincide with their {graph.k} nearest neighbours (a collapsed layer)"


def standard_error(per_sample: NDArray[np.float64]) -> float:
    """Of the mean of n values, sd / sqrt(n), as if they were independent; NaN for fewer than two.

    Values of different samples share neighbours, so this is a lower bound in practice.
    """
    n = len(per_sample)
    return float(np.std(per_sample, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
