"""Layers in two dimensions, side by side: coloured by class and by an attribute of the images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.layer_axis import plain
from rra_cli.report.plot import Plot, parts, where
from rra_cli.report.run import Run, part_of
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import COLOURS, figure, file_name, number, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_PANEL = 1.12  # inches, with its title
# Ten classes are common: a light yellow, the Okabe and Ito colour that lines on white cannot use, a little darker.
_PALETTE = (*COLOURS, "#DDD318")
# More classes than this have no legend; their colours come again with other markers.
_MOST_NAMED = 30
_MARKERS = ("o", "^", "s")
_HUE_SECTORS = 12
TITLES = {"pca": "PCA", "isomap": "ISOMAP", "umap": "UMAP"}
_READING = (
    "Each layer's samples, turned upon the layer before (Procrustes). T: trustworthiness, 1 where samples that lie "
    "together in the picture are neighbours in the layer, .5 at random; kept: the fraction of a sample's nearest "
    "neighbours in the layer that it has in the picture. What T and kept do not vouch for is not to be read off: above "
    "all distances between groups, and their sizes."
)
_OF_METHOD = {
    "pca": "The plane of largest variance.",
    "isomap": "Distances along the stored neighbour graph; of a graph in several components only the largest is drawn.",
    "umap": "UMAP of the stored neighbour graph, begun at the plane of largest variance.",
}


def picture_plots(run: Run) -> Iterator[Plot]:
    """A figure a method, split and checkpoint; a second one where samples have an attribute."""
    frame = run.tables.pictures
    if frame is None or frame.empty:
        return
    methods = list(dict.fromkeys(str(method) for method in frame["method"]))
    attribute = str(part_of(run.config, "pictures").get("color_by") or "attribute")
    for checkpoint in sorted(run.checkpoints, key=lambda each: each != run.main_checkpoint):
        for method, split, variant in product(methods, run.splits, run.variants):
            here = (run, checkpoint, split, variant)
            rows = run.rows(frame[frame["method"] == method], checkpoint, split, variant)
            if rows.empty:
                continue
            name, main = TITLES.get(method, method), checkpoint == run.main_checkpoint
            yield Plot(
                file_name("picture", method, *parts(*here)),
                f"{name} of layers{where(*here)}",
                " ".join(filter(None, (_OF_METHOD.get(method, ""), _READING, _not_drawn(*here, method)))),
                partial(picture_figure, *here, method),
                main,
            )
            if rows["attribute"].notna().any():
                yield Plot(
                    file_name("picture", method, attribute, *parts(*here)),
                    f"{name} of layers by {attribute}{where(*here)}",
                    f"The same pictures, coloured by the {attribute} of each image.",
                    partial(picture_figure, *here, method, attribute),
                    False,
                )


def picture_figure(
    run: Run, checkpoint: Checkpoint, split: str, variant: Variant, method: str, attribute: str = ""
) -> Figure | None:
    """A panel a layer; colours are classes, or an attribute."""
    frame = run.tables.pictures
    if frame is None:
        return None
    rows = run.rows(frame[frame["method"] == method], checkpoint, split, variant)
    layers = [layer for layer in run.layers if (rows["layer"] == layer).any()]
    if not layers:
        return None
    classes = _classes(rows)
    named = not attribute and 1 < len(classes) <= _MOST_NAMED
    columns = 2 if len(layers) in (2, 4) else min(_COLUMNS, len(layers))
    lines = -(-len(layers) // columns)
    legend = 0.16 * -(-len(classes) // 5) if named else (0.35 if attribute else 0.0)
    made, panels = figure(_PANEL * lines * _COLUMNS / columns + legend + 0.1, rows=lines, columns=columns)
    drawn: Any = None
    for axes, layer in zip(panels, layers, strict=False):
        own = rows[rows["layer"] == layer].dropna(subset=["x", "y"])
        if attribute:
            drawn = _by_attribute(axes, own, rows, attribute)
        else:
            _by_class(axes, own, classes)
        _titled(axes, run, layer, checkpoint, split, variant, method)
    for axes in panels[len(layers) :]:
        axes.set_visible(False)
    if named:
        made.legend(handles=_entries(classes), loc="outside lower center", ncols=5, borderaxespad=0.1)
    elif attribute and attribute != "hue" and drawn is not None:
        bar = made.colorbar(drawn, ax=panels, location="bottom", fraction=0.05, pad=0.02, aspect=40)
        bar.set_label(attribute)
    return made


def _not_drawn(run: Run, checkpoint: Checkpoint, split: str, variant: Variant, method: str) -> str:
    """Which layers have no picture, and why; "" where all have one."""
    pictures, qualities = run.tables.pictures, run.tables.picture_quality
    if pictures is None or qualities is None:
        return ""
    rows, told = (
        run.rows(frame[frame["method"] == method], checkpoint, split, variant) for frame in (pictures, qualities)
    )
    missing = told[~told["layer"].isin(rows["layer"])]
    return " ".join(f"No picture of {row.layer}: {row.reason}." for row in missing.itertuples(index=False))


def _classes(rows: pd.DataFrame) -> list[Any]:
    """All classes of the picture, in order; none where samples have none."""
    found = [each for each in rows["class"].unique() if each == each and each not in ("", None)]
    return sorted(found, key=lambda each: (isinstance(each, str), each))


def _style(at: int) -> dict[str, Any]:
    """Of class number `at`: colours come again with another marker."""
    return {"color": _PALETTE[at % len(_PALETTE)], "marker": _MARKERS[(at // len(_PALETTE)) % len(_MARKERS)]}


def _by_class(axes: Axes, own: pd.DataFrame, classes: list[Any]) -> None:
    """All samples in one shuffled order, so that no class lies on top of the others; a scatter a marker."""
    if not classes:
        axes.scatter(own["x"], own["y"], s=1.4, color=COLOURS[0], linewidths=0, rasterized=True, gid="samples")
        return
    number_of = {name: at for at, name in enumerate(classes)}
    codes = np.array([number_of.get(name, 0) for name in own["class"]], np.int64)
    x, y = own["x"].to_numpy(float), own["y"].to_numpy(float)
    order = np.random.RandomState(0).permutation(len(own))
    for marker in range(-(-len(classes) // len(_PALETTE))):
        mine = order[codes[order] // len(_PALETTE) == marker]
        colours = [_PALETTE[code % len(_PALETTE)] for code in codes[mine]]
        size = 1.4 if marker == 0 else 2.6
        symbol = _MARKERS[marker % len(_MARKERS)]
        axes.scatter(x[mine], y[mine], s=size, c=colours, marker=symbol, linewidths=0, rasterized=True, gid="samples")


def _by_attribute(axes: Axes, own: pd.DataFrame, rows: pd.DataFrame, attribute: str) -> Any:
    """Light for high values; a hue in its own colour, grey without one."""
    values = own["attribute"].to_numpy(float)
    if attribute == "hue":
        from matplotlib.colors import hsv_to_rgb

        wheel = [hsv_to_rgb((sector / _HUE_SECTORS, 0.85, 0.85)) for sector in range(_HUE_SECTORS)]
        colours = np.array([*wheel, (0.6, 0.6, 0.6)])[values.astype(int)]
        return axes.scatter(own["x"], own["y"], s=1.4, c=colours, linewidths=0, rasterized=True, gid="samples")
    low, high = np.nanquantile(rows["attribute"].to_numpy(float), [0.02, 0.98])
    style: dict[str, Any] = {"s": 1.4, "c": values, "vmin": low, "vmax": high, "linewidths": 0, "rasterized": True}
    return axes.scatter(own["x"], own["y"], **style, gid="samples")


def _titled(
    axes: Axes, run: Run, layer: str, checkpoint: Checkpoint, split: str, variant: Variant, method: str
) -> None:
    """Layer and quality; equal scales of both axes, which have no unit."""
    import pandas as pd

    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color("0.8")
    told = ""
    frame = run.tables.picture_quality
    if frame is not None:
        rows = run.rows(frame[frame["method"] == method], checkpoint, split, variant)
        rows = rows[rows["layer"] == layer]
        if len(rows):
            first = rows.iloc[0]
            told = f"T {_short(first['trustworthiness'])}, kept {_short(first['preservation'])}"
            if pd.notna(first["left_out"]) and first["left_out"]:
                total = int(first["n_samples"])
                told += f"\n{total - int(first['left_out'])} of {total}"
                if pd.notna(first["components"]):  # of ISOMAP alone
                    told += f", {int(first['components'])} parts"
    axes.set_title(f"{plain(shorten(layer, 20))}\n{told}", fontsize=5.6, pad=2)


def _short(value: float) -> str:
    """A fraction without its zero: .93."""
    return number(value, 2) if value != value or value >= 0.995 else f"{value:.2f}".lstrip("0")


def _entries(classes: list[Any]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], linestyle="none", markersize=3, label=plain(shorten(str(name), 14)), **_style(at))
        for at, name in enumerate(classes)
    ]
