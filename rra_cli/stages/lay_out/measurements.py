"""The metrics of an experiment as measurements of its layers: of each, of pairs, of both splits, over checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from rra_cli.core.fields import identity_of
from rra_cli.data.dataset import Split
from rra_cli.errors import UserError
from rra_cli.metrics.label_overlap import LabelOverlap
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.metric import LayerMetric, LayerPairMetric, Metric, TransferMetric
from rra_cli.neighbors.engine import ShardedEngine
from rra_cli.stages.across_scales import across_scales
from rra_cli.stages.compare import check_comparison, compare
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.graphs.shards import ShardStage
from rra_cli.stages.labellings import labelling_of
from rra_cli.stages.layout import Layout
from rra_cli.stages.measure import NO_LABELS, Labelling, LayerMeasure, PairMeasure
from rra_cli.stages.point import Checkpoint
from rra_cli.stages.to_last import ToLast, compared
from rra_cli.stages.transfer import TransferMeasure
from rra_cli.stages.view import LayerView


def add_metrics(layout: Layout, graphs: Sequence[GraphStage], k: int, labelling: Labelling | None) -> None:
    """Adds the graphs of one checkpoint and split with all their metrics.

    Metrics that need labels are left out, with a note, where there are none (labelling is None).
    """
    layout.graphs.extend(graphs)
    engine = layout.experiment.neighbors
    if isinstance(engine, ShardedEngine) and engine.shard is not None:
        layout.shards.extend(ShardStage(graph, engine.shard) for graph in graphs)
    comparison = layout.experiment.compare
    if comparison.engines:
        check_comparison(comparison, engine, [graph.point.layer for graph in graphs])
    before = len(layout.layers), len(layout.pairs)
    poolings = dict.fromkeys(graph.point.pooling for graph in graphs)
    by_pooling = [[graph for graph in graphs if graph.point.pooling == pooling] for pooling in poolings]
    keep = layout.experiment.metrics.per_sample
    for key, metric in layout.experiment.metrics.metrics.items():
        if isinstance(metric, TransferMetric):
            continue  # of both splits: `add_probes`
        labels = labelling
        if isinstance(metric, LabelOverlap):
            labels = labelling_of(key, metric, layout.data, graphs[0].point.split, labelling)
            layout.labellings += [] if labels is None or labels is labelling else [labels]
        if "labels" in metric.inputs and labels is None:
            layout.notes.append(f"{key} is left out: there are no labels (labels.npy)")
        elif isinstance(metric, LayerMetric):
            # What reads activations is measured layer by layer, so that layer 0 is read once for all checkpoints;
            # the rest by pooling, so that a run with more of them finds what there is.
            rows = [[graph] for graph in graphs] if "activations" in metric.inputs else by_pooling
            layout.layers += [LayerMeasure(key, metric, row, k, labels or NO_LABELS, keep) for row in rows]
        elif isinstance(metric, LayerPairMetric):
            same = [pair.key for pair in layout.pairs if pair.key != key and _equal(pair.metric, metric)]
            if same:
                raise UserError(
                    f"metrics.{key} measures the same as metrics.{same[0]}: {metric.name} with equal settings",
                    f"leave metrics.{key} out, or give it other settings",
                )
            layout.pairs += [PairMeasure(key, metric, row, k, keep) for row in by_pooling]
            if isinstance(metric, NNLS):
                layout.across += across_scales(key, metric, graphs, k)
    measures: list[LayerMeasure | PairMeasure] = [*layout.layers[before[0] :], *layout.pairs[before[1] :]]
    layout.read_by(measures)
    measures = [measure for measure in measures if "activations" not in measure.metric.inputs]
    layout.compared += compare(comparison, graphs, measures, k)


def add_probes(
    layout: Layout,
    train: Sequence[LayerView],
    test: Sequence[LayerView],
    labellings: tuple[Labelling, Labelling],
    n_classes: int,
) -> None:
    """Adds all probes of the same layers of both splits at one checkpoint, a layer's one after the other."""
    keep, dataset, n_train = layout.experiment.metrics.per_sample, train[0].point.dataset, train[0].point.n_samples
    found, of = [], f" of transfer.{dataset}" if dataset else ""
    for key, metric in layout.experiment.metrics.metrics.items():
        if not isinstance(metric, TransferMetric):
            continue
        if metric.n_train > n_train:
            raise UserError(
                f"metrics.{key} needs {metric.n_train:,} training samples, but only {n_train:,} are measured{of}",
                f"use a smaller metrics.{key}.k, or a larger {f'transfer.{dataset}' if dataset else 'dataset'}"
                ".n_samples",
            )
        if metric.n_train > max(1, n_train // n_classes):
            note = (
                f"{key} asks {metric.n_train:,} neighbours{of}, where a class has {n_train / n_classes:.0f} "
                f"training samples on average: the others lie in other classes; see metrics.{key}.k"
            )
            layout.notes += [] if note in layout.notes else [note]
    for one, other in zip(train, test, strict=True):
        for key, metric in layout.experiment.metrics.metrics.items():
            if isinstance(metric, TransferMetric):
                found.append(TransferMeasure(key, metric, one, other, labellings, n_classes, keep))
    layout.read_by(found)
    layout.probes += found


def note_no_probes(layout: Layout, why: str) -> None:
    """Notes that probes are left out."""
    for key, metric in layout.experiment.metrics.metrics.items():
        if isinstance(metric, TransferMetric):
            layout.notes.append(f"{key} is left out: {why}")


def add_to_last(layout: Layout) -> None:
    """Adds the similarity of every layer to itself at the last and the next checkpoint, where there are several."""
    checkpoints = list(dict.fromkeys(graph.point.checkpoint for graph in layout.graphs))
    here: dict[tuple[Checkpoint, Split], list[GraphStage]] = {}
    for graph in layout.graphs:
        here.setdefault((graph.point.checkpoint, graph.point.split), []).append(graph)
    for key, metric in layout.experiment.metrics.metrics.items():
        # Activations of an earlier checkpoint may be gone when the last one is measured.
        if isinstance(metric, LayerPairMetric) and "activations" not in metric.inputs:
            for earlier, later in compared(checkpoints):
                for split in dict.fromkeys(split for _, split in here):
                    one, other = here[earlier, split], here[later, split]
                    layout.to_last.append(ToLast(key, metric, one, other, one[0].point.k))


def _equal(one: Metric, other: Metric) -> bool:
    """Whether two metrics give the same results."""
    return identity_of(one) == identity_of(other)
