"""What is told of a metric's values beside them: intervals, and what unrelated data would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rra_cli.core.fields import selection

MOST_PERMUTATIONS = 100_000


@dataclass(frozen=True)
class UncertaintyConfig:
    """Keys of `metrics`.

    intervals: none, or blocks (of metrics of neighbour graphs from disjoint blocks of the samples; of metrics of
    activations and probes from what single samples add). interval_level: how often they hold. null_test:
    none, or permutation. permutations: how many of them; no p-value is below 1 / (permutations + 1).
    """

    intervals: Literal["none", "blocks"] = selection("none")
    interval_level: float = selection(0.95)
    null_test: Literal["none", "permutation"] = selection("none")
    permutations: int = selection(199)

    def __post_init__(self) -> None:
        if not 0.0 < self.interval_level < 1.0:
            raise ValueError(f"interval_level is {self.interval_level}; it must lie between 0 and 1, such as 0.95")
        if not 2 <= self.permutations <= MOST_PERMUTATIONS:
            raise ValueError(f"permutations is {self.permutations}; it must lie in 2..{MOST_PERMUTATIONS}")
