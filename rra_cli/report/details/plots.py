"""Plots of what metrics of layers tell beside their values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from rra_cli.report.details.balls_beside import told_of_balls
from rra_cli.report.details.classes import class_neighbors_figure, per_class_figure
from rra_cli.report.details.dimension_scales import axes_of, dimension_scale_figure, scales_of
from rra_cli.report.details.occurrences import occurrence_figure
from rra_cli.report.details.spectra import spectrum_figure
from rra_cli.report.details.twonn_fit import fit_check, mu_distribution, quantiles
from rra_cli.report.layer_axis import MOST_LAYERS
from rra_cli.report.panels import panels_told
from rra_cli.report.plot import Plot, parts, where
from rra_cli.report.run import Run
from rra_cli.report.style import file_name


def detail_plots(run: Run) -> Iterator[Plot]:
    """The intrinsic dimension by scale, and occurrences among neighbours, where the run's tables have them."""
    scales, occurrences = run.tables.dimension_scales, run.tables.occurrences
    by_metric = {} if scales is None else {str(name): rows for name, rows in scales.groupby("metric", sort=False)}
    for split, variant in product(run.splits, run.plain_variants):
        here = (run.main_checkpoint, split, variant)
        for metric, rows in by_metric.items():
            known = run.term(metric)
            n_layers = len(scales_of(run, metric, *here))
            some = panels_told(n_layers, "dimension_scales")
            for axis in axes_of(rows):
                grey = "Grey: the other layers. " if axis == "radius" and n_layers > MOST_LAYERS else ""
                balls = told_of_balls(run, metric, axis, run.rows(rows, *here))
                yield Plot(
                    file_name(metric, axis, *parts(run, *here)),
                    f"{known.short} by {axis}{where(run, *here)}",
                    f"{known.over_scales or known.reading} Bands: standard deviation over disjoint blocks, or ±1.96 "
                    f"standard errors of one graph. {balls} {grey}{some}".strip(),
                    partial(dimension_scale_figure, run, metric, axis, *here),
                )
        for metric in () if occurrences is None else (str(metric) for metric in occurrences["metric"].unique()):
            yield Plot(
                file_name(metric, "occurrences", *parts(run, *here)),
                f"Occurrences among the neighbours ({run.term(metric).short}){where(run, *here)}",
                "Samples that are among the k nearest neighbours of at least so many others; dotted: lists drawn at "
                "random. A tail to the right of it: hubs; a curve that begins lower: samples that are nobody's "
                "neighbours.",
                partial(occurrence_figure, run, metric, *here),
            )


def distribution_plots(run: Run) -> Iterator[Plot]:
    """The distribution of the TwoNN ratio, and the spectra of covariances."""
    yield from _mu(run)
    yield from _spectra(run)


def _mu(run: Run) -> Iterator[Plot]:
    if run.tables.mu is None:
        return
    for view in product(run.splits, run.plain_variants):
        here = (run.main_checkpoint, *view)
        some = panels_told(len(quantiles(run, *here)), "mu")
        yield Plot(
            file_name("mu_distribution", *parts(run, *here)),
            f"Distribution of μ{where(run, *here)}",
            "Density of μ, the ratio of the second to the first neighbour distance, up to its 95 % quantile; dashed: "
            "the law d μ^−(d+1) that TwoNN assumes. Where they part, the estimate is a summary rather than a fit. "
            f"Each panel has its own axes. {some}".strip(),
            partial(mu_distribution, run, *here),
        )
        yield Plot(
            file_name("twonn_fit", *parts(run, *here)),
            f"TwoNN fit check{where(run, *here)}",
            "By the assumed law −log(1 − F) against log μ is a line through the origin whose slope is the intrinsic "
            "dimension (dashed: the fitted one); points that leave the line early speak against the fit. "
            f"Each panel has its own axes. {some}".strip(),
            partial(fit_check, run, *here),
        )


def _spectra(run: Run) -> Iterator[Plot]:
    if run.tables.spectra is None:
        return
    for metric in (str(metric) for metric in run.tables.spectra["metric"].unique()):
        for view in product(run.splits, run.variants):
            here = (run.main_checkpoint, *view)
            yield Plot(
                file_name(metric, "spectrum", *parts(run, *here)),
                f"Spectrum of the covariance ({run.term(metric).short}){where(run, *here)}",
                "Eigenvalues of each layer's covariance, largest first, divided by the largest. Behind a cliff "
                "dimensions have collapsed: the layer does not use them.",
                partial(spectrum_figure, run, metric, *here),
            )


def class_plots(run: Run) -> Iterator[Plot]:
    """Metrics over the samples of each class, and which classes their neighbours belong to."""
    views = [(run.main_checkpoint, split, variant) for split, variant in product(run.splits, run.variants)]
    if run.tables.per_class is not None:
        for metric in (str(metric) for metric in run.tables.per_class["metric"].unique()):
            for here in views:
                yield Plot(
                    file_name(metric, "per_class", *parts(run, *here)),
                    f"{run.term(metric).short} by class{where(run, *here)}",
                    f"The metric over the samples of each class alone. {run.term(metric).reading}".strip(),
                    partial(per_class_figure, run, metric, *here),
                )
    if run.tables.class_neighbors is not None:
        for here in views:
            yield Plot(
                file_name("class_neighbors", *parts(run, *here)),
                f"Classes of the neighbours{where(run, *here)}",
                "Of the k nearest neighbours of a class's samples (row), the fraction in each class (column): the "
                "diagonal is the class's own purity, bright cells beside it are classes that the layer mixes.",
                partial(class_neighbors_figure, run, *here),
            )
