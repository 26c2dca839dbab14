"""Planes and grids: prediction, entropy, volume element and curvature, a row a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.report.pullback.view import View, as_grid
from rra_cli.report.series import Checkpoint
from rra_cli.report.style import WIDTH, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

_PANEL_INCHES = 1.35
_HEAD_INCHES = 0.35
_SHARE = (2.0, 98.0)  # percentiles that colours are spread over
_THUMBNAIL = 0.2  # of a panel's side


def volume_sheet(view: View) -> Figure:
    """Prediction, entropy and log10 sqrt(det g) of every layer; a colour scale a column, shared by all checkpoints."""
    columns = ["prediction", "entropy", *view.layers]
    made, axes = _sheet(len(view.shown), len(columns))
    for row, checkpoint in enumerate(view.shown):
        first = view.drawn(checkpoint, view.layers[0])
        _predictions(axes[row, 0], view, first, thumbnails=row == 0)
    _label(axes, view)
    scales = [("entropy", view.layers[0], "entropy (base 10)", "cividis")]
    scales += [("log10_volume", layer, _title(view, layer, "log10 √det g\n"), "viridis") for layer in view.layers]
    for column, (name, layer, title, colours) in enumerate(scales, 1):
        frames = [view.drawn(checkpoint, layer) for checkpoint in view.shown]
        limits = _limits([frame[name].to_numpy(float) for frame in frames])
        for row, frame in enumerate(frames):
            image = _image(axes[row, column], view, frame, name, cmap=colours, vmin=limits[0], vmax=limits[1])
        axes[0, column].set_title(title)
        _bar(made, image, axes[:, column])
    axes[0, 0].set_title("prediction")
    # As high as the others: a colour bar that is not seen.
    bar = _bar(made, image, axes[:, 0])
    bar.ax.set_visible(False)
    return made


def relative_sheet(view: View) -> Figure:
    """log10 sqrt(det g) minus its mean at that checkpoint, by direction: where a layer magnifies more than else."""
    made, axes = _sheet(len(view.shown), len(view.layers))
    for column, layer in enumerate(view.layers):
        frames = [_centred(view, checkpoint, layer) for checkpoint in view.shown]
        known = [values for frame in frames if len(values := np.abs(frame["relative"].dropna()))]
        reach = max((float(np.percentile(values, _SHARE[1])) for values in known), default=0.0) or 1.0
        for row, frame in enumerate(frames):
            image = _image(axes[row, column], view, frame, "relative", cmap="PuOr_r", vmin=-reach, vmax=reach)
        axes[0, column].set_title(_title(view, layer))
        _bar(made, image, axes[:, column], "log10 stretch of a direction,\nrelative to the mean" if column == 0 else "")
    _label(axes, view)
    return made


def curvature_sheet(view: View) -> Figure | None:
    """Scalar curvature on a symmetric logarithmic scale, a column a layer; None where all of it is zero."""
    from matplotlib.colors import SymLogNorm

    layers = [layer for layer in view.layers if _bends(view, layer)]
    if not layers:
        return None
    made, axes = _sheet(len(view.shown), len(layers))
    for column, layer in enumerate(layers):
        frames = [view.drawn(checkpoint, layer) for checkpoint in view.shown]
        sizes = np.abs(np.concatenate([frame["curvature"].to_numpy(float) for frame in frames]))
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        low, high = np.percentile(sizes, (10.0, 99.0))
        norm = SymLogNorm(linthresh=max(low, high * 1e-4), vmin=-high, vmax=high, base=10)
        for row, frame in enumerate(frames):
            image = _image(axes[row, column], view, frame, "curvature", cmap="RdBu_r", norm=norm)
        axes[0, column].set_title(layer)
        bar = _bar(made, image, axes[:, column], "scalar curvature" if column == 0 else "")
        ticks = [-high, -norm.linthresh, norm.linthresh, high]
        bar.set_ticks(ticks, labels=[f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e") for tick in ticks])
        bar.ax.minorticks_off()
    _label(axes, view)
    return made


def _title(view: View, layer: str, before: str = "") -> str:
    return f"{before}{shorten(layer, 24)}\nover {view.over(layer)}"


def _label(axes: Any, view: View) -> None:
    """Checkpoints at the left, and at the outer axes the coordinates: of the data, or in units of the plane."""
    for row, checkpoint in enumerate(view.shown):
        axes[row, 0].set_ylabel(f"{checkpoint.title}\ny")
    for each in axes[-1]:
        each.set_xlabel("x", fontsize=6.0, labelpad=1.0)


def _bends(view: View, layer: str) -> bool:
    found = view.points.loc[view.points["layer"] == layer, "curvature"]
    return bool((found.notna() & (found != 0.0)).any())


def _centred(view: View, checkpoint: Checkpoint, layer: str) -> pd.DataFrame:
    """With `relative`: against the mean of the points between the anchors (or of all), a direction."""
    frame, directions = view.drawn(checkpoint, layer), view.row(checkpoint, layer)["directions"]
    volume, inside = frame["log10_volume"], frame["inside"] == 1
    return frame.assign(
        relative=(volume - volume[inside if inside.any() else slice(None)].mean()) / max(float(directions), 1.0)
    )


def _sheet(rows: int, columns: int) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    width = max(WIDTH, columns * _PANEL_INCHES + 0.4)
    made = Figure(figsize=(width, rows * _PANEL_INCHES + _HEAD_INCHES + 0.35), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for each in axes.flat:
        each.locator_params(nbins=3)
        each.tick_params(labelsize=5.0, length=1.5, pad=1.5)
        each.label_outer(remove_inner_ticks=True)
        each.spines[["top", "right"]].set_visible(True)
    return made, axes


def _limits(values: list[NDArray[np.float64]]) -> tuple[float, float]:
    """What colours are spread over: most of all values."""
    joined = np.concatenate(values)
    joined = joined[np.isfinite(joined)]
    if not len(joined):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(joined, _SHARE))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _image(axes: Axes, view: View, frame: pd.DataFrame, column: str, **keywords: Any) -> Any:
    """A column as colours, with the decision boundary and the triangle of the anchors."""
    values, extent = as_grid(frame, column)
    image = axes.imshow(values, origin="lower", extent=extent, interpolation="nearest", aspect="equal", **keywords)
    _boundary(axes, view, frame, "white" if column == "log10_volume" else "0.1")
    _triangle(axes, view)
    return image


def _predictions(axes: Axes, view: View, frame: pd.DataFrame, *, thumbnails: bool) -> None:
    """Areas of predicted classes with their names."""
    from matplotlib.colors import ListedColormap

    names = list(view.colours)
    codes, extent = as_grid(frame.assign(code=frame["prediction"].map(names.index)), "code")
    colours = ListedColormap([view.colours[name] for name in names])
    axes.imshow(codes, origin="lower", extent=extent, interpolation="nearest", aspect="equal", cmap=colours, alpha=0.6,
                vmin=-0.5, vmax=len(names) - 0.5)  # fmt: skip
    for code, name in enumerate(names):
        found = _middle(codes == code)
        if found is not None:
            row, column = found
            x = extent[0] + (column + 0.5) * (extent[1] - extent[0]) / codes.shape[1]
            y = extent[2] + (row + 0.5) * (extent[3] - extent[2]) / codes.shape[0]
            axes.text(x, y, name, ha="center", va="center", fontsize=5.5).set_in_layout(False)
    _triangle(axes, view)
    for anchor in view.anchors if thumbnails else ():
        if anchor.picture is None:
            continue
        # Outwards of its corner, so that it covers nothing between the anchors.
        side = _THUMBNAIL * (extent[1] - extent[0])
        x = anchor.x + np.sign(anchor.x) * 0.1 - side / 2
        y = anchor.y + (0.06 if anchor.y > 0 else -0.06 - side)
        inset = axes.inset_axes((float(x), float(y), side, side), transform=axes.transData)
        inset.imshow(anchor.picture, cmap="gray", interpolation="nearest")
        inset.set_axis_off()


def _middle(area: NDArray[np.bool_]) -> tuple[int, int] | None:
    """The place of an area that is farthest from its edge; None where it is too small for a name."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]
    if depth.max() < 0.06 * len(area):
        return None
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)


