"""All plots of a run: which there are, what they are called, and how to read them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from rra_cli.report.classes import class_neighbors_figure, per_class_figure
from rra_cli.report.curves import curve
from rra_cli.report.detail_plots import detail_plots
from rra_cli.report.engines import error_figure, recall_figure, time_figure
from rra_cli.report.glossary import BESIDE_ACCURACY, LAYER_SIMILARITY
from rra_cli.report.heatmaps import nnls_map, nnls_matrix, pair_matrix
from rra_cli.report.invariance_plots import invariance_plots
from rra_cli.report.milestones import (
    FEWEST,
    milestone_figure,
    nnls_sheet,
    to_last_figure,
    to_next_figure,
    trained_checkpoints,
)
from rra_cli.report.picture_plots import picture_plots
from rra_cli.report.plot import Plot, band, of_some_samples, parts, where
from rra_cli.report.pullback_plots import pullback_plots
from rra_cli.report.run import FEW_CHECKPOINTS, Run, Variant
from rra_cli.report.sample_plots import sample_plots
from rra_cli.report.scale_plots import scale_plots
from rra_cli.report.spectra import spectrum_figure
from rra_cli.report.style import file_name
from rra_cli.report.training_curves import training_figure
from rra_cli.report.transfer import transfer_figure
from rra_cli.report.twonn_fit import fit_check, mu_distribution

_STRIPES = "Shaded stripes: stages of the network; × on the axis: no value."
_STAGES = "Black lines: boundaries between stages; hatched: no value."


def plots(run: Run) -> Iterator[Plot]:
    """Every plot that the run's tables have data for, in the order of the report."""
    yield from _engines(run)
    yield from _curves(run)
    yield from scale_plots(run)
    yield from sample_plots(run)
    yield from _maps(run)
    yield from detail_plots(run)
    yield from invariance_plots(run)
    yield from picture_plots(run)
    yield from pullback_plots(run)
    yield from _mu(run)
    yield from _spectra(run)
    yield Plot(
        "training_curves",
        "Training",
        "Loss and accuracy by epoch; a gap between the splits is overfitting. k-NN: accuracy of the nearest training "
        "samples on the test split. Embedding std: spread of the L2-normalised representation, 0 in one point, 1 on "
        "the whole sphere. Effective rank: dimensions over which it varies. Triangles: measured checkpoints.",
        partial(training_figure, run),
    )
    yield from _milestones(run)
    yield from _transfer(run)
    yield from _classes(run)


def _curves(run: Run) -> Iterator[Plot]:
    if run.id_metrics:
        yield Plot(
            "id_curve",
            "Intrinsic dimension along the layers",
            f"{run.term(run.id_metrics[0]).reading} {band(run, run.id_metrics)} {_STRIPES}",
            partial(curve, run, run.id_metrics),
        )
    for metric in run.metrics:
        if metric in run.id_metrics:
            continue
        known = run.term(metric)
        notes = [known.reading]
        if run.has_chance(metric):
            notes.append("Dotted: chance level.")
        if known.component in BESIDE_ACCURACY and not run.alteration:
            notes.append("Stars: accuracy of the network itself.")
        notes.append(of_some_samples(run, metric))
        yield Plot(
            file_name(metric, "curve"),
            f"{known.label[:1].upper()}{known.label[1:]} along the layers",
            " ".join([*filter(None, notes), band(run, (metric,)), _STRIPES]).strip(),
            partial(curve, run, (metric,)),
        )


def _engines(run: Run) -> Iterator[Plot]:
    if run.tables.engines is None:
        return
    for view in _measured(run):
        here = (run.main_checkpoint, *view)
        for name, title, caption, draw in (
            (
                "engines_recall",
                "Recall of the compared engines",
                "The fraction of true neighbours that each engine found; dotted: all of them, as exact search does.",
                recall_figure,
            ),
            (
                "engines_time",
                "Time of the compared engines",
                "Wall-clock seconds of the search of each layer, compilation excluded and the measurement of the "
                "recall included (search_times.csv).",
                time_figure,
            ),
            (
                "engines_error",
                "Error of the metrics by recall",
                "Value with the engine's graph minus value with the exact one, a point a layer; of metrics of pairs "
                "the mean of the absolute differences over the layer's pairs.",
                error_figure,
            ),
        ):
            yield Plot(
                file_name(name, *parts(run, *here)), f"{title}{where(run, *here)}", caption, partial(draw, run, *here)
            )


def _maps(run: Run) -> Iterator[Plot]:
    checkpoints = run.checkpoints
    if len(checkpoints) > FEW_CHECKPOINTS:
        checkpoints = (checkpoints[0], run.main_checkpoint)  # the others share one sheet
    for checkpoint in sorted(dict.fromkeys(checkpoints), key=lambda checkpoint: checkpoint != run.main_checkpoint):
        for split, variant in _measured(run):
            here = (run, checkpoint, split, variant)
            maps = [("nnls", "Layer similarity", LAYER_SIMILARITY, nnls_matrix(*here))]
            for metric in run.pair_metrics:
                matrix = pair_matrix(run, metric, checkpoint, split, variant)
                maps.append((f"pairs_{metric}", f"{run.term(metric).short} of layers", run.term(metric), matrix))
            for name, title, term, matrix in maps:
                if matrix is not None:
                    yield Plot(
                        file_name(name, *parts(*here)),
                        f"{title}{where(*here)}",
                        " ".join(
                            filter(None, (term.reading, of_some_samples(run, name.removeprefix("pairs_")), _STAGES))
                        ),
                        partial(nnls_map, run, matrix, term),
                        checkpoint == run.main_checkpoint and variant in run.plain_variants,
                    )


