"""Which measurements of a run have a permutation null, by which way, and why others have none."""

from __future__ import annotations

from rra_cli.metrics.canonical import CCA, SVCCA
from rra_cli.metrics.hsic import CKA, HSIC
from rra_cli.metrics.imbalance import InformationImbalance
from rra_cli.stages.evaluate import Measured as Of
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import PairMeasure
from rra_cli.stages.uncertainty.nulls import KernelStage, MomentNull, RankNull
from rra_cli.stages.uncertainty.spreads import NullMeasure

Null = NullMeasure | RankNull | MomentNull


def lay_out_nulls(layout: Layout, permutations: int) -> dict[Of, Null]:
    """The nulls of a layout's measurements; notes on those that have none."""
    found: dict[Of, Null] = {}
    kernels: dict[str, KernelStage] = {}
    without: dict[str, str] = {}
    everything: list[Of] = [*layout.layers, *layout.pairs, *layout.across, *layout.to_last]
    for each in everything:
        metric = each.metric
        reason = _reason(each)
        if reason:
            without[each.key] = reason
        elif isinstance(each, PairMeasure) and isinstance(metric, InformationImbalance):
            found[each] = RankNull(each, permutations)
        elif isinstance(each, PairMeasure) and isinstance(metric, HSIC | CKA | CCA):
            tolerance = metric.tolerance if isinstance(metric, CCA) else None
            own = [KernelStage(graph, tolerance) for graph in each.graphs]
            shared = [kernels.setdefault(stage.spec.key, stage) for stage in own]
            found[each] = MomentNull(metric, shared, permutations)
        else:
            found[each] = NullMeasure(each, permutations)
    for probe in layout.probes:
        without[probe.key] = "each permutation of the training labels would be a probe to train"
    layout.notes += [f"{key} gets no permutation null: {reason}" for key, reason in sorted(without.items())]
    return found


def _reason(each: Of) -> str:
    """Why permuting says nothing, or costs too much; "" where there is a null."""
    metric = each.metric
    if metric.scope == "layer":
        return (
            ""
            if "labels" in metric.inputs
            else ("it reads no labels, and in one layer there is nothing else to permute")
        )
    if isinstance(metric, SVCCA) or (isinstance(metric, CCA) and metric.summary == "mean"):
        return (
            "each permutation would be the singular values of a product for every pair of layers; its chance level is "
            "known, and cca has a null with metrics.cca.summary=mean_square"
        )
    known = InformationImbalance | HSIC | CKA | CCA
    return "it reads activations" if "activations" in metric.inputs and not isinstance(metric, known) else ""
