"""The plots of a run at several pooling scales: which there are, what they are called, and how to read them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from rra_cli.report.glossary import CLASS_SIMILARITY
from rra_cli.report.plot import Plot, band
from rra_cli.report.run import Run
from rra_cli.report.scales.curves import diagonal_figure, local_figure, scales_figure
from rra_cli.report.scales.maps import across_map, across_sheet, best_scales_figure, within_sheet
from rra_cli.report.style import file_name
from rra_cli.report.tables.schema import WINDOWS

if TYPE_CHECKING:
    import pandas as pd

_WINDOWS = "Dark to light: 2×2 windows to the whole map. A window larger than a map is the map."
_COLOURS = f"Black: unpooled. {_WINDOWS}"


def scale_plots(run: Run) -> Iterator[Plot]:
    """Every plot of scales that the tables have data for; none where layers were not pooled over windows."""
    if not run.scales:
        return
    for split in run.splits:
        where = f" ({split})" if len(run.splits) > 1 else ""
        for metric in _of_graphs(run):
            short = run.term(metric).short
            yield Plot(
                file_name(metric, "scales", split),
                f"{short} at every scale{where}",
                f"{run.term(metric).reading} {_COLOURS} {band(run, (metric,))}",
                partial(scales_figure, run, metric, split),
            )
            if metric in run.id_metrics:
                yield Plot(
                    file_name(metric, "local", split),
                    f"Local and global {short}{where}",
                    "What is left when every channel is pooled over the whole map is global, the rest (shaded) local: "
                    "it needs positions. Below: the local share of the unpooled value.",
                    partial(local_figure, run, metric, split),
                )
            if run.term(metric).component == CLASS_SIMILARITY.component:
                yield Plot(
                    file_name(metric, "best_scales", split),
                    f"Scale of the highest {short}{where}",
                    "Colour: what pooling gains over the unpooled layer. Framed: the scale at which most neighbours of "
                    "a layer are of one class, among means and among maxima (best_scales.csv has it for stages, too); "
                    "layers without maps are the same at all scales.",
                    partial(best_scales_figure, run, metric, split),
                )
        yield from _similarities(run, split, where)


def _similarities(run: Run, split: str, where: str) -> Iterator[Plot]:
    if run.tables.nnls is None:
        return
    yield Plot(
        file_name("nnls_scales", split),
        f"Layer similarity at every scale{where}",
        "NNLS of all layers with each other at one scale each. Black lines: boundaries between stages.",
        partial(within_sheet, run, split),
    )
    yield Plot(
        file_name("nnls_across", split),
        f"Unpooled layers against pooled ones{where}",
        "NNLS of unpooled layers (rows) with pooled ones (columns); first map: unpooled with unpooled. Not symmetric: "
        "bright cells beside the diagonal are layers that look like another layer's coarse view.",
        partial(across_sheet, run, split),
    )
    yield Plot(
        file_name("nnls_across_diagonal", split),
        f"What a layer keeps when it is pooled{where}",
        f"NNLS of each unpooled layer with itself pooled: 1 where pooling changes no neighbourhood. {_WINDOWS}",
        partial(diagonal_figure, run, split),
    )
    for variant in run.scales:
        if variant.is_spatial:
            yield Plot(
                file_name("nnls_across", split, variant.slug),
                f"Unpooled layers against {variant.title}{where}",
                "NNLS of unpooled layers (rows) with pooled ones (columns).",
                partial(across_map, run, split, variant),
                main=False,
            )


def _of_graphs(run: Run) -> list[str]:
    """The metrics that read neighbour graphs, so that they were measured at every scale."""
    frame: pd.DataFrame = run.tables.metrics
    pooled = frame[frame["pool"].isin(WINDOWS) & (frame["engine"] != "")]
    return [metric for metric in run.metrics if metric in set(pooled["metric"])]
