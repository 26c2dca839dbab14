"""The report: one HTML file without scripts and without anything loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from rra_cli.report.figures import Rendered, figures, folded
from rra_cli.report.glossary import LAYER_SIMILARITY, Term
from rra_cli.report.page import file_list, page
from rra_cli.report.pullback.terms import pullback_terms
from rra_cli.report.run import Run, part_of, unaltered_images
from rra_cli.report.tables_html import best_scales_html, layers_html, transfer_html

# Of a component: its name stands before the settings; where things lie does not matter to a reader.
_NOT_TOLD = ("name", "root", "download", "path", "n_jobs")


def report_html(run: Run, folder_name: str, rendered: Sequence[Rendered], links: Sequence[str]) -> str:
    """The whole page; every text that comes from outside (names of layers, reasons, settings) is escaped."""
    sections = [
        ("What was run", _summary(run)),
        ("Warnings", _warnings(run)),
        ("Plots", figures([each for each in rendered if each.plot.main])),
        ("Scales", best_scales_html(run)),
        ("Layers", layers_html(run)),
        ("Other data sets", transfer_html(run)),
        ("More plots", folded("Other checkpoints and scales", [each for each in rendered if not each.plot.main])),
        ("How the numbers are defined", _glossary(run)),
        ("Files", file_list(links)),
        ("Settings", _details("Configuration", run.config) + _details("Provenance", run.provenance)),
    ]
    altered = _component(run.config, "alter")
    name = run.name if altered in ("", "none") else f"{run.name}, measured samples altered: {altered}"
    return page(name, folder_name, sections)


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
    told += _empty_pairs(run)
    approximate = frame[frame["recall"] < 0.95]
    if len(approximate):
        told.append(
            f"<li>The approximate neighbour search found only {approximate['recall'].min():.1%} of the true neighbours "
            "in its worst layer: take the values of such layers with care, or use <code>neighbors=exact</code>.</li>"
        )
    return f'<ul class="warnings">{"".join(told)}</ul>' if told else ""


def _empty_pairs(run: Run) -> list[str]:
    """A line a metric of pairs and reason, with the number of pairs."""
    told, nnls = [], run.tables.nnls
    named = None if nnls is None else nnls.rename(columns={"nnls": "value"}).assign(metric=LAYER_SIMILARITY.component)
    for frame in (each for each in (named, run.tables.pairs) if each is not None):
        for (metric, reason), rows in frame[frame["value"].isna()].groupby(["metric", "reason"], sort=False):
            told.append(
                f"<li><b>{escape(run.term(str(metric)).short)}</b> is empty at {len(rows):,} of "
                f"{(frame['metric'] == metric).sum():,} pairs of layers: {escape(str(reason))}</li>"
            )
    return told


def _place(row: Any) -> str:
    return " ".join(str(part) for part in (row.layer, f"({row.split}, {row.checkpoint})"))


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
        f"<dd>{escape(f'{entry.definition} {entry.reading} {entry.over_scales}'.strip())}"
        f"{f' <i>Source: {escape(entry.source)}.</i>' if entry.source else ''}</dd>"
        for entry, names in known.items()
        if entry.definition
    ]
    return f"<dl>{''.join(told)}</dl>" if told else ""


def _details(summary: str, content: Mapping[str, Any]) -> str:
    if not content:
        return ""
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