def _mu(run: Run) -> Iterator[Plot]:
    if run.tables.mu is None:
        return
    for view in product(run.splits, run.plain_variants):
        here = (run.main_checkpoint, *view)
        yield Plot(
            file_name("mu_distribution", *parts(run, *here)),
            f"Distribution of μ{where(run, *here)}",
            "Density of μ, the ratio of the second to the first neighbour distance, at chosen layers, up to its 95 % "
            "quantile; dashed: the law d μ^−(d+1) that TwoNN assumes. Where they part, the estimate is a summary "
            "rather than a fit.",
            partial(mu_distribution, run, *here),
        )
        yield Plot(
            file_name("twonn_fit", *parts(run, *here)),
            f"TwoNN fit check{where(run, *here)}",
            "By the assumed law −log(1 − F) against log μ is a line through the origin whose slope is the intrinsic "
            "dimension (dashed: the fitted one); points that leave the line early speak against the fit.",
            partial(fit_check, run, *here),
        )


def _spectra(run: Run) -> Iterator[Plot]:
    if run.tables.spectra is None:
        return
    for metric in (str(metric) for metric in run.tables.spectra["metric"].unique()):
        for view in _measured(run):
            here = (run.main_checkpoint, *view)
            yield Plot(
                file_name(metric, "spectrum", *parts(run, *here)),
                f"Spectrum of the covariance ({run.term(metric).short}){where(run, *here)}",
                "Eigenvalues of each layer's covariance, largest first, divided by the largest. Behind a cliff "
                "dimensions have collapsed: the layer does not use them.",
                partial(spectrum_figure, run, metric, *here),
            )


def _milestones(run: Run) -> Iterator[Plot]:
    if len(trained_checkpoints(run)) < FEWEST:
        return
    for metric in run.metrics:
        for variant in run.variants:
            pooled = f", {variant.title}" if len(run.variants) > 1 else ""
            yield Plot(
                file_name(metric, "milestones", variant.slug if len(run.variants) > 1 else ""),
                f"{run.term(metric).short} while training{pooled}",
                "Maps: layers by epoch (epoch 0 is the random initialisation). Curves: chosen layers over the epochs.",
                partial(milestone_figure, run, metric, variant),
                variant in run.plain_variants,
            )
    for metric in (*(("nnls",) if run.tables.nnls is not None else ()), *run.pair_metrics):
        short = LAYER_SIMILARITY.short if metric == "nnls" else run.term(metric).short
        for variant in run.variants:
            pooled = f", {variant.title}" if len(run.variants) > 1 else ""
            yield Plot(
                file_name(metric, "to_last", variant.slug if len(run.variants) > 1 else ""),
                f"{short} of every layer to itself at the last checkpoint{pooled}",
                "How much of a layer's final neighbourhoods is there already, by epoch: layers that reach 1 early have "
                "settled. Maps: layers by epoch; curves: chosen layers.",
                partial(to_last_figure, run, metric, variant),
                variant in run.plain_variants,
            )
            yield Plot(
                file_name(metric, "to_next", variant.slug if len(run.variants) > 1 else ""),
                f"{short} of every layer to itself at the checkpoint before{pooled}",
                "How much of its neighbourhoods a layer keeps from one measured epoch to the next: where it is low, "
                "the layer is being rearranged. Longer steps are larger by themselves. Hatched: nothing before it.",
                partial(to_next_figure, run, metric, variant),
                variant in run.plain_variants,
            )
    if len(run.checkpoints) > FEW_CHECKPOINTS and run.tables.nnls is not None:
        for split, variant in _measured(run):
            yield Plot(
                file_name("nnls_milestones", split, variant.slug),
                f"Layer similarity while training ({split}{f', {variant.title}' if len(run.variants) > 1 else ''})",
                "One map per measured epoch, input layer at the top left: blocks form where stages come to keep "
                "neighbourhoods together.",
                partial(nnls_sheet, run, split, variant),
                variant in run.plain_variants,
            )


def _transfer(run: Run) -> Iterator[Plot]:
    if run.tables.transfer is not None:
        yield Plot(
            "transfer",
            "Probes on other data sets",
            "Accuracy of the probes with the encoder as it was trained here, fitted to the other data set's training "
            "split and judged by its test split; dotted: chance level.",
            partial(transfer_figure, run),
        )


def _classes(run: Run) -> Iterator[Plot]:
    views = [(run.main_checkpoint, split, variant) for split, variant in _measured(run)]
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


def _measured(run: Run) -> Iterator[tuple[str, Variant]]:
    yield from product(run.splits, run.variants)
