"""Altered copies of the samples: how far a layer moves with them, and what becomes of its metrics, by alteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rra_cli.report.copy_terms import COPY_TERMS
from rra_cli.report.curves import NORMAL_95
from rra_cli.report.layer_axis import layer_ticks, names_inches, plain, stage_bands
from rra_cli.report.plot import Plot, parts, where
from rra_cli.report.run import Run
from rra_cli.report.series import Checkpoint, Variant
from rra_cli.report.style import figure, file_name, legend_line, line_style, shorten
from rra_cli.report.term import Term

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The others are in the report folded.
_MAIN = ("copy_distance", "copy_nnls")
# What is drawn against the level, beside the metrics of the altered set.
_BY_LEVEL = ("copy_nnls", "copy_distance")
_PANEL_INCHES, _LEGEND_INCHES = 1.5, 0.145
_MOST_LAYERS = 6
_DOTTED: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (1, 1))}
_CLEAN: dict[str, Any] = {"color": "black", "linewidth": 1.0, "linestyle": (0, (4, 1.6))}


def invariance_plots(run: Run) -> Iterator[Plot]:
    """Curves along the layers, a line an alteration; and against the level, where a kind has several."""
    frame = run.tables.invariance
    if frame is None or frame.empty:
        return
    for split in run.splits:
        for variant in run.plain_variants:
            here = (run.main_checkpoint, split, variant)
            rows = run.rows(frame, *here)
            if rows.empty:
                continue
            for metric in (str(metric) for metric in _in_order(rows["metric"])):
                known = term_of(run, metric)
                yield Plot(
                    file_name("invariance", metric, *parts(run, *here)),
                    _along_title(run, metric) + where(run, *here),
                    f"{known.definition} {known.reading}".strip()
                    if metric in COPY_TERMS
                    else f"{known.reading} Of the altered samples by themselves; dashed: unaltered.",
                    partial(along_figure, run, metric, *here),
                    metric in _MAIN,
                )
            for family in families(rows):
                yield Plot(
                    file_name("sensitivity", family, *parts(run, *here)),
                    f"What {family.replace('_', ' ')} does to each layer{where(run, *here)}",
                    "Metrics of the altered samples, and how the copies lie to their samples, by the strength of the "
                    "alteration; at 0 the samples as they are. Dotted: chance level, where all layers have the same."
                    + (f" {_MOST_LAYERS} chosen layers; all are in invariance.csv." if _chosen(run) else ""),
                    partial(level_figure, run, family, *here),
                )


def along_figure(run: Run, metric: str, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """One metric along the layers: a panel for the alterations of one level, and one for every family of levels."""
    rows = run.rows(_table(run), checkpoint, split, variant)
    rows = rows[rows["metric"] == metric]
    if not rows["value"].notna().any():
        return None
    grouped = families(rows)
    single = [name for name in _in_order(rows["alteration"]) if not any(name in names for names in grouped.values())]
    panels = [("", single)] * bool(single) + list(grouped.items())
    known, size = term_of(run, metric), len(panels)
    made, all_axes = figure(1.0, rows=size, sharex=True, sharey=known.high is not None)
    drawn = 0
    for axes, (family, names) in zip(all_axes, panels, strict=True):
        _panel(axes, run, rows, names, family)
        axes.set_ylabel(known.axis if len(known.axis) <= 28 else known.short)
        axes.set_xlim(-0.5, len(run.layers) - 0.5)
        axes.set_ylim(bottom=known.low, top=None if known.high is None else known.high * 1.02)
        _keep_all(axes, rows, known)
        axes.grid(axis="y", color="0.88", linewidth=0.5)
        stage_bands(axes, run.stages)
        title = plain(family.replace("_", " ")) or None
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.04), borderaxespad=0.2, handlelength=1.8, title=title)
        drawn = max(drawn, len(axes.get_legend_handles_labels()[0]) + bool(family))
    layer_ticks(all_axes[-1], run.layers, inches=2.0)
    made.set_figheight(max(_PANEL_INCHES, 0.1 + _LEGEND_INCHES * drawn) * size + names_inches(run.layers) + 0.2)
    return made


def level_figure(run: Run, family: str, checkpoint: Checkpoint, split: str, variant: Variant) -> Figure | None:
    """A panel a metric: its value against the level, a line a layer."""
    rows = run.rows(_table(run), checkpoint, split, variant)
    rows = rows[rows["alteration"].isin(families(rows)[family])]
    metrics = [str(metric) for metric in _in_order(rows["metric"]) if metric not in COPY_TERMS]
    metrics += [metric for metric in _BY_LEVEL if metric in set(rows["metric"])]
    metrics = [metric for metric in metrics if rows.loc[rows["metric"] == metric, "value"].notna().any()]
    if not metrics:
        return None
    layers = chosen_layers(run.layers)
    made, all_axes = figure(
        0.35 + 1.35 * len(metrics) + _LEGEND_INCHES * -(-(len(layers) + 1) // 2), rows=len(metrics), sharex=True
    )
    for axes, metric in zip(all_axes, metrics, strict=True):
        own, known = rows[rows["metric"] == metric], term_of(run, metric)
        for number, layer in enumerate(layers):
            found = own[own["layer"] == layer].sort_values("strength", kind="stable")
            if found.empty:
                continue
            level = np.concatenate([[0.0], found["strength"].to_numpy(float)])
            value = np.concatenate([found["clean"].to_numpy(float)[:1], found["value"].to_numpy(float)])
            axes.plot(level, value, **_style(number, len(layers), shaded=True), gid="series", zorder=3)
        chance = own.groupby("strength")["chance"].agg(["mean", "std"]).dropna()
        if len(chance) and (chance["std"] < 1e-6).all():  # of distances it differs from layer to layer
            axes.plot(chance.index, chance["mean"].to_numpy(float), color="0.45", **_DOTTED, gid="chance", zorder=1)
        axes.set_ylabel(known.short or known.label)
        axes.set_ylim(bottom=known.low, top=None if known.high is None else known.high * 1.02)
        axes.grid(axis="y", color="0.88", linewidth=0.5)
    all_axes[-1].set_xlabel(f"level of {family.replace('_', ' ')}")
    handles = [
        legend_line(plain(shorten(layer, 18)), **_style(number, len(layers), shaded=True))
        for number, layer in enumerate(layers)
    ]
    handles.append(legend_line("chance level", color="0.45", **_DOTTED))
    made.legend(handles=handles, loc="outside lower center", ncols=3, borderaxespad=0.1)
    return made


def families(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Alterations that differ in their level alone, `noise_0.1` and `noise_0.5`, by what their names have in common.

    In the order of the levels; those without siblings are left out.
    """
    found: dict[str, dict[str, float]] = {}
    for name, strength in rows[["alteration", "strength"]].drop_duplicates().itertuples(index=False):
        ending = f"_{strength:g}"
        if str(name).endswith(ending):
            found.setdefault(str(name).removesuffix(ending), {})[str(name)] = float(strength)
    return {
        family: sorted(levels, key=lambda name: levels[name]) for family, levels in found.items() if len(levels) > 1
    }