def _boundary(axes: Axes, view: View, frame: pd.DataFrame, colour: str) -> None:
    """Lines between areas of different predictions."""
    names = list(view.colours)
    codes, extent = as_grid(frame.assign(code=frame["prediction"].map(names.index)), "code")
    for code in np.unique(codes)[:-1] if len(np.unique(codes)) == 2 else np.unique(codes):
        inside = (codes == code).astype(float)
        if 0.0 < inside.mean() < 1.0:
            xs, ys = (np.linspace(a, b, 2 * n + 1)[1::2] for a, b, n in ((*extent[:2], codes.shape[1]), (*extent[2:], codes.shape[0])))  # fmt: skip  # noqa: E501
            axes.contour(xs, ys, inside, levels=[0.5], colors=colour, linewidths=0.5)


def _triangle(axes: Axes, view: View) -> None:
    """The anchors, and what lies between them; outside is extrapolated."""
    if len(view.anchors) == 3:
        corners = [*view.anchors, view.anchors[0]]
        xs, ys = [corner.x for corner in corners], [corner.y for corner in corners]
        axes.plot(xs, ys, color="black", linewidth=0.7, linestyle=(0, (3, 1.5)), marker="o", markersize=1.6)


def _bar(made: Figure, image: Any, axes: Any, label: str = "") -> Colorbar:
    bar = made.colorbar(image, ax=list(axes), location="bottom", fraction=0.04, pad=0.01, aspect=18)
    bar.ax.tick_params(labelsize=5.5)
    if label:
        bar.set_label(label, fontsize=6.0)
    return bar
