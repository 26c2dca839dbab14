"""All plots of a run: which there are, what they are called, and how to read them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

from rra_cli.report.bases_text import bases_text
from rra_cli.report.curves import curve
from rra_cli.report.details.plots import class_plots, detail_plots, distribution_plots
from rra_cli.report.engines import error_figure, recall_figure, time_figure
from rra_cli.report.glossary import BESIDE_ACCURACY, LAYER_SIMILARITY
from rra_cli.report.heatmaps import nnls_map, nnls_matrix, pair_matrix
from rra_cli.report.invariance_plots import invariance_plots
from rra_cli.report.milestone_plots import milestone_plots
from rra_cli.report.pair_curves import IMBALANCE, pair_curve, similarities_figure, similarity_metrics
from rra_cli.report.picture_plots import picture_plots
from rra_cli.report.plot import Plot, band, heading, of_some_samples, parts, where
from rra_cli.report.pullback.plots import pullback_plots
from rra_cli.report.run import FEW_CHECKPOINTS, Run
from rra_cli.report.samples.plots import sample_plots
from rra_cli.report.scales.plots import scale_plots
from rra_cli.report.style import file_name
from rra_cli.report.training_curves import training_figure
from rra_cli.report.transfer import transfer_figure

_SHADED = "Shaded stripes: stages of the network."
_STRIPES = "Shaded stripes: stages of the network; × on the axis: no value."
_STAGES = "Black lines: boundaries between stages; hatched: no value."


def plots(run: Run) -> Iterator[Plot]:
    """Every plot that the run's tables have data for, in the order of the report."""
    yield from _engines(run)
    yield from _curves(run)
    yield from scale_plots(run)
    yield from sample_plots(run)
    yield from _maps(run)
    yield from _pair_curves(run)
    yield from detail_plots(run)
    yield from invariance_plots(run)
    yield from picture_plots(run)
    yield from pullback_plots(run)
    yield from distribution_plots(run)
    yield Plot(
        "training_curves",
        "Training",
        "Loss and accuracy by epoch; a gap between the splits is overfitting. k-NN: accuracy of the nearest training "
        "samples on the test split. Embedding std: spread of the L2-normalised representation, 0 in one point, 1 on "
        "the whole sphere. Effective rank: dimensions over which it varies. Triangles: measured checkpoints.",
        partial(training_figure, run),
    )
    yield from milestone_plots(run)
    yield from _transfer(run)
    yield from class_plots(run)


def _curves(run: Run) -> Iterator[Plot]:
    if run.id_metrics:
        yield Plot(
            "id_curve",
            "Intrinsic dimension along the layers",
            f"{run.term(run.id_metrics[0]).reading} {band(run, run.id_metrics)} {_STRIPES}",
            partial(curve, run, run.id_metrics),
        )
    terms = {metric: run.term(metric) for metric in run.metrics if metric not in run.id_metrics}
    for metric, known in terms.items():
        notes = [known.reading]
        if run.has_chance(metric):
            notes.append("Dotted: chance level.")
        if known.component in BESIDE_ACCURACY and not run.alteration:
            notes.append("Stars: accuracy of the network itself.")
        notes.append(of_some_samples(run, metric))
        yield Plot(
            file_name(metric, "curve"),
            f"{heading(metric, terms)} along the layers",
            " ".join([*filter(None, notes), band(run, (metric,)), _STRIPES]).strip(),
            partial(curve, run, (metric,)),
        )


def _engines(run: Run) -> Iterator[Plot]:
    if run.tables.engines is None:
        return
    for view in product(run.splits, run.variants):
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
        for split, variant in product(run.splits, run.variants):
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
                        " ".join(filter(None, (term.reading, *_of_map(run, name.removeprefix("pairs_"), *here[1:])))),
                        partial(nnls_map, run, matrix, term),
                        checkpoint == run.main_checkpoint and variant in run.plain_variants,
                    )


def _of_map(run: Run, metric: str, *here: Any) -> tuple[str, ...]:
    """What the caption of a map adds to the reading of its metric."""
    return of_some_samples(run, metric), bases_text(run, metric, *here), _STAGES


def _pair_curves(run: Run) -> Iterator[Plot]:
    checkpoint = run.main_checkpoint
    compared = similarity_metrics(run)
    for split, variant in product(run.splits if len(compared) > 1 else (), run.plain_variants):
        here = (checkpoint, split, variant)
        yield Plot(
            file_name("similarities_along", *parts(run, *here)),
            f"Similarities along the layers{where(run, *here)}",
            "Each layer with the one before it by several metrics, 1 for equal layers. NNLS and overlap compare "
            "neighbourhoods; CKA, CCA and SVCCA how the samples lie as a whole. Dotted, in the same colour: the "
            f"metric's own chance level, which differs between them. {band(run, compared)} {_SHADED}",
            partial(similarities_figure, run, *here),
        )
    for metric, term in run.similarities.items():
        inverse = term.component == IMBALANCE  # 0 for equal layers
        rearranged, there = ("a peak", "the nearer 0, the more") if inverse else ("a dip", "how much")
        for variant in run.plain_variants:
            yield Plot(
                file_name(metric, "along", variant.slug),
                f"{term.short} from layer to layer{f', {variant.title}' if len(run.variants) > 1 else ''}",
                f"Each layer with the one before it ({rearranged}: the network rearranges the samples there) and with "
                f"the last ({there} of the end is there already). Dotted: chance level. "
                + " ".join(filter(None, (of_some_samples(run, metric), band(run, (metric,)), _SHADED))),
                partial(pair_curve, run, metric, checkpoint, variant),
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
