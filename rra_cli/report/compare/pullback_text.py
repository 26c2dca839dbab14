"""What a comparison says of volumes and decision boundaries in a table for people."""

from __future__ import annotations

from typing import Any

from rra_cli.report.compare.pullback import LN_10, RATIO, VOLUME
from rra_cli.report.compare.view import View
from rra_cli.report.style import number

PULLBACK_HEADER = (
    *("metric", "group", "layer", "inputs", "runs", "directions"),
    *("log10 volume", "near / far", "p", "gain", "p (gain)"),
)


def pullback_summary(view: View, *, last: bool = False) -> list[list[str]]:
    """A row a metric, group and layer at the main checkpoints, as `PULLBACK_HEADER`. last: of the last layer alone."""
    frame = view.main_rows(view.frames["pullback"])
    found = []
    for (metric, group), rows in frame.groupby(["metric", "group"], sort=False):
        layers = list(dict.fromkeys(rows.sort_values("index", kind="stable")["layer"]))
        for layer in layers[-1:] if last else layers:
            own = {row["quantity"]: row for row in rows[rows["layer"] == layer].to_dict("records")}
            volume, ratio, gain = own[VOLUME], own[RATIO], own["gain"]
            runs = max(row["n"] for row in own.values())
            counts = [_whole(count) for count in (volume["inputs"], runs, volume["directions"])]
            spread = "" if volume["sd"] != volume["sd"] else f" ± {number(volume['sd'] / LN_10, 2)}"
            log10 = "–" if volume["mean"] != volume["mean"] else f"{volume['mean'] / LN_10:.2f}{spread}"
            tested = [_interval(ratio, 3), number(ratio["p"], 2), _interval(gain, 2), number(gain["p"], 2)]
            found.append([str(metric), str(group), str(layer), *counts, log10, *tested])
    return found


def _interval(row: Any, digits: int) -> str:
    """`1.10 [1.06, 1.14]`; a dash where there is nothing."""
    if row["mean"] != row["mean"]:
        return "–"
    ends = "" if row["low"] != row["low"] else f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
    return f"{row['mean']:.{digits}f}{ends}"


def _whole(value: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else str(int(value))
