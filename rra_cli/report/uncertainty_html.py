"""Intervals and p-values in a run's report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from rra_cli.report.glossary import LAYER_SIMILARITY
from rra_cli.report.run import Run, part_of
from rra_cli.report.style import number

Key = tuple[Any, ...]
Intervals = Mapping[Key, tuple[float, float]]
_PLACE = ("checkpoint", "split", "layer", "pool", "scale", "subset", "n_samples", "k")


def intervals(run: Run) -> Intervals:
    """Both ends of the intervals of layers' metrics by place and metric; empty where none were asked for."""
    frame = run.tables.metrics
    if "low" not in frame:
        return {}
    rows = frame[frame["low"].notna()].to_dict("records")
    return {key_of(row, str(row["metric"])): (float(row["low"]), float(row["high"])) for row in rows}


def key_of(row: Mapping[Any, Any], metric: str) -> Key:
    """The place of a row of layers.csv or metrics.csv, and a metric."""
    return (*(row[column] for column in _PLACE), metric)


def interval_text(ends: tuple[float, float] | None) -> str:
    """` [0.91, 0.93]`; nothing without an interval."""
    return "" if ends is None else f" [{number(ends[0], 4)}, {number(ends[1], 4)}]"


def told_html(run: Run, ends: Intervals) -> str:
    """What brackets are, and a line on p-values; "" where neither was asked for."""
    level = part_of(run.config, "metrics").get("interval_level", 0.95)
    brackets = f"In brackets: {100 * level:g} % intervals over sets of such samples; of probes, of test samples alone."
    lines = [brackets] if ends else []
    return "".join(f"<p>{escape(line)}</p>" for line in [*lines, *_p_values(run)])


def _p_values(run: Run) -> list[str]:
    """A sentence: which metrics are as far from chance as the permutations can tell, and the range of the others."""
    tables, told = run.tables, []
    values: dict[str, list[float]] = {}
    for frame, name in ((tables.metrics, ""), (tables.pairs, ""), (tables.nnls, LAYER_SIMILARITY.short)):
        if frame is None or "p_value" not in frame:
            continue
        known = frame[frame["p_value"].notna()]
        metrics = [name] * len(known) if name else [run.term(str(metric)).short for metric in known["metric"]]
        for metric, p in zip(metrics, known["p_value"], strict=True):
            values.setdefault(metric, []).append(float(p))
    many = part_of(run.config, "metrics").get("permutations")
    floor, least = (0.0, "") if many is None else (1.0 / (many + 1), f"1/{many + 1}")
    for metric, found in values.items():
        ends = [least if p <= floor * (1 + 1e-9) else number(p, 2) for p in (min(found), max(found))]
        told.append(f"{metric} all p {'<=' if ends[1] == least else '='} {ends[1]}" if ends[0] == ends[1] else
                    f"{metric} p from {ends[0]} to {ends[1]}")  # fmt: skip
    if not told:
        return []
    pairs = [] if tables.pairs is None else [str(metric) for metric in tables.pairs["metric"].unique()]
    shorts = [run.term(metric).short for metric in (*run.metrics, *pairs)]
    without = [short for short in shorts if short not in values]
    none = f" No permutation null: {', '.join(dict.fromkeys(without))}." if without else ""
    limit = f" ({least} is the least that {many} of them can tell)" if least else ""
    return [f"Against permuted data: {'; '.join(told)}{limit}.{none}"]
