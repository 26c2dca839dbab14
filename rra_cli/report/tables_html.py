"""Tables of a run in its report: layers, the best scales of its stages, probes on other data sets."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from rra_cli.report.run import Run
from rra_cli.report.series import Variant
from rra_cli.report.style import number
from rra_cli.report.tables.reading import metrics_of
from rra_cli.report.uncertainty_html import interval_text, intervals, key_of, told_html

_MOST_ROWS = 200
# What the windows are over, among which a scale is the best.
_AMONG = {"avg": "means", "max": "maxima", "all": "both"}


def layers_html(run: Run) -> str:
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


def transfer_html(run: Run) -> str:
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


def best_scales_html(run: Run) -> str:
    """A row a split, stage and kind of window, at the main checkpoint; nothing where scales were not measured."""
    frame = run.tables.best_scales
    if frame is None:
        return ""
    frame = frame[(frame["level"] == "stage") & (frame["checkpoint"] == run.main_checkpoint.label)]
    if frame.empty:
        return ""
    head = "".join(
        f"<th scope=col>{name}</th>"
        for name in ("split", "stage", "metric", "windows", "best", "map", "value", "unpooled", "as good")
    )
    rows = "".join(f"<tr>{_cells(row, run)}</tr>" for row in frame.to_dict("records"))
    note = (
        "<p>The scale at which the mean over a stage's layers is highest; as good: within two standard errors. Layers "
        'one by one: <a href="tables/best_scales.csv">tables/best_scales.csv</a>.</p>'
    )
    return f'{note}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(row: Mapping[Any, Any], run: Run) -> str:
    import pandas as pd

    known = row["best_pool"] != ""
    best = Variant(row["best_pool"], int(row["best_scale"])).title if known else "–"
    sides = "–" if pd.isna(row["height"]) else f"{row['height']}×{row['width']}"
    texts = (row["split"], row["stage"], run.term(row["metric"]).short, _AMONG[row["among"]], best, sides)
    values = (number(float(row["value"]), 3), number(float(row["unpooled"]), 3))
    return (
        "".join(f"<td>{escape(str(text))}</td>" for text in texts)
        + "".join(f'<td class="number">{value}</td>' for value in values)
        + f"<td>{escape(row['as_good'] if known else row['reason'])}</td>"
    )
