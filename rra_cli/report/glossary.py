"""What the metrics are called, what they mean, how to read them and where they come from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rra_cli.errors import UserError

if TYPE_CHECKING:
    from rra_cli.metrics.metric import Metric

RRA = "Hryniowski (2024), A Representational Response Analysis Framework for Convolutional Neural Networks"
DIMENSIONS = "dimensions"


@dataclass(frozen=True)
class Term:
    """What a metric is called and how it is read.

    label: its name in full. definition: a sentence with the formula. reading: what high and low values say. source:
    paper. component: the name of the metric's class, "" where it is not known. short: what legends call it, "" for the
    name of its column. unit, low, high: of its values (None: unbounded), as the class has them.
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

    @property
    def axis(self) -> str:
        """What stands at an axis."""
        return f"{self.label} ({self.unit})" if self.unit and not self.is_dimension else self.label

    @property
    def is_dimension(self) -> bool:
        """Whether it estimates the intrinsic dimension: such metrics share their axes."""
        return self.unit == DIMENSIONS


INTRINSIC_DIMENSION = Term(
    "intrinsic dimension",
    "TwoNN: with μ the ratio of a sample's second to its first neighbour distance, P(μ | d) = d μ^−(d+1); the maximum "
    "likelihood estimate is d = N / Σ log μ (fit mle).",
    "How many directions the data locally extends in: higher is more degrees of freedom; a hump followed by a fall is "
    "the usual course of a trained network.",
    f"Facco et al. (2017), Scientific Reports 7:12140; Ansuini et al. (2019), NeurIPS; {RRA}, eq. 3.1",
    component="twonn",
    short="ID",
    unit=DIMENSIONS,
    low=0.0,
)
CLASS_SIMILARITY = Term(
    "nearest-neighbour class similarity",
    "NNCS: the fraction of a sample's k nearest neighbours that have its label, averaged over the samples.",
    "From chance level (the classes are mixed) to 1 (every neighbourhood is pure); higher is better separated classes.",
    f"{RRA}, eq. 3.4; Doimo et al. (2020), NeurIPS (label neighbourhood overlap)",
    component="nncs",
    short="NNCS",
    low=0.0,
    high=1.0,
)
LAYER_SIMILARITY = Term(
    "nearest-neighbour layer similarity",
    "NNLS: the intersection over the union of a sample's k nearest neighbours in two layers, averaged over samples.",
    "From near 0 (the layers arrange the data differently) to 1 (the same neighbours); bright blocks along the "
    "diagonal are stages that keep neighbourhoods together.",
    f"{RRA}, eq. 3.2 and 3.3",
    component="nnls",
    short="NNLS",
    low=0.0,
    high=1.0,
)
_KNOWN = {term.component: term for term in (INTRINSIC_DIMENSION, CLASS_SIMILARITY, LAYER_SIMILARITY)}
# What a column is taken for where the run does not say what it holds, and what its own part of the name follows.
_PREFIXES = {"id_twonn": "twonn", "id_": "twonn", "nncs": "nncs", "nnls": "nnls"}


def term(metric: str, settings: Mapping[str, Any]) -> Term:
    """What is known of a metric's column. settings: those of the run (`metrics.<column>`), whose `name` is its class.

    Where they are empty, or no installed package has that class any more, the column's name tells; a metric that
    nobody knows is called by that name.
    """
    cls = _metric_class(str(settings["name"])) if "name" in settings else None
    if cls is None:
        found = next((_KNOWN[name] for prefix, name in _PREFIXES.items() if metric.startswith(prefix)), Term(metric))
    elif cls.name in _KNOWN and cls.__module__.startswith("rra_cli."):
        found = _KNOWN[cls.name]
    else:
        found = _described(metric, cls)
    return replace(found, short=_short(metric, found))


def _metric_class(name: str) -> type[Metric] | None:
    from rra_cli.core.component import component

    try:
        return component("metrics", name)
    except UserError:
        return None


def _described(metric: str, cls: type[Metric]) -> Term:
    """What the class says of itself."""
    low, high = ("−∞" if cls.low is None else f"{cls.low:g}", "∞" if cls.high is None else f"{cls.high:g}")
    between = "" if cls.low is None and cls.high is None else f"Between {low} and {high}."
    higher = f"Higher: {cls.higher_is.rstrip('.')}." if cls.higher_is else ""
    dimension = cls.unit == DIMENSIONS
    return Term(
        INTRINSIC_DIMENSION.label if dimension else metric,
        definition=" ".join((inspect.getdoc(cls) or "").split()),
        reading=" ".join(part for part in (higher, between) if part),
        component=cls.name,
        short=INTRINSIC_DIMENSION.short if dimension else "",
        unit=cls.unit,
        low=cls.low,
        high=cls.high,
    )


def _short(metric: str, found: Term) -> str:
    """The short name, followed by what the column's name adds to it."""
    if not found.short:
        return metric
    prefix = next((prefix for prefix in _PREFIXES if metric.startswith(prefix)), "")
    return f"{found.short} {metric.removeprefix(prefix).replace('_', ' ').strip()}".strip()
