"""All plots of a comparison: which there are, what they are called, and how to read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rra_cli.report.compare.accuracy import accuracy_plots
from rra_cli.report.compare.curves import epochs_figure, layers_figure, training_figure
from rra_cli.report.compare.diagonal import diagonal_figure
from rra_cli.report.compare.maps import matrix_figure, scatter_figure, scatter_split
from rra_cli.report.compare.pullback import pullback_plots
from rra_cli.report.compare.swept import swept_plots
from rra_cli.report.compare.view import JACKKNIFE, View
from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.plot import Plot, heading
from rra_cli.report.style import file_name

if TYPE_CHECKING:
    import pandas as pd

# So many maps stand unfolded in the report.
_MOST_MAPS = 6


def comparison_plots(view: View) -> Iterator[Plot]:
    """Every plot that the tables have data for, in the order of the report."""
    yield from accuracy_plots(view)
    yield from _layers(view)
    yield from pullback_plots(view)
    yield from swept_plots(view)
    yield from _similarity(view)
    yield from _epochs(view)
    if len(view.frames["training"]):
        note = "Loss, accuracy and spread of the representation by epoch"
        note += ", means over the seeds." if view.repeated else "."
        note += " All of it of unaltered images." if view.altered else ""
        yield Plot(
            "training", "Training", f"{note} {view.bands_of(view.frames['training'])}", partial(training_figure, view)
        )
    for x, y in view.asked:
        place = scatter_split(view, x, y)
        if place is None:
            continue
        term_x, term_y = view.term(x), view.term(y)
        caption = (
            f"{place[0]} split; r is Pearson's, p-values are in correlations.csv. Points that are joined follow each "
            "other, so that they are fewer independent points than they look."
        )
        title = f"{term_y.short} against {term_x.short}"
        yield Plot(file_name("correlation", x, y), title, caption, partial(scatter_figure, view, x, y))


def _layers(view: View) -> Iterator[Plot]:
    frame = view.frames["layers"]
    terms = {str(metric): view.term(str(metric)) for metric in frame["metric"].unique()}
    for (metric, transfer), rows in frame.groupby(["metric", "transfer"], sort=False):
        known = terms[str(metric)]
        for number, (pool, scale) in enumerate(view.places(rows)):
            where = "" if number == 0 else f", {pool} {scale}"
            data = f", data set {transfer}" if transfer else ""
            yield Plot(
                file_name(str(metric), str(transfer), "" if number == 0 else f"{pool}{scale}", "layers"),
                f"{heading(str(metric), terms)} along the layers{data}{where}",
                f"{known.reading} {view.bands_of(view.main_rows(rows))}".strip(),
                partial(layers_figure, view, str(metric), pool, scale, str(transfer)),
                number == 0,
            )


def _epochs(view: View) -> Iterator[Plot]:
    frame = view.frames["layers"]
    frame = frame[frame["transfer"] == ""]
    for metric, rows in frame.groupby("metric", sort=False):
        pool, scale = view.places(rows)[0]
        for split in view.splits(rows):
            known = view.term(str(metric))
            yield Plot(
                file_name(str(metric), split, "epochs"),
                f"{known.short} over the epochs, {split}",
                f"Layers at a third, two thirds and the end of the network. {view.bands_of(rows)}",
                partial(epochs_figure, view, str(metric), split, pool, scale),
                split == "test",
            )


def _similarity(view: View) -> Iterator[Plot]:
    """Layers in other models, by NNLS and by every other metric that was asked for."""
    yield from _similar(view, "nnls", LAYER_SIMILARITY, *_parts(view, "nnls"))
    yield from _intra(view)
    cells, diagonal, differences = _parts(view, "pairs")
    for metric in map(str, cells["metric"].unique()):
        frames = (frame[frame["metric"] == metric] for frame in (cells, diagonal, differences))
        yield from _similar(view, metric, view.term(metric), *frames)


def _intra(view: View) -> Iterator[Plot]:
    """Layers of one model, means over the seeds, a map for every group at its main checkpoint. The map of a single run
    is in its own report.
    """
    frame = view.frames["nnls_intra"]
    frame = frame[frame["n"] > 1].assign(kind="intra")
    for number, (key, rows) in enumerate(
        view.main_rows(frame).groupby(["group", "checkpoint", "split", "pool", "scale"], sort=False)
    ):
        group, place = str(key[0]), key[1:]
        yield Plot(
            file_name("nnls_intra", _slug(view, group), *_told(place)),
            f"Layers of one model, {group}, {_where(place)}",
            f"Mean (and standard deviation) over the seeds: {int(rows['n'].max())}. Hatched: no value.",
            partial(matrix_figure, rows),
            number < _MOST_MAPS,
        )


def _parts(view: View, table: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return view.frames[table], view.frames[f"{table}_diagonal"], view.frames[f"{table}_differences"]


def _similar(
    view: View, name: str, term: Term, cells: pd.DataFrame, diagonal: pd.DataFrame, differences: pd.DataFrame
) -> Iterator[Plot]:
    keys = ["checkpoint", "split", "pool", "scale"]
    mains, told = set(view.mains.values()), "" if name == "nnls" else f" ({term.short})"
    for place, rows in diagonal.groupby(keys, sort=False):
        own = differences[(differences[keys] == list(place)).all(axis=1)]
        main = place[0] in mains and _is_first(view, place, diagonal)
        yield Plot(
            file_name(f"{name}_diagonal", *_told(place)),
            f"Layers and themselves in {_other(view)}, {_where(place)}{told}",
            f"{term.label.capitalize()}{told} of every layer with itself "
            + (
                f"in another run: {view.one_network}. 1: the runs "
                if view.one_network
                else "(over pairs of models). 1: the models "
            )
            + f"have the same neighbours there. {view.bands_of(rows, JACKKNIFE)} Dotted: chance level.",
            partial(diagonal_figure, view, rows, own, term),
            main,
        )
    count = 0
    for key, rows in cells.groupby(["kind", "group_a", "group_b", *keys], sort=False):
        kind, group_a, group_b = map(str, key[:3])
        place = key[3:]
        main = place[0] in mains and count < _MOST_MAPS
        count += main
        slugs = [_slug(view, group) for group in dict.fromkeys((group_a, group_b))]
        models = group_a if kind == "within" else f"{group_a} and {group_b}"
        yield Plot(
            file_name(name, kind, *slugs, *_told(place)),
            f"{_pair_title(view, group_a, group_b)}, {models}, {_where(place)}{told}",
            _pairs_text(rows, kind),
            partial(matrix_figure, rows, term.short),
            bool(main),
        )


def _slug(view: View, group: str) -> str:
    """What file names call a group: its label without odd characters, where that tells all groups apart."""
    slugs = {label: re.sub(r"[^A-Za-z0-9_-]+", "-", label).strip("-") for label in view.groups}
    return slugs[group] if len(set(slugs.values())) == len(slugs) else group


def _pairs_text(rows: pd.DataFrame, kind: str) -> str:
    pairs = int(rows["n_pairs"].max())
    what = "all ordered pairs of models of the group" if kind == "within" else "all pairs of models, one of each group"
    equal = int(rows["same_seed_n"].fillna(0).max())
    if pairs < 2:
        itself = equal == pairs and bool((rows["same_seed"] == rows["mean"]).any())
        return f"One pair of runs{', both of one seed' if itself else ''}. Hatched: no value."
    apart = f"; without the pairs of one seed, {equal}, which have a column same_seed" if equal else ""
    return f"Mean (and standard deviation) over {what}: {pairs}{apart}. Hatched: no value."


def _other(view: View) -> str:
    return f"other runs ({view.one_network})" if view.one_network else "other models"


def _pair_title(view: View, group_a: str, group_b: str) -> str:
    told = view.same.get((group_a, group_b)) or view.by_seed.get((group_a, group_b), "")
    return f"{told[:1].upper()}{told[1:]}" if told else "Layers of different models"


def _is_first(view: View, place: Sequence[Any], frame: pd.DataFrame) -> bool:
    return (str(place[2]), int(place[3])) == view.places(frame)[0]


def _told(place: Sequence[Any]) -> list[str]:
    checkpoint, split, pool, scale = map(str, place)
    return [checkpoint, split, "" if pool == "none" else f"{pool}{scale}"]


def _where(place: Sequence[Any]) -> str:
    return ", ".join(part for part in _told(place) if part)
