"""What the metrics are called, what they mean, how to read them and where they come from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rra_cli.errors import UserError
from rra_cli.report.comparison_terms import COMPARISON_TERMS, PREFIXES
from rra_cli.report.term import DIMENSIONS, RRA, Term

if TYPE_CHECKING:
    from rra_cli.metrics.metric import Metric

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
_PROBE_READING = (
    "From chance level (always the most frequent class) to 1: higher means that the layer holds the classes of unseen "
    "samples in a form that the probe can read. It is fitted to the training split and stands in the rows of `test`."
)
LINEAR_PROBE = Term(
    "linear probe accuracy",
    "Accuracy on the test split of a linear classifier on the layer's frozen activations, trained on the training "
    "split by Adam with a one-cycle rate; the images are not augmented.",
    _PROBE_READING,
    "label-free thesis, ch. 4.1 (its AutoAugment left out); Alain & Bengio (2017), ICLR workshop",
    component="linear_probe",
    short="linear probe",
    low=0.0,
    high=1.0,
)
LOGISTIC_PROBE = Term(
    "logistic probe accuracy",
    "Accuracy on the test split of the multinomial logistic regression with an L2 penalty that fits the training "
    "split's standardised activations best.",
    _PROBE_READING,
    "Alain & Bengio (2017), ICLR workshop; optimum by L-BFGS",
    component="logistic_probe",
    short="logistic probe",
    low=0.0,
    high=1.0,
)
KNN_PROBE = Term(
    "k-NN probe accuracy",
    "Accuracy on the test split of a vote of the k training samples of highest cosine similarity s, each with "
    "exp(s / τ) votes (or one each).",
    _PROBE_READING,
    "Wu et al. (2018), CVPR, sec. 3.4",
    component="knn_probe",
    short="k-NN probe",
    low=0.0,
    high=1.0,
)
ONE_NN_PROBE = Term(
    "1-NN probe accuracy",
    "The fraction of test samples whose nearest training sample, by Euclidean distance of normalised activations, is "
    "of their class.",
    _PROBE_READING,
    "van der Merwe (2022), RMQM: its downstream task",
    component="one_nn_probe",
    short="1-NN probe",
    low=0.0,
    high=1.0,
)
EFFECTIVE_RANK = Term(
    "effective rank",
    "exp of the entropy of the eigenvalues of the layer's covariance divided by their sum.",
    "Over how many linear dimensions the samples vary, all directions of a curved set included: from 1 to the layer's "
    "width; far below the width, dimensions have collapsed.",
    "Roy & Vetterli (2007), EUSIPCO, eq. 3 and 4; Jing et al. (2022), ICLR (dimensional collapse)",
    component="singular_values",
    short="effective rank",
    unit="linear dimensions",
    low=1.0,
)
_TERMS = (
    INTRINSIC_DIMENSION,
    CLASS_SIMILARITY,
    LAYER_SIMILARITY,
    LINEAR_PROBE,
    LOGISTIC_PROBE,
    KNN_PROBE,
    ONE_NN_PROBE,
    EFFECTIVE_RANK,
    *COMPARISON_TERMS,
)
_KNOWN = {term.component: term for term in _TERMS}
# Between 0 and 1 like the accuracy of the network itself, which is drawn beside them.
BESIDE_ACCURACY = frozenset(_KNOWN) - {
    *(term.component for term in (INTRINSIC_DIMENSION, LAYER_SIMILARITY, EFFECTIVE_RANK, *COMPARISON_TERMS)),
}
# What a column is taken for where the run does not say what it holds, and what its own part of the name follows.
_PREFIXES = {
    **PREFIXES,
    **{"id_twonn": "twonn", "id_": "twonn", "nncs": "nncs", "nnls": "nnls"},
    **{name: name for name in ("linear_probe", "logistic_probe", "knn_probe", "one_nn_probe")},
}


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
        if "labelling" in settings:
            found = replace(found, label=f"{found.label} ({settings['labelling']})")
        if settings.get("graph", "directed") != "directed":
            found = replace(found, label=f"{found.label} ({settings['graph']} graph)")
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
