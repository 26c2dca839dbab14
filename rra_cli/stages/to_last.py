"""How much a layer still differs from what it becomes: its similarity to itself at the last and the next checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import LayerData, LayerPairMetric
from rra_cli.stages import costs, results
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.measure import Measurement
from rra_cli.stages.point import Checkpoint, Point
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage


class ToLast(Measurement):
    """A metric of pairs of layers, of every layer at an earlier checkpoint with the same layer at a later one.

    graphs: those of the earlier checkpoint, then in the same order those of the later (the last measured one, or the
    next); a result's `a` and `b` are places among them. Measured with the later checkpoint, when all of them are there.
    """

    name = "to_last"

    def __init__(
        self, key: str, metric: LayerPairMetric, earlier: Sequence[GraphStage], later: Sequence[GraphStage], k: int
    ) -> None:
        self.key, self.graphs = key, (*earlier, *later)
        self.metric: LayerPairMetric = metric
        self.k = metric.fixed_k or k
        at, end = earlier[0].point, later[0].point
        self.label = f"{key} of {len(earlier)} layers · {at.checkpoint.label} to {end.checkpoint.label} · {at.split}"

    @property
    def point(self) -> Point:
        return self.graphs[-1].point

    @property
    def needs(self) -> Sequence[Stage]:
        return self.graphs

    @cached_property
    def spec(self) -> Spec:
        """The metric, the neighbours that it reads, and the graphs in their order."""
        upstream = tuple(graph.point.graph.key for graph in self.graphs)
        return Spec(self.name, self.metric.version, {"metric": identity_of(self.metric), "k": self.k}, upstream)

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        measured, n = [], len(self.graphs) // 2
        for a in range(n):
            (one, reason, _), (other, other_reason, _) = (
                self.graphs[place].read(context, self.k) for place in (a, n + a)
            )
            if one is None or other is None:
                estimate = Estimate(float("nan"), reason=reason or other_reason)
            else:
                estimate = self.metric.measure([LayerData(one, None), LayerData(other, None)])[0, 1]
            measured.append(Measured({"a": a, "b": n + a, **results.figures_of(estimate)}, {}))
        self.warn_of_pairs(measured, context)
        return measured

    def cost(self) -> Cost:
        n = len(self.graphs) // 2
        return Cost(seconds=0.1 + costs.comparing(n, self.point.n_samples, self.k), disk_bytes=200 * n)


def in_order(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The measured checkpoints as they were trained, `best` aside, which is a choice among epochs."""
    trained = [checkpoint for checkpoint in checkpoints if checkpoint.epoch is not None and checkpoint.label != "best"]
    return sorted(trained, key=lambda checkpoint: checkpoint.epoch or 0)


def compared(checkpoints: Sequence[Checkpoint]) -> list[tuple[Checkpoint, Checkpoint]]:
    """Which are compared, earlier and later: each with the last, and each with the next (which may be the last)."""
    order = in_order(checkpoints)
    return [*((earlier, order[-1]) for earlier in order[:-1]), *pairwise(order[:-1])]
