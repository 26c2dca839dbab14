"""The report: one HTML file without scripts and without anything loaded from elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any
from urllib.parse import quote

from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.page import PAGE
from rra_cli.report.plot import Plot
from rra_cli.report.pullback_terms import pullback_terms
from rra_cli.report.run import Run, part_of, unaltered_images
from rra_cli.report.scale_html import best_scales_html
from rra_cli.report.style import number
from rra_cli.report.tables import metrics_of
from rra_cli.report.uncertainty_html import interval_text, intervals, key_of, told_html

# A larger SVG goes into the report as PNG.
_LARGEST_SVG = 600_000
_MOST_ROWS = 200
# Of a component: its name stands before the settings; where things lie does not matter to a reader.
_NOT_TOLD = ("name", "root", "download", "path", "n_jobs")


@dataclass(frozen=True)
class Rendered:
    """A plot and its files' contents by suffix."""

    plot: Plot
    encoded: Mapping[str, bytes]


def report_html(run: Run, folder_name: str, rendered: Sequence[Rendered], links: Sequence[str]) -> str:
    """The whole page; every text that comes from outside (names of layers, reasons, settings) is escaped."""
    sections = [
        ("What was run", _summary(run)),
        ("Warnings", _warnings(run)),
        ("Plots", figures([each for each in rendered if each.plot.main])),
        ("Scales", best_scales_html(run)),
        ("Layers", _layers(run)),
        ("Other data sets", _transfer(run)),
        ("More plots", folded("Other checkpoints and scales", [each for each in rendered if not each.plot.main])),
        ("How the numbers are defined", _glossary(run)),
        ("Files", file_list(links)),
        ("Settings", _details("Configuration", run.config) + _details("Provenance", run.provenance)),
    ]
    body = "".join(f"<section><h2>{escape(title)}</h2>{content}</section>\n" for title, content in sections if content)
    altered = _component(run.config, "alter")
    name = run.name if altered in ("", "none") else f"{run.name}, measured samples altered: {altered}"
    return PAGE.substitute(title=escape(name), folder=escape(folder_name), body=body)


def _summary(run: Run) -> str:
    tables = run.tables.layers
    samples = {
        split: ", ".join(str(n) for n in sorted(tables.loc[tables["split"] == split, "n_samples"].unique()))
        for split in run.splits
    }
    k = {split: sorted(tables.loc[tables["split"] == split, "k"].dropna().unique()) for split in run.splits}
    facts: list[tuple[str, str]] = []
    for group in ("dataset", "alter", "model", "method", "augment", "optimizer"):
        named = _component(run.config, group)
        if named and (group, named) != ("alter", "none"):
            facts.append((group, named))
    path = part_of(run.config, "activations").get("path")
    if path is not None:
        facts.append(("activations of", str(path)))
    facts.append(("layers", str(len(run.layers))))
    facts.append(("measured samples N", _per_split(samples)))
    facts.append(("neighbours k", _per_split({split: ", ".join(map(str, found)) for split, found in k.items()})))
    facts.append(("neighbour search", _engine(run)))
    facts.append(("checkpoints", ", ".join(checkpoint.title for checkpoint in run.checkpoints)))
    if len(run.variants) > 1 or run.variants[0].pool != "none":
        facts.append(("pooling", ", ".join(variant.title for variant in run.variants)))
    for key, holder in (("seed", run.config), ("subset_seed", part_of(run.config, "dataset"))):
        if key in holder:
            facts.append((key, str(holder[key])))
    accuracies = {split: run.accuracy(split, run.main_checkpoint) for split in run.splits}
    if any(value == value for value in accuracies.values()):
        called = f"accuracy ({unaltered_images(run.splits)})" if run.alteration else "accuracy"
        facts.append((called, _per_split({split: f"{value:.4f}" for split, value in accuracies.items()})))
    rows = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return f'<table class="facts">{rows}</table>'


def _per_split(values: Mapping[str, str]) -> str:
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{split} {value}" for split, value in values.items())


