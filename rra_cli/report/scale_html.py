"""The scale of the highest class similarity of every stage, as a table of the report."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from rra_cli.report.run import Run, Variant
from rra_cli.report.style import number

_AMONG = {"avg": "means", "max": "maxima", "all": "both"}


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
