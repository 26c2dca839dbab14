"""What the metrics are called, what they mean, how to read them and where they come from."""

from __future__ import annotations

from dataclasses import dataclass

RRA = "Hryniowski (2024), A Representational Response Analysis Framework for Convolutional Neural Networks"


@dataclass(frozen=True)
class Term:
    """label: on axes. definition: a sentence with the formula. reading: what high and low values say. source: paper."""

    label: str
    definition: str
    reading: str
    source: str


INTRINSIC_DIMENSION = Term(
    "intrinsic dimension",
    "TwoNN: with μ the ratio of a sample's second to its first neighbour distance, P(μ | d) = d μ^−(d+1); the maximum "
    "likelihood estimate is d = N / Σ log μ (fit mle).",
    "How many directions the data locally extends in: higher is more degrees of freedom; a hump followed by a fall is "
    "the usual course of a trained network.",
    f"Facco et al. (2017), Scientific Reports 7:12140; Ansuini et al. (2019), NeurIPS; {RRA}, eq. 3.1",
)
CLASS_SIMILARITY = Term(
    "nearest-neighbour class similarity",
    "NNCS: the fraction of a sample's k nearest neighbours that have its label, averaged over the samples.",
    "From chance level (the classes are mixed) to 1 (every neighbourhood is pure); higher is better separated classes.",
    f"{RRA}, eq. 3.4; Doimo et al. (2020), NeurIPS (label neighbourhood overlap)",
)
LAYER_SIMILARITY = Term(
    "nearest-neighbour layer similarity",
    "NNLS: the intersection over the union of a sample's k nearest neighbours in two layers, averaged over samples.",
    "From near 0 (the layers arrange the data differently) to 1 (the same neighbours); bright blocks along the "
    "diagonal are stages that keep neighbourhoods together.",
    f"{RRA}, eq. 3.2 and 3.3",
)


def term(metric: str) -> Term:
    """The glossary's entry for a metric's column name; metrics that it does not know are called by that name."""
    if metric.startswith("id_"):
        return INTRINSIC_DIMENSION
    if metric.startswith("nncs"):
        return CLASS_SIMILARITY
    if metric.startswith("nnls"):
        return LAYER_SIMILARITY
    return Term(metric, "", "", "")


_SHORT = {"id_twonn": "ID", "id_": "ID", "nncs": "NNCS", "nnls": "NNLS"}


def short_label(metric: str) -> str:
    """What a legend calls the metric."""
    for prefix, name in _SHORT.items():
        if metric.startswith(prefix):
            rest = metric.removeprefix(prefix).replace("_", " ").strip()
            return f"{name} {rest}".strip()
    return metric
