"""One figure of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rra_cli.report.run import Run, part_of
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.term import Term

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """One figure. name: of its files. caption: what it shows and how to read it. main: shown in the report unfolded."""

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure | None]
    main: bool = True


def heading(metric: str, terms: Mapping[str, Term]) -> str:
    """What a title calls the metric: its label; with its column where another of the metrics has the same label."""
    label = terms[metric].label
    shared = sum(term.label == label for term in terms.values()) > 1
    return f"{label[:1].upper()}{label[1:]}{f' ({metric})' if shared else ''}"


def parts(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> tuple[str, ...]:
    """The parts of a file name that tell these plots apart; the main checkpoint's go without its name."""
    return split, variant.slug, "" if checkpoint == run.main_checkpoint else checkpoint.label


def where(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> str:
    """What tells this plot's title from those of other splits, scales and checkpoints; "" where there are none."""
    told = [
        split if len(run.splits) > 1 else "",
        variant.title if len(run.variants) > 1 else "",
        checkpoint.title if len(run.checkpoints) > 1 else "",
    ]
    text = ", ".join(part for part in told if part)
    return f" ({text})" if text else ""


def of_some_samples(run: Run, metric: str) -> str:
    """That the layers' values are of different samples, where some have no value; "" where they are of all."""
    if metric in run.pair_metrics:
        graph = part_of(part_of(run.config, "metrics"), metric).get("graph", "directed")
        if graph not in ("mutual", "radius"):
            return ""
        return "Of the samples that have neighbours in both layers: pairs are about different ones (graph_lists.csv)."
    frame = run.tables.metrics
    rows = frame[(frame["metric"] == metric) & (frame["n_used"] > 0)]
    shares = rows["n_used"] / rows["n_samples"]
    if rows.empty or not (shares < 1).any():
        return ""
    source = " and graph_lists.csv" if run.tables.graph_lists is not None else ""
    return (
        f"Of {100 * shares.min():.0f} to {100 * shares.max():.0f} % of the samples, those that have a value of their "
        f"own: layers are about different samples (n_used in metrics.csv{source})."
    )


def band(run: Run, metrics: Sequence[str]) -> str:
    """What the bands around these metrics are: intervals of those that have them, else standard errors."""
    errors = "±1.96 standard errors where known, which take samples for independent."
    known = [run.term(metric).short for metric in metrics if run.has_intervals(metric)]
    if not known:
        return f"Bands: {errors}"
    if len(known) == len(metrics):
        return f"Bands: {interval_kind(run)}."
    return f"Bands of {', '.join(known)}: {interval_kind(run)}; of the others: {errors}"


def interval_kind(run: Run) -> str:
    """What the run's intervals are."""
    level = part_of(run.config, "metrics").get("interval_level", 0.95)
    return f"{100 * level:g} % intervals over sets of such samples"
