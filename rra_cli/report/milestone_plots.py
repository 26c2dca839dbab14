"""Plots of what training does, over the measured epochs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from rra_cli.report.milestones import (
    FEWEST,
    consecutive_figure,
    milestone_figure,
    nnls_sheet,
    to_last_figure,
    to_next_figure,
    trained_checkpoints,
)
from rra_cli.report.plot import Plot
from rra_cli.report.run import FEW_CHECKPOINTS, Run
from rra_cli.report.style import file_name

# Of every layer with itself at another checkpoint: part of the file's name, of the title, caption, and who draws it.
_TO_ITSELF = (
    (
        "to_last",
        "at the last checkpoint",
        "How much of a layer's final neighbourhoods is there already, by epoch: layers that reach 1 early have "
        "settled. Maps: layers by epoch; curves: chosen layers.",
        to_last_figure,
    ),
    (
        "to_next",
        "at the checkpoint before",
        "How much of its neighbourhoods a layer keeps from one measured epoch to the next: where it is low, the layer "
        "is being rearranged. Longer steps are larger by themselves. Hatched: nothing before it.",
        to_next_figure,
    ),
)

# Of every layer with the one before it: part of the file's name, of the title, caption, whether a is the later layer.
_CONSECUTIVE = (
    ("milestones", "from layer to layer", "Each layer (b) with the one before it (a), by epoch.", False),
    ("milestones_back", "from layer to layer before", "Each layer (a) with the one before it (b), by epoch.", True),
)


def milestone_plots(run: Run) -> Iterator[Plot]:
    """Every such plot that the run's tables have data for; none where fewer checkpoints were measured."""
    if len(trained_checkpoints(run)) < FEWEST:
        return
    scales = [
        (each, each.slug, f", {each.title}") if len(run.variants) > 1 else (each, "", "") for each in run.variants
    ]
    for metric, (variant, slug, pooled) in product(run.metrics, scales):
        yield Plot(
            file_name(metric, "milestones", slug),
            f"{run.term(metric).short} while training{pooled}",
            "Maps: layers by epoch (epoch 0 is the random initialisation). Curves: chosen layers over the epochs.",
            partial(milestone_figure, run, metric, variant),
            variant in run.plain_variants,
        )
    similarities = run.similarities.items()
    for (metric, term), (variant, slug, pooled), (name, what, caption, backwards) in product(
        similarities, scales, _CONSECUTIVE
    ):
        yield Plot(
            file_name(metric, name, slug),
            f"{term.short} {what} while training{pooled}",
            f"{caption} {term.reading} Maps: layers by epoch (epoch 0 is the random initialisation); curves: chosen "
            "layers over the epochs. Hatched: nothing before it.",
            partial(consecutive_figure, run, metric, variant, backwards=backwards),
            variant in run.plain_variants,
        )
    for (metric, term), (variant, slug, pooled), (name, when, caption, draw) in product(
        similarities, scales, _TO_ITSELF
    ):
        yield Plot(
            file_name(metric, name, slug),
            f"{term.short} of every layer to itself {when}{pooled}",
            caption,
            partial(draw, run, metric, variant),
            variant in run.plain_variants,
        )
    if len(run.checkpoints) > FEW_CHECKPOINTS and run.tables.nnls is not None:
        for split, (variant, _, pooled) in product(run.splits, scales):
            yield Plot(
                file_name("nnls_milestones", split, variant.slug),
                f"Layer similarity while training ({split}{pooled})",
                "One map per measured epoch, input layer at the top left: blocks form where stages come to keep "
                "neighbourhoods together.",
                partial(nnls_sheet, run, split, variant),
                variant in run.plain_variants,
            )
