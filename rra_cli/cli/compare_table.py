"""What a comparison found, on one screen: a row a group, its last layer, and what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rra_cli.console import make_table
from rra_cli.report.compare.accuracy_text import accuracy_table
from rra_cli.report.compare.pullback_text import PULLBACK_HEADER, pullback_summary
from rra_cli.report.compare.view import View
from rra_cli.report.run import unaltered_images
from rra_cli.report.style import number


def group_table(view: View) -> Any:
    """A row a group: runs, accuracy, every metric at the last layer, and how far its models agree there."""
    split = _split(view)
    rows = view.main_rows(view.frames["layers"])
    rows = rows[(rows["split"] == split) & (rows["transfer"] == "") & (rows["subset"] == 0)]
    metrics = list(dict.fromkeys(rows["metric"]))
    accuracy = f"{split}_accuracy"
    training = view.frames["training"]
    shows_accuracy = bool((training["metric"] == accuracy).any())
    diagonals = [each for each in _diagonals(view) if (each[1]["kind"] == "within").any()]
    called = f"accuracy\n({unaltered_images([split])})" if view.altered else "accuracy"
    header = ["group", "last layer", "runs", *([called] if shows_accuracy else []), *metrics]
    body = []
    for group in view.groups:
        own = rows[rows["group"] == group]
        last = own[own["index"] == own["index"].max()]
        layer = str(last["layer"].iloc[0]) if len(last) else ""
        cells = [_summary(last[last["metric"] == metric]) for metric in metrics]
        if shows_accuracy:
            logged = training[(training["group"] == group) & (training["metric"] == accuracy)]
            cells.insert(0, _summary(logged.sort_values("epoch").tail(1)))
        for _, diagonal in diagonals:
            same = (diagonal["kind"] == "within") & (diagonal["group_a"] == group) & (diagonal["split"] == split)
            same &= (diagonal["layer"] == layer) & (diagonal["checkpoint"] == view.mains[group])
            cells.append(_summary(diagonal[same]))
        runs = view.frames["runs"]
        body.append([group, layer, int(((runs["group"] == group) & (runs["used"] == "yes")).sum()), *cells])
    header += [f"{short} between seeds" for short, _ in diagonals]
    title = f"{split}: mean ± sd over the seeds" if view.repeated else f"{split}: one run a group"
    title += f"; {view.one_network}" if view.one_network else ""
    return make_table(title, header, body, text_columns=2)


def accuracies_table(view: View) -> Any:
    """Accuracies after the last epoch, and the difference to the reference group; None without any."""
    header, rows = accuracy_table(view)
    title = "accuracy after the last epoch" + (": mean ± sd over the seeds" if view.repeated else "")
    return make_table(title, header, rows) if rows else None


def pullback_table(view: View) -> Any:
    """Volumes and boundaries of the last layer of every group and pullback metric; None without any."""
    rows = pullback_summary(view, last=True)
    title = "volume and decision boundaries, last layer" + (": means over the seeds" if view.repeated else "")
    return make_table(title, PULLBACK_HEADER, rows, text_columns=3) if rows else None


def _diagonals(view: View) -> list[tuple[str, Any]]:
    """How far models agree on each layer: what it is called and its rows, by what they were compared by."""
    pairs = view.frames["pairs_diagonal"]
    metrics = map(str, pairs["metric"].unique())
    others = [(view.term(metric).short, pairs[pairs["metric"] == metric]) for metric in metrics]
    return [("NNLS", view.frames["nnls_diagonal"]), *others]


def refusals(view: View) -> Iterator[str]:
    """A line a refusal."""
    for row in view.frames["refused"].to_dict("records"):
        groups = " and ".join(dict.fromkeys(filter(None, (row["group_a"], row["group_b"]))))
        where = f", {row['split']}" if row["split"] else ""
        yield f"refused: {row['quantity']} of {groups}{where}: {row['reason']}"


def _split(view: View) -> str:
    splits = view.splits(view.frames["layers"])
    return "test" if "test" in splits or not splits else splits[0]


def _summary(rows: Any) -> str:
    if not len(rows) or rows["mean"].isna().all():
        return "–"
    first = rows.iloc[0]
    return number(float(first["mean"])) + ("" if first["sd"] != first["sd"] else f" ± {number(float(first['sd']), 2)}")
