"""What TwoNN sees: the distribution of μ = r2 / r1, and whether it follows the law that the estimate assumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.layer_axis import plain
from rra_cli.report.run import Checkpoint, Run, Variant
from rra_cli.report.style import COLOURS, figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LAYERS = 6
# The density is drawn up to this quantile; the tail is the other figure's.
_SHOWN = 0.95
_BINS = 40

Quantiles = tuple[NDArray[np.float64], NDArray[np.float64]]


def chosen_layers(n_layers: int, peak: int | None, most: int = MOST_LAYERS) -> list[int]:
    """Positions of the layers that are looked at: first, last, the peak and others evenly in between."""
    if n_layers <= most:
        return list(range(n_layers))
    chosen = {0, n_layers - 1} | (set() if peak is None else {peak})
    while len(chosen) < most:
        # The middle of the widest gap, so that what is shown covers the network evenly.
        order = sorted(chosen)
        first, last = max(zip(order, order[1:], strict=False), key=lambda gap: gap[1] - gap[0])
        chosen.add((first + last) // 2)
    return sorted(chosen)


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
    levels, mu = levels[levels <= _SHOWN + 1e-9], mu[: np.count_nonzero(levels <= _SHOWN + 1e-9)]
    step = max(1, len(levels) // _BINS)
    at = np.unique(np.append(np.arange(0, len(levels), step), len(levels) - 1))
    edges, last = np.unique(mu[at][::-1], return_index=True)  # of equal edges the one at the highest level
    mass = np.diff(levels[at][::-1][last], prepend=levels[at][0])[1:]
    if len(edges) > 1:
        mass[0] += levels[at][::-1][last[0]] - levels[at][0]
    return edges, mass / np.diff(edges)


def pareto(mu: NDArray[np.float64], dimension: float) -> NDArray[np.float64]:
    """The density that TwoNN assumes, d μ^-(d+1) (Facco et al. 2017, eq. 3)."""
    return np.asarray(dimension * mu ** -(dimension + 1.0))


def survival(levels: NDArray[np.float64], mu: NDArray[np.float64]) -> Quantiles:
    """log μ and -log(1 - F) at the quantiles below 1; by the assumed law they lie on a line of slope d through 0."""
    below = levels < 1.0
    return np.log(mu[below]), -np.log1p(-levels[below])


def mu_distribution(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """The density of μ at chosen layers (steps) with the law that the fitted dimension implies (dashed)."""

    def draw(axes: Axes, found: Quantiles, dimension: float) -> None:
        edges, height = density(*found)
        if len(edges) > 1:
            axes.stairs(height, edges, fill=True, color=COLOURS[5], alpha=0.35)
            axes.stairs(height, edges, color=COLOURS[0], linewidth=0.8, gid="density")
            grid = np.linspace(1.0, edges[-1], 200)
            axes.plot(grid, pareto(grid, dimension), color="black", linestyle=(0, (4, 1.6)), linewidth=1.0, gid="law")
            axes.set_xlim(1.0, edges[-1])
        axes.set_ylim(bottom=0.0)

    return _multiples(
        *(run, checkpoint, split, variant, draw, r"μ = $r_2/r_1$", "density"),
        labels=("measured", "law for the fitted d"),
    )


def fit_check(run: Run, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """-log(1 - F) against log μ at chosen layers (points) with the line of slope d through the origin (dashed)."""

    def draw(axes: Axes, found: Quantiles, dimension: float) -> None:
        x, y = survival(*found)
        axes.plot(x, y, color=COLOURS[0], marker="o", markersize=1.6, linestyle="none", gid="points")
        end = min(float(x[-1]), float(y[-1]) / dimension * 1.05) if dimension > 0 else float(x[-1])
        axes.plot([0.0, end], [0.0, dimension * end], color="black", linestyle=(0, (4, 1.6)), linewidth=1.0, gid="law")
        axes.set_xlim(left=0.0)
        axes.set_ylim(bottom=0.0)

    return _multiples(
        *(run, checkpoint, split, variant, draw, "log μ", "−log(1 − F)"), labels=("measured", "slope = fitted d")
    )


def _multiples(
    run: Run,
    checkpoint: Checkpoint,
    split: str,
    variant: Variant,
    draw: object,
    x_label: str,
    y_label: str,
    *,
    labels: tuple[str, str],
) -> Figure | None:
    raise NotImplementedError
