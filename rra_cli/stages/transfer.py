"""Probes: metrics that are fitted to the training split of a layer and judged by its test split."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import isnan
from pathlib import Path

import numpy as np

from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import SplitData, TransferMetric, Workshop
from rra_cli.stages import results
from rra_cli.stages.measure import Labelling, Measurement
from rra_cli.stages.point import Point
from rra_cli.stages.probe_costs import probe
from rra_cli.stages.results import Measured
from rra_cli.stages.stage import Context, Cost, Stage
from rra_cli.stages.view import LayerView


class TransferMeasure(Measurement):
    """A probe of one layer at one checkpoint: train to test of one data set. Its results belong to the test split.

    n_classes: for the estimate of its cost. A stage a layer, so that layer 0, which all checkpoints share, is probed
    once, and a run that was killed goes on at the layer that it had reached.
    """

    name = "probe"

    def __init__(
        self,
        key: str,
        metric: TransferMetric,
        train: LayerView,
        test: LayerView,
        labellings: tuple[Labelling, Labelling],
        n_classes: int,
        per_sample: bool,
    ) -> None:
        self.key, self.train, self.test, self.labellings = key, train, test, labellings
        self.metric: TransferMetric = metric
        self.n_classes, self.per_sample = n_classes, per_sample
        self.label = f"{key} of {test.point.data_title}"

    @property
    def point(self) -> Point:
        return self.test.point

    @property
    def needs(self) -> Sequence[Stage]:
        return [view.capture for view in (self.train, self.test) if view.capture is not None]

    @cached_property
    def spec(self) -> Spec:
        """The metric, the activations of both splits, and their labels where the samples do not decide them."""
        identity = {
            "metric": identity_of(self.metric),
            "per_sample": self.per_sample,
            "labels": [labelling.identity for labelling in self.labellings],
        }
        upstream = (self.train.point.activations.key, self.test.point.activations.key)
        return Spec(self.name, self.metric.version, identity, upstream)

    def measure(self, context: Context, folder: Path) -> list[Measured]:
        estimate = self._estimate(context, folder)
        if isnan(estimate.value):
            context.reporter.warn(f"{self.key} of {self.point.title}: no value, {estimate.reason}")
        engine = self.metric.engine
        search = {"engine": engine, "recall": 1.0 if engine else None}
        figures = {**results.figures_of(estimate), **search}
        return [Measured(figures, results.arrays_of(estimate, per_sample=self.per_sample))]

    def _estimate(self, context: Context, folder: Path) -> Estimate:
        (train, train_reason), (test, test_reason) = self.train.open(context), self.test.open(context)
        for split, reason in (("train", train_reason), ("test", test_reason)):
            if reason:
                return Estimate(float("nan"), reason=f"{split}: {reason}")
        known, asked = (labelling.labels() for labelling in self.labellings)
        assert known is not None, "a probe is laid out only where there are labels"
        assert asked is not None, "a probe is laid out only where there are labels"
        with context.reporter.task(self.title) as progress:
            workshop = Workshop(context.device, context.memory, folder, progress)
            data = SplitData(train, np.asarray(known)), SplitData(test, np.asarray(asked))
            return self.metric.measure(*data, workshop)

    def cost(self) -> Cost:
        sizes = self.train.point.n_samples, self.test.point.n_samples
        return probe(self.metric, *sizes, self.test.source.n_features, self.n_classes)
