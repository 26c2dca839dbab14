"""Intervals and null distributions of a run's measurements, laid out over all of them, and what tables say of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any

from rra_cli.core.store import Store
from rra_cli.metrics import own_spread
from rra_cli.metrics.jackknife import FEWEST_SAMPLES, wilson
from rra_cli.metrics.uncertainty import block_k, interval_of, n_blocks
from rra_cli.stages.evaluate import Measured as Of
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import LayerMeasure, PairMeasure
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.study import Study, Target
from rra_cli.stages.transfer import TransferMeasure
from rra_cli.stages.uncertainty.block_graphs import BlockGraphs
from rra_cli.stages.uncertainty.lay_out_nulls import Null, lay_out_nulls
from rra_cli.stages.uncertainty.nulls import KernelStage, RankNull
from rra_cli.stages.uncertainty.own_spreads import OwnSpread
from rra_cli.stages.uncertainty.spreads import VALUES, BlockMeasure, NullMeasure

# Columns of the tables, in their order.
INTERVAL, NULL = ("low", "high"), ("null_mean", "null_sd", "p_value")
Part = BlockMeasure | OwnSpread | NullMeasure | RankNull | KernelStage


class Uncertainty(Study):
    """blocks, own, nulls: by the measurement that they belong to; those of HSIC and CKA share their own. It has no
    tables: its columns stand in those of the run.

    columns: what is asked for, whether or not a measurement has it.
    """

    def __init__(self, columns: tuple[str, ...], level: float) -> None:
        self.columns, self.level = columns, level
        self.lists: dict[str, BlockGraphs] = {}
        self.blocks: dict[Of, BlockMeasure] = {}
        self.own: dict[Of, OwnSpread] = {}
        self.nulls: dict[Of, Null] = {}

    @property
    def stages(self) -> Sequence[BlockGraphs | Part]:
        return [*self.lists.values(), *self._measures]

    @property
    def _measures(self) -> list[Part]:
        nulls = dict.fromkeys(stage for null in self.nulls.values() for stage in null.stages)
        return [*self.blocks.values(), *dict.fromkeys(self.own.values()), *nulls]

    @property
    def targets(self) -> Sequence[Target]:
        # A checkpoint's blocks with it, while its layers are there, also where they are compared with the last one's.
        graphs = [Target(each.point.checkpoint.label, each.point.split, each) for each in self.lists.values()]
        return [*graphs, *(Target(each.point.checkpoint.label, each.point.split, each) for each in self._measures)]

    def tables(self, store: Store, common: Callable[[Point], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        return {}

    def told(self, of: Of | TransferMeasure, results: list[Measured], store: Store) -> list[Measured]:
        """The results with the columns of this study among their figures; None where there is no such number.

        Where a value has no standard error and its interval rests on one, that is told, too.
        """
        if isinstance(of, TransferMeasure):
            return [self._of_probe(measured) for measured in results]
        own = self.own[of].load(store) if of in self.own else None
        blocks = self.blocks[of].load(store) if of in self.blocks else None
        summary = self.nulls[of].summary(store) if of in self.nulls else None
        found = []
        for place, measured in enumerate(results):
            figures: dict[str, float | None] = dict.fromkeys(self.columns)
            value = measured.figures["value"]
            if value is not None and blocks is not None:
                ends = interval_of(of.metric, value, blocks[place].arrays[VALUES], of.point.n_samples, self.level)
                figures |= dict(zip(INTERVAL, map(_known, ends), strict=True))
            is_itself = "a" in measured.figures and measured.figures["a"] == measured.figures["b"]
            if value is not None and own is not None:
                arrays, n = own[place].arrays, of.point.n_samples
                ends, error = own_spread.ends(of.metric, value, arrays, n, self.level, itself=is_itself)
                figures |= dict(zip(INTERVAL, map(_known, ends), strict=True))
                if measured.figures["std_error"] is None:
                    figures["std_error"] = _known(error)
            if value is not None and summary is not None and not is_itself:
                figures |= dict(zip(NULL, map(_known, summary(place, value)), strict=True))
            found.append(Measured({**measured.figures, **figures}, measured.arrays))
        return found

    def _of_probe(self, measured: Measured) -> Measured:
        """Of an accuracy, from the number of test samples."""
        figures: dict[str, float | None] = dict.fromkeys(self.columns)
        value, n = measured.figures["value"], measured.figures["n_used"]
        if value is not None and set(INTERVAL) <= set(self.columns):
            figures |= dict(zip(INTERVAL, wilson(value, n, self.level), strict=True))
        return Measured({**measured.figures, **figures}, measured.arrays)


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
        _add_own(study, layout)
    if null:
        study.nulls |= lay_out_nulls(layout, asked.permutations)
    layout.add(study)


def _add_blocks(study: Uncertainty, layout: Layout, measured: Sequence[Of]) -> None:
    """One set of block graphs a layer, with as many neighbours as the metric that reads most."""
    sizes = sorted({each.point.n_samples for each in measured})
    few = [n for n in sizes if not n_blocks(n)]
    layout.notes += [
        f"no intervals of metrics of neighbour graphs of {n:,} samples: four blocks of 50 samples are needed at least"
        for n in few
    ]
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


def _add_own(study: Uncertainty, layout: Layout) -> None:
    """What metrics of activations say by themselves."""
    everything: list[LayerMeasure | PairMeasure] = [*layout.layers, *layout.pairs]
    measured = [each for each in everything if own_spread.tells(each.metric)]
    few = sorted({each.point.n_samples for each in measured if each.point.n_samples < FEWEST_SAMPLES})
    layout.notes += [f"no intervals of {n:,} samples: {FEWEST_SAMPLES} samples are needed at least" for n in few]
    shared: dict[str, OwnSpread] = {}
    for each in measured:
        if each.point.n_samples >= FEWEST_SAMPLES:
            stage = OwnSpread(each)
            study.own[each] = shared.setdefault(stage.spec.key, stage)
            if study.own[each] is not stage:
                study.own[each].asked.append(each)


def uncertainty_of(layout: Layout) -> Uncertainty | None:
    """The study of a layout, None where nothing of it was asked for."""
    return next((study for study in layout.studies if isinstance(study, Uncertainty)), None)
