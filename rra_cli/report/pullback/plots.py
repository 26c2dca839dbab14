"""The plots of the pullback metrics, with titles that say what was found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from rra_cli.report.plot import Plot
from rra_cli.report.pullback.lines import contrast_figure, histogram_sheet, line_sheet
from rra_cli.report.pullback.maps import curvature_sheet, relative_sheet, volume_sheet
from rra_cli.report.pullback.view import View
from rra_cli.report.run import Run
from rra_cli.report.style import file_name, number

if TYPE_CHECKING:
    import pandas as pd

_SURE = 0.05
# From fewer lines or planes an interval is all that is said.
_FEW_UNITS = 5
_OUTSIDE = (
    "x and y: coordinates on the plane, in sides of the images' triangle. Dashed: the three images; outside of it "
    "the plane is extrapolated. Thin lines: decision boundaries."
)
_SEVERAL = {"line": "lines", "plane": "planes", "grid": "grids", "points": "samples"}


def pullback_plots(run: Run) -> Iterator[Plot]:
    """Of every pullback metric: pictures of its line, plane or grid, and near against far from boundaries."""
    if run.tables.pullback is None or run.tables.pullback_points is None:
        return
    for metric in dict.fromkeys(str(metric) for metric in run.tables.pullback["metric"]):
        view = View(run, metric)
        if view.at == "line":
            yield Plot(
                file_name(metric, "line"),
                f"Volume element along a line, over {view.over()} ({metric})",
                told(
                    "log10 √det g of each layer between two samples (t = 0 and 1; their classes at the axis), a row a "
                    "checkpoint; colours: the class that is predicted there. A peak where colours meet: the "
                    "decision boundary is magnified.",
                    view,
                ),
                partial(line_sheet, view),
            )
        elif view.at in ("plane", "grid"):
            yield from _surfaces(view)
        yield Plot(
            file_name(metric, "boundary"),
            finding(view),
            told(
                "How much more the mean direction of input space is stretched near decision boundaries than far from "
                f"them: exp of the difference of log √det g, divided by its {view.over()}. Bars: 95 % intervals over "
                "independent lines or planes (none for a grid, which is one unit). Dotted: no difference. In the "
                "middle of a line images are blends, and volumes may be larger there without a boundary, too: local_r "
                "in pullback.csv is without that trend.",
                view,
            ),
            partial(contrast_figure, view),
        )
        yield Plot(
            file_name(metric, "histograms"),
            f"Volume element near decision boundaries and far from them ({metric})",
            f"Distributions of log10 √det g over {view.over()}, minus the mean of the line or plane, of the points "
            "with the most and with the least uncertain predictions.",
            partial(histogram_sheet, view),
            False,
        )


def _surfaces(view: View) -> Iterator[Plot]:
    where = "a plane through three images" if view.at == "plane" else "the input plane"
    marks = _OUTSIDE if view.at == "plane" else "x and y: the data's coordinates. Thin lines: decision boundaries."
    yield Plot(
        file_name(view.metric, "maps"),
        f"Prediction, entropy and volume element over {view.over()} on {where} ({view.metric})",
        told(
            f"A row a checkpoint; colour scales are shared by a column. Bright in √det g: the layer magnifies. {marks}",
            view,
        ),
        partial(volume_sheet, view),
    )
    yield Plot(
        file_name(view.metric, "relative"),
        f"Where layers magnify more than their mean, on {where} ({view.metric})",
        told(f"log10 √det g minus its mean at that checkpoint, divided by its {view.over()}. {marks}", view),
        partial(relative_sheet, view),
        False,
    )
    if view.has_curvature:
        yield Plot(
            file_name(view.metric, "curvature"),
            f"Scalar curvature on {where} ({view.metric})",
            "Scalar curvature of the surface that the layer makes of the plane, on a symmetric logarithmic scale: "
            f"positive as on a sphere, negative as on a saddle. {marks}",
            partial(curvature_sheet, view),
        )


def told(caption: str, view: View) -> str:
    """With what must be said of directions and of missing points."""
    return f"{caption} {view.remarks}".rstrip()


def ratio_text(value: float) -> str:
    """A ratio about 1 with three digits after the point, so that 1.004 is not read as 1; others with three digits."""
    if 2.0 <= value < 99.95:
        return f"{value:#.3g}"
    return f"{value:.3f}" if 0.1 <= value < 2.0 else number(value)


def finding(view: View) -> str:
    """The difference at the last checkpoint in words, of the layer where it is clearest, and whether it was learned."""
    last = view.checkpoints[-1]
    rows = [view.row(last, layer) for layer in view.layers]
    known = [row for row in rows if isfinite(float(row["difference"]))]
    if not known:
        return f"No decision boundary is met ({view.metric})"
    clear = [row for row in known if float(row["p"]) < _SURE]
    up, down = ([row for row in clear if (float(row["difference"]) > 0) == sign] for sign in (True, False))
    of = f"{len(rows)} layers" if len(rows) > 1 else "the layer"
    at = f"at {last.title} ({view.metric})"
    if not clear:
        tested = any(isfinite(float(row["p"])) for row in known)
        row = max(known, key=lambda row: abs(float(row["difference"])))
        found = (
            f"the largest ratio is {ratio_text(float(row['ratio']))} ({row['layer']}, {view.over(str(row['layer']))})"
        )
        return f"{'No clear difference' if tested else 'Not tested'} near decision boundaries {at}: {found}"
    row = min(clear, key=lambda row: float(row["p"]))
    interval = f"{ratio_text(float(row['ratio_low']))} to {ratio_text(float(row['ratio_high']))}"
    each = f"each of {int(row['directions'])} directions {ratio_text(float(row['ratio']))} times as much"
    found = f"{each} in {row['layer']} (95 % {interval})"
    n_units = int(row["n_units"])
    if n_units < _FEW_UNITS:
        return f"Near decision boundaries {at}, from only {n_units} {_SEVERAL[view.at]}: {found}"
    counts = f"magnified in {len(up)}, shrunk in {len(down)} of {of}" if len(rows) > 1 else ""
    word = "Magnified" if float(row["difference"]) > 0 else "Shrunk"
    return "; ".join(
        part for part in (f"{word} near decision boundaries {at}: {found}", counts, learned(row), followed(row)) if part
    )


def followed(row: pd.Series[float]) -> str:
    """Whether volumes follow the boundary itself, beyond what they do in the middle of lines and planes anyway."""
    r, p = float(row["local_r"]), float(row["local_p"])
    if not isfinite(r) or not isfinite(p):
        return ""
    if p < _SURE and r > 0:
        return f"also without the trend along the way (r = {number(r, 2)})"
    return "not more where the boundary is than around it"


def learned(row: pd.Series[float]) -> str:
    """Whether that was so before training: the same points in the network of the first checkpoint."""
    gain, p = float(row["gain"]), float(row["gain_p"])
    if not isfinite(gain) or not isfinite(p):
        return ""
    if p >= _SURE:
        return "not clearly more or less than at the same points before"
    return f"{'more' if gain > 0 else 'less'} than at the same points before"
