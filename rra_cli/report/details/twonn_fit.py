"""What TwoNN sees: the distribution of μ = r2 / r1, and whether it follows the law that the estimate assumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.glossary import INTRINSIC_DIMENSION
from rra_cli.report.panels import layer_panels, name_panel, panel_layers
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The density is drawn up to this quantile; the tail is the other figure's.
_SHOWN = 0.95
_BINS = 25
_LAW: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 1.6)), "linewidth": 1.0, "zorder": 3}

Quantiles = tuple[NDArray[np.float64], NDArray[np.float64]]


def quantiles(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> dict[int, Quantiles]:
    """By layer position: quantile levels in [0, 1] and μ ≥ 1 there, both `(n_quantiles,)` ascending."""
    if run.tables.mu is None:
        return {}
    frame = run.rows(run.tables.mu, checkpoint, split, variant).dropna(subset=["mu"])
    found = {}
    for layer, rows in frame.groupby("layer", sort=False):
        ordered = rows.sort_values("quantile")
        if len(ordered) > 1:
            found[run.layers.index(str(layer))] = (ordered["quantile"].to_numpy(float), ordered["mu"].to_numpy(float))
    return dict(sorted(found.items()))


def density(levels: NDArray[np.float64], mu: NDArray[np.float64]) -> Quantiles:
    """Edges `(n+1,)` and densities `(n,)` of a histogram with equal mass per bin, from quantiles up to 95 %.

    Equal ratios share a bin, which takes their mass.
    """
    shown = levels <= _SHOWN + 1e-9
    levels, mu = levels[shown], mu[shown]
    at = np.unique(np.append(np.arange(0, len(levels), max(1, len(levels) // _BINS)), len(levels) - 1))
    levels, mu = levels[at], mu[at]
    edges = np.unique(mu)
    below = levels[np.searchsorted(mu, edges, side="right") - 1]
    below[0] = levels[0]
    return edges, np.diff(below) / np.diff(edges)


def pareto(mu: NDArray[np.float64], dimension: float) -> NDArray[np.float64]:
    """The density that TwoNN assumes, d μ^-(d+1) (Facco et al. 2017, eq. 3)."""
    return np.asarray(dimension * mu ** -(dimension + 1.0))


def survival(levels: NDArray[np.float64], mu: NDArray[np.float64]) -> Quantiles:
    """log μ and -log(1 - F) at the quantiles below 1; by the assumed law they lie on a line of slope d through 0."""
    below = levels < 1.0
    return np.log(mu[below]), -np.log1p(-levels[below])


def mu_distribution(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """The density of μ, a panel a layer (steps), with the law that the fitted dimension implies (dashed)."""
    return _multiples(run, checkpoint, split, variant, _draw_density, r"μ = $r_2/r_1$", "density")


def fit_check(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """-log(1 - F) against log μ, a panel a layer (points), with the line of slope d through the origin (dashed)."""
    return _multiples(run, checkpoint, split, variant, _draw_fit, "log μ", "−log(1 − F)")


def _draw_density(axes: Axes, found: Quantiles, dimension: float) -> None:
    edges, height = density(*found)
    axes.set_ylim(bottom=0.0)
    if len(edges) < 2:
        return
    axes.stairs(height, edges, fill=True, color=COLOURS[5], alpha=0.35)
    axes.stairs(height, edges, color=COLOURS[0], linewidth=0.8, label="measured", gid="density")
    if np.isfinite(dimension):
        grid = np.linspace(1.0, edges[-1], 200)
        axes.plot(grid, pareto(grid, dimension), **_LAW, label="law of the fitted d", gid="law")
    axes.set_xlim(1.0, edges[-1])
    axes.set_ylim(0.0, 1.05 * max(float(height.max()), dimension if np.isfinite(dimension) else 0.0))


def _draw_fit(axes: Axes, found: Quantiles, dimension: float) -> None:
    x, y = survival(*found)
    axes.plot(
        *(x, y), color=COLOURS[0], marker="o", markersize=1.8, markeredgewidth=0, linestyle="none", label="measured"
    )
    if np.isfinite(dimension) and dimension > 0 and len(x):
        end = min(float(x[-1]), float(y[-1]) / dimension)
        axes.plot([0.0, end], [0.0, dimension * end], **_LAW, label="slope d through the origin", gid="law")
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)


def _multiples(
    run: Run,
    checkpoint: Checkpoint,
    split: str,
    variant: Variant,
    draw: Callable[[Axes, Quantiles, float], None],
    x_label: str,
    y_label: str,
) -> Figure | None:
    """One small panel a layer; None where no quantiles were kept."""
    found = quantiles(run, checkpoint, split, variant)
    if not found:
        return None
    dimensions = _dimensions(run, checkpoint, split, variant)
    here = dimensions[list(found)]
    peak = int(np.nanargmax(here)) if np.isfinite(here).any() else None
    positions = [list(found)[at] for at in panel_layers(len(found), peak)]
    made, panels = layer_panels(len(positions), beside=0.55)
    for axes, at in zip(panels, positions, strict=True):
        draw(axes, found[at], float(dimensions[at]))
        name_panel(axes, run.layers[at], float(dimensions[at]), len(positions))
    made.supxlabel(x_label, fontsize=7.5)
    made.supylabel(y_label, fontsize=7.5)
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        made.legend(handles, labels, loc="outside upper center", ncols=2, borderaxespad=0.1, markerscale=2.0)
    return made


def _dimensions(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> NDArray[np.float64]:
    """The fitted dimension of every layer, `(n_layers,)`: `id_twonn`, else another TwoNN; NaN without any."""
    fitted = [name for name in run.id_metrics if run.term(name).component == INTRINSIC_DIMENSION.component]
    for metric in sorted(fitted, key=lambda name: (name != "id_twonn", not name.startswith("id_twonn"))):
        series = run.series(metric, checkpoint, split, variant)
        if series is not None:
            return series.value
    return np.full(len(run.layers), np.nan)
