"""What values of a measurement are on blocks of the samples, and on permuted data: one small artifact for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.metrics.metric import LayerData, Workshop
from rra_cli.metrics.permutation import null_summary, permutation, relabelled
from rra_cli.metrics.uncertainty import block_k
from rra_cli.stages.across_scales import AcrossScales
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.evaluate import Measured as Of
from rra_cli.stages.evaluate import evaluate
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.measure import LayerMeasure, Measurement
from rra_cli.stages.point import Point
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage
from rra_cli.stages.uncertainty.block_graphs import BlockGraphs

VERSION = 1
VALUES = "values"


class _Spread(Measurement):
    """Values beside those of a measurement: for each of its results an array `values`. of: that measurement."""

    def __init__(self, of: Of, what: str) -> None:
        self.of, self.key, self.metric = of, of.key, of.metric
        self.label = f"{what}: {of.label}"

    @property
    def point(self) -> Point:
        return self.of.point

    def _identity(self, k: int) -> dict[str, Any]:
        of = self.of
        identity: dict[str, Any] = {"of": of.name, "metric": identity_of(self.metric), "k": k}
        identity["version"] = self.metric.version
        if isinstance(of, AcrossScales):
            identity["rows"] = of.n_rows
        if isinstance(of, LayerMeasure) and "labels" in self.metric.inputs:
            identity["labels"] = of.labelling.identity
        return identity

    def _labels(self) -> NDArray[Any] | None:
        has = isinstance(self.of, LayerMeasure) and "labels" in self.metric.inputs
        return self.of.labelling.labels() if has and isinstance(self.of, LayerMeasure) else None

    @staticmethod
    def _stored(rows: Sequence[Sequence[float]]) -> list[Measured]:
        """rows: the values of all results, one row a block or permutation."""
        return [Measured({}, {VALUES: np.array(of_one, np.float64)}) for of_one in zip(*rows, strict=True)]


class BlockMeasure(_Spread):
    """A measurement of every block of the samples. lists: of its layers, in their order."""

    name = "block_values"

    def __init__(self, of: Of, lists: Sequence[BlockGraphs]) -> None:
        super().__init__(of, f"{lists[0].blocks} blocks")
        self.lists = tuple(lists)
        self.reads_rows = "activations" in self.metric.inputs

    @property
    def graphs(self) -> Sequence[GraphStage]:
        """The layers."""
        return self.of.graphs

    @property
    def needs(self) -> Sequence[Stage]:
        captures = [each.graph.capture for each in self.lists if self.reads_rows]
        return [*self.lists, *(capture for capture in captures if isinstance(capture, LayerCapture))]

    @cached_property
    def k(self) -> int:
        """Neighbours that are read within a block."""
        return block_k(self.metric, self.of.k, self.point.n_samples, self.lists[0].blocks)

    @cached_property
    def spec(self) -> Spec:
        identity = {**self._identity(self.k), "blocks": self.lists[0].blocks}
        # Not the graphs' own keys: they may hold more neighbours than are read, which changes nothing.
        preprocess = [each.graph.engine.preprocess for each in self.lists]
        upstream = tuple(each.point.activations.key for each in self.lists)
        return Spec(self.name, VERSION, {**identity, "preprocess": preprocess}, upstream)

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        labels, read = self._labels(), [each.read(context, self.k) for each in self.lists]
        found = []
        with ExitStack() as stack:
            rows = [self._activations(at, reason, context, folder, stack) for at, (_, reason) in enumerate(read)]
            for block, samples in enumerate(self.lists[0].rows):
                workshop = Workshop(context.device, context.memory, folder)
                layers = [
                    None
                    if reason
                    else LayerData(
                        graphs[block],
                        None if labels is None else labels[samples],
                        None if own is None else np.ascontiguousarray(own[samples]),
                        workshop,
                    )
                    for (graphs, reason), own in zip(read, rows, strict=True)
                ]
                found.append(evaluate(self.of, layers))
        return self._stored(found)

    def _activations(
        self, at: int, reason: str, context: Context, folder: Path, stack: ExitStack
    ) -> NDArray[np.floating] | None:
        if not self.reads_rows or reason:
            return None
        own = folder / f"layer-{at}"
        files.make_folder(own)
        return stack.enter_context(self.lists[at].graph.opened(context, own))[0]

    def cost(self) -> Cost:
        whole, blocks = self.of.cost(), self.lists[0].blocks
        n, widths = self.point.n_samples // blocks, sum(each.graph.source.n_features for each in self.lists)
        rows = 4 * n * widths if self.reads_rows else 0
        return Cost(0.02 * blocks + whole.seconds, whole.memory_bytes + rows, 8 * blocks * len(self.lists) ** 2)


class NullMeasure(_Spread):
    """A measurement of permuted data, many times: of its labels, or of the samples of every layer by themselves.

    Two layers whose samples are permuted independently relate as if those of one side alone were.
    """

    name = "null_values"

    def __init__(self, of: Of, permutations: int) -> None:
        super().__init__(of, f"{permutations} permutations")
        self.permutations = permutations

    @property
    def graphs(self) -> Sequence[GraphStage]:
        """The layers."""
        return self.of.graphs

    @property
    def needs(self) -> Sequence[Stage]:
        return self.graphs

    @property
    def stages(self) -> Sequence[NullMeasure]:
        """What is built for it."""
        return (self,)

    def summary(self, store: Store) -> Callable[[int, float], tuple[float, float, float]]:
        """null_mean, null_sd and p_value of the result at a place, which has a value; of stored results."""
        found = self.load(store)
        return lambda place, value: null_summary(value, found[place].arrays[VALUES])

    @cached_property
    def spec(self) -> Spec:
        identity = {**self._identity(self.of.k), "permutations": self.permutations}
        return Spec(self.name, VERSION, identity, tuple(graph.point.graph.key for graph in self.graphs))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        labels, n = self._labels(), self.point.n_samples
        graphs = [graph.read(context, self.of.k)[0] for graph in self.graphs]
        found = []
        with context.reporter.task(self.title) as progress:
            for number in range(self.permutations):
                progress(number, self.permutations, "")
                if labels is not None:
                    mixed = labels[permutation(n, 0, number)]
                    layers = [None if graph is None else LayerData(graph, mixed) for graph in graphs]
                else:
                    layers = [
                        None if graph is None else LayerData(relabelled(graph, permutation(n, 0, number, at)), None)
                        for at, graph in enumerate(graphs)
                    ]
                found.append(evaluate(self.of, layers))
            progress(self.permutations, self.permutations, "")
        return self._stored(found)

    def cost(self) -> Cost:
        whole, m = self.of.cost(), self.permutations
        again = m * 12 * self.point.n_samples * self.of.k * len(self.graphs) * 2e-9
        seconds = m * whole.seconds + again
        return Cost(seconds, 2 * whole.memory_bytes, 8 * m * len(self.graphs) ** 2)
