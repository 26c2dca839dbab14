"""A metric as a reader knows it: its name, its formula in words, how to read it, where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

RRA = "Hryniowski (2024), A Representational Response Analysis Framework for Convolutional Neural Networks"
DIMENSIONS = "dimensions"


@dataclass(frozen=True)
class Term:
    """What a metric is called and how it is read.

    label: its name in full. definition: a sentence with the formula. reading: what high and low values say. source:
    paper. component: the name of the metric's class, "" where it is not known. short: what legends call it, "" for the
    name of its column. unit, low, high: of its values (None: unbounded), as the class has them. over_scales: how its
    curve over scales is read (N or ranks), "" where it has none.
    """

    label: str
    definition: str = ""
    reading: str = ""
    source: str = ""
    component: str = ""
    short: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    over_scales: str = ""

    @property
    def axis(self) -> str:
        """What stands at an axis."""
        return f"{self.label} ({self.unit})" if self.unit and not self.is_dimension else self.label

    @property
    def is_dimension(self) -> bool:
        """Whether it estimates the intrinsic dimension: such metrics share their axes."""
        return self.unit == DIMENSIONS
