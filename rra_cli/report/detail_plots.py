"""Plots of similarities from layer to layer, and of what metrics of layers tell beside their values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from rra_cli.report.dimension_scales import axes_of, dimension_scale_figure
from rra_cli.report.glossary import LAYER_SIMILARITY
from rra_cli.report.occurrences import occurrence_figure
from rra_cli.report.pair_curves import pair_curve
from rra_cli.report.plot import Plot, band, of_some_samples, parts, where
from rra_cli.report.run import Run
from rra_cli.report.style import file_name

_STRIPES = "Shaded stripes: stages of the network."


def detail_plots(run: Run) -> Iterator[Plot]:
    """Every such plot that the run's tables have data for."""
    yield from _pair_curves(run)
    yield from _details(run)


def _pair_curves(run: Run) -> Iterator[Plot]:
    checkpoint = run.main_checkpoint
    for metric in (*(("nnls",) if run.tables.nnls is not None else ()), *run.pair_metrics):
        term = LAYER_SIMILARITY if metric == "nnls" else run.term(metric)
        for variant in run.plain_variants:
            yield Plot(
                file_name(metric, "along", variant.slug),
                f"{term.short} from layer to layer{f', {variant.title}' if len(run.variants) > 1 else ''}",
                "Each layer with the one before it (a dip: the network rearranges the samples there) and with the last "
                "(how much of the end is there already). Dotted: chance level. "
                + " ".join(filter(None, (of_some_samples(run, metric), band(run, (metric,)), _STRIPES))),
                partial(pair_curve, run, metric, checkpoint, variant),
            )


def _details(run: Run) -> Iterator[Plot]:
    """What metrics of layers tell beside their values."""
    scales, occurrences = run.tables.dimension_scales, run.tables.occurrences
    by_metric = {} if scales is None else {str(name): rows for name, rows in scales.groupby("metric", sort=False)}
    for split, variant in product(run.splits, run.plain_variants):
        here = (run.main_checkpoint, split, variant)
        for metric, rows in by_metric.items():
            for axis in axes_of(rows):
                yield Plot(
                    file_name(metric, axis, *parts(run, *here)),
                    f"{run.term(metric).short} by {axis}{where(run, *here)}",
                    f"{run.term(metric).reading} Bands: standard deviation over disjoint blocks, or ±1.96 standard "
                    "errors of one graph.",
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
