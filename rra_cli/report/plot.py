"""One figure of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rra_cli.report.run import Checkpoint, Run, Variant, part_of

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


def band(run: Run, metrics: Sequence[str]) -> str:
    """What the bands around these metrics are: intervals where they were asked for, else standard errors."""
    if not any(run.has_intervals(metric) for metric in metrics):
        return "Bands: ±1.96 standard errors where known, which take samples for independent."
    level = part_of(run.config, "metrics").get("interval_level", 0.95)
    return f"Bands: {100 * level:g} % intervals over sets of such samples, from disjoint blocks of them."