def _engine(run: Run) -> str:
    told = []
    for engine, rows in run.tables.metrics.groupby("engine", sort=True):
        recall = rows["recall"].min()
        told.append(str(engine) if recall == 1.0 or recall != recall else f"{engine} (recall at least {recall:.4f})")
    return ", ".join(name for name in told if name) or "–"


def _component(config: Mapping[str, Any], group: str) -> str:
    part = part_of(config, group)
    if "name" not in part:
        return ""
    settings = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in part.items()
        if key not in _NOT_TOLD and isinstance(value, str | int | float)
    ]
    return str(part["name"]) + (f" ({', '.join(settings)})" if settings else "")


def _warnings(run: Run) -> str:
    frame = run.tables.metrics
    empty = frame[frame["value"].isna()]
    told = []
    for (metric, reason), rows in empty.groupby(["metric", "reason"], sort=False):
        where = ", ".join(dict.fromkeys(_place(row) for row in rows.head(12).itertuples(index=False)))
        more = f" and {len(rows) - 12} more" if len(rows) > 12 else ""
        told.append(
            f"<li><b>{escape(run.term(str(metric)).short)}</b> is empty at {escape(where)}{more}: "
            f"{escape(str(reason))}</li>"
        )
    approximate = frame[frame["recall"] < 0.95]
    if len(approximate):
        told.append(
            f"<li>The approximate neighbour search found only {approximate['recall'].min():.1%} of the true neighbours "
            "in its worst layer: take the values of such layers with care, or use <code>neighbors=exact</code>.</li>"
        )
    return f'<ul class="warnings">{"".join(told)}</ul>' if told else ""


def _place(row: Any) -> str:
    return " ".join(str(part) for part in (row.layer, f"({row.split}, {row.checkpoint})"))


def _figure(rendered: Rendered) -> str:
    plot = rendered.plot
    kind, mime = ("svg", "image/svg+xml") if len(rendered.encoded["svg"]) <= _LARGEST_SVG else ("png", "image/png")
    data = base64.b64encode(rendered.encoded[kind]).decode("ascii")
    files = ", ".join(
        f'<a href="plots/{quote(plot.name)}.{suffix}">{suffix.upper()}</a>' for suffix in sorted(rendered.encoded)
    )
    return (
        f'<figure id="{escape(plot.name)}"><h3>{escape(plot.title)}</h3>'
        f'<img alt="{escape(plot.title)}" src="data:{mime};base64,{data}">'
        f"<figcaption>{escape(plot.caption)} <span class=files>({files})</span></figcaption></figure>"
    )


def figures(rendered: Sequence[Rendered]) -> str:
    """The plots side by side; nothing where there are none."""
    return f'<div class="plots">{"".join(map(_figure, rendered))}</div>' if rendered else ""


def folded(summary: str, rendered: Sequence[Rendered]) -> str:
    """The same behind a line that is clicked; nothing where there are none."""
    if not rendered:
        return ""
    return f"<details><summary>{escape(summary)}</summary>{figures(rendered)}</details>"


