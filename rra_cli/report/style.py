"""How every figure looks: sizes for half a page's width, styles that stay apart in grey, files with equal bytes."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 8.5 / 2.54  # inches: one column of a two-column page
PNG_DPI = 200
KINDS = ("png", "svg")

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures look the same everywhere
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "axes.formatter.use_mathtext": False,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "svg.fonttype": "path",
    "svg.hashsalt": "rra",  # ids inside the SVG are drawn at random without it
    "image.cmap": "cividis",  # perceptually uniform, its lightness rises steadily: the same picture in grey
}

# Okabe and Ito's colours, safe for colour-blind readers, ordered so that neighbours differ in lightness as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#7F7F7F", "#882255")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))


@dataclass(frozen=True)
class LineStyle:
    """A line that differs from the others in colour, marker and dashes, so that it is told apart in grey."""

    colour: str
    marker: str
    dashes: Any
    filled: bool

    def keywords(self) -> dict[str, Any]:
        """As `Axes.plot` takes them."""
        face = self.colour if self.filled else "white"
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.dashes,
            "markerfacecolor": face,
            "markeredgewidth": 0.8,
        }


def line_style(identity: int, split: int, alone: bool) -> LineStyle:
    """The style of line number `identity` on split number `split`; `alone`: splits are all there is to tell apart."""
    number = split if alone else identity
    # Where the colours start again, the markers do not.
    marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
    return LineStyle(COLOURS[number % len(COLOURS)], marker, DASHES[split % len(DASHES)], split == 0)


def shade(place: int, count: int, marker: int | None = None) -> LineStyle:
    """The style of one of several ordered lines: from dark to light, so that the order is seen in grey as well."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colour = to_hex(colormaps["viridis"](0.92 * place / max(1, count - 1)))
    return LineStyle(colour, MARKERS[(place if marker is None else marker) % len(MARKERS)], "-", True)


@contextmanager
def styled() -> Iterator[None]:
    """Within it figures are made and saved in our style, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(cast(Any, _RC))  # typed as the Literal of all its keys
        yield


def figure(height: float, rows: int = 1, columns: int = 1, **keywords: Any) -> tuple[Figure, list[Axes]]:
    """A figure one column wide and `height` inches high with its axes, row by row; no pyplot, so no global state."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False, **keywords)
    return made, list(axes.flat)


def legend_line(label: str, **keywords: Any) -> Line2D:
    """An entry of a legend, drawn like a line with these keywords."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **keywords)


def encode(made: Figure) -> dict[str, bytes]:
    """The figure as `png` and `svg` bytes; equal figures give equal bytes."""
    made.set_dpi(PNG_DPI)
    with _any_letters():
        return _encode(made)


def _encode(made: Figure) -> dict[str, bytes]:
    engine = made.get_layout_engine()
    if engine is not None:  # once for both files: laying out costs as much as drawing
        engine.execute(made)
        made.set_layout_engine("none")
    encoded = {}
    for kind, metadata in zip(KINDS, ({"Software": None}, {"Date": None, "Creator": None}), strict=True):
        buffer = io.BytesIO()
        made.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
        encoded[kind] = buffer.getvalue()
    return encoded


def file_name(*parts: str) -> str:
    """A plain file name (without suffix) of these parts; where characters had to go, a digest keeps names apart."""
    raw = "_".join(part for part in parts if part)
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", raw).strip("-")[:80]
    return (
        safe if safe == raw else f"{safe}-{hashlib.sha256(raw.encode('utf-8', 'replace')).hexdigest()[:8]}".strip("-")
    )


def shorten(name: str, length: int) -> str:
    """The name with its middle left out where it is too long: both ends tell layers apart."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


@cache
def text_points(text: str, size: float) -> float:
    """The width of the text in points, as our font draws it."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    properties = FontProperties(family=_RC["font.family"], size=size)
    with _any_letters():
        return float(text_to_path.get_text_width_height_descent(text, properties, ismath=False)[0])


@contextmanager
def _any_letters() -> Iterator[None]:
    """A layer may be named in a script that the font lacks: its letters become boxes, which needs no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def counted(numbers: Iterable[int], noun: str) -> str:
    """`10 directions`, `62 to 64 directions`, `1 direction`: the least and the most of them, of which there is one."""
    found = sorted(set(numbers))
    between = f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return f"{between} {noun}{'' if found == [1] else 's'}"


def number(value: float, digits: int = 3) -> str:
    """A number as a person reads it."""
    if value != value:
        return "–"
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
