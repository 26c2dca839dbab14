"""What a metric of activations says itself of how far its values move with other samples: one small artifact for each.

Metrics of one family (HSIC and CKA) share theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.spec import Spec
from rra_cli.metrics.metric import Workshop
from rra_cli.metrics.own_spread import Reasons, Told, family, name_of, spreads_of_layer, spreads_of_pairs
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.measure import LayerMeasure, Measurement, PairMeasure
from rra_cli.stages.metric_costs import own_spread
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage

VERSION = 1


class OwnSpread(Measurement):
    """Arrays beside the results of a measurement, in their order. asked: all those of its family that read them."""

    name = "spreads"

    def __init__(self, of: LayerMeasure | PairMeasure) -> None:
        self.of, self.key, self.metric = of, of.key, of.metric
        self.asked = [of]
        self.label = f"without single samples: {of.label}"

    @property
    def point(self) -> Point:
        return self.of.point

    @property
    def graphs(self) -> Sequence[GraphStage]:
        """The layers."""
        return self.of.graphs

    @property
    def needs(self) -> Sequence[Stage]:
        return self.of.needs

    @cached_property
    def spec(self) -> Spec:
        identity = {"of": self.of.name, **family(self.metric)}
        return Spec(self.name, VERSION, identity, tuple(graph.point.activations.key for graph in self.graphs))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        count = len(self.graphs)
        with ExitStack() as stack:
            read = [stack.enter_context(self.of.features(graph, context, folder)) for graph in self.graphs]
            there = [(at, x) for at, (x, reason) in enumerate(read) if x is not None and not reason]
            progress = stack.enter_context(context.reporter.task(self.title))
            workshop = Workshop(context.device, context.memory, folder, progress)
            if isinstance(self.of, LayerMeasure):
                found = {at: spreads_of_layer(self.metric, x, workshop) for at, x in there}
                told = [found.get(at, ({}, {})) for at in range(count)]
            else:
                told = self._pairs(there, workshop)
        # Of those that have a value: where there is none, the measurement itself says why.
        for of in self.asked:
            missing = Counter(reasons.get(name_of(of.metric), "") for _, reasons in told)
            for reason in filter(None, missing):
                many = f" of {missing[reason]} of {len(told)} pairs" if len(told) > 1 else ""
                context.reporter.note(f"{of.label}: no interval{many}, {reason}")
        return [Measured({}, dict(arrays)) for arrays, _ in told]

    def _pairs(
        self, there: Sequence[tuple[int, NDArray[np.floating]]], workshop: Workshop
    ) -> list[tuple[Told, Reasons]]:
        pairs = spreads_of_pairs(self.metric, [x for _, x in there], workshop) if there else {}
        found = {(there[a][0], there[b][0]): told for (a, b), told in pairs.items()}
        order = product(range(len(self.graphs)), repeat=2)
        return [found.get((min(pair), max(pair)), ({}, {})) for pair in order]

    def cost(self) -> Cost:
        return own_spread(self.metric, self.point.n_samples, [graph.source.n_features for graph in self.graphs])
