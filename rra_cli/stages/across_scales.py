"""How much pooling changes: similarity of the unpooled layers to all layers at one pooling scale."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from pathlib import Path

from rra_cli.activations.pooling import Pooling
from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.metrics.scale_similarity import nnls_between
from rra_cli.stages import costs, results
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.measure import Measurement
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage


class AcrossScales(Measurement):
    """NNLS of every unpooled layer with every layer at one pooling scale, at one checkpoint and split.

    graphs: those of the unpooled layers, then those of the pooled ones; a result's `a` is a place among the first, `b`
    one among the second, so the matrix is not symmetric.
    """

    name = "across_scales"

    def __init__(
        self, key: str, metric: NNLS, unpooled: Sequence[GraphStage], pooled: Sequence[GraphStage], k: int
    ) -> None:
        self.key, self.graphs, self.n_rows = key, (*unpooled, *pooled), len(unpooled)
        self.metric: NNLS = metric
        self.k = metric.fixed_k or k
        at = unpooled[0].point
        scale = pooled[0].point.pooling.title
        self.label = f"{key} of {len(unpooled)} layers to {scale} · {at.checkpoint.label} · {at.split}"

    @property
    def point(self) -> Point:
        return self.graphs[0].point

    @property
    def needs(self) -> Sequence[Stage]:
        return self.graphs

    @cached_property
    def spec(self) -> Spec:
        """The metric, the neighbours that it reads, and the graphs in their order."""
        identity = {"metric": identity_of(self.metric), "k": self.k, "rows": self.n_rows}
        return Spec(self.name, self.metric.version, identity, tuple(graph.point.graph.key for graph in self.graphs))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        loaded = [graph.read(context, self.k) for graph in self.graphs]
        usable = [
            [place for place in side if loaded[place][0] is not None]
            for side in (range(self.n_rows), range(self.n_rows, len(loaded)))
        ]
        rows, columns = ([loaded[place][0] for place in side] for side in usable)
        found = nnls_between([graph for graph in rows if graph], [graph for graph in columns if graph])
        values = {(usable[0][a], usable[1][b]): estimate for (a, b), estimate in found.items()}
        measured = []
        for a, b in product(range(self.n_rows), range(self.n_rows, len(loaded))):
            reason = loaded[a][1] or loaded[b][1]
            estimate = Estimate(float("nan"), reason=reason) if reason else values[a, b]
            measured.append(Measured({"a": a, "b": b, **results.figures_of(estimate)}, {}))
        self.warn_of_pairs(measured, context)
        return measured

    def cost(self) -> Cost:
        pairs = self.n_rows * (len(self.graphs) - self.n_rows)
        return Cost(seconds=0.1 + costs.comparing(pairs, self.point.n_samples, self.k), disk_bytes=200 * pairs)


def across_scales(key: str, metric: NNLS, graphs: Sequence[GraphStage], k: int) -> list[AcrossScales]:
    """One for every spatial pooling, where the unpooled layers are measured, too; of the directed graph alone.

    graphs: of all layers at all poolings, at one checkpoint and split.
    """
    if metric.graph != "directed":
        return []
    by_pooling: dict[Pooling, list[GraphStage]] = {}
    for graph in graphs:
        by_pooling.setdefault(graph.point.pooling, []).append(graph)
    unpooled = by_pooling.get(Pooling())
    if unpooled is None:
        return []
    return [
        AcrossScales(key, metric, unpooled, pooled, k) for pooling, pooled in by_pooling.items() if pooling.is_spatial
    ]
