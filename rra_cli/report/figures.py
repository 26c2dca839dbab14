"""Plots that are drawn, and how they stand in a page."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from rra_cli.core.progress import Progress
from rra_cli.report.plot import Plot
from rra_cli.report.style import encode, styled

# A larger SVG goes into the report as PNG.
_LARGEST_SVG = 600_000


@dataclass(frozen=True)
class Rendered:
    """A plot and its files' contents by suffix."""

    plot: Plot
    encoded: Mapping[str, bytes]


def draw_all(plots: Iterable[Plot], progress: Progress) -> list[Rendered]:
    """Those that there is something to draw for."""
    rendered = []
    with styled():
        wanted = list(plots)
        for done, plot in enumerate(wanted):
            progress(done, len(wanted), plot.title)
            figure = plot.draw()
            if figure is not None:
                rendered.append(Rendered(plot, encode(figure)))
        progress(len(wanted), len(wanted), "")
    return rendered


def _figure(rendered: Rendered) -> str:
    plot = rendered.plot
    kind, mime = ("svg", "image/svg+xml") if len(rendered.encoded["svg"]) <= _LARGEST_SVG else ("png", "image/png")
    data = base64.b64encode(rendered.encoded[kind]).decode("ascii")
    files = ", ".join(
        f'<a href="plots/{quote(plot.name)}.{suffix}">{suffix.upper()}</a>' for suffix in sorted(rendered.encoded)
    )
    return (
        f'<figure id="{escape(plot.name)}"><h3>{escape(plot.title)}</h3>'
        f'<img alt="{escape(plot.title)}" src="data:{mime};base64,{data}">'
        f"<figcaption>{escape(plot.caption)} <span class=files>({files})</span></figcaption></figure>"
    )


def figures(rendered: Sequence[Rendered]) -> str:
    """The plots side by side; nothing where there are none."""
    return f'<div class="plots">{"".join(map(_figure, rendered))}</div>' if rendered else ""


def folded(summary: str, rendered: Sequence[Rendered]) -> str:
    """The same behind a line that is clicked; nothing where there are none."""
    if not rendered:
        return ""
    return f"<details><summary>{escape(summary)}</summary>{figures(rendered)}</details>"