def term_of(run: Run, metric: str) -> Term:
    """What a metric of this table is called."""
    return COPY_TERMS[metric] if metric in COPY_TERMS else run.term(metric)


def chosen_layers(layers: Sequence[str]) -> list[str]:
    """The first, the last and some evenly between them."""
    places = np.unique(np.linspace(0, len(layers) - 1, min(_MOST_LAYERS, len(layers))).round().astype(int))
    return [layers[at] for at in places]


def _panel(axes: Axes, run: Run, rows: pd.DataFrame, names: Sequence[str], family: str) -> None:
    """Lines along the layers; each with its own chance level where they differ, and the unaltered set."""
    at = np.arange(len(run.layers))
    for number, name in enumerate(names):
        found = rows[rows["alteration"] == name].drop_duplicates("layer").set_index("layer").reindex(list(run.layers))
        value, error, chance = (found[column].to_numpy(float) for column in ("value", "std_error", "chance"))
        style = _style(number, len(names), shaded=bool(family))
        label = f"{found['strength'].dropna().iloc[0]:g}" if family else shorten(name, 18)
        axes.plot(at, value, **style, gid="series", zorder=3, label=plain(label))
        spread = NORMAL_95 * np.nan_to_num(error)
        axes.fill_between(at, value - spread, value + spread, color=style["color"], alpha=0.2, linewidth=0, zorder=2)
        axes.plot(at, chance, color=style["color"], **_DOTTED, gid="chance", zorder=1)
    if rows["metric"].iloc[0] not in COPY_TERMS:
        clean = rows[rows["alteration"] == names[0]].drop_duplicates("layer").set_index("layer")["clean"]
        axes.plot(
            at, clean.reindex(list(run.layers)).to_numpy(float), **_CLEAN, gid="clean", zorder=4, label="unaltered"
        )


def _chosen(run: Run) -> bool:
    """Whether plots over levels leave layers out."""
    return len(chosen_layers(run.layers)) < len(run.layers)


def _keep_all(axes: Axes, rows: pd.DataFrame, known: Term) -> None:
    """Where the axis is open below, its end lies below all values and chance levels: panels share it."""
    shown = rows[["value", "chance"]].to_numpy(float)
    if known.low is None and np.isfinite(shown).any():
        bottom, top = axes.get_ylim()
        least = float(np.nanmin(shown))
        axes.set_ylim(bottom=min(bottom, least - 0.04 * (top - least)))


def _style(number: int, n: int, *, shaded: bool) -> dict[str, Any]:
    """What has an order, levels and layers, goes from dark to bright; single alterations have colours of their own."""
    from matplotlib import colormaps

    style = line_style(number, 0, False).keywords()
    if shaded:
        colour = colormaps["cividis"](0.0 if n < 2 else 0.9 * number / (n - 1))
        style |= {"color": colour, "markerfacecolor": colour}
    return style


def _along_title(run: Run, metric: str) -> str:
    known = term_of(run, metric)
    label = f"{known.label[:1].upper()}{known.label[1:]}"
    return f"{label} along the layers" if metric in COPY_TERMS else f"{label} of altered samples along the layers"


def _in_order(values: pd.Series[Any]) -> list[str]:
    return [str(value) for value in dict.fromkeys(values)]


def _table(run: Run) -> pd.DataFrame:
    assert run.tables.invariance is not None, "a plot of it is offered only where there is the table"
    return run.tables.invariance
