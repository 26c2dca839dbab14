"""The report of a comparison: one HTML file without scripts and without anything loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from rra_cli.report.compare.accuracy_text import accuracy_remarks, accuracy_table
from rra_cli.report.compare.pullback_text import PULLBACK_HEADER, pullback_summary
from rra_cli.report.compare.tables import is_written
from rra_cli.report.compare.view import View
from rra_cli.report.figures import Rendered, figures, folded
from rra_cli.report.page import file_list, page
from rra_cli.report.style import number

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 60


def comparison_html(view: View, rendered: Sequence[Rendered], links: Sequence[str]) -> str:
    """The whole page; every text that comes from outside is escaped."""
    sections = [
        ("What is compared", _groups(view)),
        ("Left out and refused", _refused(view)),
        ("Plots", figures([each for each in rendered if each.plot.main])),
        ("Accuracies", _accuracies(view)),
        ("Layers", _layers(view)),
        ("Volume and decision boundaries", pullback_html(view)),
        ("Layers in other runs" if view.one_network else "Layers in other models", _diagonal(view)),
        ("Correlations", _correlations(view)),
        ("More plots", folded("Other splits, checkpoints and groups", [e for e in rendered if not e.plot.main])),
        ("How the numbers are made", _method(view)),
        ("Files", file_list(links)),
    ]
    return page(view.title, "", sections)


def _groups(view: View) -> str:
    runs = view.frames["runs"]
    rows = []
    for group in view.groups:
        own = runs[(runs["group"] == group) & (runs["used"] == "yes")]
        rows.append([group, len(own), ", ".join(_text(seed) for seed in own["seed"]) or "–", view.mains[group]])
    few = f"<p>{escape(view.few_seeds)}</p>" if view.few_seeds else ""
    return _table(["group", "runs", "seeds", "checkpoint"], rows, text_columns=1) + few + _settings(view)


def _settings(view: View) -> str:
    """What differs between the groups, beyond what names them."""
    frame = view.frames["groups"]
    if frame.empty:
        return ""
    settings = list(dict.fromkeys(frame["setting"]))
    values = {(row["group"], row["setting"]): row["value"] for row in frame.to_dict("records")}
    rows = [[setting, *(values.get((group, setting), "") for group in view.groups)] for setting in settings]
    table = _table(["setting", *view.groups], rows, text_columns=len(view.groups) + 1)
    told = "The setting that differs" if len(settings) == 1 else f"All {len(settings)} settings that differ"
    return f"<details><summary>{told}</summary>{table}</details>"


def _refused(view: View) -> str:
    runs, refused = view.frames["runs"], view.frames["refused"]
    told = [
        f"<li>Run {escape(row['run'])} is left out: {escape(row['reason'])}</li>"
        for row in runs[runs["used"] != "yes"].to_dict("records")
    ]
    for row in refused.to_dict("records"):
        groups = " and ".join(dict.fromkeys(filter(None, (row["group_a"], row["group_b"]))))
        where = f", {row['split']}" if row["split"] else ""
        told.append(f"<li>{escape(row['quantity'])} of {escape(groups + where)}: {escape(row['reason'])}</li>")
    return f'<ul class="warnings">{"".join(told)}</ul>' if told else ""


def _accuracies(view: View) -> str:
    """Of every group, and against the reference; why there are none where nothing but that is known."""
    header, rows = accuracy_table(view)
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in accuracy_remarks(view))
    if not rows:
        return remarks
    note = (
        f"<p>After the last epoch, {'mean ± sd over the seeds' if view.repeated else 'of one run a group'}; train: of "
        "training samples without augmentation."
    )
    note += _links(
        view, {"All digits and intervals": "accuracies", "every two groups": "accuracy_differences"}, begin=" "
    )
    return f"{note}</p>{_table(header, rows, text_columns=1)}{remarks}"


def _layers(view: View) -> str:
    """Mean ± sd of every metric at the main checkpoints."""
    frame = view.main_rows(view.frames["layers"])
    frame = frame[(frame["transfer"] == "") & (frame["subset"] == 0)]
    if frame.empty:
        return ""
    metrics = list(dict.fromkeys(frame["metric"]))
    keys = ["group", "split", "layer", "pool", "index", "scale"]
    places = frame[keys].drop_duplicates()
    values = {(*(row[key] for key in keys), row["metric"]): row for row in frame.to_dict("records")}
    rows = [
        [*place, *(_summary(values.get((*place, metric))) for metric in metrics)]
        for place in places.head(_MOST_ROWS).itertuples(index=False, name=None)
    ]
    more = f" The first {_MOST_ROWS} of {len(places)} rows." if len(places) > _MOST_ROWS else ""
    what = "Mean ± sd over the seeds" if view.repeated else "Of one run a group"
    note = f"<p>{what}{_links(view, {'all rows and digits': 'layers'})}{more}</p>"
    return note + _table([*keys, *(view.term(metric).short for metric in metrics)], rows, text_columns=4)


def pullback_html(view: View) -> str:
    """Of every pullback metric what the layers say at the main checkpoints; "" without any."""
    rows = pullback_summary(view)
    if not rows:
        return ""
    note = (
        "<p>log10 volume: mean ± sd over seeds. near / far: stretch of the mean direction near decision boundaries "
        "over that far from them, with its interval. gain: what the first checkpoint did not have, in nats. Only "
        "groups with one number under “inputs” looked at the same points."
    )
    tables = {"All checkpoints and digits": "pullback", "differences with p-values": "pullback_differences"}
    return f"{note}{_links(view, tables, begin=' ')}</p>" + _table(PULLBACK_HEADER, rows[:_MOST_ROWS], text_columns=3)


def _diagonal(view: View) -> str:
    pairs = view.frames["pairs_diagonal"]
    others = [
        _diagonal_of(view, view.term(metric).short, "pairs", pairs[pairs["metric"] == metric])
        for metric in map(str, pairs["metric"].unique())
    ]
    return "".join([_diagonal_of(view, "NNLS", "nnls", view.frames["nnls_diagonal"]), *others])


def _diagonal_of(view: View, short: str, table: str, frame: pd.DataFrame) -> str:
    frame = frame[frame["checkpoint"].isin(list(view.mains.values()))]
    if frame.empty:
        return ""
    labels = {
        at: row["group_a"] if row["kind"] == "within" else f"{row['group_a']} × {row['group_b']}"
        for at, row in frame.to_dict("index").items()
    }
    beside = (frame["same_seed_n"].fillna(0) > 0) & (frame["same_seed"] != frame["mean"])  # equal: they are the mean
    frame = frame.assign(comparison=[labels[at] for at in frame.index], beside=beside)
    keys = ["checkpoint", "split", "layer", "pool", "index", "scale"]
    comparisons = list(dict.fromkeys(frame["comparison"]))
    values = {(*(row[key] for key in keys), row["comparison"]): row for row in frame.to_dict("records")}
    places = list(dict.fromkeys(frame[keys].itertuples(index=False, name=None)))
    rows = [[*place, *(_pairs(values.get((*place, each))) for each in comparisons)] for place in places[:_MOST_ROWS]]
    note = (
        f"<p>{escape(short)} of every layer with itself "
        + (escape(f"in another run ({view.one_network})") if view.one_network else "in another model")
        + (", mean ± sd over the pairs of models" if view.repeated else "")
        + ("; (of one seed): the mean of pairs that the other leaves out" if frame["beside"].any() else "")
    )
    tables = {"all rows": f"{table}_diagonal", "whole matrices": table}
    tables["differences with p-values"] = f"{table}_differences"
    return f"{note}{_links(view, tables)}</p>" + _table([*keys, *comparisons], rows, text_columns=4)


def _pairs(row: Any) -> str:
    """`0.75 ± 0.01 (0.99)`: of different seeds, and of one where there are such pairs beside them."""
    return _summary(row) + (f" ({number(row['same_seed'])})" if row is not None and row["beside"] else "")


def _correlations(view: View) -> str:
    """Those that were asked for; else only how many there are."""
    frame = view.frames["correlations"]
    if frame.empty:
        return ""
    tests = int(frame["p"].notna().sum())
    many = (
        f"<p>{tests} correlations were computed: of so many, about {tests * 0.05:.0f} have p &lt; .05 by chance alone"
        f"{_links(view, {'all of them': 'correlations'})}</p>"
    )
    asked = frame[[(row["x"], row["y"]) in set(view.asked) for row in frame.to_dict("records")]]
    columns = ["x", "y", "over", "group", "split", "layer", "n", "r", "p", "rho", "n_effective", "p_effective", "note"]
    rows = [[_text(row[c]) for c in columns] for row in asked.head(_MOST_ROWS).to_dict("records")]
    return many + (_table(columns, rows, text_columns=2) if rows else "")


def _method(view: View) -> str:
    told = {
        "mean, sd, n": "Over runs of one configuration with different seeds; sd has n − 1 in its denominator.",
        "intervals": f"{view.level:.0%}, Student's t with n − 1 degrees of freedom, the seeds as the units: samples, "
        "layers and pairs of models of one seed are no independent repetitions.",
        "pairs of models": "Mean and sd over the pairs; between groups over those of different seeds, as within a "
        "group. Models of one seed began from the same weights, or are one network: the mean of such pairs has a "
        "column same_seed, and stands for all only where each group has one run. The interval comes from leaving out "
        "one seed at a time (jackknife of a U-statistic, Arvesen 1969), and needs three seeds of each group. Groups "
        "with the same seeds lose a seed together.",
        "differences of groups": "Seed by seed where both have the same seeds (paired t test), else Welch's test; only "
        "where N and k are equal. Differences that are all equal have no scatter, so neither interval nor p.",
        "differences within a network": "From a layer to the next, and of training and test samples (contrasts.csv): "
        "one number a network, tested against 0 over the seeds; between groups as above.",
        "accuracies": "Those of training.jsonl after the last epoch; k-NN: of the test split by the training samples "
        "next to it in the representation. Differences as those of groups, not corrected for their number.",
        "volumes and boundaries": "Of several runs the seeds are the units; of one run its lines or planes, always at "
        "95%. Groups are held against each other only where they looked at the same points, and volumes only over as "
        "many directions.",
        "correlations": "Pearson's r (Fisher's interval) and Spearman's rho, whose p-value is counted over all "
        "orders of up to nine points (of three it is never below 1/3) and Student's t beyond. Layers and "
        "epochs follow each other: n_effective is the number of independent points that they are worth (Bartlett "
        "1935), p_effective the p-value with it.",
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escape(text)}</dd>' for name, text in told.items())}</dl>"


def _links(view: View, tables: Mapping[str, str], begin: str = "; ") -> str:
    """The tables by what they hold, as the end of a sentence; only those that are written."""
    found = [
        f'{told}: <a href="tables/{name}.csv">{name}.csv</a>'
        for told, name in tables.items()
        if is_written(name, view.frames[name])
    ]
    return f"{begin if found else ''}{'; '.join(found)}{'.' if found or begin != ' ' else ''}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, text_columns: int) -> str:
    right = ' class="number"'
    head = "".join(
        f"<th scope=col{'' if at < text_columns else right}>{escape(str(column))}</th>"
        for at, column in enumerate(columns)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{'' if at < text_columns else right}>{escape(str(cell))}</td>" for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _summary(row: Any) -> str:
    """`9.05 ± 0.12`; a dash where there is nothing."""
    if row is None or row["mean"] != row["mean"]:
        return "–"
    return number(float(row["mean"]), 4) + ("" if row["sd"] != row["sd"] else f" ± {number(float(row['sd']), 2)}")


def _text(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return "–"
    return number(value) if isinstance(value, float) else str(value)
