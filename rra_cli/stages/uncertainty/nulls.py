"""Null distributions of metrics that read activations: permuted ranks, and exact moments of kernel products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from math import isnan, nan
from pathlib import Path

import numpy as np

from rra_cli.core import files
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.metrics.centred import centred
from rra_cli.metrics.imbalance_null import permuted_imbalances
from rra_cli.metrics.kernel_sums import KernelSums, kernel_sums
from rra_cli.metrics.metric import Workshop
from rra_cli.metrics.permutation import null_summary
from rra_cli.metrics.permutation_moments import pearson_p
from rra_cli.metrics.principal import TooLargeError, principal
from rra_cli.metrics.product_null import Product, null_moments
from rra_cli.stages.graphs.graph import GraphStage
from rra_cli.stages.measure import Measurement, PairMeasure
from rra_cli.stages.point import Point
from rra_cli.stages.result_stage import ResultStage
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage
from rra_cli.stages.uncertainty import null_costs

VERSION = 1
OWN, VALUES = "own", "values"
# null_mean, null_sd and p_value of the result at a place, which has a value.
Summary = Callable[[int, float], tuple[float, float, float]]


class RankNull(Measurement):
    """Information imbalance of layers whose samples are permuted: for each pair arrays `own` `(1,)` and `values`."""

    name = "permuted_ranks"

    def __init__(self, of: PairMeasure, permutations: int) -> None:
        self.of, self.key, self.metric, self.permutations = of, of.key, of.metric, permutations
        self.graphs = of.graphs
        self.label = f"{permutations} permutations: {of.label}"

    @property
    def point(self) -> Point:
        return self.of.point

    @property
    def needs(self) -> Sequence[Stage]:
        return self.of.needs

    @cached_property
    def spec(self) -> Spec:
        """The layers as graphs and as activations, and how often they are permuted."""
        upstream = [graph.point.graph.key for graph in self.graphs]
        upstream += [graph.point.activations.key for graph in self.graphs]
        identity = {"permutations": self.permutations, "version": self.metric.version}
        return Spec(self.name, VERSION, identity, tuple(upstream))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        count, graphs, layers = len(self.graphs), [], []
        with ExitStack() as stack:
            usable = []
            for place, stage in enumerate(self.graphs):
                graph, reason, _ = stage.read(context, self.of.k)
                own = folder / str(place)
                files.make_folder(own)
                activations, missing = stack.enter_context(stage.opened(context, own))
                if graph is not None and not (reason or missing):
                    usable.append(place)
                    graphs.append(graph)
                    layers.append(activations)
            progress = stack.enter_context(context.reporter.task(self.title))
            workshop = Workshop(context.device, context.memory, folder, progress)
            found = permuted_imbalances(graphs, layers, self.permutations, workshop=workshop)
        values = {(usable[a], usable[b]): of_pair for (a, b), of_pair in found.items()}
        none = np.full(1 + self.permutations, np.nan)
        every = [values.get((a, b), none) for a in range(count) for b in range(count)]
        return [Measured({}, {OWN: of_pair[:1], VALUES: of_pair[1:]}) for of_pair in every]

    @property
    def stages(self) -> Sequence[RankNull]:
        """What is built for it."""
        return (self,)

    def summary(self, store: Store) -> Summary:
        """Of stored results. The value is that of the same pass, so that nothing but the order makes a difference."""
        found = self.load(store)
        return lambda place, _: null_summary(float(found[place].arrays[OWN][0]), found[place].arrays[VALUES])

    def cost(self) -> Cost:
        widths = [graph.source.n_features for graph in self.graphs]
        return null_costs.of_permuted_ranks(self.point.n_samples, widths, self.permutations)


class KernelStage(ResultStage):
    """Sums over a layer's linear kernel, which all metrics that are products of kernels share.

    tolerance: None for the layer itself; else its principal directions, without those that CCA takes for rounding.
    """

    name = "kernel_sums"

    def __init__(self, graph: GraphStage, tolerance: float | None) -> None:
        self.graph, self.tolerance = graph, tolerance
        self.label = self.point.data_title + ("" if tolerance is None else ", directions")

    @property
    def point(self) -> Point:
        """The layer."""
        return self.graph.point

    @property
    def needs(self) -> Sequence[Stage]:
        return () if self.graph.capture is None else (self.graph.capture,)

    @cached_property
    def spec(self) -> Spec:
        return Spec(self.name, VERSION, {"tolerance": self.tolerance}, (self.point.activations.key,))

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        activations, reason = self.graph.open(context)
        if reason:
            return [Measured({"reason": reason}, {})]
        (layer,) = centred([activations])
        if layer.collapsed:
            return [Measured({"reason": layer.collapsed}, {})]
        with context.reporter.task(self.title) as progress:
            if self.tolerance is not None:
                try:
                    basis = principal(layer, tolerance=self.tolerance, path=folder / "basis.npy", progress=progress)
                except TooLargeError as error:
                    return [Measured({"reason": str(error)}, {})]
                (layer,) = centred([basis.q])
            return [Measured(asdict(kernel_sums(layer, path=folder / "kernel.npy", progress=progress)), {})]

    def sums(self, store: Store) -> KernelSums | None:
        """What is stored; None for a layer that has none."""
        (found,) = self.load(store)
        return None if "reason" in found.figures else KernelSums(**found.figures)

    def cost(self) -> Cost:
        return null_costs.of_kernel(self.point.n_samples, self.graph.source.n_features, self.tolerance is not None)


class MomentNull:
    """Permutations of a metric that is a product of kernels, by their exact moments. stages: of its layers.

    p is that of the Pearson III law, and as no other p-value below 1 / (permutations + 1): so far out nobody has
    compared the law with permutations.
    """

    def __init__(self, metric: Product, stages: Sequence[KernelStage], permutations: int) -> None:
        self.metric, self.stages, self.permutations = metric, tuple(stages), permutations

    def summary(self, store: Store) -> Summary:
        """Of the stored sums."""
        sums = [stage.sums(store) for stage in self.stages]

        def told(place: int, value: float) -> tuple[float, float, float]:
            a, b = (sums[at] for at in divmod(place, len(sums)))
            assert a is not None, "a pair that has a value has two layers"
            assert b is not None, "a pair that has a value has two layers"
            moments = null_moments(self.metric, a, b)
            if isnan(moments.sd):
                return nan, nan, nan
            return moments.mean, moments.sd, max(pearson_p(value, moments), 1.0 / (self.permutations + 1))

        return told