def _layers(run: Run) -> str:
    """The main checkpoint's rows of layers.csv, rounded for reading."""
    frame = run.tables.layers
    shown = frame[frame["checkpoint"] == run.main_checkpoint.label]
    metrics = [metric for metric in metrics_of(frame) if shown[metric].notna().any() or metric in run.metrics]
    columns = ["split", "index", "layer"]
    columns += ["stage"] if "stage" in frame and (frame["stage"] != "").any() else []
    columns += ["pool", "scale"] if len(run.variants) > 1 else []
    columns += ["n_samples", "n_features", "k"]
    head = "".join(f"<th scope=col{_right(column)}>{escape(column)}</th>" for column in [*columns, *metrics])
    rows, ends = [], intervals(run)
    for row in shown.head(_MOST_ROWS).to_dict("records"):
        texts = "".join(f"<td{_right(column)}>{escape(str(row[column]))}</td>" for column in columns)
        values = "".join(
            f'<td class="number">{_value(row, metric, run)}{interval_text(ends.get(key_of(row, metric)))}</td>'
            for metric in metrics
        )
        rows.append(f"<tr>{texts}{values}</tr>")
    told = f"Checkpoint {run.main_checkpoint.title}" if len(run.checkpoints) > 1 else "Rounded"
    left = f" The first {_MOST_ROWS} of {len(shown)} rows." if len(shown) > _MOST_ROWS else ""
    note = f'<p>{escape(told)}; all rows and digits are in <a href="tables/layers.csv">tables/layers.csv</a>.{left}</p>'
    note += told_html(run, ends)
    return f'{note}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _transfer(run: Run) -> str:
    """What the probes found on other data sets, at the main checkpoint."""
    frame = run.tables.transfer
    if frame is None:
        return ""
    shown = frame[frame["checkpoint"] == run.main_checkpoint.label]
    rows = "".join(
        f"<tr><td>{escape(row['dataset'])}</td><td>{escape(row['layer'])}</td>"
        f"<td>{escape(run.term(row['metric']).short)}</td>"
        f'<td class="number">{_accuracy(row)}</td><td class="number">{row["n_used"]}</td></tr>'
        for row in shown.head(_MOST_ROWS).to_dict("records")
    )
    head = "".join(f"<th scope=col>{name}</th>" for name in ("data set", "layer", "probe", "accuracy", "test samples"))
    note = '<p>All rows and checkpoints are in <a href="tables/metrics.csv">tables/metrics.csv</a>.</p>'
    return f'{note}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _accuracy(row: Mapping[Any, Any]) -> str:
    value, error = float(row["value"]), float(row["std_error"])
    if value != value:
        return f'<abbr title="{escape(str(row["reason"]))}">–</abbr>'
    return f"{value:.3f}" + ("" if error != error or error == 0 else f" ± {error:.3f}")


def _right(column: str) -> str:
    return "" if column in ("split", "layer", "stage", "pool") else ' class="number"'


def _value(row: Mapping[Any, Any], metric: str, run: Run) -> str:
    value = float(row[metric])
    if value == value:
        return escape(number(value, 4))
    frame = run.tables.metrics
    same = frame["metric"] == metric
    for column in ("checkpoint", "split", "layer", "pool", "scale", "subset"):
        same &= frame[column] == row[column]
    reasons = [reason for reason in frame.loc[same, "reason"] if reason]
    return f'<abbr title="{escape(reasons[0])}">–</abbr>' if reasons else "–"


def _glossary(run: Run) -> str:
    known: dict[Term, list[str]] = {}
    for metric in run.metrics:
        known.setdefault(replace(run.term(metric), short=""), []).append(metric)
    if run.tables.nnls is not None and (run.metrics or len(run.tables.nnls)):
        known[LAYER_SIMILARITY] = ["nnls"]
    for metric in run.pair_metrics:
        known.setdefault(replace(run.term(metric), short=""), []).append(metric)
    if run.tables.pullback is not None:
        known |= pullback_terms(bool(run.tables.pullback["curvature"].notna().any()))
    told = [
        f"<dt>{escape(entry.label)} ({', '.join(f'<code>{escape(name)}</code>' for name in names)})</dt>"
        f"<dd>{escape(f'{entry.definition} {entry.reading}'.strip())}"
        f"{f' <i>Source: {escape(entry.source)}.</i>' if entry.source else ''}</dd>"
        for entry, names in known.items()
        if entry.definition
    ]
    return f"<dl>{''.join(told)}</dl>" if told else ""


def file_list(links: Sequence[str]) -> str:
    """Links to files, relative to the page."""
    items = "".join(f'<li><a href="{quote(link)}">{escape(link)}</a></li>' for link in links)
    return f'<ul class="links">{items}</ul>'


def _details(summary: str, content: Mapping[str, Any]) -> str:
    if not content:
        return ""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
