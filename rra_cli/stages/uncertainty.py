"""Intervals and null distributions of a run's measurements, laid out over all of them, and what tables say of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any

from rra_cli.core.store import Store
from rra_cli.metrics.permutation import null_summary
from rra_cli.metrics.uncertainty import block_k, interval_of, n_blocks
from rra_cli.stages.block_graphs import BlockGraphs
from rra_cli.stages.evaluate import Measured as Of
from rra_cli.stages.layout import Layout
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.spreads import VALUES, BlockMeasure, NullMeasure
from rra_cli.stages.study import Study, Target

# Columns of the tables, in their order.
INTERVAL, NULL = ("low", "high"), ("null_mean", "null_sd", "p_value")


class Uncertainty(Study):
    """blocks, nulls: by the measurement that they belong to. It has no tables: its columns stand in those of the run.

    columns: what is asked for, whether or not a measurement has it.
    """

    def __init__(self, columns: tuple[str, ...], level: float) -> None:
        self.columns, self.level = columns, level
        self.lists: dict[str, BlockGraphs] = {}
        self.blocks: dict[Of, BlockMeasure] = {}
        self.nulls: dict[Of, NullMeasure] = {}

    @property
    def stages(self) -> Sequence[BlockGraphs | BlockMeasure | NullMeasure]:
        return [*self.lists.values(), *self._measures]

    @property
    def _measures(self) -> list[BlockMeasure | NullMeasure]:
        return [*self.blocks.values(), *self.nulls.values()]

    @property
    def targets(self) -> Sequence[Target]:
        # A checkpoint's blocks with it, while its layers are there, also where they are compared with the last one's.
        graphs = [Target(each.point.checkpoint.label, each.point.split, each) for each in self.lists.values()]
        return [*graphs, *(Target(each.point.checkpoint.label, each.point.split, each) for each in self._measures)]

    def tables(self, store: Store, common: Callable[[Point], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        return {}

    def told(self, of: Of, results: list[Measured], store: Store) -> list[Measured]:
        """The results with the columns of this study among their figures; None where there is no such number."""
        blocks = self.blocks[of].load(store) if of in self.blocks else None
        nulls = self.nulls[of].load(store) if of in self.nulls else None
        found = []
        for place, measured in enumerate(results):
            figures: dict[str, float | None] = dict.fromkeys(self.columns)
            value = measured.figures["value"]
            if value is not None and blocks is not None:
                ends = interval_of(of.metric, value, blocks[place].arrays[VALUES], of.point.n_samples, self.level)
                figures |= dict(zip(INTERVAL, map(_known, ends), strict=True))
            is_itself = "a" in measured.figures and measured.figures["a"] == measured.figures["b"]
            if value is not None and nulls is not None and not is_itself:
                summary = null_summary(value, nulls[place].arrays[VALUES])
                figures |= dict(zip(NULL, map(_known, summary), strict=True))
            found.append(Measured({**measured.figures, **figures}, measured.arrays))
        return found


def _known(number: float) -> float | None:
    return None if isnan(number) else number


def add_uncertainty(layout: Layout) -> None:
    """Adds what `metrics.intervals` and `metrics.null_test` ask of the measurements that a layout has; and notes."""
    asked = layout.experiment.metrics.uncertainty
    intervals, null = asked.intervals == "blocks", asked.null_test == "permutation"
    if layout.shards or not (intervals or null):
        return
    study = Uncertainty((*(INTERVAL if intervals else ()), *(NULL if null else ())), asked.interval_level)
    everything: list[Of] = [*layout.layers, *layout.pairs, *layout.across, *layout.to_last]
    measured = [each for each in everything if "graph" in each.metric.inputs]
    if intervals:
        _add_blocks(study, layout, measured)
    if null:
        for each in measured:
            if _has_null(each):
                study.nulls[each] = NullMeasure(each, asked.permutations)
        without = {each.key for each in measured if "activations" in each.metric.inputs and not _is_layer(each)}
        single = {each.key for each in measured if _is_layer(each) and not _has_null(each)}
        layout.notes += [
            f"{key} gets no permutation null: it reads no labels, and in one layer there is nothing else to permute"
            for key in sorted(single)
        ]
        layout.notes += [
            f"{key} gets no permutation null: each would be a pass over all distances; its chance level is exact"
            for key in sorted(without)
        ]
    layout.add(study)


def _add_blocks(study: Uncertainty, layout: Layout, measured: Sequence[Of]) -> None:
    """One set of block graphs a layer, with as many neighbours as the metric that reads most."""
    sizes = sorted({each.point.n_samples for each in measured})
    few = [n for n in sizes if not n_blocks(n)]
    layout.notes += [f"no intervals of {n:,} samples: four blocks of 50 samples are needed at least" for n in few]
    reach: dict[int, int] = {}
    for each in measured:
        n = each.point.n_samples
        if n_blocks(n):
            reach[n] = max(reach.get(n, 1), block_k(each.metric, each.k, n, n_blocks(n)))
    for each in measured:
        n = each.point.n_samples
        if n in reach:
            lists = [BlockGraphs(graph, n_blocks(n), reach[n]) for graph in each.graphs]
            study.blocks[each] = BlockMeasure(each, [study.lists.setdefault(one.spec.key, one) for one in lists])


def _is_layer(each: Of) -> bool:
    return each.metric.scope == "layer"


def _has_null(each: Of) -> bool:
    """Whether permuting says anything: labels of a layer's samples, or samples of pairs of layers."""
    inputs = each.metric.inputs
    return "activations" not in inputs and ("labels" in inputs or not _is_layer(each))


def uncertainty_of(layout: Layout) -> Uncertainty | None:
    """The study of a layout, None where nothing of it was asked for."""
    return next((study for study in layout.studies if isinstance(study, Uncertainty)), None)
